/* C_DeriveKey, mechanism by mechanism: templates, what is inherited, and the policy's rules about
 * derived keys. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/support/derive_keys.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct api api;
static CK_BYTE data[32] = "thirty-two bytes of data, fixed";

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
}

static void open_token_with_extract(void)
{
    api_open(&api, "memory:", "extract_key = yes\n");
}

static void close_token(void)
{
    api_close(&api);
}

/* Good parameters of each mechanism. */
static struct parameters {
    CK_KEY_DERIVATION_STRING_DATA string;
    CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc;
    CK_HKDF_PARAMS hkdf;
    CK_SP800_108_COUNTER_FORMAT counter;
    CK_PRF_DATA_PARAM counted[2];
    CK_PRF_DATA_PARAM chained[2];
    CK_SP800_108_KDF_PARAMS counter_kdf;
    CK_SP800_108_FEEDBACK_KDF_PARAMS feedback_kdf;
    CK_SP800_108_KDF_PARAMS pipeline_kdf;
} good;

static void make_parameters(void)
{
    good = (struct parameters){
        .string = {data, sizeof(data)},
        .cbc = {.pData = data, .length = sizeof(data)},
        .hkdf = {.bExpand = CK_TRUE,
                 .prfHashMechanism = CKM_SHA256,
                 .pInfo = data,
                 .ulInfoLen = sizeof(data)},
        .counter = {CK_FALSE, 32},
        .counted = {{CK_SP800_108_ITERATION_VARIABLE, &good.counter, sizeof(good.counter)},
                    {CK_SP800_108_BYTE_ARRAY, data, sizeof(data)}},
        .chained = {{CK_SP800_108_ITERATION_VARIABLE, NULL, 0},
                    {CK_SP800_108_BYTE_ARRAY, data, sizeof(data)}},
        .counter_kdf = {CKM_SHA256_HMAC, 2, good.counted, 0, NULL},
        .feedback_kdf = {CKM_SHA256_HMAC, 2, good.chained, 0, NULL, 0, NULL},
        .pipeline_kdf = {CKM_SHA256_HMAC, 2, good.chained, 0, NULL},
    };
}

static CK_MECHANISM good_mechanism(CK_MECHANISM_TYPE type)
{
    make_parameters();
    switch (type) {
    case CKM_CONCATENATE_BASE_AND_DATA:
    case CKM_CONCATENATE_DATA_AND_BASE:
    case CKM_XOR_BASE_AND_DATA:
    case CKM_AES_ECB_ENCRYPT_DATA:
        return (CK_MECHANISM){type, &good.string, sizeof(good.string)};
    case CKM_AES_CBC_ENCRYPT_DATA:
        return (CK_MECHANISM){type, &good.cbc, sizeof(good.cbc)};
    case CKM_HKDF_DERIVE:
        return (CK_MECHANISM){type, &good.hkdf, sizeof(good.hkdf)};
    case CKM_SP800_108_COUNTER_KDF:
        return (CK_MECHANISM){type, &good.counter_kdf, sizeof(good.counter_kdf)};
    case CKM_SP800_108_FEEDBACK_KDF:
        return (CK_MECHANISM){type, &good.feedback_kdf, sizeof(good.feedback_kdf)};
    case CKM_SP800_108_DOUBLE_PIPELINE_KDF:
        return (CK_MECHANISM){type, &good.pipeline_kdf, sizeof(good.pipeline_kdf)};
    default:
        return (CK_MECHANISM){type, NULL, 0};
    }
}

static const struct {
    CK_MECHANISM_TYPE type;
    bool inherits_omitted;
} mechanisms[] = {
    {CKM_SHA256_KEY_DERIVATION, false},
    {CKM_SHA3_512_KEY_DERIVATION, false},
    {CKM_SHAKE_128_KEY_DERIVATION, false},
    {CKM_CONCATENATE_BASE_AND_DATA, false},
    {CKM_CONCATENATE_DATA_AND_BASE, false},
    {CKM_XOR_BASE_AND_DATA, false},
    {CKM_AES_ECB_ENCRYPT_DATA, false},
    {CKM_AES_CBC_ENCRYPT_DATA, false},
    {CKM_HKDF_DERIVE, false},
    {CKM_SP800_108_COUNTER_KDF, true},
    {CKM_SP800_108_FEEDBACK_KDF, true},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, true},
};

