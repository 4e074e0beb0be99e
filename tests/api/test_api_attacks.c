/*
 * Attacks through the API itself on an index key (docs/security-model.md): no mechanism, template
 * or sequence of calls gives a subkey in another form, or the key. Every row asserts the exact CKR,
 * and that no object and no byte came out.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOTHING ((CK_OBJECT_HANDLE) 0xdeadUL)

static struct api api;
static CK_OBJECT_HANDLE index_key;
static CK_ULONG object_count;

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_ULONG len_16 = 16;
static CK_ULONG len_32 = 32;

static void open_token(void)
{
    static const CK_BYTE value[32] = "an index key that a test knows!";

    api_open(&api, "memory:", NULL);
    index_key = api_import_index_key(&api, "vectors", value);
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

/* One use of a key in an Init function. */
typedef CK_RV init_fn(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key);

static CK_RV use(CK_MECHANISM_TYPE type, CK_FLAGS how, CK_OBJECT_HANDLE key)
{
    static CK_BYTE iv[16];
    static CK_ULONG mac_len = 16;
    CK_GCM_PARAMS gcm = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_AES_CTR_PARAMS ctr = {.ulCounterBits = 32};
    CK_MECHANISM mechanism = {type, NULL, 0};
    init_fn *init = how == CKF_ENCRYPT   ? api.p11->C_EncryptInit
                    : how == CKF_DECRYPT ? api.p11->C_DecryptInit
                    : how == CKF_SIGN    ? api.p11->C_SignInit
                                         : api.p11->C_VerifyInit;

    if (type == CKM_AES_GCM)
        mechanism = (CK_MECHANISM){type, &gcm, sizeof(gcm)};
    else if (type == CKM_AES_CTR)
        mechanism = (CK_MECHANISM){type, &ctr, sizeof(ctr)};
    else if (type == CKM_AES_CBC || type == CKM_AES_CBC_PAD)
        mechanism = (CK_MECHANISM){type, iv, sizeof(iv)};
    else if (type == CKM_SHA256_HMAC_GENERAL || type == CKM_AES_CMAC_GENERAL)
        mechanism = (CK_MECHANISM){type, &mac_len, sizeof(mac_len)};
    return init(api.session, &mechanism, key);
}

static const struct {
    CK_MECHANISM_TYPE type;
    CK_FLAGS how;
    CK_RV wanted;
} uses[] = {
    {CKM_SHA256_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA256_HMAC, CKF_VERIFY, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA256_HMAC_GENERAL, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA256_HMAC_GENERAL, CKF_VERIFY, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA_1_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA224_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA384_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA512_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA512_256_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA3_256_HMAC, CKF_SIGN, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_SHA3_512_HMAC, CKF_VERIFY, CKR_KEY_FUNCTION_NOT_PERMITTED},
    {CKM_AES_CMAC, CKF_SIGN, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CMAC, CKF_VERIFY, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CMAC_GENERAL, CKF_SIGN, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_GMAC, CKF_SIGN, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_ECB, CKF_ENCRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_ECB, CKF_DECRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CTR, CKF_ENCRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CBC, CKF_ENCRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CBC, CKF_DECRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CBC_PAD, CKF_ENCRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_GCM, CKF_ENCRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_GCM, CKF_DECRYPT, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_SP800_108_COUNTER_KDF, CKF_SIGN, CKR_MECHANISM_INVALID},
    {CKM_SP800_108_COUNTER_KDF, CKF_ENCRYPT, CKR_MECHANISM_INVALID},
};

