/*
 * C_WrapKey, C_UnwrapKey, C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated: what they make, what
 * each refusal is called, and the templates that keys impose on each other.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/api/wrap_fixture.h"

static CK_OBJECT_CLASS data = CKO_DATA;
static CK_ULONG len_24 = 24;
static CK_MECHANISM_TYPE hmac_only = CKM_SHA256_HMAC;
static CK_MECHANISM_TYPE gcm_only = CKM_AES_GCM;

static const struct {
    CK_MECHANISM_TYPE type;
    CK_ULONG wrapped_len;
} round_trips[] = {
    {CKM_AES_KEY_WRAP, 40},
    {CKM_AES_KEY_WRAP_PAD, 40},
    {CKM_AES_KEY_WRAP_KWP, 40},
    {CKM_AES_GCM, 48},
};

START_TEST(a_key_leaves_and_comes_back)
{
    CK_MECHANISM plain = {round_trips[_i].type, NULL, 0};
    CK_MECHANISM *mechanism = round_trips[_i].type == CKM_AES_GCM ? &gcm : &plain;
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_OBJECT_HANDLE back;
    CK_BYTE blob[64] = {0};
    CK_ULONG len = 0;

    OK(api.p11->C_WrapKey(api.session, mechanism, with, key, NULL, &len));
    ck_assert_uint_eq(len, round_trips[_i].wrapped_len);
    len--;
    EXPECT(CKR_BUFFER_TOO_SMALL, api.p11->C_WrapKey(api.session, mechanism, with, key, blob, &len));
    ck_assert_uint_eq(len, round_trips[_i].wrapped_len);
    ck_assert_uint_eq(blob[0] | blob[47], 0);
    len = sizeof(blob);
    OK(api.p11->C_WrapKey(api.session, mechanism, with, key, blob, &len));
    ck_assert_uint_eq(len, round_trips[_i].wrapped_len);
    OK(unwrap(FROM(mechanism, with, blob, len), as_mac_key, COUNT(as_mac_key), &back));
    expect_same_value(key, back);
    expect_flag(back, CKA_SENSITIVE, CK_TRUE);
    expect_flag(back, CKA_EXTRACTABLE, CK_TRUE);
    expect_flag(back, CKA_LOCAL, CK_FALSE);
    expect_flag(back, CKA_ALWAYS_SENSITIVE, CK_FALSE);
    expect_flag(back, CKA_NEVER_EXTRACTABLE, CK_FALSE);
    expect_flag(back, CKA_TOKEN, CK_FALSE);
    blob[3] ^= 1;
    EXPECT(CKR_WRAPPED_KEY_INVALID,
           unwrap(FROM(mechanism, with, blob, len), as_mac_key, COUNT(as_mac_key), &back));
    EXPECT(CKR_WRAPPED_KEY_LEN_RANGE,
           unwrap(FROM(mechanism, with, blob, 9), as_mac_key, COUNT(as_mac_key), &back));
}
END_TEST

START_TEST(authenticated_data_is_bound)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_OBJECT_HANDLE back = NOTHING;
    CK_ATTRIBUTE template[] = {as_mac_key[0], as_mac_key[1]};
    CK_BYTE bound[] = "to whom";
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKeyAuthenticated(api.session, &gcm, with, key, bound, 7, blob, &len));
    ck_assert_uint_eq(len, 48);
    EXPECT(CKR_WRAPPED_KEY_INVALID,
           api.p11->C_UnwrapKeyAuthenticated(api.session, &gcm, with, blob, len, template, 2, bound,
                                             6, &back));
    EXPECT(CKR_WRAPPED_KEY_INVALID,
           api.p11->C_UnwrapKey(api.session, &gcm, with, blob, len, template, 2, &back));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_UnwrapKeyAuthenticated(api.session, &gcm, with, blob, len,
                                                                template, 2, NULL, 7, &back));
    ck_assert_uint_eq(back, NOTHING);
    OK(api.p11->C_UnwrapKeyAuthenticated(api.session, &gcm, with, blob, len, template, 2, bound, 7,
                                         &back));
    expect_same_value(key, back);
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_WrapKeyAuthenticated(api.session, &key_wrap, with, key, NULL, 0, blob, &len));
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_UnwrapKeyAuthenticated(api.session, &kwp, with, blob, len, template, 2, NULL,
                                             0, &back));
}
END_TEST

START_TEST(refusals_of_wrapping)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_MECHANISM unknown = {CKM_AES_CBC_PAD, NULL, 0};
    CK_MECHANISM bad_iv = {CKM_AES_KEY_WRAP, value, 7};
    CK_ATTRIBUTE class = {CKA_CLASS, &data, sizeof(data)};
    CK_OBJECT_HANDLE other;
    CK_ULONG len = 64;

    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_WrapKey(api.session, NULL, with, key, NULL, &len));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_WrapKey(api.session, &kwp, with, key, NULL, NULL));
    EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_WrapKey(77, &kwp, with, key, NULL, &len));
    expect_wrap(CKR_MECHANISM_INVALID, &unknown, with, key);
    expect_wrap(CKR_MECHANISM_PARAM_INVALID, &bad_iv, with, key);
    expect_wrap(CKR_WRAPPING_KEY_HANDLE_INVALID, &kwp, 0, key);
    expect_wrap(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, &kwp, key, key);
    OK(generate(NULL, 0, &other));
    expect_wrap(CKR_KEY_FUNCTION_NOT_PERMITTED, &kwp, other, key);
    expect_wrap(CKR_KEY_HANDLE_INVALID, &kwp, with, 0);
    OK(api.p11->C_CreateObject(api.session, &class, 1, &other));
    expect_wrap(CKR_KEY_HANDLE_INVALID, &kwp, with, other);
    OK(import(&generic, 32, (CK_ATTRIBUTE){CKA_EXTRACTABLE, &no, 1}, signs, &other));
    expect_wrap(CKR_KEY_UNEXTRACTABLE, &kwp, with, other);
    OK(import(&generic, 17, extractable, signs, &other));
    expect_wrap(CKR_KEY_SIZE_RANGE, &key_wrap, with, other);
    expect_wrap(CKR_OK, &kwp, with, other);
    expect_wrap(CKR_KEY_FUNCTION_NOT_PERMITTED, &gcm, with, other); /* another family */
    OK(import(&generic, 32, extractable, (CK_ATTRIBUTE){CKA_WRAP_WITH_TRUSTED, &yes, 1}, &other));
    expect_wrap(CKR_KEY_NOT_WRAPPABLE, &kwp, with, other);
    other = make_wrapping_key((CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, &gcm_only, sizeof(gcm_only)});
    expect_wrap(CKR_MECHANISM_INVALID, &kwp, other, key);
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_WRAPPING_KEY_HANDLE_INVALID,
           api.p11->C_WrapKey(api.session, &kwp, with, key, NULL, &len));
}
END_TEST

