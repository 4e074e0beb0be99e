/* Derivations, compared with RFC 5869's cases, OpenSSL's KBKDF, and plain HMAC. */
#include "tests/unit/test_mechanisms.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "include/indexkey.h"
#include "tests/unit/mechanism_fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* A set of parameters in the form that OpenSSL's KBKDF has too: counter, label, zero byte, context,
 * length in 32 bits. */
struct kdf_set {
    CK_SP800_108_KDF_PARAMS params;
    CK_PRF_DATA_PARAM data[5];
    CK_SP800_108_COUNTER_FORMAT counter;
    CK_SP800_108_DKM_LENGTH_FORMAT length;
    unsigned char label[40];
    unsigned char context[40];
    CK_MECHANISM mechanism;
};

static CK_BYTE zero_byte;

static void kdf_set_make(struct kdf_set *set, size_t label_len, size_t context_len)
{
    memset(set, 0, sizeof(*set));
    set->counter.ulWidthInBits = 32;
    set->length.dkmLengthMethod = CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS;
    set->length.ulWidthInBits = 32;
    set->data[0] =
        (CK_PRF_DATA_PARAM){CK_SP800_108_ITERATION_VARIABLE, &set->counter, sizeof(set->counter)};
    set->data[1] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, set->label, label_len};
    set->data[2] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, &zero_byte, 1};
    set->data[3] = (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, set->context, context_len};
    set->data[4] = (CK_PRF_DATA_PARAM){CK_SP800_108_DKM_LENGTH, &set->length, sizeof(set->length)};
    set->params.prfType = CKM_SHA256_HMAC;
    set->params.ulNumberOfDataParams = 5;
    set->params.pDataParams = set->data;
    set->mechanism = test_mechanism(CKM_SP800_108_COUNTER_KDF, &set->params, sizeof(set->params));
}

/* `prf` is OpenSSL's digest, or NULL for CMAC with the key's AES. */
static void kbkdf(const struct kdf_set *set, const struct object *key, const char *prf,
                  struct view ret_key)
{
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(crypto_kdf("KBKDF"));
    char cipher[16];
    (void) snprintf(cipher, sizeof(cipher), "AES-%zu-CBC", 8 * key->value.len);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *) "COUNTER", 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, (char *) (prf ? "HMAC" : "CMAC"), 0),
        OSSL_PARAM_construct_utf8_string(prf ? OSSL_KDF_PARAM_DIGEST : OSSL_KDF_PARAM_CIPHER,
                                         prf ? (char *) prf : cipher, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key->value.bytes, key->value.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *) set->label,
                                          set->data[1].ulValueLen),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) set->context,
                                          set->data[3].ulValueLen),
        OSSL_PARAM_construct_end(),
    };

    ck_assert_ptr_nonnull(context);
    ck_assert_int_eq(EVP_KDF_derive(context, (unsigned char *) ret_key.bytes, ret_key.len, params),
                     1);
    EVP_KDF_CTX_free(context);
}

/* Numbers that look random and are the same at every run (Marsaglia's xorshift). */
static size_t next_number(size_t below)
{
    static uint32_t state = 20108;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

static void fill(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char) next_number(256);
}

