/* The SQLite store against failing devices, sudden death, and other processes. */
#include "tests/support/store_fixture.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cause.h"
#include "tests/support/vfs_faults.h"

#define OBJECT_COUNT 3

/* The rows of a step of the fault tests: a record and some objects, all of one version. */
static CK_RV commit_version(struct store *store, uint64_t version, bool reset)
{
    static char text[6000];
    memset(text, 'a' + (int) (version % 26), sizeof(text) - 1);
    struct object_id ids[OBJECT_COUNT];
    struct store_change changes[1 + OBJECT_COUNT] = {record_put("token", version - 1, text)};
    for (unsigned int i = 0; i < OBJECT_COUNT; i++) {
        ids[i] = id_of(i);
        changes[1 + i] = object_put(&ids[i], version - 1, text, text);
    }
    if (!reset)
        return store->ops->commit(store, changes, COUNT_OF(changes));
    for (size_t i = 0; i < COUNT_OF(changes); i++)
        changes[i].expected = 0;
    changes[0].attributes = view_text("reset");
    return store->ops->reset(store, "token", version - 1, changes, COUNT_OF(changes));
}

static CK_RV take_version(void *context, const struct store_row *row)
{
    uint64_t *version = context;
    ck_assert(*version == 0 || *version == row->version);
    *version = row->version;
    return CKR_OK;
}

/* The one version that all rows have (0: no rows), whether or not the token was reset. */
static uint64_t whole_version(struct store *store, bool *ret_reset)
{
    uint64_t objects = 0;
    uint64_t version = 0;
    struct blob bytes = {0};
    ck_assert_uint_eq(store->ops->read_objects(store, take_version, &objects), CKR_OK);
    CK_RV rv = store->ops->read_record(store, "token", &bytes, &version);
    ck_assert(rv == CKR_OK || rv == STORE_ABSENT);
    ck_assert_uint_eq(objects, version);
    size_t count = count_objects(store);
    ck_assert_uint_eq(count, version > 0 ? OBJECT_COUNT : 0);
    *ret_reset = view_equal(blob_view(&bytes), view_text("reset"));
    blob_clear(&bytes);
    return version;
}

struct fault_case {
    enum vfs_fault fault;
    bool forever;
    uint64_t from; /* the version that is there before */
    bool reset;
    bool reopen; /* the store is opened anew before the failing commit */
};

static const struct fault_case fault_cases[] = {
    {VFS_FAULT_FULL, false, 0, false, true}, {VFS_FAULT_IO, false, 0, false, true},
    {VFS_FAULT_FULL, true, 0, false, true},  {VFS_FAULT_IO, true, 0, false, true},
    {VFS_FAULT_FULL, false, 2, false, true}, {VFS_FAULT_IO, true, 2, false, true},
    {VFS_FAULT_FULL, true, 2, false, false}, {VFS_FAULT_IO, false, 2, false, false},
    {VFS_FAULT_FULL, true, 2, true, false},  {VFS_FAULT_IO, false, 2, true, false},
};

static void remove_database(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++)
        (void) unlink(store_fixture_path(suffixes[i]));
}

/* One commit whose N-th step fails. True when it came through, because it has fewer steps. */
static bool try_fault(const struct fault_case *test, unsigned long nth)
{
    remove_database();
    struct store *store = store_fixture_open(NULL);
    for (uint64_t version = 1; version <= test->from; version++)
        ck_assert_uint_eq(commit_version(store, version, false), CKR_OK);
    if (test->reopen) {
        store_close(&store);
        store = store_fixture_open(NULL);
    }
    store_fixture_log_clear();
    cause_clear();
    vfs_faults_at(nth, test->fault, test->forever);
    CK_RV rv = commit_version(store, test->from + 1, test->reset);
    bool struck = vfs_faults_struck();
    vfs_faults_at(0, VFS_FAULT_IO, false);

    /* A fault may strike work that is not needed for the commit (a checkpoint). */
    if (rv != CKR_OK) {
        bool is_full = test->fault == VFS_FAULT_FULL;
        ck_assert(struck);
        ck_assert_uint_eq(rv, is_full ? CKR_DEVICE_MEMORY : CKR_DEVICE_ERROR);
        ck_assert_int_eq(cause_last(), is_full ? INDEXKEY_CAUSE_STORE_FULL : INDEXKEY_CAUSE_STORE);
        ck_assert(store_fixture_log_has(store_fixture_path("")));
    }
    uint64_t expected = test->reset ? 1 : test->from + 1;
    bool was_reset = false;
    uint64_t seen = whole_version(store, &was_reset);
    if (rv == CKR_OK)
        ck_assert(seen == expected && was_reset == test->reset);
    else
        ck_assert((seen == expected && was_reset == test->reset) ||
                  (seen == test->from && !was_reset));

    /* It heals in the same process, and another opener reads the same. */
    ck_assert_uint_eq(commit_version(store, seen + 1, false), CKR_OK);
    struct store *other = store_fixture_open(NULL);
    ck_assert_uint_eq(whole_version(other, &was_reset), seen + 1);
    store_close(&store);
    store_close(&other);
    return !struck;
}

START_TEST(a_commit_survives_every_fault)
{
    vfs_faults_install();
    unsigned long nth = 1;
    while (!try_fault(&fault_cases[_i], nth))
        ck_assert_uint_lt(++nth, 200);
    /* A commit is at the very least a write and a sync. */
    ck_assert_uint_gt(nth, 2);
}
END_TEST

