/*
 * The purposes of an index key hold in C_DeriveKey: whatever parameters say a purpose's PRF input
 * in another way get only what that purpose may be, and other input with the label in it is
 * refused.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOTHING ((CK_OBJECT_HANDLE) 0xdeadUL)

static struct api api;
static CK_OBJECT_HANDLE index_key;
static CK_ULONG object_count;

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_ULONG len_32 = 32;
static const CK_BYTE index_value[32] = "an index key that a test knows!";

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
    index_key = api_import_index_key(&api, "vectors", index_value);
    object_count = api_count(&api, NULL, 0);
}

static void close_token(void)
{
    api_close(&api);
}

static void expect_nothing_new(const char *name)
{
    CK_ULONG now = api_count(&api, NULL, 0);

    ck_assert_msg(now == object_count, "%s: %lu objects, %lu before", name, now, object_count);
}

/* Data parameters in short: C counter, L length field, B bytes. */
struct piece {
    CK_PRF_DATA_TYPE type;
    CK_ULONG bits; /* C, L: width. B: length in bytes */
    const void *bytes;
    CK_BBOOL little_endian;
    CK_ULONG method;
};
#define C(bits)                                                                                    \
    {                                                                                              \
        CK_SP800_108_ITERATION_VARIABLE, bits, NULL, CK_FALSE, 0                                   \
    }
#define C_LE(bits)                                                                                 \
    {                                                                                              \
        CK_SP800_108_ITERATION_VARIABLE, bits, NULL, CK_TRUE, 0                                    \
    }
#define L(bits)                                                                                    \
    {                                                                                              \
        CK_SP800_108_DKM_LENGTH, bits, NULL, CK_FALSE, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS         \
    }
#define L_LE(bits)                                                                                 \
    {                                                                                              \
        CK_SP800_108_DKM_LENGTH, bits, NULL, CK_TRUE, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS          \
    }
#define L_SEGMENTS                                                                                 \
    {                                                                                              \
        CK_SP800_108_DKM_LENGTH, 32, NULL, CK_FALSE, CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS       \
    }
#define B(text)                                                                                    \
    {                                                                                              \
        CK_SP800_108_BYTE_ARRAY, sizeof(text) - 1, text, CK_FALSE, 0                               \
    }
#define PIECES_MAX 6

/* A purpose's input in another dress is the purpose's: it wants the purpose's template. Any other
 * with the label in it is refused. */