static CK_KEY_TYPE base_type(CK_MECHANISM_TYPE type)
{
    bool is_aes = type == CKM_AES_ECB_ENCRYPT_DATA || type == CKM_AES_CBC_ENCRYPT_DATA;

    return is_aes ? CKK_AES : CKK_GENERIC_SECRET;
}

/* Data of 32 bytes is joined to keys of 32: less would be cut off. */
static CK_ULONG whole_len(CK_MECHANISM_TYPE type)
{
    return type == CKM_CONCATENATE_BASE_AND_DATA || type == CKM_CONCATENATE_DATA_AND_BASE ? 64 : 32;
}

/* PKCS #11 6, the rules about key sensitivity and extractability of each mechanism. */
START_TEST(secrecy_is_inherited)
{
    CK_MECHANISM_TYPE type = mechanisms[_i].type;

    for (enum key_kind kind = KEY_GENERATED; kind < KEY_KINDS; kind++) {
        CK_OBJECT_HANDLE base = derive_base(&api, kind, base_type(type));
        for (int said = 0; said < 3; said++) {
            struct template template;
            CK_OBJECT_HANDLE key;
            bool open =
                said == 1 || (said == 0 && mechanisms[_i].inherits_omitted && kind == KEY_OPEN);
            template_said(&template, said)->numbers[1] = whole_len(type);
            CK_RV rv = derive_with(&api, good_mechanism(type), base, &template, &key);
            if (said == 1 && kind != KEY_OPEN) {
                ck_assert_uint_eq(rv, CKR_TEMPLATE_INCONSISTENT);
                ck_assert(derive_logged(&api, "policy rule as-sensitive-as-its-base"));
                continue;
            }
            ck_assert_msg(rv == CKR_OK, "0x%lx of base kind %d: 0x%lx", type, (int) kind, rv);
            ck_assert_int_eq(derive_flag(&api, key, CKA_SENSITIVE), !open);
            ck_assert_int_eq(derive_flag(&api, key, CKA_EXTRACTABLE), open);
            ck_assert_int_eq(derive_flag(&api, key, CKA_ALWAYS_SENSITIVE),
                             !open && kind == KEY_GENERATED);
            ck_assert_int_eq(derive_flag(&api, key, CKA_NEVER_EXTRACTABLE),
                             !open && kind == KEY_GENERATED);
            ck_assert_int_eq(derive_flag(&api, key, CKA_LOCAL), CK_FALSE);
        }
    }
}
END_TEST

START_TEST(hostile_parameters)
{
    CK_MECHANISM_TYPE type = mechanisms[_i].type;
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_OPEN, base_type(type));
    CK_MECHANISM mechanism = good_mechanism(type);
    CK_OBJECT_HANDLE out = 0xdead;
    struct template template;

    template_said(&template, 2);
    if (mechanism.ulParameterLen > 0) {
        CK_MECHANISM bad = mechanism;
        bad.pParameter = NULL;
        ck_assert_uint_eq(derive_with(&api, bad, base, &template, NULL),
                          CKR_MECHANISM_PARAM_INVALID);
        bad = mechanism;
        bad.ulParameterLen--;
        ck_assert_uint_eq(derive_with(&api, bad, base, &template, NULL),
                          CKR_MECHANISM_PARAM_INVALID);
        bad.ulParameterLen = 0;
        ck_assert_uint_eq(derive_with(&api, bad, base, &template, NULL),
                          CKR_MECHANISM_PARAM_INVALID);
    } else {
        mechanism.ulParameterLen = 8;
        ck_assert_uint_eq(derive_with(&api, mechanism, base, &template, NULL),
                          CKR_MECHANISM_PARAM_INVALID);
    }
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_DeriveKey(api.session, NULL, base, NULL, 0, &out));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_DeriveKey(api.session, &mechanism, base, NULL, 3, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template.entries, ~0UL, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template.entries, 2, NULL));
    EXPECT(CKR_KEY_HANDLE_INVALID,
           api.p11->C_DeriveKey(api.session, &mechanism, 0xdead, template.entries, 2, &out));
    ck_assert_uint_eq(out, 0xdead);
}
END_TEST

