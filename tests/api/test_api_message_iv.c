/*
 * The IVs that the token makes in C_EncryptMessage and C_EncryptMessageBegin: their form, and that
 * no IV comes twice under one key, whatever sessions, threads, copies and processes use it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/message_fixture.h"

#define IV_LEN 12
#define SESSIONS 8
#define MESSAGES 12500 /* in each session */

static struct message message;
static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static int compare_ivs(const void *a, const void *b)
{
    return memcmp(a, b, IV_LEN);
}

static void assert_all_differ(CK_BYTE (*ivs)[IV_LEN], size_t count)
{
    qsort(ivs, count, IV_LEN, compare_ivs);
    for (size_t i = 1; i < count; i++)
        ck_assert_msg(memcmp(ivs[i - 1], ivs[i], IV_LEN) != 0, "an IV came twice");
}

static CK_OBJECT_HANDLE copy(CK_OBJECT_HANDLE key, bool to_token)
{
    CK_ATTRIBUTE template = {CKA_TOKEN, to_token ? &yes : &no, 1};
    CK_OBJECT_HANDLE handle;

    OK(api.p11->C_CopyObject(api.session, key, &template, 1, &handle));
    return handle;
}

START_TEST(random_ivs)
{
    static CK_BYTE ivs[20000][IV_LEN];

    OK(message_encrypt_init(api.session, message_aes));
    for (size_t i = 0; i < COUNT(ivs); i++) {
        message_prepare(&message, 1, i % 2 == 0 ? CKG_GENERATE : CKG_GENERATE_RANDOM);
        OK(message_encrypt(api.session, &message, 0, 16));
        memcpy(ivs[i], message.iv, IV_LEN);
    }
    message_assert_as_openssl(&message, 0, 16);
    assert_all_differ(ivs, COUNT(ivs));
}
END_TEST

/* 16 bytes of which so many bits are the caller's. */
START_TEST(random_ivs_keep_the_fixed_bits)
{
    CK_BYTE seen_or[16] = {0};
    CK_BYTE seen_and[16];
    CK_ULONG fixed = (CK_ULONG) _i;

    memset(seen_and, 0xff, sizeof(seen_and));
    OK(message_encrypt_init(api.session, message_aes));
    for (int i = 0; i < 200; i++) {
        message_prepare(&message, 0xa5, CKG_GENERATE_RANDOM);
        message.params.ulIvLen = 16;
        message.params.ulIvFixedBits = fixed;
        OK(message_encrypt(api.session, &message, 3, 20));
        message_assert_as_openssl(&message, 3, 20);
        for (size_t at = 0; at < 16; at++) {
            seen_or[at] |= message.iv[at];
            seen_and[at] &= message.iv[at];
        }
        ck_assert_uint_eq(message.iv[16], 0xa5);
    }
    for (CK_ULONG bit = 0; bit < 128; bit++) {
        CK_BYTE mask = (CK_BYTE) (0x80 >> bit % 8);
        CK_BYTE wanted_or = bit < fixed ? 0xa5 & mask : mask;
        CK_BYTE wanted_and = bit < fixed ? 0xa5 & mask : 0;
        ck_assert_uint_eq(seen_or[bit / 8] & mask, wanted_or);
        ck_assert_uint_eq(seen_and[bit / 8] & mask, wanted_and);
    }
}
END_TEST

