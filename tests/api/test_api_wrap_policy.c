/*
 * The rules of the policy for keys that leave and come back (docs/security-model.md), and what
 * `relax` makes of them.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/api/wrap_fixture.h"

static const struct {
    const char *name;
    CK_ATTRIBUTE more[3];
    size_t count;
} mixed_roles[] = {
    {"wrap-excludes-decrypt", {{CKA_WRAP, &yes, 1}, {CKA_DECRYPT, &yes, 1}}, 2},
    {"wrap-excludes-encrypt", {{CKA_WRAP, &yes, 1}, {CKA_ENCRYPT, &yes, 1}}, 2},
    {"unwrap-excludes-encrypt", {{CKA_UNWRAP, &yes, 1}, {CKA_ENCRYPT, &yes, 1}}, 2},
    {"openers-stay-inside", {{CKA_WRAP, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
    {"openers-stay-inside", {{CKA_UNWRAP, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
    {"openers-stay-inside", {{CKA_DERIVE, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
    {"known-keys-do-not-wrap", {{CKA_WRAP, &yes, 1}, {CKA_SENSITIVE, &no, 1}}, 2},
    {"token-keys-are-sensitive", {{CKA_TOKEN, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1}}, 2},
};

START_TEST(roles_that_do_not_go_together)
{
    CK_OBJECT_HANDLE key = NOTHING;

    for (size_t i = 0; i < COUNT(mixed_roles); i++) {
        api_expect(generate(mixed_roles[i].more, mixed_roles[i].count, &key),
                   CKR_TEMPLATE_INCONSISTENT, mixed_roles[i].name);
        ck_assert_uint_eq(key, NOTHING);
    }
}
END_TEST

START_TEST(known_keys_do_not_wrap)
{
    CK_HKDF_PARAMS hkdf = {
        .bExpand = CK_TRUE, .prfHashMechanism = CKM_SHA256, .ulSaltType = CKF_HKDF_SALT_NULL};
    CK_MECHANISM mechanism = {CKM_HKDF_DERIVE, &hkdf, sizeof(hkdf)};
    CK_ATTRIBUTE template[] = {{CKA_KEY_TYPE, &aes, sizeof(aes)},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_WRAP, &yes, 1}};
    CK_ATTRIBUTE derives[] = {{CKA_DERIVE, &yes, 1}};
    CK_OBJECT_HANDLE base;
    CK_OBJECT_HANDLE key = NOTHING;

    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           import(&aes, 32, (CK_ATTRIBUTE){CKA_WRAP, &yes, 1}, nothing_more, &key));
    /* Derived a second time, it could decrypt. */
    CK_MECHANISM make = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE base_template[] = {derives[0], {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    OK(api.p11->C_GenerateKey(api.session, &make, base_template, 2, &base));
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_DeriveKey(api.session, &mechanism, base, template, 3, &key));
    ck_assert_uint_eq(key, NOTHING);
    OK(api.p11->C_DeriveKey(api.session, &mechanism, base, template, 2, &key));
}
END_TEST

START_TEST(a_weaker_key_does_not_wrap)
{
    CK_MECHANISM make = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len_16, sizeof(len_16)}, {CKA_WRAP, &yes, 1}};
    CK_OBJECT_HANDLE with;
    CK_OBJECT_HANDLE short_key;

    OK(api.p11->C_GenerateKey(api.session, &make, template, 2, &with));
    expect_wrap(CKR_WRAPPING_KEY_SIZE_RANGE, &kwp, with, import_mac_key());
    OK(import(&generic, 16, extractable, signs, &short_key));
    expect_wrap(CKR_OK, &kwp, with, short_key);
}
END_TEST

START_TEST(a_gcm_wrapping_has_no_iv_of_the_callers)
{
    CK_GCM_PARAMS plain = {.pIv = gcm_iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM with_plain = {CKM_AES_GCM, &plain, sizeof(plain)};
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);

    expect_wrap(CKR_MECHANISM_PARAM_INVALID, &with_plain, with, import_mac_key());
}
END_TEST

/* What `relax` gives up, and what the rule is there for: one IV, two keys, one of them known. */
START_TEST(relaxed_ivs_give_keys_away)
{
    CK_GCM_PARAMS plain = {.pIv = gcm_iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM with_plain = {CKM_AES_GCM, &plain, sizeof(plain)};
    CK_ATTRIBUTE leaves[] = {extractable};
    CK_OBJECT_HANDLE with;
    CK_OBJECT_HANDLE keys[2];
    CK_BYTE blobs[2][64];
    CK_BYTE found[32];
    CK_OBJECT_HANDLE found_key;

    api_open(&api, "memory:", "relax = wrapping-ivs-are-fresh");
    with = make_wrapping_key(nothing_more);
    keys[0] = import_mac_key();
    CK_MECHANISM make = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {leaves[0], signs, {CKA_VALUE_LEN, &len_32, sizeof(len_32)}};
    OK(api.p11->C_GenerateKey(api.session, &make, template, 3, &keys[1]));
    for (size_t i = 0; i < 2; i++) {
        CK_ULONG len = sizeof(blobs[i]);
        OK(api.p11->C_WrapKey(api.session, &with_plain, with, keys[i], blobs[i], &len));
    }
    for (size_t i = 0; i < sizeof(found); i++)
        found[i] = (CK_BYTE) (blobs[0][i] ^ blobs[1][i] ^ value[i]);
    CK_ATTRIBUTE known[] = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                            {CKA_KEY_TYPE, &generic, sizeof(generic)},
                            {CKA_VALUE, found, sizeof(found)},
                            signs};
    OK(api.p11->C_CreateObject(api.session, known, COUNT(known), &found_key));
    expect_same_value(keys[1], found_key);
    api_close(&api);
}
END_TEST