START_TEST(counter_equals_kbkdf)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *openssl;
        CK_KEY_TYPE key_type;
    } prfs[] = {
        {CKM_SHA_1_HMAC, "SHA1", CKK_GENERIC_SECRET},
        {CKM_SHA224_HMAC, "SHA2-224", CKK_SHA224_HMAC},
        {CKM_SHA256_HMAC, "SHA2-256", CKK_GENERIC_SECRET},
        {CKM_SHA384_HMAC, "SHA2-384", CKK_GENERIC_SECRET},
        {CKM_SHA512_HMAC, "SHA2-512", CKK_GENERIC_SECRET},
        {CKM_SHA512_256_HMAC, "SHA2-512/256", CKK_GENERIC_SECRET},
        {CKM_SHA3_256_HMAC, "SHA3-256", CKK_SHA3_256_HMAC},
        {CKM_SHA3_512_HMAC, "SHA3-512", CKK_GENERIC_SECRET},
        {CKM_AES_CMAC, NULL, CKK_AES},
    };

    for (size_t i = 0; i < 1000; i++) {
        size_t prf = i % COUNT(prfs);
        unsigned char key_bytes[32];
        unsigned char expected[300];
        size_t len = 1 + next_number(sizeof(expected));
        struct kdf_set set;
        struct secret value = {0};

        /* KBKDF of OpenSSL 3.0 leaves the label or the context out when it is empty, as we do. */
        kdf_set_make(&set, next_number(41), next_number(41));
        fill(set.label, sizeof(set.label));
        fill(set.context, sizeof(set.context));
        fill(key_bytes, sizeof(key_bytes));
        set.params.prfType = prfs[prf].type;
        size_t key_len = prfs[prf].openssl ? sizeof(key_bytes) : 16 + 8 * next_number(3);
        struct object *key = test_key_new(prfs[prf].key_type, bytes_of(key_bytes, key_len));
        kbkdf(&set, key, prfs[prf].openssl, bytes_of(expected, len));
        ck_assert_uint_eq(test_derive(&set.mechanism, key, len, &value), CKR_OK);
        ck_assert(view_equal(bytes_of(value.bytes, value.len), bytes_of(expected, len)));
        secret_clear(&value);
        test_key_free(key);
    }
}
END_TEST

static CK_RV keep_first(void *context, size_t output, struct view prf_input)
{
    struct blob *first = context;

    ck_assert_uint_eq(output, 0);
    if (first->bytes == NULL)
        ck_assert_uint_eq(blob_from(prf_input.bytes, prf_input.len, first), CKR_OK);
    return CKR_OK;
}

/* What the derivation asks leave for before its first PRF call. */
static struct blob first_input(CK_MECHANISM *mechanism, struct object *key, size_t len)
{
    struct blob first = {0};
    struct secret value = {0};
    struct test_call call;

    test_call_make(&call, mechanism, key, len);
    call.call.allow = keep_first;
    call.call.allow_context = &first;
    ck_assert_uint_eq(test_call_derive(&call, &value), CKR_OK);
    secret_clear(&value);
    return first;
}

static CK_RV refuse_second(void *context, size_t output, struct view prf_input)
{
    (void) output;
    (void) prf_input;
    return ++*(int *) context == 2 ? CKR_MECHANISM_PARAM_INVALID : CKR_OK;
}

/* Each block's input is asked for, not the first alone: a counter may complete a forbidden label.
 */
