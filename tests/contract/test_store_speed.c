/*
 * How fast token objects are created on SQLite, each durable when its call returns.
 *
 * A disk's speed changes from second to second, above all on a shared machine: what is compared
 * runs in turns, and the best round of each counts. Where the disk itself is too slow for the rate
 * that is wanted, a part of what SQLite alone reaches there is wanted instead.
 */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/support/vfs_faults.h"
#include "tests/threads/crew.h"

#define ROUNDS 6
#define ROUND_MS 200
#define ONE_SESSION_WANTED 2000.0
#define PART_WANTED 0.8
#define TURNS 400
#define TRIES 4

#define SESSIONS 8
#define SYNC_DELAY_MS 5
#define SLOW_ROUNDS 8
#define SLOW_ROUND_MS 1000
#define SLOW_WANTED 1000.0

static struct api api;

static double now_s(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

typedef void step_fn(void);

/* Keeps the better one of `best` and another round. */
static void measure(step_fn *step, double *best)
{
    double begin = now_s();
    double took = 0;
    unsigned long count = 0;
    while (took < ROUND_MS / 1000.0) {
        step();
        count++;
        took = now_s() - begin;
    }
    double rate = (double) count / took;
    if (rate > *best)
        *best = rate;
}

static int disk_file;
static off_t disk_end;

/* As SQLite appends to its log. */
static void sync_disk(void)
{
    static const unsigned char pages[4 * 4096];
    ck_assert_int_eq(pwrite(disk_file, pages, sizeof(pages), disk_end), sizeof(pages));
    ck_assert_int_eq(fdatasync(disk_file), 0);
    disk_end = (disk_end + (off_t) sizeof(pages)) % (1 << 22);
}

static sqlite3 *raw;
static sqlite3_stmt *raw_insert;
static sqlite3_stmt *raw_update;

static void open_raw(const char *path)
{
    ck_assert_int_eq(sqlite3_open(path, &raw), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(
            raw,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "PRAGMA secure_delete = ON;"
            "CREATE TABLE record (name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
            " bytes BLOB NOT NULL) STRICT;"
            "CREATE TABLE object (id BLOB NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
            " attributes BLOB NOT NULL, value BLOB NOT NULL) STRICT;"
            "INSERT INTO record VALUES ('summary', 1, zeroblob(77))",
            NULL, NULL, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(raw,
                                        "INSERT INTO object VALUES (randomblob(16), 1,"
                                        " randomblob(120), randomblob(125))",
                                        -1, &raw_insert, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(raw,
                                        "UPDATE record SET version = version + 1,"
                                        " bytes = randomblob(77) WHERE name = 'summary'",
                                        -1, &raw_update, NULL),
                     SQLITE_OK);
}

static void close_raw(void)
{
    (void) sqlite3_finalize(raw_insert);
    (void) sqlite3_finalize(raw_update);
    ck_assert_int_eq(sqlite3_close(raw), SQLITE_OK);
}

/* One row and the summary, as a creation writes them. */
static void insert_raw(void)
{
    ck_assert_int_eq(sqlite3_exec(raw, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(raw_insert), SQLITE_DONE);
    ck_assert_int_eq(sqlite3_step(raw_update), SQLITE_DONE);
    (void) sqlite3_reset(raw_insert);
    (void) sqlite3_reset(raw_update);
    ck_assert_int_eq(sqlite3_exec(raw, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
}

static CK_BBOOL yes = CK_TRUE;
static CK_ULONG key_len = 32;

static void generate(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_ATTRIBUTE_TYPE usage)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &key_len, sizeof(key_len)},
        {usage, &yes, sizeof(yes)},
        {CKA_LABEL, "one of many", 11},
    };
    CK_OBJECT_HANDLE handle;
    CK_RV rv = api.p11->C_GenerateKey(session, &mechanism, template, 4, &handle);
    REQUIRE_MSG(rv == CKR_OK, "C_GenerateKey: 0x%lx", rv);
}

static void generate_aes_key(void)
{
    generate(api.session, CKM_AES_KEY_GEN, CKA_ENCRYPT);
}

static void generate_index_key(void)
{
    generate(api.session, CKM_GENERIC_SECRET_KEY_GEN, CKA_DERIVE);
}

static void create_object(void)
{
    static CK_BYTE value[32];
    static CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},     {CKA_VALUE, value, sizeof(value)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
    };
    CK_OBJECT_HANDLE handle;
    value[0]++;
    OK(api.p11->C_CreateObject(api.session, template, 5, &handle));
}

static CK_OBJECT_HANDLE copied;

static void copy_object(void)
{
    CK_ATTRIBUTE label = {CKA_LABEL, "copy", 4};
    CK_OBJECT_HANDLE handle;
    OK(api.p11->C_CopyObject(api.session, copied, &label, 1, &handle));
}

static int compare_times(const void *a, const void *b)
{
    const double *one = a;
    const double *other = b;
    return (*one > *other) - (*one < *other);
}

static double time_of(step_fn *step)
{
    double begin = now_s();
    step();
    return now_s() - begin;
}

/* How fast the step's typical commit is, as a part of SQLite's own. */
static double part_of_sqlite(step_fn *step)
{
    static double own[TURNS];
    static double raw_times[TURNS];
    for (size_t i = 0; i < TURNS; i++) {
        raw_times[i] = time_of(insert_raw);
        own[i] = time_of(step);
    }
    qsort(own, TURNS, sizeof(own[0]), compare_times);
    qsort(raw_times, TURNS, sizeof(raw_times[0]), compare_times);
    return raw_times[TURNS / 2] / own[TURNS / 2];
}

START_TEST(one_session)
{
    static const struct {
        const char *name;
        step_fn *step;
        bool is_wanted; /* a copy writes the count of its value too, before the object */
    } steps[] = {
        {"fdatasync of 16 KiB", sync_disk, false},
        {"SQLite alone", insert_raw, false},
        {"C_GenerateKey, AES", generate_aes_key, true},
        {"C_GenerateKey, index key", generate_index_key, true},
        {"C_CreateObject, AES", create_object, true},
        {"C_CopyObject, AES", copy_object, false},
    };
    enum { STEP_COUNT = sizeof(steps) / sizeof(steps[0]) };
    double rates[STEP_COUNT] = {0};
    char path[128];

    api_open(&api, NULL, NULL);
    copied = api_make_aes_key(&api, true, "source");
    (void) snprintf(path, sizeof(path), "%s/file", api.folder);
    disk_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(disk_file, 0);
    (void) snprintf(path, sizeof(path), "%s/raw.db", api.folder);
    open_raw(path);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < STEP_COUNT; i++)
            measure(steps[i].step, &rates[i]);
    }
    for (size_t i = 0; i < STEP_COUNT; i++)
        printf("%-26s %7.0f/s\n", steps[i].name, rates[i]);
    for (size_t i = 0; i < STEP_COUNT; i++) {
        if (!steps[i].is_wanted || rates[i] >= ONE_SESSION_WANTED)
            continue;
        double part = 0;
        for (int try = 0; try < TRIES && part < PART_WANTED; try++)
            part = part_of_sqlite(steps[i].step);
        printf("%-26s not %.0f/s here; %.2f of SQLite alone\n", steps[i].name, ONE_SESSION_WANTED,
               part);
        (void) fflush(stdout);
        ck_assert_msg(part >= PART_WANTED, "%s: %.0f/s, %.2f of SQLite alone", steps[i].name,
                      rates[i], part);
    }
    close_raw();
    (void) close(disk_file);
    api_close(&api);
}
END_TEST

