/*
 * IVs from a counter under token keys, which an anchor allows: no IV comes twice, over restarts,
 * kills, processes, copies and imports; and none comes once the store or the anchor went back.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "module/admin.h"
#include "tests/support/api_fixture.h"
#include "tests/support/store_hand.h"

#define IV_LEN 12
#define IVS_MAX 4096
#define PROCESSES 4

static struct api api;
static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

/* All IVs that a key has given. */
static CK_BYTE ivs[IVS_MAX][IV_LEN];
static size_t iv_count;

static const char *store_location(void)
{
    static char location[160];
    snprintf(location, sizeof(location), "sqlite:%s/test.db", api.folder);
    return location;
}

static void log_in(void)
{
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &api.session));
    OK(api.p11->C_Login(api.session, CKU_USER, NULL, 0));
}

static void restart(void)
{
    OK(api.p11->C_Finalize(NULL));
    OK(api.p11->C_Initialize(NULL));
    log_in();
}

static void setup(void)
{
    CK_UTF8CHAR label[33] = "test                            ";
    char lines[160] = "login = ambient\n";

    api_load(&api, NULL, NULL);
    snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "anchor = file:%s/anchor\n",
             api.folder);
    OK(api.p11->C_Finalize(NULL));
    api_write_conf(&api, NULL, NULL, lines);
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_InitToken(api.slot, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN), label));
    log_in();
    (void) api_make_aes_key(&api, true, "key");
    iv_count = 0;
}

static void teardown(void)
{
    api_close(&api);
}

/* One message in a session whose operation has begun; the IV's free bits are the last ones. */
static CK_RV encrypt_message(CK_SESSION_HANDLE session, CK_GENERATOR_FUNCTION generator,
                             CK_ULONG free_bits, CK_BYTE iv[IV_LEN])
{
    CK_BYTE out[16];
    CK_BYTE tag[16];
    CK_ULONG len = sizeof(out);
    CK_GCM_MESSAGE_PARAMS params = {
        .pIv = iv,
        .ulIvLen = IV_LEN,
        .ulIvFixedBits = 8 * IV_LEN - free_bits,
        .ivGenerator = generator,
        .pTag = tag,
        .ulTagBits = 128,
    };

    memset(iv, 0x5a, IV_LEN);
    return api.p11->C_EncryptMessage(session, &params, sizeof(params), NULL, 0, (CK_BYTE *) "text",
                                     4, out, &len);
}

static CK_RV encrypt(CK_OBJECT_HANDLE key, CK_GENERATOR_FUNCTION generator, CK_ULONG free_bits,
                     CK_BYTE iv[IV_LEN])
{
    CK_MECHANISM mechanism = {CKM_AES_GCM, NULL, 0};

    OK(api.p11->C_MessageEncryptInit(api.session, &mechanism, key));
    CK_RV rv = encrypt_message(api.session, generator, free_bits, iv);
    OK(api.p11->C_MessageEncryptFinal(api.session));
    return rv;
}

static void encrypt_many(CK_OBJECT_HANDLE key, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_lt(iv_count, IVS_MAX);
        OK(encrypt(key, CKG_GENERATE_COUNTER, 64, ivs[iv_count]));
        iv_count++;
    }
}

static int compare_ivs(const void *a, const void *b)
{
    return memcmp(a, b, IV_LEN);
}

static void assert_all_differ(void)
{
    qsort(ivs, iv_count, IV_LEN, compare_ivs);
    for (size_t i = 1; i < iv_count; i++)
        ck_assert_mem_ne(ivs[i - 1], ivs[i], IV_LEN);
}

START_TEST(a_counter_goes_on_after_a_restart)
{
    encrypt_many(api_find(&api, "key"), 100);
    for (size_t i = 0; i < 100; i++)
        ck_assert_uint_eq(ivs[i][IV_LEN - 1], i);
    restart();
    encrypt_many(api_find(&api, "key"), 100);
    OK(api.p11->C_Logout(api.session));
    OK(api.p11->C_Login(api.session, CKU_USER, NULL, 0));
    encrypt_many(api_find(&api, "key"), 100);
    assert_all_differ();
}
END_TEST

