/* AES-ECB and AES-CTR (NIST SP 800-38A). */
#include "tests/unit/test_mechanisms.h"

#include <string.h>

#include "tests/unit/mechanism_fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* F.1.1 and F.5.1. */
static const char key_hex[] = "2b7e151628aed2a6abf7158809cf4f3c";
static const char text[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                           "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
static const char ecb_sealed[] = "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
                                 "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4";
static const char ctr_sealed[] = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
                                 "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee";
static const char ctr_block[] = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

static struct object *key;

static void setup(void)
{
    mechanism_setup();
    key = test_key_new(CKK_AES, hex(key_hex));
}

static void teardown(void)
{
    test_key_free(key);
    mechanism_teardown();
}

static void assert_known_answer(CK_MECHANISM *mechanism, const char *sealed)
{
    struct operation sealing = test_operation(OPERATION_ENCRYPT, mechanism->mechanism, key);
    struct operation opening = test_operation(OPERATION_DECRYPT, mechanism->mechanism, key);

    for (size_t part = 0; part < 70; part++) {
        test_cipher_gives(&sealing, mechanism, text, part, sealed);
        test_cipher_gives(&opening, mechanism, sealed, part, text);
    }
    operation_forget(&sealing);
    operation_forget(&opening);
}

START_TEST(ecb_known_answer_in_all_parts)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_ECB, NULL, 0);

    assert_known_answer(&mechanism, ecb_sealed);
    test_overlaps_one_shot(&mechanism, key, text, ecb_sealed);
    test_overlaps_parts(&mechanism, key, text, ecb_sealed);
}
END_TEST

static CK_RV run(CK_MECHANISM *mechanism, enum operation_kind kind, size_t len, size_t part)
{
    static const unsigned char zeros[256];
    struct operation operation = test_operation(kind, mechanism->mechanism, key);
    struct blob out = {0};
    CK_RV rv = test_cipher(&operation, mechanism, bytes_of(zeros, len), part, &out);

    if (rv == CKR_OK)
        ck_assert_uint_eq(out.len, len);
    blob_clear(&out);
    operation_forget(&operation);
    return rv;
}

START_TEST(ecb_lengths)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_ECB, NULL, 0);

    for (size_t len = 0; len <= 33; len++) {
        for (size_t part = 0; part < 10; part += 5) {
            ck_assert_uint_eq(run(&mechanism, OPERATION_ENCRYPT, len, part),
                              len % 16 == 0 ? CKR_OK : CKR_DATA_LEN_RANGE);
            ck_assert_uint_eq(run(&mechanism, OPERATION_DECRYPT, len, part),
                              len % 16 == 0 ? CKR_OK : CKR_ENCRYPTED_DATA_LEN_RANGE);
        }
    }
}
END_TEST

/* What an aborted message left in the kept context does not reach the next. */
START_TEST(ecb_forgets_an_aborted_message)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_ECB, NULL, 0);
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_ECB, key);
    unsigned char out[16];
    size_t len = 0;

    ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism), CKR_OK);
    ck_assert_uint_eq(
        operation.mechanism->cipher->update(&operation, bytes_of("left", 4), out, &len), CKR_OK);
    ck_assert_uint_eq(len, 0);
    operation_end(&operation);
    test_cipher_gives(&operation, &mechanism, text, 0, ecb_sealed);
    operation_forget(&operation);
}
END_TEST

START_TEST(ecb_takes_no_parameter)
{
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_ECB, key);
    CK_BYTE iv[16] = {0};
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_ECB, iv, sizeof(iv));

    ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism),
                      CKR_MECHANISM_PARAM_INVALID);
    operation_forget(&operation);
}
END_TEST

static CK_AES_CTR_PARAMS ctr_params(const char *block, CK_ULONG bits)
{
    CK_AES_CTR_PARAMS params = {.ulCounterBits = bits};

    memcpy(params.cb, hex(block).bytes, sizeof(params.cb));
    return params;
}

START_TEST(ctr_known_answer_in_all_parts)
{
    CK_AES_CTR_PARAMS params = ctr_params(ctr_block, 16);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CTR, &params, sizeof(params));

    assert_known_answer(&mechanism, ctr_sealed);
    test_overlaps_one_shot(&mechanism, key, text, ctr_sealed);
    test_overlaps_parts(&mechanism, key, text, ctr_sealed);
}
END_TEST

