/* Two processes on one token, on SQLite or on the server of tests/servers/postgres.sh: each sees
 * the other's changes without reopening anything. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

#define ROUNDS 8
#define SEEN_MS 100
#define PATIENCE_MS 5000

enum order { ORDER_CREATE = 1, ORDER_RENAME, ORDER_DESTROY, ORDER_CHURN, ORDER_END };

struct other {
    pid_t process;
    int orders;
    int answers;
};

static struct api api;
static struct other other;

/* The other process: does one order after another, and exits with 1 at the first that fails. */
static int obey(int orders, int answers)
{
    struct work work = {.p11 = api.p11, .slot = api.slot, .call = "none"};
    CK_OBJECT_HANDLE key = 0;
    CK_OBJECT_HANDLE shared;
    char order;

    if (api.p11->C_Initialize(NULL) != CKR_OK || work_open(&work, CKF_RW_SESSION) != CKR_OK ||
        work_login(&work) != CKR_OK || work_find(&work, WORK_LABEL, &shared) != CKR_OK)
        return 1;
    api.session = work.session;
    while (read(orders, &order, 1) == 1 && order != ORDER_END) {
        CK_ATTRIBUTE label = {CKA_LABEL, "renamed", 7};
        CK_ATTRIBUTE id = {CKA_ID, &order, 1};
        CK_RV rv = CKR_OK;
        if (order == ORDER_CREATE)
            key = api_make_aes_key(&api, true, "made by the other");
        if (order == ORDER_RENAME)
            rv = api.p11->C_SetAttributeValue(api.session, key, &label, 1);
        if (order == ORDER_DESTROY)
            rv = api.p11->C_DestroyObject(api.session, key);
        for (int i = 0; order == ORDER_CHURN && rv == CKR_OK && i < 50; i++)
            rv = api.p11->C_SetAttributeValue(api.session, shared, &id, 1);
        if (rv != CKR_OK || write(answers, &order, 1) != 1)
            return 1;
    }
    return api.p11->C_Finalize(NULL) == CKR_OK ? 0 : 1;
}

/* NULL: SQLite. Each test has a schema of its own. */
static const char *store_location(char *buffer, size_t size)
{
    const char *store = getenv("POSTGRES_STORE");

    if (store == NULL)
        return NULL;
    (void) snprintf(buffer, size, "%s&schema=processes_%ld", store, (long) getpid());
    return buffer;
}

static void begin(void)
{
    char location[256];
    int orders[2];
    int answers[2];

    api_open(&api, store_location(location, sizeof(location)), NULL);
    api_import_index_key(&api, WORK_LABEL, work_index_key);
    OK(api.p11->C_Finalize(NULL));
    ck_assert_int_eq(pipe(orders) | pipe(answers), 0);
    other.process = fork();
    if (other.process == 0) {
        alarm(100);
        _exit(obey(orders[0], answers[1]));
    }
    close(orders[0]);
    close(answers[1]);
    other.orders = orders[1];
    other.answers = answers[0];
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
}

static void give(char order)
{
    ck_assert_int_eq(write(other.orders, &order, 1), 1);
}

static void await(char order)
{
    char answer = 0;

    ck_assert_int_eq(read(other.answers, &answer, 1), 1);
    ck_assert_int_eq(answer, order);
}

static void end(void)
{
    int status;

    give(ORDER_END);
    ck_assert_int_eq(waitpid(other.process, &status, 0), other.process);
    ck_assert_int_eq(status, 0);
    api_close(&api);
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static CK_ULONG count_of(const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};

    return api_count(&api, &template, 1);
}

/* How long it takes until this many objects have the label. */
static long ms_until(const char *label, CK_ULONG wanted)
{
    long start = now_ms();

    while (count_of(label) != wanted) {
        ck_assert_msg(now_ms() - start < PATIENCE_MS, "%s: not seen", label);
        crew_sleep_ms(1);
    }
    return now_ms() - start;
}

static long lesser(long a, long b)
{
    return a < b ? a : b;
}

/* A machine that is busy may delay one round; the best of them is the module's own delay. */
START_TEST(changes_are_seen)
{
    long created = PATIENCE_MS;
    long renamed = PATIENCE_MS;
    long destroyed = PATIENCE_MS;

    begin();
    for (int round = 0; round < ROUNDS; round++) {
        give(ORDER_CREATE);
        await(ORDER_CREATE);
        created = lesser(created, ms_until("made by the other", 1));
        CK_OBJECT_HANDLE key = api_find(&api, "made by the other");
        give(ORDER_RENAME);
        await(ORDER_RENAME);
        renamed = lesser(renamed, ms_until("renamed", 1));
        ck_assert_uint_eq(count_of("made by the other"), 0);
        ck_assert_uint_eq(api_find(&api, "renamed"), key);
        give(ORDER_DESTROY);
        await(ORDER_DESTROY);
        destroyed = lesser(destroyed, ms_until("renamed", 0));
        EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_DestroyObject(api.session, key));
    }
    ck_assert_int_le(created, SEEN_MS);
    ck_assert_int_le(renamed, SEEN_MS);
    ck_assert_int_le(destroyed, SEEN_MS);
    end();
}
END_TEST

/* No wait: the view may be old, and nobody may be told that a key is there that is gone. */
START_TEST(a_destroyed_key_cannot_be_opened)
{
    CK_BYTE iv[12] = {5};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};

    begin();
    for (int round = 0; round < ROUNDS; round++) {
        give(ORDER_CREATE);
        await(ORDER_CREATE);
        ms_until("made by the other", 1);
        CK_OBJECT_HANDLE key = api_find(&api, "made by the other");
        give(ORDER_DESTROY);
        await(ORDER_DESTROY);
        EXPECT(CKR_KEY_HANDLE_INVALID, api.p11->C_EncryptInit(api.session, &mechanism, key));
    }
    end();
}
END_TEST

/* Both change the same object all the time; each change goes through on top of the other's. */
START_TEST(both_change_one_object)
{
    CK_ATTRIBUTE id = {CKA_ID, "mine", 4};
    struct work work;

    begin();
    work = (struct work){.p11 = api.p11, .session = api.session, .call = "none"};
    CK_OBJECT_HANDLE key = api_find(&api, WORK_LABEL);
    give(ORDER_CHURN);
    for (int i = 0; i < 50; i++) {
        OK(api.p11->C_SetAttributeValue(api.session, key, &id, 1));
        api_expect(work_subkeys(&work), CKR_OK, work.call);
    }
    await(ORDER_CHURN);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("processes");
    TCase *tests = tcase_create("processes");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, changes_are_seen);
    tcase_add_test(tests, a_destroyed_key_cannot_be_opened);
    tcase_add_test(tests, both_change_one_object);
    tcase_set_timeout(tests, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
