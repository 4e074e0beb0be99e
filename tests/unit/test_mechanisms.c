#include "tests/unit/test_mechanisms.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/unit/mechanism_fixture.h"

START_TEST(table_is_in_order_and_found)
{
    size_t count = 0;
    const struct mechanism *all = mechanisms_all(&count);

    ck_assert_uint_gt(count, 50);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            ck_assert_uint_lt(all[i - 1].type, all[i].type);
        ck_assert_ptr_eq(mechanism_find(all[i].type), &all[i]);
        ck_assert_int_eq(strncmp(all[i].name, "CKM_", 4), 0);
    }
    ck_assert_ptr_null(mechanism_find(CKM_AES_MAC));
    ck_assert_ptr_null(mechanism_find(CKM_VENDOR_DEFINED));
    ck_assert_ptr_null(mechanism_find(0));
}
END_TEST

START_TEST(flags_are_the_operations_present)
{
    size_t count = 0;
    const struct mechanism *all = mechanisms_all(&count);

    for (size_t i = 0; i < count; i++) {
        CK_FLAGS flags = mechanism_flags(&all[i]);
        ck_assert_msg(flags != 0, "%s does nothing", all[i].name);
        ck_assert_int_eq((flags & CKF_ENCRYPT) != 0, all[i].cipher != NULL);
        ck_assert_int_eq((flags & CKF_DECRYPT) != 0, all[i].cipher != NULL);
        ck_assert_int_eq((flags & CKF_DIGEST) != 0, all[i].digest != NULL);
        ck_assert_int_eq((flags & CKF_SIGN) != 0, all[i].mac != NULL);
        ck_assert_int_eq((flags & CKF_VERIFY) != 0, all[i].mac != NULL);
        ck_assert_int_eq((flags & CKF_GENERATE) != 0, all[i].generate != NULL);
        ck_assert_int_eq((flags & CKF_DERIVE) != 0, all[i].derive != NULL);
        ck_assert_int_eq((flags & CKF_WRAP) != 0, all[i].wrap != NULL);
        ck_assert_int_eq((flags & CKF_UNWRAP) != 0, all[i].wrap != NULL);
        CK_FLAGS crypt = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
        CK_FLAGS sign = CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY;
        bool signs = all[i].mac != NULL && all[i].mac->restart != NULL;
        ck_assert_uint_eq(flags & crypt, all[i].message != NULL ? crypt : 0);
        ck_assert_uint_eq(flags & sign, signs ? sign : 0);
        ck_assert_int_eq((flags & CKF_MULTI_MESSAGE) != 0, (flags & (crypt | sign)) != 0);
        ck_assert_uint_eq(flags & ~(CK_FLAGS) (CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN |
                                               CKF_VERIFY | CKF_GENERATE | CKF_DERIVE | crypt |
                                               sign | CKF_MULTI_MESSAGE | CKF_WRAP | CKF_UNWRAP),
                          0);
        ck_assert_uint_le(all[i].min_key, all[i].max_key);
    }
}
END_TEST

START_TEST(families_keep_modes_apart)
{
    ck_assert_uint_eq(mechanism_find(CKM_AES_GCM)->family, FAMILY_AES_GCM);
    ck_assert_uint_eq(mechanism_find(CKM_AES_CBC)->family, FAMILY_AES_CBC);
    ck_assert_uint_eq(mechanism_find(CKM_AES_CBC_PAD)->family, FAMILY_AES_CBC);
    ck_assert_uint_eq(mechanism_find(CKM_AES_ECB)->family, FAMILY_AES_ECB);
    ck_assert_uint_eq(mechanism_find(CKM_AES_CTR)->family, FAMILY_AES_CTR);
    ck_assert_uint_eq(mechanism_find(CKM_AES_GMAC)->family, FAMILY_AES_GMAC);
    ck_assert_uint_eq(mechanism_find(CKM_AES_CMAC_GENERAL)->family, FAMILY_AES_CMAC);
    ck_assert_uint_eq(mechanism_find(CKM_SHA3_512_HMAC)->family, FAMILY_HMAC);
    ck_assert_uint_eq(mechanism_find(CKM_HKDF_DERIVE)->family, FAMILY_DERIVE);
    ck_assert_uint_eq(mechanism_find(CKM_AES_ECB_ENCRYPT_DATA)->family, FAMILY_DERIVE);
}
END_TEST

START_TEST(hmac_takes_generic_and_its_own_keys)
{
    const struct mechanism *hmac = mechanism_find(CKM_SHA384_HMAC);

    ck_assert(hmac->accepts_key(hmac, CKK_GENERIC_SECRET));
    ck_assert(hmac->accepts_key(hmac, CKK_SHA384_HMAC));
    ck_assert(!hmac->accepts_key(hmac, CKK_SHA256_HMAC));
    ck_assert(!hmac->accepts_key(hmac, CKK_AES));
}
END_TEST