/* The blocks that a counter has left, of every width. */
static const struct {
    const char *block;
    CK_ULONG bits;
    size_t len_max; /* 0: more than this test asks for */
} counters[] = {
    {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 1, 16},   {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfefe", 1, 32},
    {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 8, 16},   {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfefc", 8, 64},
    {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfefc", 2, 64},   {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfefc", 3, 64},
    {"00000000000000000000000000000003", 3, 80},   {"f0f1f2f3f4f5f6f7f8f9fafbfcfdffff", 9, 16},
    {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 9, 0},    {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16, 0},
    {"f0f1f2f3f4f5f6f7f8f9fafbfffffffe", 32, 32},  {"f0f1f2f3f4f5f6f7fffffffffffffffd", 64, 48},
    {"f0f1f2f3f4f5f6f7fffffffffffffffd", 65, 48},  {"f0f1f2f3f4f5f6f6fffffffffffffffd", 65, 0},
    {"fffffffffffffffffffffffffffffffe", 128, 32}, {"7ffffffffffffffffffffffffffffffe", 127, 32},
    {"7ffffffffffffffffffffffffffffffe", 128, 0},  {"00000000000000000000000000000000", 128, 0},
};

START_TEST(ctr_does_not_wrap)
{
    CK_AES_CTR_PARAMS params = ctr_params(counters[_i].block, counters[_i].bits);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CTR, &params, sizeof(params));
    size_t len_max = counters[_i].len_max == 0 ? 200 : counters[_i].len_max;

    for (size_t len = 0; len <= 200; len++) {
        for (size_t part = 0; part <= 14; part += 7) {
            ck_assert_uint_eq(run(&mechanism, OPERATION_ENCRYPT, len, part),
                              len <= len_max ? CKR_OK : CKR_DATA_LEN_RANGE);
            ck_assert_uint_eq(run(&mechanism, OPERATION_DECRYPT, len, part),
                              len <= len_max ? CKR_OK : CKR_ENCRYPTED_DATA_LEN_RANGE);
        }
    }
}
END_TEST

START_TEST(ctr_refuses_without_output)
{
    CK_AES_CTR_PARAMS params = ctr_params(ctr_block, 8);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CTR, &params, sizeof(params));
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_CTR, key);
    const struct cipher_ops *ops = operation.mechanism->cipher;
    unsigned char out[17] = {0};
    static const unsigned char zeros[17];
    size_t len = 0;

    ck_assert_uint_eq(ops->start(&operation, &mechanism), CKR_OK);
    ck_assert_uint_eq(ops->output_len(&operation, 17, true, &len), CKR_DATA_LEN_RANGE);
    ck_assert_uint_eq(ops->one_shot(&operation, bytes_of("seventeen bytes..", 17), out, &len),
                      CKR_DATA_LEN_RANGE);
    ck_assert_mem_eq(out, zeros, sizeof(out));
    operation_forget(&operation);
}
END_TEST

START_TEST(ctr_refuses_wrong_parameters)
{
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_CTR, key);
    CK_AES_CTR_PARAMS params = ctr_params(ctr_block, 128);
    static const CK_ULONG bad_bits[] = {0, 129, 256, ~0UL};
    unsigned char room[sizeof(params) + 8] = {0};

    for (size_t i = 0; i < COUNT(bad_bits); i++) {
        CK_AES_CTR_PARAMS bad = ctr_params(ctr_block, bad_bits[i]);
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_CTR, &bad, sizeof(bad));
        ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism),
                          CKR_MECHANISM_PARAM_INVALID);
    }
    memcpy(room, &params, sizeof(params));
    for (size_t len = 0; len <= sizeof(room); len++) {
        bool is_null = len == sizeof(params);
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_CTR, is_null ? NULL : room, len);
        ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism),
                          CKR_MECHANISM_PARAM_INVALID);
    }
    operation_forget(&operation);
}
END_TEST

TCase *mechanism_modes_tests(void)
{
    TCase *tests = tcase_create("AES-ECB and AES-CTR");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, ecb_known_answer_in_all_parts);
    tcase_add_test(tests, ecb_lengths);
    tcase_add_test(tests, ecb_forgets_an_aborted_message);
    tcase_add_test(tests, ecb_takes_no_parameter);
    tcase_add_test(tests, ctr_known_answer_in_all_parts);
    tcase_add_loop_test(tests, ctr_does_not_wrap, 0, COUNT(counters));
    tcase_add_test(tests, ctr_refuses_without_output);
    tcase_add_test(tests, ctr_refuses_wrong_parameters);
    return tests;
}
