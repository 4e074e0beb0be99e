/* What comes out in the open, or from a password: CKM_HKDF_DATA with the info strings that the
 * configuration lists, CKM_HKDF_KEY_GEN, and CKM_PKCS5_PBKD2. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/derive_keys.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct api api;
static CK_BYTE data[32] = "thirty-two bytes of data, fixed";
static CK_HKDF_PARAMS hkdf;

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
}

static void open_token_with_data_info(void)
{
    api_open(&api, "memory:", "hkdf_data_info = nonce hex:00ff6a\n");
}

static void close_token(void)
{
    api_close(&api);
}

static CK_MECHANISM hkdf_mechanism(CK_MECHANISM_TYPE type)
{
    hkdf = (CK_HKDF_PARAMS){.bExpand = CK_TRUE,
                            .prfHashMechanism = CKM_SHA256,
                            .pInfo = data,
                            .ulInfoLen = sizeof(data)};
    return (CK_MECHANISM){type, &hkdf, sizeof(hkdf)};
}

static struct template *data_template(struct template *template, CK_ULONG len)
{
    memset(template, 0, sizeof(*template));
    template_number(template, CKA_CLASS, CKO_DATA);
    template_number(template, CKA_VALUE_LEN, len);
    return template;
}

START_TEST(hkdf_data_is_what_hkdf_derives)
{
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE object;
    CK_BYTE value[512];
    struct template template;

    ck_assert_uint_eq(derive_with(&api, hkdf_mechanism(CKM_HKDF_DERIVE), base,
                                  template_open(&template, CKK_GENERIC_SECRET, 42), &key),
                      CKR_OK);
    ck_assert_uint_eq(derive_with(&api, hkdf_mechanism(CKM_HKDF_DATA), base,
                                  data_template(&template, 42), &object),
                      CKR_OK);
    CK_ULONG len = derive_value(&api, key, value);
    derive_expect_value(&api, object, value, len);
    CK_ATTRIBUTE value_len = {CKA_VALUE_LEN, value, sizeof(value)};
    EXPECT(CKR_ATTRIBUTE_TYPE_INVALID,
           api.p11->C_GetAttributeValue(api.session, object, &value_len, 1));
    template.entries[0] = template.entries[1];
    template.count = 1;
    ck_assert_uint_eq(derive_with(&api, hkdf_mechanism(CKM_HKDF_DATA), base, &template, NULL),
                      CKR_TEMPLATE_INCOMPLETE);
    ck_assert_uint_eq(derive_with(&api, hkdf_mechanism(CKM_HKDF_DATA), base,
                                  template_open(&template, CKK_GENERIC_SECRET, 42), NULL),
                      CKR_TEMPLATE_INCONSISTENT);
    ck_assert_uint_eq(derive_with(&api, hkdf_mechanism(CKM_HKDF_DERIVE), base,
                                  data_template(&template, 42), NULL),
                      CKR_TEMPLATE_INCONSISTENT);
}
END_TEST

START_TEST(hkdf_data_keeps_sensitive_keys_inside)
{
    CK_OBJECT_HANDLE open = derive_base(&api, KEY_OPEN, CKK_GENERIC_SECRET);
    CK_OBJECT_HANDLE guarded = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    CK_MECHANISM mechanism = hkdf_mechanism(CKM_HKDF_DATA);
    struct template template;

    data_template(&template, 32);
    ck_assert_uint_eq(derive_with(&api, mechanism, guarded, &template, NULL),
                      CKR_MECHANISM_PARAM_INVALID);
    ck_assert(derive_logged(&api, "policy rule hkdf-data-is-listed"));
    hkdf.bExtract = CK_TRUE;
    hkdf.ulSaltType = CKF_HKDF_SALT_KEY;
    hkdf.hSaltKey = guarded;
    ck_assert_uint_eq(derive_with(&api, mechanism, open, &template, NULL),
                      CKR_MECHANISM_PARAM_INVALID);
    hkdf.hSaltKey = open;
    ck_assert_uint_eq(derive_with(&api, mechanism, open, &template, NULL), CKR_OK);
    /* No info string at all. */
    hkdf.ulSaltType = CKF_HKDF_SALT_NULL;
    hkdf.bExpand = CK_FALSE;
    ck_assert_uint_eq(derive_with(&api, mechanism, guarded, &template, NULL),
                      CKR_MECHANISM_PARAM_INVALID);
}
END_TEST