START_TEST(no_use_but_derivation)
{
    CK_BYTE out[64];
    CK_BYTE untouched[64];
    CK_ULONG len = sizeof(out);

    memset(out, 0x5a, sizeof(out));
    memcpy(untouched, out, sizeof(out));
    for (size_t i = 0; i < COUNT(uses); i++) {
        char name[32];
        snprintf(name, sizeof(name), "row %zu", i);
        api_expect(use(uses[i].type, uses[i].how, index_key), uses[i].wanted, name);
        /* Nothing has begun. */
        EXPECT(CKR_OPERATION_NOT_INITIALIZED,
               api.p11->C_Sign(api.session, untouched, 16, out, &len));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED,
               api.p11->C_Encrypt(api.session, untouched, 16, out, &len));
    }
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED,
           api.p11->C_VerifySignatureInit(api.session, &hmac, index_key, untouched, 32));
    ck_assert_mem_eq(out, untouched, sizeof(out));
    expect_nothing_new("uses");
}
END_TEST

/* A second KDF, or any other derivation. */
static const struct {
    CK_MECHANISM_TYPE type;
    CK_RV wanted;
} derivations[] = {
    {CKM_HKDF_DERIVE, CKR_MECHANISM_INVALID},
    {CKM_HKDF_DATA, CKR_MECHANISM_INVALID},
    {CKM_SP800_108_FEEDBACK_KDF, CKR_MECHANISM_INVALID},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, CKR_MECHANISM_INVALID},
    {CKM_AES_ECB_ENCRYPT_DATA, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_AES_CBC_ENCRYPT_DATA, CKR_KEY_TYPE_INCONSISTENT},
    {CKM_SHA256_KEY_DERIVATION, CKR_MECHANISM_INVALID},
    {CKM_CONCATENATE_BASE_AND_DATA, CKR_MECHANISM_INVALID},
    {CKM_CONCATENATE_BASE_AND_KEY, CKR_MECHANISM_INVALID},
    {CKM_XOR_BASE_AND_DATA, CKR_MECHANISM_INVALID},
    {CKM_EXTRACT_KEY_FROM_KEY, CKR_MECHANISM_INVALID},
    {CKM_SHA256_HMAC, CKR_MECHANISM_INVALID},
};

START_TEST(no_other_derivation)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                               {CKA_KEY_TYPE, &generic, sizeof(generic)},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    static CK_BYTE data[32];
    CK_HKDF_PARAMS hkdf = {.bExpand = CK_TRUE,
                           .prfHashMechanism = CKM_SHA256,
                           .pInfo = data,
                           .ulInfoLen = sizeof(data)};
    CK_KEY_DERIVATION_STRING_DATA string = {data, sizeof(data)};

    for (size_t i = 0; i < COUNT(derivations); i++) {
        bool is_hkdf =
            derivations[i].type == CKM_HKDF_DERIVE || derivations[i].type == CKM_HKDF_DATA;
        CK_MECHANISM mechanism = {derivations[i].type, is_hkdf ? (void *) &hkdf : &string,
                                  is_hkdf ? sizeof(hkdf) : sizeof(string)};
        CK_OBJECT_HANDLE out = NOTHING;
        char name[32];
        snprintf(name, sizeof(name), "row %zu", i);
        api_expect(api.p11->C_DeriveKey(api.session, &mechanism, index_key, template, 3, &out),
                   derivations[i].wanted, name);
        ck_assert_uint_eq(out, NOTHING);
    }
    expect_nothing_new("derivations");
}
END_TEST

/* HKDF's extraction is HMAC(salt, key): with the index key as salt and a purpose's input as a known
 * key it would be the subkey. */
START_TEST(not_the_salt_of_hkdf)
{
    static CK_BYTE input[] = "\0\0\0\1indexkey/1/token\0\0\0\1";
    CK_MECHANISM_TYPE allowed = CKM_HKDF_DERIVE;
    CK_ATTRIBUTE known[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                            {CKA_KEY_TYPE, &generic, sizeof(generic)},
                            {CKA_VALUE, input, sizeof(input)},
                            {CKA_DERIVE, &yes, sizeof(yes)},
                            {CKA_ALLOWED_MECHANISMS, &allowed, sizeof(allowed)}};
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                               {CKA_KEY_TYPE, &generic, sizeof(generic)},
                               {CKA_SENSITIVE, &no, sizeof(no)},
                               {CKA_EXTRACTABLE, &yes, sizeof(yes)}};
    CK_HKDF_PARAMS hkdf = {.bExtract = CK_TRUE,
                           .prfHashMechanism = CKM_SHA256,
                           .ulSaltType = CKF_HKDF_SALT_KEY,
                           .hSaltKey = index_key};
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)};
    CK_OBJECT_HANDLE base;
    CK_OBJECT_HANDLE out = NOTHING;

    OK(api.p11->C_CreateObject(api.session, known, COUNT(known), &base));
    object_count++;
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template, 4, &out));
    ck_assert_uint_eq(out, NOTHING);
    expect_nothing_new("salt");
}
END_TEST