static const struct derivation {
    const char *name;
    CK_MECHANISM_TYPE prf;
    CK_ULONG len;
    CK_RV wanted;
    struct piece pieces[PIECES_MAX];
} kdf_forms[] = {
    {"as indexkey.h makes it",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/token\0"), L(32)}},
    {"array split in the label",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("index"), B("key/1/to"), B("ken"), B("\0"), L(32)}},
    {"length as bytes",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/item\0\0\0\1\0")}},
    {"length as bytes, half a key",
     CKM_SHA256_HMAC,
     16,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/item\0\0\0\1\0")}},
    {"length as bytes, two keys",
     CKM_SHA256_HMAC,
     64,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/item\0\0\0\1\0")}},
    {"length as bytes, one byte",
     CKM_SHA256_HMAC,
     1,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/item\0\0\0\1\0")}},
    {"length of segments, 20 bytes",
     CKM_SHA256_HMAC,
     20,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/item\0"), L_SEGMENTS}},
    {"counter of 8 bits behind zeros",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {B("\0\0\0"), C(8), B("indexkey/1/query\0"), L(32)}},
    {"counter of 16 bits behind zeros",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {B("\0\0"), C(16), B("indexkey/1/query\0"), L(32)}},
    {"counter of 24 bits behind a zero",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {B("\0"), C(24), B("indexkey/1/query\0"), L(32)}},
    {"little-endian counter before zeros' place",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {B("\0\0\0"), C_LE(8), B("indexkey/1/query\0"), L(32)}},
    {"length of 24 bits behind a zero",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/query\0\0"), L(24)}},
    {"the length's one as the counter",
     CKM_SHA256_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {B("\0\0\0\1indexkey/1/token\0\0\0"), C(8), B("\0")}},
    {"another PRF, the same input",
     CKM_SHA512_HMAC,
     32,
     CKR_TEMPLATE_INCONSISTENT,
     {C(32), B("indexkey/1/token\0"), L(32)}},
    {"counter as bytes and none",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {B("\0\0\0\1indexkey/1/token\0\0\0\1\0")}},
    {"counter as bytes, another behind",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {B("\0\0\0\1indexkey/1/token\0\0\0\1\0"), C(8)}},
    {"little-endian counter",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C_LE(32), B("indexkey/1/token\0"), L(32)}},
    {"little-endian length",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), L_LE(32)}},
    {"counter of 16 bits",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(16), B("indexkey/1/token\0"), L(32)}},
    {"length of 64 bits",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), L(64)}},
    {"128 bits",
     CKM_SHA256_HMAC,
     16,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), L(32)}},
    {"512 bits",
     CKM_SHA256_HMAC,
     64,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), L(32)}},
    {"a prefix",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {B("x"), C(32), B("indexkey/1/token\0"), L(32)}},
    {"a suffix",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), L(32), B("x")}},
    {"a context",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0context"), L(32)}},
    {"no length field",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0")}},
    {"no zero byte",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token"), L(32)}},
    {"an unknown purpose",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/other\0"), L(32)}},
    {"another scheme",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/2/token\0"), L(32)}},
    /* A key has at most 512 bytes, 16 blocks: no counter gets as far as a letter. */
    {"the counter makes the label, block 47",
     CKM_SHA256_HMAC,
     47 * 32,
     CKR_ATTRIBUTE_VALUE_INVALID,
     {B("\0\0\0\1indexkey"), C(8), B("1/token\0\0\0\1\0")}},
    {"the counter makes the label, block 105",
     CKM_SHA256_HMAC,
     105 * 32,
     CKR_ATTRIBUTE_VALUE_INVALID,
     {B("\0\0\0\1"), C(8), B("ndexkey/1/token\0\0\0\1\0")}},
    {"two counters",
     CKM_SHA256_HMAC,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), C(32), L(32)}},
    {"CMAC as PRF",
     CKM_AES_CMAC,
     32,
     CKR_KEY_TYPE_INCONSISTENT,
     {C(32), B("indexkey/1/token\0"), L(32)}},
    {"no PRF",
     CKM_SHA256,
     32,
     CKR_MECHANISM_PARAM_INVALID,
     {C(32), B("indexkey/1/token\0"), L(32)}},
};

struct kdf {
    CK_MECHANISM mechanism;
    CK_SP800_108_KDF_PARAMS params;
    CK_PRF_DATA_PARAM data[PIECES_MAX];
    CK_SP800_108_COUNTER_FORMAT counters[PIECES_MAX];
    CK_SP800_108_DKM_LENGTH_FORMAT lengths[PIECES_MAX];
};

static void make_kdf(const struct derivation *form, struct kdf *kdf)
{
    CK_ULONG n = 0;

    for (; n < PIECES_MAX && form->pieces[n].type != 0; n++) {
        const struct piece *piece = &form->pieces[n];
        kdf->counters[n] = (CK_SP800_108_COUNTER_FORMAT){piece->little_endian, piece->bits};
        kdf->lengths[n] =
            (CK_SP800_108_DKM_LENGTH_FORMAT){piece->method, piece->little_endian, piece->bits};
        kdf->data[n] = (CK_PRF_DATA_PARAM){piece->type, (void *) piece->bytes, piece->bits};
        if (piece->type == CK_SP800_108_ITERATION_VARIABLE)
            kdf->data[n] =
                (CK_PRF_DATA_PARAM){piece->type, &kdf->counters[n], sizeof(kdf->counters[n])};
        if (piece->type == CK_SP800_108_DKM_LENGTH)
            kdf->data[n] =
                (CK_PRF_DATA_PARAM){piece->type, &kdf->lengths[n], sizeof(kdf->lengths[n])};
    }
    kdf->params = (CK_SP800_108_KDF_PARAMS){form->prf, n, kdf->data, 0, NULL};
    kdf->mechanism = (CK_MECHANISM){CKM_SP800_108_COUNTER_KDF, &kdf->params, sizeof(kdf->params)};
}

/* The template fits no purpose: SHA-1 HMAC is in none. */
START_TEST(no_other_form_of_a_purpose)
{
    static CK_MECHANISM_TYPE sha1 = CKM_SHA_1_HMAC;

    for (size_t i = 0; i < COUNT(kdf_forms); i++) {
        CK_ULONG len = kdf_forms[i].len;
        CK_ATTRIBUTE template[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                                   {CKA_VALUE_LEN, &len, sizeof(len)},
                                   {CKA_SIGN, &yes, sizeof(yes)},
                                   {CKA_ALLOWED_MECHANISMS, &sha1, sizeof(sha1)}};
        CK_OBJECT_HANDLE out = NOTHING;
        struct kdf kdf;
        make_kdf(&kdf_forms[i], &kdf);
        api_expect(api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, template, 4, &out),
                   kdf_forms[i].wanted, kdf_forms[i].name);
        ck_assert_uint_eq(out, NOTHING);
    }
    expect_nothing_new("forms");
}
END_TEST

/* Two keys make another length field: no longer the purpose's input. */
START_TEST(no_additional_derived_keys)
{
    struct indexkey_template right;
    struct indexkey_kdf kdf;
    CK_OBJECT_HANDLE more = NOTHING;
    CK_OBJECT_HANDLE out = NOTHING;

    OK(indexkey_kdf_make(INDEXKEY_PURPOSE_TOKEN, &kdf));
    OK(indexkey_template_make(INDEXKEY_PURPOSE_TOKEN, &right));
    CK_DERIVED_KEY additional = {right.attributes, right.count, &more};
    kdf.params.ulAdditionalDerivedKeys = 1;
    kdf.params.pAdditionalDerivedKeys = &additional;
    EXPECT(CKR_MECHANISM_PARAM_INVALID, api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key,
                                                             right.attributes, right.count, &out));
    ck_assert_uint_eq(out, NOTHING);
    ck_assert_uint_eq(more, CK_INVALID_HANDLE);
    expect_nothing_new("additional keys");
}
END_TEST