START_TEST(every_block_needs_leave)
{
    struct object *key = test_key_new(CKK_GENERIC_SECRET, bytes_of("key", 3));
    struct indexkey_kdf kdf;
    struct secret value = {0};
    int asked = 0;
    struct test_call call;

    ck_assert_uint_eq(indexkey_kdf_make(INDEXKEY_PURPOSE_TOKEN, &kdf), CKR_OK);
    test_call_make(&call, &kdf.mechanism, key, 64);
    call.call.allow = refuse_second;
    call.call.allow_context = &asked;
    ck_assert_uint_eq(test_call_derive(&call, &value), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_ptr_null(value.bytes);
    ck_assert_int_eq(asked, 2);
    test_key_free(key);
}
END_TEST

/* design: HMAC-SHA-256(key, 00000001 | label | 00 | 00000100). */
START_TEST(index_key_subkeys_are_one_hmac_block)
{
    struct object *key = test_key_new(CKK_GENERIC_SECRET, hex("000102030405060708090a0b0c0d0e0f"
                                                              "101112131415161718191a1b1c1d1e1f"));

    for (int purpose = INDEXKEY_PURPOSE_TOKEN; purpose <= INDEXKEY_PURPOSE_QUERY; purpose++) {
        struct indexkey_kdf kdf;
        struct secret value = {0};
        struct blob input = {0};
        unsigned char message[64] = {0, 0, 0, 1};
        unsigned char expected[SHA256_LEN];
        const char *label = indexkey_label((enum indexkey_purpose) purpose);
        size_t label_size = strlen(label) + 1;
        memcpy(message + 4, label, label_size);
        memcpy(message + 4 + label_size, "\0\0\1\0", 4);
        struct view whole = bytes_of(message, 4 + label_size + 4);

        ck_assert_uint_eq(indexkey_kdf_make((enum indexkey_purpose) purpose, &kdf), CKR_OK);
        ck_assert_uint_eq(test_derive(&kdf.mechanism, key, 32, &value), CKR_OK);
        ck_assert_uint_eq(crypto_hmac_sha256(&key->value, whole, expected), CKR_OK);
        ck_assert(view_equal(bytes_of(value.bytes, value.len), bytes_of(expected, 32)));

        input = first_input(&kdf.mechanism, key, 32);
        ck_assert(view_equal(blob_view(&input), whole));
        blob_clear(&input);
        secret_clear(&value);
    }
    test_key_free(key);
}
END_TEST

/* The bytes of the first PRF call for widths, orders and methods. */
START_TEST(counter_serialises_every_format)
{
    static const struct {
        CK_ULONG counter_bits, length_bits;
        CK_BBOOL little_endian;
        CK_SP800_108_DKM_LENGTH_METHOD method;
        const char *input;
    } rows[] = {
        {8, 8, CK_FALSE, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, "01616200a0"},
        {16, 16, CK_FALSE, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, "000161620000a0"},
        {24, 24, CK_TRUE, CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, "010000616200a00000"},
        {32, 32, CK_TRUE, CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS, "0100000061620000010000"},
        {32, 64, CK_FALSE, CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS,
         "000000016162000000000000000100"},
    };
    struct object *key = test_key_new(CKK_GENERIC_SECRET, bytes_of("key", 3));

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct kdf_set set;
        struct blob input = {0};
        kdf_set_make(&set, 2, 0);
        memcpy(set.label, "ab", 2);
        set.counter.ulWidthInBits = rows[i].counter_bits;
        set.counter.bLittleEndian = rows[i].little_endian;
        set.length.ulWidthInBits = rows[i].length_bits;
        set.length.bLittleEndian = rows[i].little_endian;
        set.length.dkmLengthMethod = rows[i].method;
        input = first_input(&set.mechanism, key, 20);
        ck_assert_msg(view_equal(blob_view(&input), hex(rows[i].input)), "row %zu", i);
        /* And its PRF is what the derivation gives. */
        struct secret value = {0};
        unsigned char expected[SHA256_LEN];
        ck_assert_uint_eq(test_derive(&set.mechanism, key, 20, &value), CKR_OK);
        ck_assert_uint_eq(crypto_hmac_sha256(&key->value, blob_view(&input), expected), CKR_OK);
        ck_assert(view_equal(bytes_of(value.bytes, value.len), bytes_of(expected, 20)));
        secret_clear(&value);
        blob_clear(&input);
    }
    test_key_free(key);
}
END_TEST