/* A sensitive salt key of its own makes no readable output: that would be HMAC under it, in the
 * clear. */
START_TEST(salt_keys_make_sensitive_keys)
{
    static CK_BYTE input[] = "anything";
    CK_MECHANISM_TYPE allowed = CKM_HKDF_DERIVE;
    CK_ATTRIBUTE key[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                          {CKA_KEY_TYPE, &generic, sizeof(generic)},
                          {CKA_VALUE, input, sizeof(input)},
                          {CKA_DERIVE, &yes, sizeof(yes)},
                          {CKA_ALLOWED_MECHANISMS, &allowed, sizeof(allowed)},
                          {CKA_SENSITIVE, &yes, sizeof(yes)},
                          {CKA_EXTRACTABLE, &no, sizeof(no)}};
    CK_ATTRIBUTE template[] = {{CKA_SENSITIVE, &no, sizeof(no)},
                               {CKA_EXTRACTABLE, &yes, sizeof(yes)}};
    CK_HKDF_PARAMS hkdf = {
        .bExtract = CK_TRUE, .prfHashMechanism = CKM_SHA256, .ulSaltType = CKF_HKDF_SALT_KEY};
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)};
    CK_OBJECT_HANDLE base;
    CK_OBJECT_HANDLE out = NOTHING;

    OK(api.p11->C_CreateObject(api.session, key, COUNT(key), &hkdf.hSaltKey));
    key[5].pValue = &no;
    key[6].pValue = &yes;
    OK(api.p11->C_CreateObject(api.session, key, COUNT(key), &base));
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template, 2, &out));
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template, 1, &out));
    ck_assert_uint_eq(out, NOTHING);
    OK(api.p11->C_DeriveKey(api.session, &mechanism, base, NULL, 0, &out));
}
END_TEST

static CK_OBJECT_HANDLE make_wrapping_key(void)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_32, sizeof(len_32)}, {CKA_WRAP, &yes, 1}};
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), &key));
    return key;
}

/* Key bytes by themselves: neither the index key's, nor a subkey's, whichever way it was made. */
START_TEST(no_key_comes_out)
{
    CK_OBJECT_HANDLE keys[3] = {index_key, api_find(&api, "vectors/payload")};
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_OBJECT_HANDLE wrapping = make_wrapping_key();
    struct indexkey_template right;
    struct indexkey_kdf kdf;

    OK(indexkey_kdf_make(INDEXKEY_PURPOSE_ITEM, &kdf));
    OK(indexkey_template_make(INDEXKEY_PURPOSE_ITEM, &right));
    OK(api.p11->C_DeriveKey(api.session, &kdf.mechanism, index_key, right.attributes, right.count,
                            &keys[2]));
    for (size_t i = 0; i < 3; i++) {
        CK_BYTE out[64] = {0};
        static const CK_BYTE zeros[64];
        CK_ATTRIBUTE value = {CKA_VALUE, out, sizeof(out)};
        CK_ULONG len = sizeof(out);
        EXPECT(CKR_ATTRIBUTE_SENSITIVE,
               api.p11->C_GetAttributeValue(api.session, keys[i], &value, 1));
        ck_assert_uint_eq(value.ulValueLen, CK_UNAVAILABLE_INFORMATION);
        OK(api.p11->C_DigestInit(api.session, &sha256));
        EXPECT(CKR_KEY_INDIGESTIBLE, api.p11->C_DigestKey(api.session, keys[i]));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_DigestFinal(api.session, out, &len));
        EXPECT(CKR_KEY_UNEXTRACTABLE,
               api.p11->C_WrapKey(api.session, &key_wrap, wrapping, keys[i], out, &len));
        EXPECT(CKR_MECHANISM_INVALID,
               api.p11->C_WrapKeyAuthenticated(api.session, &key_wrap, wrapping, keys[i], NULL, 0,
                                               out, &len));
        ck_assert_mem_eq(out, zeros, sizeof(out));
    }
}
END_TEST