static void assert_iv(const char *wanted)
{
    char text[2 * IV_LEN + 1];

    for (size_t i = 0; i < IV_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", message.iv[i]);
    ck_assert_str_eq(text, wanted);
}

START_TEST(counters_stand_behind_the_fixed_bits)
{
    static const char *wanted[] = {"ffffffff0000000000000000", "ffffffff0000000000000001",
                                   "ffffffff0000000000000002"};

    OK(message_encrypt_init(api.session, message_aes));
    for (size_t i = 0; i < COUNT(wanted); i++) {
        message_prepare(&message, 0xff, CKG_GENERATE_COUNTER);
        message.params.ulIvFixedBits = 32;
        OK(message_encrypt(api.session, &message, 0, 30));
        assert_iv(wanted[i]);
        message_assert_as_openssl(&message, 0, 30);
    }
    /* C_EncryptMessageBegin counts on. */
    message_prepare(&message, 0xff, CKG_GENERATE_COUNTER);
    message.params.ulIvFixedBits = 32;
    OK(api.p11->C_EncryptMessageBegin(api.session, &message.params, sizeof(message.params), NULL,
                                      0));
    assert_iv("ffffffff0000000000000003");
    OK(api.p11->C_EncryptMessageNext(api.session, &message.params, sizeof(message.params),
                                     message_text, 30, message.out, &message.out_len,
                                     CKF_END_OF_MESSAGE));
    message_assert_as_openssl(&message, 0, 30);
}
END_TEST

/* TLS 1.3's way (RFC 8446, 5.3). */
START_TEST(counters_are_xored_onto_the_base)
{
    static const char *wanted[] = {"ffffffffffffffffffffffff", "fffffffffffffffffffffffe",
                                   "fffffffffffffffffffffffd", "fffffffffffffffffffffffc"};

    OK(message_encrypt_init(api.session, message_aes));
    for (size_t i = 0; i < COUNT(wanted); i++) {
        message_prepare(&message, 0xff, CKG_GENERATE_COUNTER_XOR);
        message.params.ulIvFixedBits = 32;
        OK(message_encrypt(api.session, &message, 0, 30));
        assert_iv(wanted[i]);
        message_assert_as_openssl(&message, 0, 30);
    }
    /* Onto another base, other counts could give the same IVs. */
    message_prepare(&message, 0xfe, CKG_GENERATE_COUNTER_XOR);
    message.params.ulIvFixedBits = 32;
    EXPECT(CKR_MECHANISM_PARAM_INVALID, message_encrypt(api.session, &message, 0, 30));
    message_prepare(&message, 0xff, CKG_GENERATE_COUNTER);
    message.params.ulIvFixedBits = 32;
    EXPECT(CKR_MECHANISM_PARAM_INVALID, message_encrypt(api.session, &message, 0, 30));
    message_prepare(&message, 0xff, CKG_GENERATE_COUNTER_XOR);
    EXPECT(CKR_MECHANISM_PARAM_INVALID, message_encrypt(api.session, &message, 0, 30));
}
END_TEST

static const CK_GENERATOR_FUNCTION counting[] = {CKG_GENERATE_COUNTER, CKG_GENERATE_COUNTER_XOR};

/* Room for so many bits: then the key is used up, for that generator. */
START_TEST(counters_end)
{
    CK_ULONG bits = 4;
    CK_BYTE ivs[16][IV_LEN];

    OK(message_encrypt_init(api.session, message_aes));
    for (size_t i = 0; i <= COUNT(ivs); i++) {
        message_prepare(&message, 0x5a, counting[_i]);
        message.params.ulIvFixedBits = 8 * IV_LEN - bits;
        CK_RV rv = message_encrypt(api.session, &message, 0, 10);
        api_expect(rv, i < COUNT(ivs) ? CKR_OK : CKR_KEY_EXHAUSTED, "a message by the counter");
        if (i < COUNT(ivs)) {
            ck_assert_uint_eq(message.iv[11] >> bits, 0x5a >> bits);
            memcpy(ivs[i], message.iv, IV_LEN);
        } else {
            ck_assert_uint_eq(message.iv[11], 0x5a);
        }
    }
    assert_all_differ(ivs, COUNT(ivs));
    message_prepare(&message, 0x5a, CKG_GENERATE_RANDOM);
    OK(message_encrypt(api.session, &message, 0, 10));
}
END_TEST

/* One after another with: the key, its copy, the copy's copy, the same value imported again, the
 * key after a change of its label, and after its destruction the value once more. */
START_TEST(every_object_of_a_value_counts_on)
{
    CK_ATTRIBUTE label = {CKA_LABEL, "new", 3};
    CK_OBJECT_HANDLE keys[5];
    CK_BYTE ivs[6][IV_LEN];

    keys[0] = message_aes;
    keys[1] = copy(message_aes, false);
    keys[2] = copy(keys[1], false);
    keys[3] = message_import(CKK_AES, message_key, CKA_ENCRYPT, CKA_DECRYPT);
    keys[4] = message_aes;
    for (size_t i = 0; i < COUNT(ivs); i++) {
        message_prepare(&message, 0, counting[_i]);
        if (i == 4)
            OK(api.p11->C_SetAttributeValue(api.session, message_aes, &label, 1));
        if (i == 5) {
            for (size_t k = 0; k < 4; k++)
                OK(api.p11->C_DestroyObject(api.session, keys[k]));
            keys[4] = message_import(CKK_AES, message_key, CKA_ENCRYPT, CKA_DECRYPT);
        }
        OK(message_encrypt_init(api.session, keys[i < 5 ? i : 4]));
        OK(message_encrypt(api.session, &message, 0, 10));
        OK(api.p11->C_MessageEncryptFinal(api.session));
        memcpy(ivs[i], message.iv, IV_LEN);
        ck_assert_uint_eq(message.iv[11], i);
    }
    assert_all_differ(ivs, COUNT(ivs));
}
END_TEST

static CK_OBJECT_HANDLE derived_from_token(void)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG len = 32;
    CK_OBJECT_HANDLE base = api_make_index_key(&api, "base", 1);
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, 32};
    CK_PRF_DATA_PARAM data[] = {{CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
                                {CK_SP800_108_BYTE_ARRAY, (CK_BYTE *) "mine", 4}};
    CK_SP800_108_KDF_PARAMS params = {CKM_SHA256_HMAC, COUNT(data), data, 0, NULL};
    CK_MECHANISM kdf = {CKM_SP800_108_COUNTER_KDF, &params, sizeof(params)};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},          {CKA_ENCRYPT, &yes, 1}};
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_DeriveKey(api.session, &kdf, base, template, COUNT(template), &key));
    return key;
}