START_TEST(a_commit_is_synced_before_it_returns)
{
    vfs_faults_install();
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(commit_version(store, 1, false), CKR_OK);
    for (uint64_t version = 2; version < 20; version++) {
        vfs_faults_at(0, VFS_FAULT_IO, false);
        ck_assert_uint_eq(commit_version(store, version, false), CKR_OK);
        ck_assert_uint_ge(vfs_faults_sync_count(), 1);
    }
    store_close(&store);
}
END_TEST

/* Commits one object after the other, and says so after each. */
static void commit_for_ever(int acknowledge, unsigned int first)
{
    struct store *store = store_fixture_open(NULL);
    for (unsigned int number = first;; number++) {
        struct object_id ids[] = {id_of(number), id_of(number + 1000000)};
        const struct store_change both[] = {object_put(&ids[0], 0, "attributes", "value"),
                                            object_put(&ids[1], 0, "attributes", "value")};
        if (store->ops->commit(store, both, 2) != CKR_OK ||
            write(acknowledge, &number, sizeof(number)) != (ssize_t) sizeof(number))
            _exit(1);
    }
}

static void sleep_us(long us)
{
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        continue;
}

/* The first number that was not acknowledged. */
static unsigned int kill_one(unsigned int first, long after_us)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void) close(ends[0]);
        commit_for_ever(ends[1], first);
    }
    (void) close(ends[1]);
    sleep_us(after_us);
    int status;
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    unsigned int number;
    unsigned int next = first;
    while (read(ends[0], &number, sizeof(number)) == (ssize_t) sizeof(number)) {
        ck_assert_uint_eq(number, next);
        next++;
    }
    (void) close(ends[0]);
    return next;
}

START_TEST(kill_loses_nothing_acknowledged)
{
    unsigned int next = 0;
    srand(20240);
    for (int round = 0; round < 30; round++) {
        next = kill_one(next, 3000 + rand() % 30000);
        struct store *store = store_fixture_open(NULL);
        for (unsigned int i = 0; i < next; i++) {
            struct object_id id = id_of(i);
            assert_object(store, &id, 1, "attributes", "value");
        }
        /* One commit may have come through unsaid; it is whole. */
        size_t count = count_objects(store);
        ck_assert(count == 2 * (size_t) next || count == 2 * (size_t) next + 2);
        next = (unsigned int) (count / 2);
        store_close(&store);
    }
    ck_assert_uint_gt(next, 30);
}
END_TEST

#define RACE_VERSIONS 1000
#define RACERS 2

/* Wins as many versions as it can, one byte a win; the other wins the rest. */
static void race(int wins)
{
    struct store *store = store_fixture_open(NULL);
    uint64_t version = 0;
    while (version < RACE_VERSIONS) {
        struct blob bytes = {0};
        if (store->ops->read_record(store, "row", &bytes, &version) != CKR_OK)
            _exit(1);
        blob_clear(&bytes);
        if (version >= RACE_VERSIONS)
            break;
        CK_RV rv = commit_one(store, record_put("row", version, "x"));
        uint64_t won = version + 1;
        if (rv == CKR_OK && write(wins, &won, sizeof(won)) != (ssize_t) sizeof(won))
            _exit(1);
        if (rv != CKR_OK && rv != STORE_CONFLICT)
            _exit(2);
    }
    _exit(0);
}

START_TEST(each_version_has_one_winner)
{
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(commit_one(store, record_put("row", 0, "x")), CKR_OK);
    store_close(&store);
    int ends[2];
    pid_t children[RACERS];
    static unsigned char winners[RACE_VERSIONS + 1];
    ck_assert_int_eq(pipe(ends), 0);
    for (size_t i = 0; i < RACERS; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0)
            race(ends[1]);
    }
    (void) close(ends[1]);
    uint64_t won;
    while (read(ends[0], &won, sizeof(won)) == (ssize_t) sizeof(won)) {
        ck_assert_uint_le(won, RACE_VERSIONS);
        winners[won]++;
    }
    for (size_t i = 0; i < RACERS; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (size_t i = 2; i <= RACE_VERSIONS; i++)
        ck_assert_uint_eq(winners[i], 1);
    store = store_fixture_open(NULL);
    assert_record(store, "row", RACE_VERSIONS, "x");
    store_close(&store);
}
END_TEST

#define MAKERS 8

START_TEST(many_make_the_file_at_once)
{
    for (int round = 0; round < 20; round++) {
        remove_database();
        pid_t children[MAKERS];
        for (unsigned int i = 0; i < MAKERS; i++) {
            children[i] = fork();
            ck_assert_int_ge(children[i], 0);
            if (children[i] == 0) {
                struct store *store = store_fixture_open(NULL);
                struct object_id id = id_of(i);
                CK_RV rv = commit_one(store, object_put(&id, 0, "a", "v"));
                _exit(rv == CKR_OK ? 0 : 1);
            }
        }
        for (unsigned int i = 0; i < MAKERS; i++) {
            int status;
            ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        struct store *store = store_fixture_open(NULL);
        ck_assert_uint_eq(count_objects(store), MAKERS);
        store_close(&store);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_crash");
    TCase *cases = tcase_create("crash");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, a_commit_survives_every_fault, 0, (int) COUNT_OF(fault_cases));
    tcase_add_test(cases, a_commit_is_synced_before_it_returns);
    tcase_add_test(cases, kill_loses_nothing_acknowledged);
    tcase_add_test(cases, each_version_has_one_winner);
    tcase_add_test(cases, many_make_the_file_at_once);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