static const struct {
    CK_RV wanted;
    CK_ATTRIBUTE more[3];
    size_t count;
} unwrap_templates[] = {
    {CKR_TEMPLATE_INCOMPLETE, {{CKA_SIGN, &yes, 1}}, 1},
    {CKR_TEMPLATE_INCONSISTENT, {{CKA_CLASS, &data, sizeof(data)}}, 1},
    {CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_VALUE, value, 32}},
     2},
    {CKR_ATTRIBUTE_READ_ONLY,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_TRUSTED, &yes, 1}},
     2},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_VALUE_LEN, &len_16, sizeof(len_16)}},
     2},
    {CKR_OK,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_VALUE_LEN, &len_24, sizeof(len_24)}},
     2},
    {CKR_OK, {{CKA_KEY_TYPE, &aes, sizeof(aes)}}, 1},
    {CKR_ATTRIBUTE_VALUE_INVALID,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_CHECK_VALUE, value, 3}},
     2},
    /* Rules of the policy: unwrapped-keys-are-sensitive, -do-not-wrap, -do-not-derive,
     * unwrap-excludes-encrypt, openers-stay-inside. */
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_SENSITIVE, &no, 1}},
     2},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_WRAP, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}},
     3},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_DERIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}},
     3},
    {CKR_TEMPLATE_INCONSISTENT,
     {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_UNWRAP, &yes, 1}, {CKA_ENCRYPT, &yes, 1}},
     3},
    {CKR_TEMPLATE_INCONSISTENT, {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_UNWRAP, &yes, 1}}, 2},
    {CKR_OK,
     {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_UNWRAP, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}},
     3},
};