START_TEST(counter_does_not_overflow)
{
    struct object *key = test_key_new(CKK_GENERIC_SECRET, bytes_of("key", 3));
    struct kdf_set set;
    struct secret value = {0};

    kdf_set_make(&set, 4, 0);
    set.counter.ulWidthInBits = 8;
    ck_assert_uint_eq(test_derive(&set.mechanism, key, 255UL * 32, &value), CKR_OK);
    secret_clear(&value);
    ck_assert_uint_eq(test_derive(&set.mechanism, key, 255UL * 32 + 1, &value), CKR_KEY_SIZE_RANGE);
    set.counter.ulWidthInBits = 16;
    ck_assert_uint_eq(test_derive(&set.mechanism, key, 255UL * 64, &value), CKR_OK);
    secret_clear(&value);
    ck_assert_uint_eq(test_derive(&set.mechanism, key, 255UL * 64 + 1, &value), CKR_KEY_SIZE_RANGE);
    set.length.ulWidthInBits = 8;
    ck_assert_uint_eq(test_derive(&set.mechanism, key, 32, &value), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(test_derive(&set.mechanism, key, 0, &value), CKR_TEMPLATE_INCOMPLETE);
    test_key_free(key);
}
END_TEST

/* What a hostile caller may put where; each alone is refused. Pointers and numbers have 8 bytes. */
#define AT(field, number)                                                                          \
    {                                                                                              \
        offsetof(struct kdf_set, field), 8, number                                                 \
    }
#define BYTE_AT(field, number)                                                                     \
    {                                                                                              \
        offsetof(struct kdf_set, field), 1, number                                                 \
    }
static const struct spoil {
    size_t offset;
    size_t len;
    uint64_t value;
} spoils[] = {
    AT(mechanism.pParameter, 0),
    AT(mechanism.ulParameterLen, sizeof(CK_SP800_108_KDF_PARAMS) - 1),
    AT(params.pDataParams, 0),
    AT(params.ulNumberOfDataParams, 0),
    AT(params.ulNumberOfDataParams, 33),
    AT(params.ulNumberOfDataParams, UINT64_MAX),
    AT(params.prfType, CKM_SHA256),
    AT(params.prfType, CKM_SHA256_HMAC_GENERAL),
    AT(params.prfType, CKM_AES_GCM),
    AT(data[0].pValue, 0),
    AT(data[0].ulValueLen, 8),
    AT(data[0].type, CK_SP800_108_BYTE_ARRAY),
    AT(counter.ulWidthInBits, 0),
    AT(counter.ulWidthInBits, 12),
    AT(counter.ulWidthInBits, 40),
    BYTE_AT(counter.bLittleEndian, 2),
    AT(data[1].type, CK_SP800_108_ITERATION_VARIABLE),
    AT(data[1].type, CK_SP800_108_COUNTER),
    AT(data[1].type, 99),
    AT(data[1].pValue, 0),
    AT(data[1].ulValueLen, UINT64_MAX),
    AT(data[1].ulValueLen, (64 << 10) + 1),
    AT(length.dkmLengthMethod, 3),
    AT(length.ulWidthInBits, 72),
    BYTE_AT(length.bLittleEndian, 255),
    AT(data[4].ulValueLen, 16),
};

static void assert_invalid(struct kdf_set *set)
{
    struct object *key = test_key_new(CKK_GENERIC_SECRET, bytes_of("key", 3));
    struct secret value = {0};
    ck_assert_uint_eq(test_derive(&set->mechanism, key, 32, &value), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_ptr_null(value.bytes);
    test_key_free(key);
}

START_TEST(counter_refuses_hostile_parameters)
{
    const struct spoil *spoil = &spoils[_i];
    struct kdf_set set;

    kdf_set_make(&set, 8, 8);
    memcpy((unsigned char *) &set + spoil->offset, &spoil->value, spoil->len);
    assert_invalid(&set);
}
END_TEST

START_TEST(counter_and_length_come_once)
{
    struct kdf_set set;

    kdf_set_make(&set, 8, 8);
    set.data[1] = set.data[0];
    assert_invalid(&set);
    kdf_set_make(&set, 8, 8);
    set.data[3] = set.data[4];
    assert_invalid(&set);
}
END_TEST

START_TEST(counter_prf_and_key_type_agree)
{
    struct object *generic = test_key_new(CKK_GENERIC_SECRET, bytes_of("0123456789abcdef", 16));
    struct object *aes = test_key_new(CKK_AES, bytes_of("0123456789abcdef", 16));
    struct object *sha384 = test_key_new(CKK_SHA384_HMAC, bytes_of("0123456789abcdef", 16));
    struct kdf_set set;
    struct secret value = {0};

    kdf_set_make(&set, 8, 8);
    ck_assert_uint_eq(test_derive(&set.mechanism, aes, 32, &value), CKR_KEY_TYPE_INCONSISTENT);
    ck_assert_uint_eq(test_derive(&set.mechanism, sha384, 32, &value), CKR_KEY_TYPE_INCONSISTENT);
    set.params.prfType = CKM_AES_CMAC;
    ck_assert_uint_eq(test_derive(&set.mechanism, generic, 32, &value), CKR_KEY_TYPE_INCONSISTENT);
    test_key_free(generic);
    test_key_free(aes);
    test_key_free(sha384);
}
END_TEST

TCase *mechanism_sp800_108_tests(void)
{
    TCase *tests = tcase_create("SP 800-108");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_test(tests, every_block_needs_leave);
    tcase_add_test(tests, counter_equals_kbkdf);
    tcase_add_test(tests, index_key_subkeys_are_one_hmac_block);
    tcase_add_test(tests, counter_serialises_every_format);
    tcase_add_test(tests, counter_does_not_overflow);
    tcase_add_loop_test(tests, counter_refuses_hostile_parameters, 0, COUNT(spoils));
    tcase_add_test(tests, counter_and_length_come_once);
    tcase_add_test(tests, counter_prf_and_key_type_agree);
    return tests;
}

/* RFC 5869, A.1 and A.3. */
static const char hkdf_ikm[] = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
static const char hkdf_salt[] = "000102030405060708090a0b0c";
static const char hkdf_info[] = "f0f1f2f3f4f5f6f7f8f9";
static const char hkdf_prk[] = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5";
static const char hkdf_okm[] =
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
static const char hkdf_okm_no_salt[] =
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";

static CK_HKDF_PARAMS hkdf_params(void)
{
    struct view salt = hex(hkdf_salt);
    struct view info = hex(hkdf_info);

    return (CK_HKDF_PARAMS){
        .bExtract = CK_TRUE,
        .bExpand = CK_TRUE,
        .prfHashMechanism = CKM_SHA256,
        .ulSaltType = CKF_HKDF_SALT_DATA,
        .pSalt = (CK_BYTE_PTR) salt.bytes,
        .ulSaltLen = salt.len,
        .pInfo = (CK_BYTE_PTR) info.bytes,
        .ulInfoLen = info.len,
    };
}

static CK_RV hkdf_rv(CK_HKDF_PARAMS *params, const char *base, size_t len, const char *wanted)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_HKDF_DERIVE, params, sizeof(*params));
    struct object *key = test_key_new(CKK_HKDF, hex(base));
    struct secret value = {0};
    CK_RV rv = test_derive(&mechanism, key, len, &value);

    if (rv == CKR_OK)
        ck_assert(view_equal(bytes_of(value.bytes, value.len), hex(wanted)));
    secret_clear(&value);
    test_key_free(key);
    return rv;
}