static const CK_MECHANISM_TYPE hmac_only[] = {CKM_SHA256_HMAC};

static const struct {
    const char *name;
    CK_RV copy;
    CK_RV set;
    CK_ATTRIBUTE change[2];
} changes[] = {
    {"session object", CKR_OK, CKR_ATTRIBUTE_READ_ONLY, {{CKA_TOKEN, &no, 1}}},
    {"SIGN", CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT, {{CKA_SIGN, &yes, 1}}},
    {"VERIFY", CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT, {{CKA_VERIFY, &yes, 1}}},
    {"ENCRYPT", CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT, {{CKA_ENCRYPT, &yes, 1}}},
    {"DECRYPT", CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT, {{CKA_DECRYPT, &yes, 1}}},
    {"WRAP", CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT, {{CKA_WRAP, &yes, 1}}},
    {"UNWRAP", CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCONSISTENT, {{CKA_UNWRAP, &yes, 1}}},
    {"SIGN and no DERIVE",
     CKR_TEMPLATE_INCONSISTENT,
     CKR_TEMPLATE_INCONSISTENT,
     {{CKA_SIGN, &yes, 1}, {CKA_DERIVE, &no, 1}}},
    {"session SIGN",
     CKR_TEMPLATE_INCONSISTENT,
     CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_TOKEN, &no, 1}, {CKA_SIGN, &yes, 1}}},
    {"EXTRACTABLE", CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY, {{CKA_EXTRACTABLE, &yes, 1}}},
    {"session EXTRACTABLE",
     CKR_ATTRIBUTE_READ_ONLY,
     CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_TOKEN, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}}},
    {"not SENSITIVE", CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY, {{CKA_SENSITIVE, &no, 1}}},
    {"not PRIVATE", CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY, {{CKA_PRIVATE, &no, 1}}},
    {"AES", CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY, {{CKA_KEY_TYPE, &aes, sizeof(aes)}}},
    {"VALUE_LEN",
     CKR_ATTRIBUTE_READ_ONLY,
     CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_VALUE_LEN, &len_16, sizeof(len_16)}}},
    {"other mechanisms",
     CKR_ATTRIBUTE_READ_ONLY,
     CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_ALLOWED_MECHANISMS, (void *) hmac_only, sizeof(hmac_only)}}},
    {"no mechanisms",
     CKR_ATTRIBUTE_READ_ONLY,
     CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_ALLOWED_MECHANISMS, (void *) hmac_only, 0}}},
    {"TRUSTED", CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY, {{CKA_TRUSTED, &yes, 1}}},
    {"LOCAL", CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_READ_ONLY, {{CKA_LOCAL, &yes, 1}}},
    {"VALUE",
     CKR_ATTRIBUTE_READ_ONLY,
     CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_VALUE, "0123456789abcdef", 16}}},
    {"a subkey's label",
     CKR_TEMPLATE_INCONSISTENT,
     CKR_TEMPLATE_INCONSISTENT,
     {{CKA_LABEL, "other/payload", 13}}},
    {"not MODIFIABLE", CKR_OK, CKR_ATTRIBUTE_READ_ONLY, {{CKA_MODIFIABLE, &no, 1}}},
    {"no DERIVE", CKR_OK, CKR_OK, {{CKA_DERIVE, &no, 1}}},
};