START_TEST(templates_of_unwrapping)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(import(&aes, 24, extractable, nothing_more, &key));
    OK(api.p11->C_WrapKey(api.session, &kwp, with, key, blob, &len));
    for (size_t i = 0; i < COUNT(unwrap_templates); i++) {
        CK_ULONG before = api_count(&api, NULL, 0);
        CK_OBJECT_HANDLE back = NOTHING;
        CK_RV rv = unwrap(FROM(&kwp, with, blob, len), unwrap_templates[i].more,
                          unwrap_templates[i].count, &back);
        ck_assert_msg(rv == unwrap_templates[i].wanted, "row %zu: 0x%lx", i, rv);
        ck_assert_msg((back == NOTHING) == (rv != CKR_OK), "row %zu", i);
        ck_assert_uint_eq(api_count(&api, NULL, 0), before + (rv == CKR_OK ? 1 : 0));
    }
}
END_TEST

START_TEST(refusals_of_unwrapping)
{
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE key = import_mac_key();
    CK_MECHANISM unknown = {CKM_AES_CBC, NULL, 0};
    CK_ATTRIBUTE as_aes = {CKA_KEY_TYPE, &aes, sizeof(aes)};
    CK_ATTRIBUTE template[] = {as_mac_key[0], as_mac_key[1]};
    CK_OBJECT_HANDLE other;
    CK_OBJECT_HANDLE out = NOTHING;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKey(api.session, &kwp, with, key, blob, &len));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, NULL, with, blob, len, template, 2, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, &kwp, with, NULL, len, template, 2, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, &kwp, with, blob, len, NULL, 2, &out));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_UnwrapKey(api.session, &kwp, with, blob, len, template, 2, NULL));
    EXPECT(CKR_MECHANISM_INVALID, unwrap(FROM(&unknown, with, blob, len), template, 2, &out));
    EXPECT(CKR_UNWRAPPING_KEY_HANDLE_INVALID, unwrap(FROM(&kwp, 0, blob, len), template, 2, &out));
    EXPECT(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
           unwrap(FROM(&kwp, key, blob, len), template, 2, &out));
    OK(generate(NULL, 0, &other));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, unwrap(FROM(&kwp, other, blob, len), template, 2, &out));
    EXPECT(CKR_WRAPPED_KEY_INVALID, unwrap(FROM(&key_wrap, with, blob, len), template, 2, &out));
    other = make_wrapping_key((CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, &gcm_only, sizeof(gcm_only)});
    EXPECT(CKR_MECHANISM_INVALID, unwrap(FROM(&kwp, other, blob, len), template, 2, &out));
    OK(import(&generic, 17, extractable, signs, &other));
    len = sizeof(blob);
    OK(api.p11->C_WrapKey(api.session, &kwp, with, other, blob, &len));
    EXPECT(CKR_WRAPPED_KEY_INVALID, unwrap(FROM(&kwp, with, blob, len), &as_aes, 1, &out));
    ck_assert_uint_eq(out, NOTHING);
}
END_TEST

START_TEST(wrap_template_says_which_keys_leave)
{
    CK_ATTRIBUTE inner[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_SIGN, &yes, 1}};
    CK_OBJECT_HANDLE with =
        make_wrapping_key((CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, inner, sizeof(inner)});
    CK_OBJECT_HANDLE other;

    expect_wrap(CKR_OK, &kwp, with, import_mac_key());
    OK(import(&aes, 32, extractable, nothing_more, &other));
    expect_wrap(CKR_KEY_NOT_WRAPPABLE, &kwp, with, other);
}
END_TEST