START_TEST(hkdf_data_for_listed_info)
{
    static const struct {
        const char *info;
        CK_ULONG len;
        bool listed;
    } rows[] = {
        {"nonce", 5, true},        {"\0\xffj", 3, true}, {"nonc", 4, false},
        {"nonce ", 6, false},      {"noncee", 6, false}, {"\0\xff", 2, false},
        {"hex:00ff6a", 10, false}, {"", 0, false},       {"nonce hex:00ff6a", 16, false},
    };
    CK_OBJECT_HANDLE base = derive_base(&api, KEY_GENERATED, CKK_GENERIC_SECRET);
    struct template template;

    for (size_t i = 0; i < COUNT(rows); i++) {
        CK_MECHANISM mechanism = hkdf_mechanism(CKM_HKDF_DATA);
        hkdf.pInfo = (CK_BYTE_PTR) rows[i].info;
        hkdf.ulInfoLen = rows[i].len;
        CK_RV rv = derive_with(&api, mechanism, base, data_template(&template, 32), NULL);
        ck_assert_msg(rv == (rows[i].listed ? CKR_OK : CKR_MECHANISM_PARAM_INVALID), "row %zu", i);
        /* What may come out as data is no key. */
        mechanism.mechanism = CKM_HKDF_DERIVE;
        rv = derive_with(&api, mechanism, base, template_said(&template, 2), NULL);
        ck_assert_msg(rv == (rows[i].listed ? CKR_MECHANISM_PARAM_INVALID : CKR_OK), "row %zu", i);
    }
    ck_assert(derive_logged(&api, "policy rule hkdf-data-makes-no-keys"));
}
END_TEST

START_TEST(info_lists_are_checked)
{
    static const char *const bad[] = {"hkdf_data_info = hex:0\n", "hkdf_data_info = a hex:0g\n"};
    CK_TOKEN_INFO info;

    for (size_t i = 0; i < COUNT(bad); i++) {
        api_load(&api, "memory:", bad[i]);
        EXPECT(CKR_TOKEN_NOT_PRESENT, api.p11->C_GetTokenInfo(0, &info));
        api_close(&api);
    }
}
END_TEST