/* What a copy that is allowed can still not do. */
static void expect_harmless(CK_OBJECT_HANDLE key, const char *name)
{
    CK_BYTE out[32];
    CK_ATTRIBUTE value = {CKA_VALUE, out, sizeof(out)};
    CK_MECHANISM_TYPE allowed[2];
    CK_ATTRIBUTE mechanisms = {CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed)};
    CK_ATTRIBUTE sign = {CKA_SIGN, &yes, 1};

    api_expect(use(CKM_SHA256_HMAC, CKF_SIGN, key), CKR_KEY_FUNCTION_NOT_PERMITTED, name);
    EXPECT(CKR_ATTRIBUTE_SENSITIVE, api.p11->C_GetAttributeValue(api.session, key, &value, 1));
    OK(api.p11->C_GetAttributeValue(api.session, key, &mechanisms, 1));
    ck_assert_uint_eq(mechanisms.ulValueLen, sizeof(allowed[0]));
    ck_assert_uint_eq(allowed[0], CKM_SP800_108_COUNTER_KDF);
    ck_assert_msg(api.p11->C_SetAttributeValue(api.session, key, &sign, 1) != CKR_OK, "%s", name);
}

START_TEST(copies_and_changes_gain_nothing)
{
    for (size_t i = 0; i < COUNT(changes); i++) {
        CK_ATTRIBUTE *change = (CK_ATTRIBUTE *) changes[i].change;
        CK_ULONG count = change[1].pValue == NULL ? 1 : 2;
        CK_OBJECT_HANDLE out = NOTHING;
        CK_RV rv = api.p11->C_CopyObject(api.session, index_key, change, count, &out);
        api_expect(rv, changes[i].copy, changes[i].name);
        if (rv == CKR_OK) {
            expect_harmless(out, changes[i].name);
            OK(api.p11->C_DestroyObject(api.session, out));
        } else {
            ck_assert_uint_eq(out, NOTHING);
        }
        api_expect(api.p11->C_SetAttributeValue(api.session, index_key, change, count),
                   changes[i].set, changes[i].name);
        expect_harmless(index_key, changes[i].name);
    }
}
END_TEST

START_TEST(subkey_objects_do_not_change)
{
    static const char *const labels[] = {"vectors/token", "vectors/centroid", "vectors/payload",
                                         "vectors/item", "vectors/query"};
    CK_ATTRIBUTE session_copy = {CKA_TOKEN, &no, 1};
    CK_ATTRIBUTE label = {CKA_LABEL, "x", 1};

    for (size_t i = 0; i < COUNT(labels); i++) {
        CK_OBJECT_HANDLE key = api_find(&api, labels[i]);
        CK_OBJECT_HANDLE out = NOTHING;
        EXPECT(CKR_ACTION_PROHIBITED,
               api.p11->C_CopyObject(api.session, key, &session_copy, 1, &out));
        EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_SetAttributeValue(api.session, key, &label, 1));
        EXPECT(CKR_ACTION_PROHIBITED, api.p11->C_DestroyObject(api.session, key));
        ck_assert_uint_eq(out, NOTHING);
        ck_assert(use(CKM_SHA_1_HMAC, CKF_SIGN, key) != CKR_OK);
        ck_assert(use(CKM_AES_CBC, CKF_ENCRYPT, key) != CKR_OK);
        ck_assert(use(CKM_AES_CMAC, CKF_SIGN, key) != CKR_OK);
    }
    expect_nothing_new("subkeys");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api attacks");
    TCase *tests = tcase_create("index key");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_test(tests, no_use_but_derivation);
    tcase_add_test(tests, no_other_derivation);
    tcase_add_test(tests, not_the_salt_of_hkdf);
    tcase_add_test(tests, salt_keys_make_sensitive_keys);
    tcase_add_test(tests, no_key_comes_out);
    tcase_add_test(tests, copies_and_changes_gain_nothing);
    tcase_add_test(tests, subkey_objects_do_not_change);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