static CK_ULONG hmac(CK_OBJECT_HANDLE key, CK_BYTE out[64])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG len = 64;

    OK(api.p11->C_SignInit(api.session, &mechanism, key));
    OK(api.p11->C_Sign(api.session, (CK_BYTE *) "message", 7, out, &len));
    return len;
}

/* Derivations without the label are served, and are no subkey. */
START_TEST(other_labels_give_other_keys)
{
    static const struct derivation others[] = {
        {"token", CKM_SHA256_HMAC, 32, CKR_OK, {C(32), B("token\0"), L(32)}},
        {"Indexkey/1/token", CKM_SHA256_HMAC, 32, CKR_OK, {C(32), B("Indexkey/1/token\0"), L(32)}},
        {"indexkey", CKM_SHA256_HMAC, 32, CKR_OK, {C(32), B("indexkey\0"), L(32)}},
    };
    static const char *const macs[] = {"vectors/token", "vectors/centroid", "vectors/query"};
    CK_ATTRIBUTE template[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_SIGN, &yes, sizeof(yes)}};

    for (size_t i = 0; i < COUNT(others); i++) {
        struct kdf kdf;
        CK_OBJECT_HANDLE out;
        CK_BYTE tag[64];
        make_kdf(&others[i], &kdf);
        OK(api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, template, 3, &out));
        hmac(out, tag);
        for (size_t m = 0; m < COUNT(macs); m++) {
            CK_BYTE subkey_tag[64];
            hmac(api_find(&api, macs[m]), subkey_tag);
            ck_assert_mem_ne(tag, subkey_tag, 32);
        }
    }
}
END_TEST