START_TEST(hkdf_keys_are_generated)
{
    CK_MECHANISM generation = {CKM_HKDF_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key;
    struct template template;

    memset(&template, 0, sizeof(template));
    template_flag(&template, CKA_DERIVE, CK_TRUE);
    EXPECT(CKR_TEMPLATE_INCOMPLETE,
           api.p11->C_GenerateKey(api.session, &generation, template.entries, 1, &key));
    template_number(&template, CKA_VALUE_LEN, 13);
    EXPECT(CKR_KEY_SIZE_RANGE,
           api.p11->C_GenerateKey(api.session, &generation, template.entries, 2, &key));
    template.numbers[1] = 32;
    OK(api.p11->C_GenerateKey(api.session, &generation, template.entries, 2, &key));
    CK_KEY_TYPE type = 0;
    CK_ATTRIBUTE entry = {CKA_KEY_TYPE, &type, sizeof(type)};
    OK(api.p11->C_GetAttributeValue(api.session, key, &entry, 1));
    ck_assert_uint_eq(type, CKK_HKDF);
    ck_assert_uint_eq(
        derive_with(&api, hkdf_mechanism(CKM_HKDF_DERIVE), key, template_said(&template, 2), NULL),
        CKR_OK);
}
END_TEST

static CK_RV pbkdf2(CK_PKCS5_PBKD2_PARAMS2 *params, struct template *template,
                    CK_OBJECT_HANDLE *ret_key)
{
    CK_MECHANISM mechanism = {CKM_PKCS5_PBKD2, params, sizeof(*params)};

    return api.p11->C_GenerateKey(api.session, &mechanism, template->entries, template->count,
                                  ret_key);
}

/* RFC 6070's second case. Whoever knows the password knows the key: it counts as one from outside.
 */
START_TEST(keys_from_passwords)
{
    static const CK_BYTE wanted[] = {0xea, 0x6c, 0x01, 0x4d, 0xc7, 0x2d, 0x6f, 0x8c, 0xcd, 0x1e,
                                     0xd9, 0x2a, 0xce, 0x1d, 0x41, 0xf0, 0xd8, 0xde, 0x89, 0x57};
    CK_PKCS5_PBKD2_PARAMS2 params = {.saltSource = CKZ_SALT_SPECIFIED,
                                     .pSaltSourceData = (void *) "salt",
                                     .ulSaltSourceDataLen = 4,
                                     .iterations = 2,
                                     .prf = CKP_PKCS5_PBKD2_HMAC_SHA1,
                                     .pPassword = (CK_UTF8CHAR_PTR) "password",
                                     .ulPasswordLen = 8};
    CK_OBJECT_HANDLE key;
    struct template template;

    OK(pbkdf2(&params, template_open(&template, CKK_GENERIC_SECRET, 20), &key));
    derive_expect_value(&api, key, wanted, sizeof(wanted));
    ck_assert_int_eq(derive_flag(&api, key, CKA_LOCAL), CK_TRUE);
    OK(pbkdf2(&params, template_said(&template, 2), &key));
    ck_assert_int_eq(derive_flag(&api, key, CKA_SENSITIVE), CK_TRUE);
    ck_assert_int_eq(derive_flag(&api, key, CKA_ALWAYS_SENSITIVE), CK_FALSE);
    ck_assert_int_eq(derive_flag(&api, key, CKA_NEVER_EXTRACTABLE), CK_FALSE);
    template.numbers[0] = CKK_AES;
    template_flag(&template, CKA_WRAP, CK_TRUE);
    EXPECT(CKR_TEMPLATE_INCONSISTENT, pbkdf2(&params, &template, &key));
    ck_assert(derive_logged(&api, "policy rule known-keys-do-not-wrap"));
    EXPECT(CKR_TEMPLATE_INCOMPLETE,
           pbkdf2(&params, template_open(&template, CKK_GENERIC_SECRET, 0), &key));
    template_said(&template, 2);
    template.numbers[1] = 13;
    EXPECT(CKR_KEY_SIZE_RANGE, pbkdf2(&params, &template, &key));
    params.ulPasswordLen = (CK_ULONG) &params;
    EXPECT(CKR_MECHANISM_PARAM_INVALID, pbkdf2(&params, template_said(&template, 2), &key));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api derive data");
    TCase *plain = tcase_create("data and passwords");
    TCase *bare = tcase_create("configuration");
    TCase *info = tcase_create("hkdf_data_info");

    tcase_add_checked_fixture(plain, open_token, close_token);
    tcase_add_test(plain, hkdf_data_is_what_hkdf_derives);
    tcase_add_test(plain, hkdf_data_keeps_sensitive_keys_inside);
    tcase_add_test(plain, hkdf_keys_are_generated);
    tcase_add_test(plain, keys_from_passwords);
    suite_add_tcase(suite, plain);
    tcase_add_test(bare, info_lists_are_checked);
    suite_add_tcase(suite, bare);
    tcase_add_checked_fixture(info, open_token_with_data_info, close_token);
    tcase_add_test(info, hkdf_data_for_listed_info);
    suite_add_tcase(suite, info);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