START_TEST(lengths_and_types_of_hashed_keys)
{
    CK_OBJECT_HANDLE base = derive_open_base(&api, CKK_GENERIC_SECRET, "abc", 3);
    CK_MECHANISM sha256 = {CKM_SHA256_KEY_DERIVATION, NULL, 0};
    CK_BYTE digest[32];
    struct template template;
    CK_OBJECT_HANDLE key;

    ck_assert_int_eq(EVP_Digest("abc", 3, digest, NULL, EVP_sha256(), NULL), 1);
    /* Neither type nor length: a generic secret of the digest's length. */
    memset(&template, 0, sizeof(template));
    template_flag(&template, CKA_SENSITIVE, CK_FALSE);
    template_flag(&template, CKA_EXTRACTABLE, CK_TRUE);
    ck_assert_uint_eq(derive_with(&api, sha256, base, &template, &key), CKR_OK);
    derive_expect_value(&api, key, digest, 32);
    ck_assert_uint_eq(derive_with(&api, sha256, base, template_open(&template, CKK_AES, 24), &key),
                      CKR_OK);
    derive_expect_value(&api, key, digest, 24);
    ck_assert_uint_eq(derive_with(&api, sha256, base, template_open(&template, CKK_AES, 0), NULL),
                      CKR_TEMPLATE_INCOMPLETE);
    ck_assert_uint_eq(
        derive_with(&api, sha256, base, template_open(&template, CKK_GENERIC_SECRET, 33), NULL),
        CKR_KEY_SIZE_RANGE);
    sha256.mechanism = CKM_SHAKE_256_KEY_DERIVATION;
    ck_assert_uint_eq(
        derive_with(&api, sha256, base, template_open(&template, CKK_GENERIC_SECRET, 0), NULL),
        CKR_TEMPLATE_INCOMPLETE);
    ck_assert_uint_eq(
        derive_with(&api, sha256, base, template_open(&template, CKK_GENERIC_SECRET, 512), NULL),
        CKR_OK);
}
END_TEST

/* Zeros behind a key, XOR with zeros, the hash of a long key: each is the same key to HMAC. */
START_TEST(copies_keep_their_roles)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_CONCATENATE_BASE_AND_DATA,
                                              CKM_CONCATENATE_DATA_AND_BASE, CKM_XOR_BASE_AND_DATA};
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE open = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    struct template template;

    for (size_t i = 0; i < COUNT(types); i++) {
        template_said(&template, 2)->numbers[1] = whole_len(types[i]);
        template_flag(&template, CKA_SIGN, CK_TRUE);
        ck_assert_uint_eq(derive_with(&api, good_mechanism(types[i]), guarded, &template, NULL),
                          CKR_TEMPLATE_INCONSISTENT);
        ck_assert(derive_logged(&api, "policy rule copies-keep-roles"));
        ck_assert_uint_eq(derive_with(&api, good_mechanism(types[i]), open, &template, NULL),
                          CKR_OK);
        template_said(&template, 2)->numbers[1] = whole_len(types[i]);
        template_flag(&template, CKA_DERIVE, CK_TRUE);
        ck_assert_uint_eq(derive_with(&api, good_mechanism(types[i]), guarded, &template, NULL),
                          CKR_OK);
    }
}
END_TEST

START_TEST(hashes_of_long_keys_keep_their_roles)
{
    CK_MECHANISM sha256 = {CKM_SHA256_KEY_DERIVATION, NULL, 0};
    CK_MECHANISM generation = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    const CK_ULONG lens[] = {64, 65};
    struct template template;

    for (size_t i = 0; i < COUNT(lens); i++) {
        CK_OBJECT_HANDLE base;
        memset(&template, 0, sizeof(template));
        template_number(&template, CKA_VALUE_LEN, lens[i]);
        template_flag(&template, CKA_DERIVE, CK_TRUE);
        OK(api.p11->C_GenerateKey(api.session, &generation, template.entries, template.count,
                                  &base));
        template_said(&template, 2);
        template_flag(&template, CKA_SIGN, CK_TRUE);
        ck_assert_uint_eq(derive_with(&api, sha256, base, &template, NULL),
                          lens[i] > 64 ? CKR_TEMPLATE_INCONSISTENT : CKR_OK);
    }
}
END_TEST