/* Changes to the right template of a purpose; `type` 0 ends them. */
static CK_MECHANISM_TYPE gcm_and_cbc[] = {CKM_AES_GCM, CKM_AES_CBC};
static CK_MECHANISM_TYPE cmac[] = {CKM_AES_CMAC};
static CK_MECHANISM_TYPE sha256_and_sha1[] = {CKM_SHA256_HMAC, CKM_SHA_1_HMAC};
static CK_MECHANISM_TYPE kdf_only[] = {CKM_SP800_108_COUNTER_KDF};

static const struct {
    const char *name;
    enum indexkey_purpose purpose;
    CK_ATTRIBUTE change;
} bindings[] = {
    {"payload as a MAC key", INDEXKEY_PURPOSE_PAYLOAD, {CKA_KEY_TYPE, &generic, sizeof(generic)}},
    {"token as an AES key", INDEXKEY_PURPOSE_TOKEN, {CKA_KEY_TYPE, &aes, sizeof(aes)}},
    {"payload with CBC",
     INDEXKEY_PURPOSE_PAYLOAD,
     {CKA_ALLOWED_MECHANISMS, gcm_and_cbc, sizeof(gcm_and_cbc)}},
    {"item with CMAC", INDEXKEY_PURPOSE_ITEM, {CKA_ALLOWED_MECHANISMS, cmac, sizeof(cmac)}},
    {"token with SHA-1",
     INDEXKEY_PURPOSE_TOKEN,
     {CKA_ALLOWED_MECHANISMS, sha256_and_sha1, sizeof(sha256_and_sha1)}},
    {"query as a base key",
     INDEXKEY_PURPOSE_QUERY,
     {CKA_ALLOWED_MECHANISMS, kdf_only, sizeof(kdf_only)}},
    {"payload signs", INDEXKEY_PURPOSE_PAYLOAD, {CKA_SIGN, &yes, sizeof(yes)}},
    {"item wraps", INDEXKEY_PURPOSE_ITEM, {CKA_WRAP, &yes, sizeof(yes)}},
    {"item unwraps", INDEXKEY_PURPOSE_ITEM, {CKA_UNWRAP, &yes, sizeof(yes)}},
    {"token encrypts", INDEXKEY_PURPOSE_TOKEN, {CKA_ENCRYPT, &yes, sizeof(yes)}},
    {"centroid derives", INDEXKEY_PURPOSE_CENTROID, {CKA_DERIVE, &yes, sizeof(yes)}},
    {"payload is readable", INDEXKEY_PURPOSE_PAYLOAD, {CKA_SENSITIVE, &no, sizeof(no)}},
    {"payload is extractable", INDEXKEY_PURPOSE_PAYLOAD, {CKA_EXTRACTABLE, &yes, sizeof(yes)}},
};

static CK_RV derive_purpose(enum indexkey_purpose purpose, const CK_ATTRIBUTE *change,
                            CK_OBJECT_HANDLE *out)
{
    struct indexkey_template made;
    struct indexkey_kdf kdf;
    CK_ATTRIBUTE attributes[INDEXKEY_TEMPLATE_COUNT + 1];

    OK(indexkey_kdf_make(purpose, &kdf));
    OK(indexkey_template_make(purpose, &made));
    memcpy(attributes, made.attributes, sizeof(made.attributes));
    CK_ULONG count = made.count;
    if (change != NULL) {
        CK_ULONG at = 0;
        while (at < count && attributes[at].type != change->type)
            at++;
        attributes[at] = *change;
        count = at == count ? count + 1 : count;
    }
    return api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, attributes, count, out);
}

