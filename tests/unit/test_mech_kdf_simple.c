/* Derivations without a KDF (PKCS #11 6: joining, XOR, extraction, hashing) and PBKDF2. */
#include "tests/unit/test_mechanisms.h"

#include <string.h>

#include "base/crypto.h"
#include "tests/unit/mechanism_fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static CK_RV derive_hex(CK_MECHANISM mechanism, const char *base, size_t len, const char *wanted)
{
    struct object *key = test_key_new(CKK_GENERIC_SECRET, hex(base));
    struct secret value = {0};
    CK_RV rv = test_derive(&mechanism, key, len, &value);

    if (rv == CKR_OK)
        ck_assert(view_equal(bytes_of(value.bytes, value.len), hex(wanted)));
    else
        ck_assert_ptr_null(value.bytes);
    secret_clear(&value);
    test_key_free(key);
    ck_assert_int_eq(test_salt_references(), 0);
    return rv;
}

static CK_RV with_data(CK_MECHANISM_TYPE type, const char *data, size_t len, const char *wanted)
{
    struct view bytes = hex(data);
    CK_KEY_DERIVATION_STRING_DATA params = {(CK_BYTE_PTR) bytes.bytes, bytes.len};

    return derive_hex(test_mechanism(type, &params, sizeof(params)), "01234567", len, wanted);
}