/* The same key a second time, to sign with it, would compute what it derives. */
START_TEST(derived_keys_do_not_derive)
{
    CK_MECHANISM_TYPE types[] = {CKM_HKDF_DERIVE, CKM_SP800_108_COUNTER_KDF,
                                 CKM_SHA256_KEY_DERIVATION};
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE derives = {CKA_DERIVE, &yes, sizeof(yes)};
    CK_MECHANISM generation = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE open = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE chained;
    struct template template;

    template_said(&template, 2);
    template_flag(&template, CKA_DERIVE, CK_TRUE);
    template.entries[template.count++] =
        (CK_ATTRIBUTE){CKA_DERIVE_TEMPLATE, &derives, sizeof(derives)};
    template.entries[0] = (CK_ATTRIBUTE){CKA_PRIVATE, &yes, sizeof(yes)};
    OK(api.p11->C_GenerateKey(api.session, &generation, template.entries, template.count,
                              &chained));
    for (size_t i = 0; i < COUNT(types); i++) {
        template_said(&template, 2);
        template_flag(&template, CKA_DERIVE, CK_TRUE);
        CK_MECHANISM mechanism = good_mechanism(types[i]);
        ck_assert_uint_eq(derive_with(&api, mechanism, guarded, &template, NULL),
                          CKR_TEMPLATE_INCONSISTENT);
        ck_assert(derive_logged(&api, "policy rule derived-keys-do-not-derive"));
        ck_assert_uint_eq(derive_with(&api, mechanism, open, &template, NULL), CKR_OK);
        ck_assert_uint_eq(derive_with(&api, mechanism, chained, &template, NULL), CKR_OK);
        template_flag(template_said(&template, 2), CKA_SIGN, CK_TRUE);
        ck_assert_uint_eq(derive_with(&api, mechanism, chained, &template, NULL),
                          CKR_TEMPLATE_INCONSISTENT);
    }
}
END_TEST

START_TEST(joined_keys_get_no_shorter)
{
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE open = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_MECHANISM join = good_mechanism(CKM_CONCATENATE_DATA_AND_BASE);
    CK_MECHANISM xor = good_mechanism(CKM_XOR_BASE_AND_DATA);
    struct template template;

    template_said(&template, 2);
    template.numbers[1] = 63;
    ck_assert_uint_eq(derive_with(&api, join, guarded, &template, NULL), CKR_TEMPLATE_INCONSISTENT);
    ck_assert(derive_logged(&api, "policy rule no-truncation"));
    template.numbers[1] = 31;
    ck_assert_uint_eq(derive_with(&api, xor, guarded, &template, NULL), CKR_TEMPLATE_INCONSISTENT);
    ck_assert_uint_eq(derive_with(&api, join, open, &template, NULL), CKR_OK);
    template.numbers[1] = 64;
    ck_assert_uint_eq(derive_with(&api, join, guarded, &template, NULL), CKR_OK);
    ck_assert_uint_eq(derive_with(&api, xor, guarded, &template, NULL), CKR_KEY_SIZE_RANGE);
    /* Data that is shorter than the key would make a key of its length. */
    good.string.ulLen = 16;
    template.count = 1;
    ck_assert_uint_eq(derive_with(&api, xor, guarded, &template, NULL), CKR_TEMPLATE_INCONSISTENT);
    ck_assert_uint_eq(derive_with(&api, xor, open, &template, NULL), CKR_OK);
}
END_TEST

START_TEST(xor_keeps_the_type)
{
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    CK_MECHANISM xor = good_mechanism(CKM_XOR_BASE_AND_DATA);
    struct template template;

    template_said(&template, 2);
    template.numbers[0] = CKK_AES;
    template_flag(&template, CKA_DERIVE, CK_TRUE);
    ck_assert_uint_eq(derive_with(&api, xor, guarded, &template, NULL), CKR_TEMPLATE_INCONSISTENT);
    ck_assert(derive_logged(&api, "policy rule xor-keeps-the-type"));
}
END_TEST

START_TEST(extraction_is_off)
{
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_EXTRACT_PARAMS bit = 0;
    CK_MECHANISM extract = {CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit)};
    CK_MECHANISM_TYPE types[256];
    CK_ULONG count = COUNT(types);
    CK_ULONG query = 0;
    CK_MECHANISM_INFO info;
    struct template template;

    ck_assert_uint_eq(derive_with(&api, extract, base, template_said(&template, 2), NULL),
                      CKR_MECHANISM_INVALID);
    ck_assert(derive_logged(&api, "policy rule no-slices-of-keys"));
    OK(api.p11->C_GetMechanismList(api.slot, types, &count));
    OK(api.p11->C_GetMechanismList(api.slot, NULL, &query));
    ck_assert_uint_eq(count, query);
    for (CK_ULONG i = 0; i < count; i++) {
        ck_assert_uint_ne(types[i], CKM_EXTRACT_KEY_FROM_KEY);
        OK(api.p11->C_GetMechanismInfo(api.slot, types[i], &info));
    }
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_GetMechanismInfo(api.slot, CKM_EXTRACT_KEY_FROM_KEY, &info));
}
END_TEST