START_TEST(hkdf_known_answers)
{
    CK_HKDF_PARAMS params = hkdf_params();

    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 42, hkdf_okm), CKR_OK);
    params.bExpand = CK_FALSE;
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 0, hkdf_prk), CKR_OK);
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 3, "077709"), CKR_OK);
    params.bExtract = CK_FALSE;
    params.bExpand = CK_TRUE;
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_prk, 42, hkdf_okm), CKR_OK);
    params = hkdf_params();
    params.ulSaltType = CKF_HKDF_SALT_NULL;
    params.ulInfoLen = 0;
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 42, hkdf_okm_no_salt), CKR_OK);
    params.ulSaltType = CKF_HKDF_SALT_DATA;
    params.ulSaltLen = 0;
    params.pSalt = NULL;
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 42, hkdf_okm_no_salt), CKR_OK);
}
END_TEST

START_TEST(hkdf_takes_the_salt_from_a_key)
{
    CK_HKDF_PARAMS params = hkdf_params();
    struct object *salt = test_key_new(CKK_GENERIC_SECRET, hex(hkdf_salt));

    params.ulSaltType = CKF_HKDF_SALT_KEY;
    params.hSaltKey = SALT_KEY_HANDLE;
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 42, NULL), CKR_KEY_HANDLE_INVALID);
    test_salt_key(salt);
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 42, hkdf_okm), CKR_OK);
    ck_assert_int_eq(test_salt_references(), 0);
    /* Given back after a failure as well. */
    ck_assert_uint_eq(hkdf_rv(&params, hkdf_ikm, 255UL * 32 + 1, NULL), CKR_KEY_SIZE_RANGE);
    ck_assert_int_eq(test_salt_references(), 0);
    test_key_free(salt);
}
END_TEST