START_TEST(a_key_keeps_the_form_of_its_first_iv)
{
    CK_OBJECT_HANDLE key = api_find(&api, "key");
    CK_BYTE iv[IV_LEN];

    OK(encrypt(key, CKG_GENERATE_COUNTER_XOR, 32, iv));
    for (int i = 0; i < 2; i++) {
        EXPECT(CKR_MECHANISM_PARAM_INVALID, encrypt(key, CKG_GENERATE_COUNTER_XOR, 24, iv));
        EXPECT(CKR_MECHANISM_PARAM_INVALID, encrypt(key, CKG_GENERATE_COUNTER, 32, iv));
        OK(encrypt(key, CKG_GENERATE_COUNTER_XOR, 32, iv));
        OK(encrypt(key, CKG_GENERATE_RANDOM, 96, iv));
        restart();
        key = api_find(&api, "key");
    }
}
END_TEST

START_TEST(a_counter_ends)
{
    CK_OBJECT_HANDLE key = api_find(&api, "key");
    CK_BYTE iv[IV_LEN];

    for (int i = 0; i < 8; i++)
        OK(encrypt(key, CKG_GENERATE_COUNTER, 3, iv));
    EXPECT(CKR_KEY_EXHAUSTED, encrypt(key, CKG_GENERATE_COUNTER, 3, iv));
    restart();
    EXPECT(CKR_KEY_EXHAUSTED, encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 3, iv));
}
END_TEST

static CK_OBJECT_HANDLE copy(CK_OBJECT_HANDLE key, bool is_token, const char *label)
{
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, is_token ? &yes : &no, sizeof(yes)},
        {CKA_LABEL, (void *) label, strlen(label)},
    };
    CK_OBJECT_HANDLE made;

    OK(api.p11->C_CopyObject(api.session, key, template, 2, &made));
    return made;
}

static CK_OBJECT_HANDLE import(bool is_token)
{
    static CK_BYTE value[32] = {7};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE, value, sizeof(value)},  {CKA_TOKEN, is_token ? &yes : &no, sizeof(yes)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_DECRYPT, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_CreateObject(api.session, template, 6, &key));
    return key;
}

START_TEST(all_objects_of_a_value_share_it)
{
    CK_OBJECT_HANDLE session_key = import(false);
    CK_OBJECT_HANDLE key = import(true);
    CK_OBJECT_HANDLE token_copy = copy(key, true, "copy");
    CK_OBJECT_HANDLE session_copy = copy(key, false, "copy");

    for (int i = 0; i < 5; i++) {
        encrypt_many(session_key, 30);
        encrypt_many(key, 30);
        encrypt_many(token_copy, 30);
        encrypt_many(session_copy, 30);
    }
    OK(api.p11->C_DestroyObject(api.session, key));
    OK(api.p11->C_DestroyObject(api.session, token_copy));
    OK(api.p11->C_DestroyObject(api.session, session_copy));
    OK(api.p11->C_DestroyObject(api.session, session_key));
    restart();
    encrypt_many(import(true), 30);
    assert_all_differ();
}
END_TEST

/* ---- a store that another process keeps busy ---- */

#define ENOUGH_MS 2000 /* less than the store's patience of 5 s */