START_TEST(unwrap_template_is_imposed)
{
    CK_ATTRIBUTE inner[] = {
        {CKA_KEY_TYPE, &generic, sizeof(generic)},
        {CKA_SIGN, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},
        {CKA_LOCAL, &no, 1},
        {CKA_ALLOWED_MECHANISMS, &hmac_only, sizeof(hmac_only)},
    };
    CK_ATTRIBUTE against[] = {{CKA_EXTRACTABLE, &yes, 1}};
    CK_ATTRIBUTE besides[] = {{CKA_VERIFY, &yes, 1}, {CKA_SIGN, &yes, 1}};
    CK_OBJECT_HANDLE with =
        make_wrapping_key((CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, inner, sizeof(inner)});
    CK_OBJECT_HANDLE back = NOTHING;
    CK_MECHANISM_TYPE allowed = 0;
    CK_ATTRIBUTE list = {CKA_ALLOWED_MECHANISMS, &allowed, sizeof(allowed)};
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKey(api.session, &kwp, with, import_mac_key(), blob, &len));
    EXPECT(CKR_TEMPLATE_INCONSISTENT, unwrap(FROM(&kwp, with, blob, len), against, 1, &back));
    ck_assert_uint_eq(back, NOTHING);
    OK(unwrap(FROM(&kwp, with, blob, len), besides, 2, &back));
    expect_flag(back, CKA_SIGN, CK_TRUE);
    expect_flag(back, CKA_VERIFY, CK_TRUE);
    expect_flag(back, CKA_EXTRACTABLE, CK_FALSE);
    OK(api.p11->C_GetAttributeValue(api.session, back, &list, 1));
    ck_assert_uint_eq(allowed, CKM_SHA256_HMAC);
    inner[3].pValue = &yes; /* no unwrapped key is local */
    with = make_wrapping_key((CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, inner, sizeof(inner)});
    EXPECT(CKR_TEMPLATE_INCONSISTENT, unwrap(FROM(&kwp, with, blob, len), besides, 2, &back));
}
END_TEST

START_TEST(derive_template_is_imposed)
{
    CK_ATTRIBUTE inner[] = {{CKA_SIGN, &yes, 1}, {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    CK_ATTRIBUTE against[] = {{CKA_VALUE_LEN, &len_16, sizeof(len_16)}};
    CK_HKDF_PARAMS hkdf = {
        .bExpand = CK_TRUE, .prfHashMechanism = CKM_SHA256, .ulSaltType = CKF_HKDF_SALT_NULL};
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)};
    CK_OBJECT_HANDLE base;
    CK_OBJECT_HANDLE key = NOTHING;

    OK(import(&generic, 32, (CK_ATTRIBUTE){CKA_DERIVE, &yes, 1},
              (CK_ATTRIBUTE){CKA_DERIVE_TEMPLATE, inner, sizeof(inner)}, &base));
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, base, against, 1, &key));
    ck_assert_uint_eq(key, NOTHING);
    OK(api.p11->C_DeriveKey(api.session, &mechanism, base, NULL, 0, &key));
    expect_flag(key, CKA_SIGN, CK_TRUE);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("wrap");
    TCase *tests = tcase_create("default policy");

    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, a_key_leaves_and_comes_back, 0, COUNT(round_trips));
    tcase_add_test(tests, authenticated_data_is_bound);
    tcase_add_test(tests, refusals_of_wrapping);
    tcase_add_test(tests, templates_of_unwrapping);
    tcase_add_test(tests, refusals_of_unwrapping);
    tcase_add_test(tests, wrap_template_says_which_keys_leave);
    tcase_add_test(tests, unwrap_template_is_imposed);
    tcase_add_test(tests, derive_template_is_imposed);
    suite_add_tcase(all, tests);
    return all;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