START_TEST(extraction_where_it_is_on)
{
    static const CK_BYTE value[4] = {0x32, 0x9f, 0x84, 0xa9};
    CK_OBJECT_HANDLE small = derive_open_base(&api, CKK_GENERIC_SECRET, value, sizeof(value));
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE open = derive_open_base(&api, CKK_GENERIC_SECRET, data, sizeof(data));
    CK_EXTRACT_PARAMS bit = 128;
    CK_MECHANISM extract = {CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit)};
    CK_MECHANISM_INFO info;
    CK_OBJECT_HANDLE key;
    struct template template;

    OK(api.p11->C_GetMechanismInfo(api.slot, CKM_EXTRACT_KEY_FROM_KEY, &info));
    ck_assert_uint_eq(info.flags, CKF_DERIVE);
    template_open(&template, CKK_GENERIC_SECRET, 16);
    ck_assert_uint_eq(derive_with(&api, extract, open, &template, &key), CKR_OK);
    derive_expect_value(&api, key, data + 16, 16);
    ck_assert_uint_eq(derive_with(&api, extract, guarded, &template, NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    template.numbers[4] = 15;
    ck_assert_uint_eq(derive_with(&api, extract, open, &template, NULL), CKR_TEMPLATE_INCONSISTENT);
    ck_assert(derive_logged(&api, "policy rule slices-have-16-bytes"));
    ck_assert_uint_eq(derive_with(&api, extract, small, &template, NULL),
                      CKR_MECHANISM_PARAM_INVALID);
    template_said(&template, 2);
    template_flag(&template, CKA_SIGN, CK_TRUE);
    bit = 0;
    ck_assert_uint_eq(derive_with(&api, extract, guarded, &template, NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    ck_assert(derive_logged(&api, "policy rule copies-keep-roles"));
}
END_TEST

/* Whose base is known; or which are derived a second time, to decrypt. */
START_TEST(derived_keys_do_not_wrap)
{
    struct template template;

    for (enum key_kind kind = KEY_GENERATED; kind < KEY_KINDS; kind++) {
        CK_OBJECT_HANDLE base = derive_base(&api, kind, CKK_GENERIC_SECRET);
        template_said(&template, 2);
        template.numbers[0] = CKK_AES;
        template_flag(&template, CKA_WRAP, CK_TRUE);
        ck_assert_uint_eq(derive_with(&api, good_mechanism(CKM_HKDF_DERIVE), base, &template, NULL),
                          CKR_TEMPLATE_INCONSISTENT);
    }
    ck_assert(derive_logged(&api, "policy rule known-keys-do-not-wrap"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api derive");
    TCase *plain = tcase_create("derive");
    TCase *extract = tcase_create("extract_key = yes");

    tcase_add_checked_fixture(plain, open_token, close_token);
    tcase_set_timeout(plain, 60);
    tcase_add_loop_test(plain, secrecy_is_inherited, 0, COUNT(mechanisms));
    tcase_add_loop_test(plain, hostile_parameters, 0, COUNT(mechanisms));
    tcase_add_test(plain, lengths_and_types_of_hashed_keys);
    tcase_add_test(plain, copies_keep_their_roles);
    tcase_add_test(plain, hashes_of_long_keys_keep_their_roles);
    tcase_add_test(plain, derived_keys_do_not_derive);
    tcase_add_test(plain, joined_keys_get_no_shorter);
    tcase_add_test(plain, xor_keeps_the_type);
    tcase_add_test(plain, extraction_is_off);
    tcase_add_test(plain, derived_keys_do_not_wrap);
    suite_add_tcase(suite, plain);
    tcase_add_checked_fixture(extract, open_token_with_extract, close_token);
    tcase_add_test(extract, extraction_where_it_is_on);
    suite_add_tcase(suite, extract);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