static int64_t now_ms(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static sqlite3 *occupy_store(void)
{
    sqlite3 *other = NULL;

    ck_assert_int_eq(sqlite3_open(strchr(store_location(), ':') + 1, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_busy_timeout(other, 5000), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

struct waiting {
    pthread_t thread;
    CK_SESSION_HANDLE session;
    CK_RV rv;
    int64_t ended_ms;
};

/* Nothing here asserts: it is another thread. */
static void *encrypt_first(void *context)
{
    struct waiting *waiting = context;
    CK_BYTE iv[IV_LEN];

    waiting->rv = encrypt_message(waiting->session, CKG_GENERATE_COUNTER, 64, iv);
    waiting->ended_ms = now_ms();
    return NULL;
}

/* The shares of the count, which are another row, are there; the first block is not. */
static void begin_first(struct waiting *waiting)
{
    CK_MECHANISM mechanism = {CKM_AES_GCM, NULL, 0};
    CK_BYTE iv[IV_LEN];

    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &waiting->session));
    OK(api.p11->C_MessageEncryptInit(waiting->session, &mechanism, api_find(&api, "key")));
    OK(encrypt_message(waiting->session, CKG_GENERATE_RANDOM, 96, iv));
}

static void start_first(struct waiting *waiting)
{
    ck_assert_int_eq(pthread_create(&waiting->thread, NULL, encrypt_first, waiting), 0);
    ck_assert_int_eq(usleep(300 * 1000), 0);
}

START_TEST(a_logout_does_not_wait_for_the_store)
{
    struct waiting waiting = {.rv = CKR_OK};

    begin_first(&waiting);
    sqlite3 *other = occupy_store();
    start_first(&waiting);
    int64_t begin_ms = now_ms();
    OK(api.p11->C_Logout(api.session));
    int64_t logged_out_ms = now_ms();
    ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
    ck_assert_int_eq(pthread_join(waiting.thread, NULL), 0);
    ck_assert_int_lt(logged_out_ms - begin_ms, ENOUGH_MS);
    ck_assert_int_ge(waiting.ended_ms, begin_ms); /* it did wait */
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, waiting.rv);
    OK(api.p11->C_Login(api.session, CKU_USER, NULL, 0));
    encrypt_many(api_find(&api, "key"), 100);
    assert_all_differ();
}
END_TEST

/* Another session with the key waits for the same block, and a session that waits is closed. */
START_TEST(sessions_wait_side_by_side)
{
    struct waiting waiting[2] = {{.rv = CKR_OK}, {.rv = CKR_OK}};

    for (int i = 0; i < 2; i++)
        begin_first(&waiting[i]);
    sqlite3 *other = occupy_store();
    for (int i = 0; i < 2; i++)
        start_first(&waiting[i]);
    int64_t begin_ms = now_ms();
    OK(api.p11->C_CloseSession(waiting[1].session));
    ck_assert_int_lt(now_ms() - begin_ms, ENOUGH_MS);
    ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(waiting[i].thread, NULL), 0);
    OK(waiting[0].rv);
    EXPECT(CKR_SESSION_HANDLE_INVALID, waiting[1].rv);
}
END_TEST

/* Encrypts until it is killed, or so often; each IV goes to the parent. */
static void live(int to, size_t count)
{
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (api.p11->C_Initialize(NULL) != CKR_OK)
        _exit(1);
    log_in();
    CK_OBJECT_HANDLE key = api_find(&api, "key");
    for (size_t i = 0; i < count; i++) {
        CK_BYTE iv[IV_LEN];
        if (encrypt(key, CKG_GENERATE_COUNTER, 64, iv) != CKR_OK || write(to, iv, IV_LEN) != IV_LEN)
            _exit(1);
    }
    _exit(0);
}

START_TEST(processes_that_are_killed_give_no_iv_twice)
{
    pid_t children[PROCESSES];
    int ends[2];

    OK(api.p11->C_Finalize(NULL));
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(pipe(ends), 0);
        for (size_t i = 0; i < PROCESSES; i++) {
            children[i] = fork();
            ck_assert_int_ge(children[i], 0);
            if (children[i] == 0)
                live(ends[1], round == 0 ? 300 : IVS_MAX);
        }
        (void) close(ends[1]);
        while (iv_count < (round == 0 ? 1200 : 3000) &&
               read(ends[0], ivs[iv_count], IV_LEN) == IV_LEN)
            iv_count++;
        for (size_t i = 0; i < PROCESSES; i++) {
            int status = 0;
            if (round == 1)
                (void) kill(children[i], SIGKILL);
            ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
            ck_assert(round == 1 || status == 0);
        }
        (void) close(ends[0]);
    }
    ck_assert_uint_eq(iv_count, 3000);
    OK(api.p11->C_Initialize(NULL));
    log_in();
    encrypt_many(api_find(&api, "key"), 100);
    assert_all_differ();
}
END_TEST