/* Keys that are still there after this process: a counter in its memory would begin anew. */
START_TEST(keys_that_outlive_the_process_have_no_counter)
{
    CK_OBJECT_HANDLE keys[5];

    keys[0] = api_make_aes_key(&api, true, "token");
    keys[1] = copy(keys[0], false);
    keys[2] = copy(keys[1], false);
    keys[3] = derived_from_token();
    keys[4] = copy(message_aes, true);
    for (size_t i = 0; i < COUNT(keys); i++) {
        OK(message_encrypt_init(api.session, keys[i]));
        for (size_t k = 0; k < COUNT(counting); k++) {
            message_prepare(&message, 7, counting[k]);
            EXPECT(CKR_MECHANISM_PARAM_INVALID, message_encrypt(api.session, &message, 0, 10));
            ck_assert_uint_eq(message.iv[11], 7);
        }
        message_prepare(&message, 7, CKG_GENERATE_RANDOM);
        OK(message_encrypt(api.session, &message, 0, 10));
        message_prepare(&message, 7, CKG_NO_GENERATE);
        OK(message_encrypt(api.session, &message, 0, 10));
        OK(api.p11->C_MessageEncryptFinal(api.session));
    }
    char *log = api_log(&api);
    ck_assert_ptr_nonnull(strstr(log, "counter for this key"));
    free(log);
}
END_TEST

struct worker {
    pthread_t thread;
    CK_SESSION_HANDLE session;
    CK_GENERATOR_FUNCTION generator;
    CK_BYTE (*ivs)[IV_LEN];
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct message mine;

    for (size_t i = 0; i < MESSAGES; i++) {
        message_prepare(&mine, 0x33, worker->generator);
        mine.params.ulIvFixedBits = worker->generator == CKG_GENERATE_RANDOM ? 0 : 32;
        OK(message_encrypt(worker->session, &mine, 0, 16));
        memcpy(worker->ivs[i], mine.iv, IV_LEN);
    }
    return NULL;
}