START_TEST(purposes_bind_the_template)
{
    for (size_t i = 0; i < COUNT(bindings); i++) {
        CK_OBJECT_HANDLE out = NOTHING;
        api_expect(derive_purpose(bindings[i].purpose, &bindings[i].change, &out),
                   CKR_TEMPLATE_INCONSISTENT, bindings[i].name);
        ck_assert_uint_eq(out, NOTHING);
    }
    expect_nothing_new("bindings");
    for (int purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        CK_OBJECT_HANDLE out;
        OK(derive_purpose((enum indexkey_purpose) purpose, NULL, &out));
    }
}
END_TEST

/* The first three bytes of E_K(0), as the standard's checksum has them. */
static void payload_checksum(CK_BYTE check[3])
{
    static const CK_BYTE input[] = "\0\0\0\1indexkey/1/payload\0\0\0\1";
    static const CK_BYTE zeros[16];
    CK_BYTE subkey[32];
    CK_BYTE block[32];
    int len;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    ck_assert_ptr_nonnull(HMAC(EVP_sha256(), index_value, 32, input, sizeof(input), subkey, NULL));
    ck_assert_int_eq(EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), NULL, subkey, NULL), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(context, block, &len, zeros, sizeof(zeros)), 1);
    EVP_CIPHER_CTX_free(context);
    memcpy(check, block, 3);
}

/* A checksum that the caller may try is 24 bits of a key that the caller does not know: the right
 * one is refused like any other. */
START_TEST(checksums_guess_nothing)
{
    CK_BYTE guess[3];
    CK_ATTRIBUTE check = {CKA_CHECK_VALUE, guess, sizeof(guess)};
    CK_OBJECT_HANDLE out = NOTHING;

    payload_checksum(guess);
    EXPECT(CKR_ATTRIBUTE_VALUE_INVALID, derive_purpose(INDEXKEY_PURPOSE_PAYLOAD, &check, &out));
    guess[0] ^= 1;
    EXPECT(CKR_ATTRIBUTE_VALUE_INVALID, derive_purpose(INDEXKEY_PURPOSE_PAYLOAD, &check, &out));
    ck_assert_uint_eq(out, NOTHING);
    check.ulValueLen = 0;
    OK(derive_purpose(INDEXKEY_PURPOSE_PAYLOAD, &check, &out));
    OK(derive_purpose(INDEXKEY_PURPOSE_PAYLOAD, NULL, &out));
    check.ulValueLen = sizeof(guess);
    EXPECT(CKR_ATTRIBUTE_TYPE_INVALID, api.p11->C_GetAttributeValue(api.session, out, &check, 1));
    ck_assert_uint_eq(check.ulValueLen, CK_UNAVAILABLE_INFORMATION);
}
END_TEST

/* Prefixes of growing length would give a derived key away byte by byte. */
START_TEST(no_short_pieces)
{
    static const struct {
        CK_ULONG len;
        CK_RV wanted;
    } rows[] = {{1, CKR_TEMPLATE_INCONSISTENT},
                {2, CKR_TEMPLATE_INCONSISTENT},
                {15, CKR_TEMPLATE_INCONSISTENT},
                {16, CKR_OK},
                {17, CKR_OK}};
    static const struct derivation form = {
        "other", CKM_SHA256_HMAC, 0, CKR_OK, {C(32), B("other\0")}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        CK_ULONG len = rows[i].len;
        CK_ATTRIBUTE template[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                                   {CKA_VALUE_LEN, &len, sizeof(len)},
                                   {CKA_SIGN, &yes, sizeof(yes)}};
        CK_OBJECT_HANDLE out = NOTHING;
        struct kdf kdf;
        make_kdf(&form, &kdf);
        EXPECT(rows[i].wanted,
               api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, template, 3, &out));
        ck_assert_int_eq(out == NOTHING, rows[i].wanted != CKR_OK);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api purposes");
    TCase *tests = tcase_create("purposes");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_test(tests, no_other_form_of_a_purpose);
    tcase_add_test(tests, no_additional_derived_keys);
    tcase_add_test(tests, other_labels_give_other_keys);
    tcase_add_test(tests, purposes_bind_the_template);
    tcase_add_test(tests, checksums_guess_nothing);
    tcase_add_test(tests, no_short_pieces);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