START_TEST(a_store_that_was_accepted_anew_counts_no_more)
{
    struct store *store = NULL;
    struct hand_copy older;
    CK_BYTE iv[IV_LEN];
    uint64_t generation;

    OK(encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 64, iv));
    OK(store_open(store_location(), &store));
    hand_take(store, &older);
    restart();
    OK(encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 64, iv));
    OK(api.p11->C_CloseAllSessions(api.slot));
    hand_put_back(store, &older);
    hand_copy_clear(&older);
    store_close(&store);
    OK(admin_anchor_accept(api.slot, view_text(API_SO_PIN), &generation));
    restart();
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 64, iv));
    OK(encrypt(api_find(&api, "key"), CKG_GENERATE_RANDOM, 96, iv));
    /* A key that has not counted before does under the new anchor. */
    OK(encrypt(api_make_aes_key(&api, true, "other"), CKG_GENERATE_COUNTER, 64, iv));
}
END_TEST

/* The row of the counter alone: the only one that both copies have, with two versions. */
static const struct hand_row *changed_row(const struct hand_copy *before,
                                          const struct hand_copy *after)
{
    for (size_t i = 0; i < before->row_count; i++) {
        for (size_t j = 0; j < after->row_count; j++) {
            if (memcmp(&before->rows[i].id, &after->rows[j].id, OBJECT_ID_LEN) == 0 &&
                before->rows[i].version != after->rows[j].version)
                return &before->rows[i];
        }
    }
    return NULL;
}

START_TEST(a_counter_that_went_back_counts_no_more)
{
    struct store *store = NULL;
    struct hand_copy before;
    struct hand_copy after;
    CK_BYTE iv[IV_LEN];

    OK(encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 64, iv));
    OK(store_open(store_location(), &store));
    hand_take(store, &before);
    restart();
    OK(encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 64, iv));
    hand_take(store, &after);
    OK(api.p11->C_Finalize(NULL));
    const struct hand_row *row = changed_row(&before, &after);
    ck_assert_ptr_nonnull(row);
    if (_i == 0)
        hand_put_row(store, &row->id, row->version, blob_view(&row->attributes),
                     blob_view(&row->value));
    else
        hand_remove_row(store, &row->id);
    OK(api.p11->C_Initialize(NULL));
    log_in();
    EXPECT(CKR_DEVICE_ERROR, encrypt(api_find(&api, "key"), CKG_GENERATE_COUNTER, 64, iv));
    OK(encrypt(api_find(&api, "key"), CKG_GENERATE_RANDOM, 96, iv));
    hand_copy_clear(&before);
    hand_copy_clear(&after);
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("iv_counters");
    TCase *cases = tcase_create("iv_counters");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_counter_goes_on_after_a_restart);
    tcase_add_test(cases, a_key_keeps_the_form_of_its_first_iv);
    tcase_add_test(cases, a_counter_ends);
    tcase_add_test(cases, all_objects_of_a_value_share_it);
    tcase_add_test(cases, a_logout_does_not_wait_for_the_store);
    tcase_add_test(cases, sessions_wait_side_by_side);
    tcase_add_test(cases, processes_that_are_killed_give_no_iv_twice);
    tcase_add_test(cases, a_store_that_was_accepted_anew_counts_no_more);
    tcase_add_loop_test(cases, a_counter_that_went_back_counts_no_more, 0, 2);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