/* Sessions that use the key and sessions that use its copy. */
START_TEST(threads_never_share_an_iv)
{
    static const CK_GENERATOR_FUNCTION generators[] = {
        CKG_GENERATE_COUNTER, CKG_GENERATE_COUNTER_XOR, CKG_GENERATE_RANDOM};
    static CK_BYTE ivs[SESSIONS * MESSAGES][IV_LEN];
    struct worker workers[SESSIONS];
    CK_OBJECT_HANDLE other = copy(message_aes, false);

    for (size_t i = 0; i < SESSIONS; i++) {
        workers[i] = (struct worker){.generator = generators[_i], .ivs = ivs + i * MESSAGES};
        OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION, NULL, NULL, &workers[i].session));
        OK(message_encrypt_init(workers[i].session, i % 2 == 0 ? message_aes : other));
    }
    for (size_t i = 0; i < SESSIONS; i++)
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (size_t i = 0; i < SESSIONS; i++)
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
    assert_all_differ(ivs, COUNT(ivs));
}
END_TEST

static CK_BYTE (*shared_ivs(size_t count))[IV_LEN]
{
    void *memory =
        mmap(NULL, count * IV_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    REQUIRE(memory != MAP_FAILED);
    return memory;
}

/* As an application that initialises anew and imports its key again. */
static void child_again(CK_BYTE (*ivs)[IV_LEN], size_t count)
{
    EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, message_encrypt(api.session, &message, 0, 10));
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &api.session));
    CK_OBJECT_HANDLE key = message_import(CKK_AES, message_key, CKA_ENCRYPT, CKA_DECRYPT);
    OK(message_encrypt_init(api.session, key));
    message_prepare(&message, 1, CKG_GENERATE_COUNTER);
    /* The parent counts on with this value. */
    EXPECT(CKR_MECHANISM_PARAM_INVALID, message_encrypt(api.session, &message, 0, 10));
    for (size_t i = 0; i < count; i++) {
        message_prepare(&message, 1, CKG_GENERATE_RANDOM);
        OK(message_encrypt(api.session, &message, 0, 10));
        memcpy(ivs[i], message.iv, IV_LEN);
    }
}

START_TEST(processes_never_share_an_iv)
{
    size_t count = 5000;
    CK_BYTE(*ivs)[IV_LEN] = shared_ivs(2 * count);
    int status = 0;

    OK(message_encrypt_init(api.session, message_aes));
    message_prepare(&message, 1, CKG_GENERATE_COUNTER);
    OK(message_encrypt(api.session, &message, 0, 10));
    message_prepare(&message, 1, CKG_GENERATE_RANDOM);
    OK(message_encrypt(api.session, &message, 0, 10));
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        child_again(ivs, count);
        _exit(0);
    }
    for (size_t i = 0; i < count; i++) {
        message_prepare(&message, 1, CKG_GENERATE_RANDOM);
        OK(message_encrypt(api.session, &message, 0, 10));
        memcpy(ivs[count + i], message.iv, IV_LEN);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_all_differ(ivs, 2 * count);
    munmap(ivs, 2 * count * IV_LEN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api message IVs");
    TCase *tests = tcase_create("ivs");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, message_setup, message_teardown);
    tcase_add_test(tests, random_ivs);
    tcase_add_loop_test(tests, random_ivs_keep_the_fixed_bits, 0, 33);
    tcase_add_test(tests, counters_stand_behind_the_fixed_bits);
    tcase_add_test(tests, counters_are_xored_onto_the_base);
    tcase_add_loop_test(tests, counters_end, 0, COUNT(counting));
    tcase_add_loop_test(tests, every_object_of_a_value_counts_on, 0, COUNT(counting));
    tcase_add_test(tests, keys_that_outlive_the_process_have_no_counter);
    tcase_add_loop_test(tests, threads_never_share_an_iv, 0, 3);
    tcase_add_test(tests, processes_never_share_an_iv);
    tcase_set_timeout(tests, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