static atomic_ulong created_count;

static void create_keys(struct crew_member *member, void *context)
{
    CK_SESSION_HANDLE session;
    (void) context;
    REQUIRE(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                   &session) == CKR_OK);
    while (crew_goes_on(member)) {
        generate(session, CKM_AES_KEY_GEN, CKA_ENCRYPT);
        atomic_fetch_add(&created_count, 1);
    }
    REQUIRE(api.p11->C_CloseSession(session) == CKR_OK);
}

/* Creations a second. */
static double rate_of_sessions(void)
{
    struct crew crew = {0};
    atomic_store(&created_count, 0);
    vfs_faults_at(0, VFS_FAULT_IO, false);
    double begin = now_s();
    crew_start(&crew, SESSIONS, create_keys, NULL);
    crew_run(&crew, SLOW_ROUND_MS);
    return (double) atomic_load(&created_count) / (now_s() - begin);
}

/* A disk whose own syncs take milliseconds too leaves no time for the rate: then most of what all
 * sessions reach if they share each sync. */
START_TEST(eight_sessions_share_slow_syncs)
{
    bool is_reached = false;

    vfs_faults_install();
    api_open(&api, NULL, NULL);
    vfs_faults_delay_syncs(SYNC_DELAY_MS);
    for (int round = 0; !is_reached && round < SLOW_ROUNDS; round++) {
        double rate = rate_of_sessions();
        double syncs = (double) vfs_faults_sync_count();
        double sync_s = vfs_faults_sync_seconds() / syncs;
        double wanted = PART_WANTED * SESSIONS / sync_s;
        if (wanted > SLOW_WANTED)
            wanted = SLOW_WANTED;
        printf("%d sessions, syncs delayed by %d ms to %.1f ms: %.0f/s of %.0f/s, %.1f a sync\n",
               SESSIONS, SYNC_DELAY_MS, 1000 * sync_s, rate, wanted,
               (double) atomic_load(&created_count) / syncs);
        is_reached = rate >= wanted;
    }
    (void) fflush(stdout);
    ck_assert(is_reached);
    vfs_faults_delay_syncs(0);
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_speed");
    TCase *cases = tcase_create("store_speed");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_add_test(cases, one_session);
    tcase_add_test(cases, eight_sessions_share_slow_syncs);
    tcase_set_timeout(cases, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