START_TEST(hkdf_limits)
{
    CK_HKDF_PARAMS good = hkdf_params();
    CK_HKDF_PARAMS bad[9];

    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].bExtract = bad[0].bExpand = CK_FALSE;
    bad[1].bExtract = 2;
    bad[2].prfHashMechanism = CKM_SHA256_HMAC;
    bad[3].prfHashMechanism = CKM_MD5;
    bad[4].ulSaltType = 3;
    bad[5].pSalt = NULL;
    bad[6].ulSaltLen = ~0UL;
    bad[7].pInfo = NULL;
    bad[8].ulInfoLen = 1025;
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_uint_eq(hkdf_rv(&bad[i], hkdf_ikm, 42, NULL), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(hkdf_rv(&good, hkdf_ikm, 0, NULL), CKR_TEMPLATE_INCOMPLETE);
    ck_assert_uint_eq(hkdf_rv(&good, hkdf_ikm, 255UL * 32 + 1, NULL), CKR_KEY_SIZE_RANGE);
    good.bExpand = CK_FALSE;
    ck_assert_uint_eq(hkdf_rv(&good, hkdf_ikm, 33, NULL), CKR_KEY_SIZE_RANGE);
    /* RFC 5869, 2.3: no expansion of less than a hash. */
    good = hkdf_params();
    good.bExtract = CK_FALSE;
    ck_assert_uint_eq(hkdf_rv(&good, hkdf_ikm, 42, NULL), CKR_KEY_SIZE_RANGE);
}
END_TEST

/* SP 800-38A's blocks (F.1.1, F.2.1): the derived key is their ciphertext. */
START_TEST(encrypt_data_known_answers)
{
    static const char text[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
    struct view data = hex(text);
    struct object *key = test_key_new(CKK_AES, hex("2b7e151628aed2a6abf7158809cf4f3c"));
    CK_KEY_DERIVATION_STRING_DATA ecb = {(CK_BYTE_PTR) data.bytes, data.len};
    CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc = {.pData = (CK_BYTE_PTR) data.bytes, .length = data.len};
    CK_MECHANISM by_ecb = test_mechanism(CKM_AES_ECB_ENCRYPT_DATA, &ecb, sizeof(ecb));
    CK_MECHANISM by_cbc = test_mechanism(CKM_AES_CBC_ENCRYPT_DATA, &cbc, sizeof(cbc));
    struct secret value = {0};

    for (CK_BYTE i = 0; i < 16; i++)
        cbc.iv[i] = i;
    ck_assert_uint_eq(test_derive(&by_ecb, key, 32, &value), CKR_OK);
    ck_assert(view_equal(bytes_of(value.bytes, value.len),
                         hex("3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf")));
    secret_clear(&value);
    ck_assert_uint_eq(test_derive(&by_cbc, key, 20, &value), CKR_OK);
    ck_assert(view_equal(bytes_of(value.bytes, value.len),
                         hex("7649abac8119b246cee98e9b12e9197d5086cb9b")));
    secret_clear(&value);
    ck_assert_uint_eq(test_derive(&by_cbc, key, 33, &value), CKR_DATA_LEN_RANGE);
    ck_assert_uint_eq(test_derive(&by_ecb, key, 0, &value), CKR_OK);
    ck_assert_uint_eq(value.len, 32);
    secret_clear(&value);

    ecb.ulLen = 31;
    ck_assert_uint_eq(test_derive(&by_ecb, key, 16, &value), CKR_MECHANISM_PARAM_INVALID);
    ecb.ulLen = 0;
    ck_assert_uint_eq(test_derive(&by_ecb, key, 16, &value), CKR_MECHANISM_PARAM_INVALID);
    cbc.pData = NULL;
    ck_assert_uint_eq(test_derive(&by_cbc, key, 16, &value), CKR_MECHANISM_PARAM_INVALID);
    by_cbc.ulParameterLen = 16;
    ck_assert_uint_eq(test_derive(&by_cbc, key, 16, &value), CKR_MECHANISM_PARAM_INVALID);
    test_key_free(key);
}
END_TEST

TCase *mechanism_hkdf_tests(void)
{
    TCase *tests = tcase_create("HKDF and encrypted data");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_test(tests, hkdf_known_answers);
    tcase_add_test(tests, hkdf_takes_the_salt_from_a_key);
    tcase_add_test(tests, hkdf_limits);
    tcase_add_test(tests, encrypt_data_known_answers);
    return tests;
}