/* The examples of the standard. */
START_TEST(data_is_joined)
{
    ck_assert_uint_eq(with_data(CKM_CONCATENATE_BASE_AND_DATA, "89abcdef", 0, "0123456789abcdef"),
                      CKR_OK);
    ck_assert_uint_eq(with_data(CKM_CONCATENATE_DATA_AND_BASE, "89abcdef", 0, "89abcdef01234567"),
                      CKR_OK);
    /* The key is not extractable. */
    ck_assert_uint_eq(with_data(CKM_CONCATENATE_BASE_AND_DATA, "89abcdef", 5, NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    ck_assert_uint_eq(with_data(CKM_CONCATENATE_DATA_AND_BASE, "89", 5, "8901234567"), CKR_OK);
    ck_assert_uint_eq(with_data(CKM_CONCATENATE_BASE_AND_DATA, "89", 6, NULL), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(with_data(CKM_XOR_BASE_AND_DATA, "89abcdef", 0, "88888888"), CKR_OK);
    ck_assert_uint_eq(with_data(CKM_XOR_BASE_AND_DATA, "89abcdef01", 4, "88888888"), CKR_OK);
    ck_assert_uint_eq(with_data(CKM_XOR_BASE_AND_DATA, "89ab", 0, "8888"), CKR_OK);
    ck_assert_uint_eq(with_data(CKM_XOR_BASE_AND_DATA, "89ab", 3, NULL), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(with_data(CKM_XOR_BASE_AND_DATA, "", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
}
END_TEST

START_TEST(keys_are_joined)
{
    struct object *second = test_key_new(CKK_AES, hex("89abcdef89abcdef89abcdef89abcdef"));
    CK_OBJECT_HANDLE handle = SALT_KEY_HANDLE;
    CK_MECHANISM mechanism = test_mechanism(CKM_CONCATENATE_BASE_AND_KEY, &handle, sizeof(handle));

    ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_KEY_HANDLE_INVALID);
    test_salt_key(second);
    ck_assert_uint_eq(
        derive_hex(mechanism, "01234567", 0, "0123456789abcdef89abcdef89abcdef89abcdef"), CKR_OK);
    ck_assert_uint_eq(derive_hex(mechanism, "01234567", 6, NULL), CKR_TEMPLATE_INCONSISTENT);
    ck_assert_uint_eq(derive_hex(mechanism, "01234567", 21, NULL), CKR_KEY_SIZE_RANGE);
    mechanism.ulParameterLen = 4;
    ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
    test_key_free(second);
}
END_TEST

static CK_RV extract(CK_EXTRACT_PARAMS bit, size_t len, const char *wanted)
{
    return derive_hex(test_mechanism(CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit)), "329f84a9", len,
                      wanted);
}

/* The first is the standard's example, which goes on from the start behind the end. */
START_TEST(slices_are_extracted)
{
    ck_assert_uint_eq(extract(21, 2, "9526"), CKR_OK);
    ck_assert_uint_eq(extract(0, 4, "329f84a9"), CKR_OK);
    ck_assert_uint_eq(extract(8, 4, "9f84a932"), CKR_OK);
    ck_assert_uint_eq(extract(31, 1, "99"), CKR_OK);
    ck_assert_uint_eq(extract(32, 1, NULL), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(extract(~0UL, 1, NULL), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(extract(0, 5, NULL), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(extract(0, 0, NULL), CKR_TEMPLATE_INCOMPLETE);
}
END_TEST

START_TEST(hostile_string_data)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_CONCATENATE_BASE_AND_DATA,
                                              CKM_CONCATENATE_DATA_AND_BASE, CKM_XOR_BASE_AND_DATA};
    CK_BYTE data[4] = {0};

    for (size_t i = 0; i < COUNT(types); i++) {
        CK_KEY_DERIVATION_STRING_DATA params = {NULL, 4};
        CK_MECHANISM mechanism = test_mechanism(types[i], &params, sizeof(params));
        ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
        params = (CK_KEY_DERIVATION_STRING_DATA){data, ~0UL};
        ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
        params.ulLen = (64UL << 10) + 1;
        ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
        mechanism.pParameter = NULL;
        ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
        mechanism = test_mechanism(types[i], &params, sizeof(params) - 1);
        ck_assert_uint_eq(derive_hex(mechanism, "01234567", 0, NULL), CKR_MECHANISM_PARAM_INVALID);
    }
}
END_TEST

/* FIPS 180-4's and FIPS 202's example: the digests of "abc". */
static const struct {
    CK_MECHANISM_TYPE type;
    const char *digest;
} hashes[] = {
    {CKM_SHA1_KEY_DERIVATION, "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {CKM_SHA224_KEY_DERIVATION, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {CKM_SHA256_KEY_DERIVATION, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {CKM_SHA384_KEY_DERIVATION, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                                "8086072ba1e7cc2358baeca134c825a7"},
    {CKM_SHA512_KEY_DERIVATION, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                                "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {CKM_SHA512_224_KEY_DERIVATION, "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"},
    {CKM_SHA512_256_KEY_DERIVATION,
     "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"},
    {CKM_SHA3_224_KEY_DERIVATION, "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"},
    {CKM_SHA3_256_KEY_DERIVATION,
     "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {CKM_SHA3_384_KEY_DERIVATION, "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
                                  "98d88cea927ac7f539f1edf228376d25"},
    {CKM_SHA3_512_KEY_DERIVATION,
     "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
     "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"},
};

static CK_RV hash_rv(CK_MECHANISM_TYPE type, CK_KEY_TYPE key_type, size_t len, struct view *wanted)
{
    struct object *key = test_key_new(CKK_GENERIC_SECRET, bytes_of("abc", 3));
    CK_MECHANISM mechanism = test_mechanism(type, NULL, 0);
    struct secret value = {0};
    struct test_call call;

    test_call_make(&call, &mechanism, key, len);
    call.outputs[0].key_type = key_type;
    CK_RV rv = test_call_derive(&call, &value);
    if (rv == CKR_OK)
        ck_assert(view_equal(bytes_of(value.bytes, value.len), *wanted));
    secret_clear(&value);
    test_key_free(key);
    return rv;
}

START_TEST(hashed_keys)
{
    CK_MECHANISM_TYPE type = hashes[_i].type;
    struct view digest = hex(hashes[_i].digest);
    struct view head = bytes_of(digest.bytes, 16);

    ck_assert_uint_eq(hash_rv(type, CKK_GENERIC_SECRET, 0, &digest), CKR_OK);
    ck_assert_uint_eq(hash_rv(type, CKK_GENERIC_SECRET, digest.len, &digest), CKR_OK);
    ck_assert_uint_eq(hash_rv(type, CKK_AES, 16, &head), CKR_OK);
    ck_assert_uint_eq(hash_rv(type, CKK_AES, 0, NULL), CKR_TEMPLATE_INCOMPLETE);
    ck_assert_uint_eq(hash_rv(type, CKK_GENERIC_SECRET, digest.len + 1, NULL), CKR_KEY_SIZE_RANGE);
}
END_TEST

START_TEST(shake_gives_what_is_asked)
{
    struct view shake_128 = hex("5881092dd818bf5cf8a3ddb793fbcba74097d5c526a6d35f97b83351940f2cc8");
    struct view shake_256 = hex("483366601360a8771c6863080cc4114d8db44530f8f1e1ee4f94ea37e78b5739");
    struct view head = bytes_of(shake_128.bytes, 5);

    ck_assert_uint_eq(hash_rv(CKM_SHAKE_128_KEY_DERIVATION, CKK_AES, 32, &shake_128), CKR_OK);
    ck_assert_uint_eq(hash_rv(CKM_SHAKE_128_KEY_DERIVATION, CKK_GENERIC_SECRET, 5, &head), CKR_OK);
    ck_assert_uint_eq(hash_rv(CKM_SHAKE_256_KEY_DERIVATION, CKK_GENERIC_SECRET, 32, &shake_256),
                      CKR_OK);
    ck_assert_uint_eq(hash_rv(CKM_SHAKE_128_KEY_DERIVATION, CKK_GENERIC_SECRET, 0, NULL),
                      CKR_TEMPLATE_INCOMPLETE);
    ck_assert_uint_eq(hash_rv(CKM_SHAKE_256_KEY_DERIVATION, CKK_AES, 0, NULL),
                      CKR_TEMPLATE_INCOMPLETE);
}
END_TEST

START_TEST(hashing_takes_no_parameter)
{
    CK_BYTE junk = 0;

    ck_assert_uint_eq(
        derive_hex(test_mechanism(CKM_SHA256_KEY_DERIVATION, &junk, 1), "01234567", 0, NULL),
        CKR_MECHANISM_PARAM_INVALID);
}
END_TEST

static CK_PKCS5_PBKD2_PARAMS2 pbkdf2_params(void)
{
    static char password[] = "passwordPASSWORDpassword";
    static char salt[] = "saltSALTsaltSALTsaltSALTsaltSALTsalt";

    return (CK_PKCS5_PBKD2_PARAMS2){
        .saltSource = CKZ_SALT_SPECIFIED,
        .pSaltSourceData = salt,
        .ulSaltSourceDataLen = sizeof(salt) - 1,
        .iterations = 4096,
        .prf = CKP_PKCS5_PBKD2_HMAC_SHA1,
        .pPassword = (CK_UTF8CHAR_PTR) password,
        .ulPasswordLen = sizeof(password) - 1,
    };
}

static CK_RV pbkdf2_rv(CK_PKCS5_PBKD2_PARAMS2 *params, size_t len, const char *wanted)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_PKCS5_PBKD2, params, sizeof(*params));
    struct secret value = {0};
    CK_RV rv = mechanism_find(CKM_PKCS5_PBKD2)->generate->generate(&mechanism, len, &value);

    if (rv == CKR_OK)
        ck_assert(view_equal(bytes_of(value.bytes, value.len), hex(wanted)));
    else
        ck_assert_ptr_null(value.bytes);
    secret_clear(&value);
    return rv;
}

/* RFC 6070, and RFC 7914, 11. */
START_TEST(pbkdf2_known_answers)
{
    CK_PKCS5_PBKD2_PARAMS2 params = pbkdf2_params();

    ck_assert_uint_eq(pbkdf2_rv(&params, 25, "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"),
                      CKR_OK);
    params.prf = CKP_PKCS5_PBKD2_HMAC_SHA256;
    params.iterations = 1;
    params.ulPasswordLen = 6;
    params.pPassword = (CK_UTF8CHAR_PTR) "passwd";
    params.ulSaltSourceDataLen = 4;
    ck_assert_uint_eq(pbkdf2_rv(&params, 64,
                                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                                "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"),
                      CKR_OK);
}
END_TEST

/* A password and a salt may be empty; every PRF gives another key. */
START_TEST(pbkdf2_takes_every_prf)
{
    static const CK_ULONG known[] = {
        CKP_PKCS5_PBKD2_HMAC_SHA1,      CKP_PKCS5_PBKD2_HMAC_SHA224,
        CKP_PKCS5_PBKD2_HMAC_SHA256,    CKP_PKCS5_PBKD2_HMAC_SHA384,
        CKP_PKCS5_PBKD2_HMAC_SHA512,    CKP_PKCS5_PBKD2_HMAC_SHA512_224,
        CKP_PKCS5_PBKD2_HMAC_SHA512_256};
    static const char *digests[] = {"SHA1",     "SHA2-224",     "SHA2-256",    "SHA2-384",
                                    "SHA2-512", "SHA2-512/224", "SHA2-512/256"};

    for (size_t i = 0; i < COUNT(known); i++) {
        CK_PKCS5_PBKD2_PARAMS2 params = {
            .saltSource = CKZ_SALT_SPECIFIED, .iterations = 3, .prf = known[i]};
        CK_MECHANISM mechanism = test_mechanism(CKM_PKCS5_PBKD2, &params, sizeof(params));
        unsigned char expected[40];
        struct secret value = {0};
        ck_assert_int_eq(PKCS5_PBKDF2_HMAC("", 0, (const unsigned char *) "", 0, 3,
                                           crypto_digest(digests[i]), sizeof(expected), expected),
                         1);
        ck_assert_uint_eq(
            mechanism_find(CKM_PKCS5_PBKD2)->generate->generate(&mechanism, 40, &value), CKR_OK);
        ck_assert(view_equal(bytes_of(value.bytes, value.len), bytes_of(expected, 40)));
        secret_clear(&value);
    }
}
END_TEST

START_TEST(pbkdf2_limits)
{
    CK_PKCS5_PBKD2_PARAMS2 bad[12];
    CK_ULONG old_len = 8;

    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = pbkdf2_params();
    bad[0].saltSource = 0;
    bad[1].saltSource = 2;
    bad[2].pSaltSourceData = NULL;
    bad[3].ulSaltSourceDataLen = ~0UL;
    bad[4].iterations = 0;
    bad[5].iterations = 10000001;
    bad[6].prf = CKP_PKCS5_PBKD2_HMAC_GOSTR3411;
    bad[7].prf = 0;
    bad[8].ulPrfDataLen = 1;
    bad[9].pPassword = NULL;
    bad[10].ulPasswordLen = 16385;
    /* CK_PKCS5_PBKD2_PARAMS: a pointer to the length. */
    bad[11].ulPasswordLen = (CK_ULONG) &old_len;
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(pbkdf2_rv(&bad[i], 20, NULL) == CKR_MECHANISM_PARAM_INVALID, "row %zu", i);
    CK_PKCS5_PBKD2_PARAMS2 good = pbkdf2_params();
    CK_MECHANISM mechanism = test_mechanism(CKM_PKCS5_PBKD2, &good, sizeof(good) - 8);
    struct secret value = {0};
    ck_assert_uint_eq(mechanism_find(CKM_PKCS5_PBKD2)->generate->generate(&mechanism, 20, &value),
                      CKR_MECHANISM_PARAM_INVALID);
}
END_TEST

TCase *mechanism_simple_kdf_tests(void)
{
    TCase *tests = tcase_create("joined, hashed and password keys");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_test(tests, data_is_joined);
    tcase_add_test(tests, keys_are_joined);
    tcase_add_test(tests, slices_are_extracted);
    tcase_add_test(tests, hostile_string_data);
    tcase_add_loop_test(tests, hashed_keys, 0, COUNT(hashes));
    tcase_add_test(tests, shake_gives_what_is_asked);
    tcase_add_test(tests, hashing_takes_no_parameter);
    tcase_add_test(tests, pbkdf2_known_answers);
    tcase_add_test(tests, pbkdf2_takes_every_prf);
    tcase_add_test(tests, pbkdf2_limits);
    return tests;
}