START_TEST(key_generation_has_its_key_type)
{
    ck_assert_uint_eq(mechanism_find(CKM_AES_KEY_GEN)->generate->key_type, CKK_AES);
    ck_assert_uint_eq(mechanism_find(CKM_GENERIC_SECRET_KEY_GEN)->generate->key_type,
                      CKK_GENERIC_SECRET);
    ck_assert_uint_eq(mechanism_find(CKM_SHA512_224_KEY_GEN)->generate->key_type,
                      CKK_SHA512_224_HMAC);
    ck_assert_uint_eq(mechanism_find(CKM_SHA3_384_KEY_GEN)->generate->key_type, CKK_SHA3_384_HMAC);
}
END_TEST

START_TEST(forgetting_frees_everything)
{
    struct operation operation = {.kind = OPERATION_DIGEST};

    operation_end(&operation);
    operation_forget(&operation);
    operation = test_operation(OPERATION_DIGEST, CKM_SHA256, NULL);
    CK_MECHANISM mechanism = test_mechanism(CKM_SHA256, NULL, 0);
    ck_assert_uint_eq(operation.mechanism->digest->start(&operation, &mechanism), CKR_OK);
    operation_end(&operation);
    ck_assert_int_eq(operation.phase, PHASE_IDLE);
    ck_assert_ptr_nonnull(operation.state);
    ck_assert_ptr_nonnull(operation.mechanism);
    operation_forget(&operation);
    ck_assert_ptr_null(operation.state);
    ck_assert_ptr_null(operation.mechanism);
}
END_TEST

/* Every allocation of a start fails in turn: CKR_HOST_MEMORY, nothing leaks, and the next start
 * works. */
START_TEST(start_survives_want_of_memory)
{
    static CK_BYTE iv[16];
    CK_GCM_PARAMS gcm = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_AES_CTR_PARAMS ctr = {.ulCounterBits = 32};
    struct object *key = test_key_new(CKK_AES, hex("000102030405060708090a0b0c0d0e0f"));
    const struct {
        enum operation_kind kind;
        CK_MECHANISM mechanism;
    } rows[] = {
        {OPERATION_DIGEST, {CKM_SHA256, NULL, 0}},
        {OPERATION_SIGN, {CKM_AES_CMAC, NULL, 0}},
        {OPERATION_ENCRYPT, {CKM_AES_GCM, &gcm, sizeof(gcm)}},
        {OPERATION_DECRYPT, {CKM_AES_CBC, iv, sizeof(iv)}},
        {OPERATION_ENCRYPT, {CKM_AES_CTR, &ctr, sizeof(ctr)}},
        {OPERATION_SIGN, {CKM_AES_GMAC, &gcm, sizeof(gcm)}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct operation operation = test_operation(rows[i].kind, rows[i].mechanism.mechanism, key);
        const struct mechanism *with = operation.mechanism;
        CK_RV(*start)
        (struct operation *, const CK_MECHANISM *) =
            with->cipher ? with->cipher->start
                         : (with->digest ? with->digest->start : with->mac->start);
        long live = mem_live();
        mem_fail_at(1, false);
        ck_assert_uint_eq(start(&operation, &rows[i].mechanism), CKR_HOST_MEMORY);
        mem_fail_at(0, false);
        operation_end(&operation);
        ck_assert_int_eq(mem_live(), live);
        ck_assert_uint_eq(start(&operation, &rows[i].mechanism), CKR_OK);
        operation_forget(&operation);
        ck_assert_int_eq(mem_live(), live);
    }
    test_key_free(key);
}
END_TEST

TCase *mechanism_table_tests(void)
{
    TCase *tests = tcase_create("table");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_test(tests, table_is_in_order_and_found);
    tcase_add_test(tests, flags_are_the_operations_present);
    tcase_add_test(tests, families_keep_modes_apart);
    tcase_add_test(tests, hmac_takes_generic_and_its_own_keys);
    tcase_add_test(tests, key_generation_has_its_key_type);
    tcase_add_test(tests, forgetting_frees_everything);
    tcase_add_test(tests, start_survives_want_of_memory);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("mechanisms");

    suite_add_tcase(suite, mechanism_table_tests());
    suite_add_tcase(suite, mechanism_mac_tests());
    suite_add_tcase(suite, mechanism_gcm_tests());
    suite_add_tcase(suite, mechanism_cbc_tests());
    suite_add_tcase(suite, mechanism_modes_tests());
    suite_add_tcase(suite, mechanism_sp800_108_tests());
    suite_add_tcase(suite, mechanism_hkdf_tests());
    suite_add_tcase(suite, mechanism_wrap_tests());
    suite_add_tcase(suite, mechanism_kdf_modes_tests());
    suite_add_tcase(suite, mechanism_simple_kdf_tests());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