START_TEST(relaxed_known_keys_wrap)
{
    CK_ATTRIBUTE as_wrapping[] = {
        {CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_WRAP, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}};
    CK_OBJECT_HANDLE with;
    CK_OBJECT_HANDLE out = NOTHING;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    api_open(&api, "memory:", "relax = known-keys-do-not-wrap wrapped-under-as-strong");
    OK(import(&aes, 16, (CK_ATTRIBUTE){CKA_WRAP, &yes, 1}, (CK_ATTRIBUTE){CKA_UNWRAP, &yes, 1},
              &with));
    OK(api.p11->C_WrapKey(api.session, &kwp, with, import_mac_key(), blob, &len));
    /* Never relaxed: the blob of a data key comes back as a wrapping key. */
    EXPECT(CKR_TEMPLATE_INCONSISTENT, unwrap(FROM(&kwp, with, blob, len), as_wrapping, 3, &out));
    ck_assert_uint_eq(out, NOTHING);
    api_close(&api);
}
END_TEST

START_TEST(relaxed_token_keys_leave)
{
    CK_MECHANISM make = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, 1},
                               {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
                               {CKA_LABEL, "leaves", 6},
                               signs,
                               {CKA_EXTRACTABLE, &yes, 1}};
    CK_ATTRIBUTE as_token[] = {as_mac_key[0], as_mac_key[1], {CKA_TOKEN, &yes, 1}};
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE back;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    api_open(&api, NULL, "relax = token-keys-stay-inside");
    OK(api.p11->C_GenerateKey(api.session, &make, template, 5, &key));
    api_restart(&api);
    key = api_find(&api, "leaves");
    expect_flag(key, CKA_EXTRACTABLE, CK_TRUE);
    expect_flag(key, CKA_SENSITIVE, CK_TRUE);
    expect_flag(key, CKA_PRIVATE, CK_TRUE);
    CK_OBJECT_HANDLE with = make_wrapping_key((CK_ATTRIBUTE){CKA_TOKEN, &yes, 1});
    OK(api.p11->C_WrapKey(api.session, &kwp, with, key, blob, &len));
    OK(unwrap(FROM(&kwp, with, blob, len), as_token, 3, &back));
    expect_same_value(key, back);
    expect_flag(back, CKA_EXTRACTABLE, CK_FALSE); /* it was not asked for by name */
    /* An index key derives: it stays. */
    template[3] = (CK_ATTRIBUTE){CKA_DERIVE, &yes, 1};
    EXPECT(CKR_TEMPLATE_INCONSISTENT,
           api.p11->C_GenerateKey(api.session, &make, template, 5, &key));
    template[4] = (CK_ATTRIBUTE){CKA_DERIVE, &yes, 1};
    OK(api.p11->C_GenerateKey(api.session, &make, template, 5, &key));
    expect_wrap(CKR_KEY_UNEXTRACTABLE, &kwp, with, key);
    api_close(&api);
}
END_TEST

/* 32 generic bytes that come in wrapped may have signed elsewhere: no index key is made of them. */
START_TEST(no_index_key_comes_in_wrapped)
{
    CK_ATTRIBUTE as_token[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)}, {CKA_TOKEN, &yes, 1}};
    CK_OBJECT_HANDLE with = make_wrapping_key(nothing_more);
    CK_OBJECT_HANDLE back;
    CK_BYTE blob[64];
    CK_ULONG len = sizeof(blob);

    OK(api.p11->C_WrapKey(api.session, &kwp, with, import_mac_key(), blob, &len));
    OK(unwrap(FROM(&kwp, with, blob, len), as_token, 2, &back));
    expect_flag(back, CKA_DERIVE, CK_FALSE);
    expect_flag(back, CKA_EXTRACTABLE, CK_FALSE);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("wrap policy");
    TCase *tests = tcase_create("default policy");
    TCase *relaxed = tcase_create("relaxed");

    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_test(tests, roles_that_do_not_go_together);
    tcase_add_test(tests, known_keys_do_not_wrap);
    tcase_add_test(tests, a_weaker_key_does_not_wrap);
    tcase_add_test(tests, a_gcm_wrapping_has_no_iv_of_the_callers);
    tcase_add_test(tests, no_index_key_comes_in_wrapped);
    suite_add_tcase(all, tests);
    tcase_add_test(relaxed, relaxed_ivs_give_keys_away);
    tcase_add_test(relaxed, relaxed_known_keys_wrap);
    tcase_add_test(relaxed, relaxed_token_keys_leave);
    suite_add_tcase(all, relaxed);
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
