/* The SQLite store with strange, damaged and cut files, and on full disks. */
#include "tests/support/store_fixture.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cause.h"

static unsigned char *load_file(size_t *ret_len)
{
    FILE *file = fopen(store_fixture_path(""), "rb");
    ck_assert_ptr_nonnull(file);
    unsigned char *bytes = malloc(1 << 20);
    *ret_len = fread(bytes, 1, 1 << 20, file);
    (void) fclose(file);
    return bytes;
}

static void save_file(const unsigned char *bytes, size_t len)
{
    (void) unlink(store_fixture_path("-wal"));
    (void) unlink(store_fixture_path("-shm"));
    FILE *file = fopen(store_fixture_path(""), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    (void) fclose(file);
    ck_assert_int_eq(chmod(store_fixture_path(""), 0600), 0);
}

static const struct {
    const char *sql;
    const char *words;
} strangers[] = {
    {"PRAGMA application_id = 7", "another application"},
    {"PRAGMA application_id = 0", "another application"},
    {"PRAGMA user_version = 3", "newer version"},
    {"PRAGMA user_version = -1", "newer version"},
    {"PRAGMA user_version = 1", "duplicate column"},
    {"PRAGMA user_version = 0", "already exists"},
    {"CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM object; END", "schema"},
    {"CREATE VIEW v AS SELECT 1", "schema"},
    {"DROP TABLE record", "schema"},
    {"DROP TABLE object; CREATE TABLE object (id, version, attributes, value)", "schema"},
    {"DROP TABLE record; CREATE VIEW record AS SELECT 'token' AS name, 1 AS version, x'' AS bytes",
     "schema"},
    {"ALTER TABLE object ADD COLUMN more BLOB", "schema"},
};

START_TEST(a_strange_database_is_refused)
{
    make_database();
    run_sql(strangers[_i].sql);
    size_t len;
    size_t len_after;
    unsigned char *before = load_file(&len);
    struct store *store = store_fixture_open(NULL);
    assert_refused(store, CKR_DEVICE_ERROR, strangers[_i].words);
    store_close(&store);
    unsigned char *after = load_file(&len_after);
    ck_assert_uint_eq(len, len_after);
    ck_assert_mem_eq(before, after, len);
    free(before);
    free(after);
}
END_TEST

START_TEST(a_strange_journal_mode_is_mended)
{
    make_database();
    run_sql("PRAGMA journal_mode = DELETE");
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    ck_assert_int_eq(access(store_fixture_path("-wal"), F_OK), 0);
    store_close(&store);
}
END_TEST

START_TEST(malformed_rows_are_left_out)
{
    make_database();
    run_sql("INSERT INTO object VALUES (x'00', 1, x'', x'', 1);"
            "INSERT INTO object VALUES (zeroblob(16), 0, x'', x'', 1);"
            "INSERT INTO object VALUES (x'00000000000000000000000000000001', -5, x'', x'', 1);"
            "INSERT INTO object VALUES (zeroblob(17), 1, x'', x'', 1);"
            "INSERT INTO object VALUES (x'00000000000000000000000000000002',"
            " 1, zeroblob(1048577), x'', 1);"
            "INSERT INTO object VALUES (x'00000000000000000000000000000003',"
            " 1, x'', zeroblob(1048577), 1);"
            "INSERT INTO record VALUES ('keys', 0, x'');"
            "INSERT INTO record VALUES ('long', 1, zeroblob(1048577));");
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(count_objects(store), 40);
    ck_assert(store_fixture_log_has("6 rows are malformed"));
    struct object_id zero = {{0}};
    struct blob bytes = {0};
    uint64_t version;
    ck_assert_uint_eq(store->ops->read_object(store, &zero, NULL, NULL), CKR_DEVICE_ERROR);
    static const char *const names[] = {"keys", "long"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        ck_assert_uint_eq(store->ops->read_record(store, names[i], &bytes, &version),
                          CKR_DEVICE_ERROR);
        ck_assert_ptr_null(bytes.bytes);
    }
    ck_assert(store_fixture_log_has("backup"));
    assert_record(store, "token", 1, "a record");

    /* A reset that fails within its transaction lets others write at once. */
    struct store *other = store_fixture_open(NULL);
    ck_assert_uint_eq(store->ops->reset(store, "keys", 1, NULL, 0), CKR_DEVICE_ERROR);
    ck_assert_uint_eq(commit_one(other, record_put("token", 1, "t")), CKR_OK);
    store_close(&other);
    store_close(&store);
}
END_TEST

static CK_RV touch_row(void *context, const struct store_row *row)
{
    unsigned char *sum = context;
    for (size_t i = 0; i < row->attributes.len; i++)
        *sum ^= row->attributes.bytes[i];
    for (size_t i = 0; i < row->value.len; i++)
        *sum ^= row->value.bytes[i];
    return CKR_OK;
}

static bool is_answer(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_DEVICE_ERROR || rv == STORE_ABSENT || rv == STORE_CONFLICT;
}

/* Every function answers; nothing crashes (the sanitizers look on). */
static void use_everything(struct store *store)
{
    unsigned char sum = 0;
    struct object_id id = id_of(3);
    struct blob bytes = {0};
    uint64_t number = 0;
    ck_assert(is_answer(store->ops->read_objects(store, touch_row, &sum)));
    ck_assert(is_answer(store->ops->read_object(store, &id, touch_row, &sum)));
    ck_assert(is_answer(store->ops->read_record(store, "token", &bytes, &number)));
    ck_assert(is_answer(store->ops->change_count(store, &number)));
    ck_assert(is_answer(commit_one(store, object_put(&id, 1, "changed", "changed"))));
    ck_assert(is_answer(commit_one(store, record_put("another", 0, "new"))));
    ck_assert(is_answer(store->ops->reset(store, "token", 1, NULL, 0)));
    blob_clear(&bytes);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

START_TEST(flipped_bytes_never_crash)
{
    make_database();
    size_t len;
    unsigned char *good = load_file(&len);
    unsigned char *bad = malloc(len);
    uint32_t random = 20240;
    for (int round = 0; round < 400; round++) {
        memcpy(bad, good, len);
        int flips = 1 + (int) (next_random(&random) % 8);
        for (int i = 0; i < flips; i++) {
            /* Half of them among headers and cell pointers, where a byte does most. */
            size_t at = next_random(&random) % len;
            if (round % 2 == 0)
                at = at / 4096 * 4096 + at % 128;
            bad[at] ^= (unsigned char) (1U << (next_random(&random) % 8));
        }
        save_file(bad, len);
        struct store *store = store_fixture_open(NULL);
        store_fixture_log_clear();
        use_everything(store);
        store_close(&store);
    }
    save_file(good, len);
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(count_objects(store), 40);
    store_close(&store);
    free(bad);
    free(good);
}
END_TEST

START_TEST(a_cut_or_overwritten_file_heals)
{
    make_database();
    size_t len;
    unsigned char *good = load_file(&len);
    unsigned char *bad = malloc(len);
    for (size_t keep = 1; keep < len; keep += 511) {
        save_file(good, keep);
        struct store *store = store_fixture_open(NULL);
        store_fixture_log_clear();
        use_everything(store);
        store_close(&store);
    }
    memset(bad, 'x', len);
    save_file(bad, len);
    struct store *store = store_fixture_open(NULL);
    assert_refused(store, CKR_DEVICE_ERROR, "restore the file from a backup");
    save_file(good, len);
    assert_record(store, "token", 1, "a record");
    ck_assert_uint_eq(count_objects(store), 40);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    store_close(&store);
    free(bad);
    free(good);
}
END_TEST

/* Commits until one fails for want of room; what was acknowledged is there, then and afterwards. */
static uint64_t fill(struct store *store, uint64_t version)
{
    char text[8192];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CK_RV rv = CKR_OK;
    cause_clear();
    while (rv == CKR_OK) {
        struct object_id id = id_of((unsigned int) version);
        ck_assert_uint_lt(version, 10000);
        rv = commit_one(store, object_put(&id, 0, text, text));
        version += rv == CKR_OK ? 1 : 0;
    }
    ck_assert_uint_eq(rv, CKR_DEVICE_MEMORY);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE_FULL);
    ck_assert(store_fixture_log_has("free space"));
    return version;
}

START_TEST(a_file_size_limit_is_a_full_store)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 400000, .rlim_max = limit.rlim_max};
    (void) signal(SIGXFSZ, SIG_IGN);
    struct store *store = store_fixture_open(NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t count = fill(store, 0);
    ck_assert_uint_gt(count, 5);
    ck_assert_uint_eq(count_objects(store), count);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct object_id id = id_of((unsigned int) count);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(count_objects(store), count + 1);
    store_close(&store);
}
END_TEST

static char disk[160];

static void leave_disk(void)
{
    (void) umount2(disk, MNT_DETACH);
    (void) rmdir(disk);
}

/* A disk of 512 KiB, in a mount namespace of this process, so that a test that fails leaves no
 * mount behind; false where this process may not mount. */
static bool mount_disk(void)
{
    (void) snprintf(disk, sizeof(disk), "%s/disk", store_fixture_folder());
    ck_assert_int_eq(mkdir(disk, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=512k,mode=0700") != 0) {
        (void) printf("SKIP: no mount (%s): only the file size limit was tried\n", strerror(errno));
        return false;
    }
    return true;
}

START_TEST(a_full_disk_heals)
{
    if (!mount_disk())
        return;
    struct store *store = open_at(disk, "store.db");
    uint64_t count = fill(store, 0);
    ck_assert_uint_gt(count, 5);
    ck_assert_uint_eq(count_objects(store), count);
    store_close(&store);
    store = open_at(disk, "store.db");
    ck_assert_uint_eq(count_objects(store), count);
    ck_assert_int_eq(mount("tmpfs", disk, "tmpfs", MS_REMOUNT, "size=4m,mode=0700"), 0);
    struct object_id id = id_of((unsigned int) count);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(count_objects(store), count + 1);
    store_close(&store);
    leave_disk();
}
END_TEST

START_TEST(a_disk_full_from_the_start_heals)
{
    if (!mount_disk())
        return;
    char ballast[200];
    (void) snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
    FILE *file = fopen(ballast, "wb");
    ck_assert_ptr_nonnull(file);
    while (fputc('x', file) != EOF && fflush(file) == 0)
        continue;
    (void) fclose(file);
    struct store *store = open_at(disk, "store.db");
    cause_clear();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_DEVICE_MEMORY);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE_FULL);
    ck_assert_int_eq(unlink(ballast), 0);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    store_close(&store);

    store = open_at(disk, "store.db");
    ck_assert_int_eq(mount("tmpfs", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    store_fixture_log_clear();
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "u")), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("unwritable"));
    ck_assert_int_eq(mount("tmpfs", disk, "tmpfs", MS_REMOUNT, "size=4m"), 0);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "u")), CKR_OK);
    store_close(&store);
    leave_disk();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_damage");
    TCase *cases = tcase_create("damage");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, a_strange_database_is_refused, 0, (int) COUNT_OF(strangers));
    tcase_add_test(cases, a_strange_journal_mode_is_mended);
    tcase_add_test(cases, malformed_rows_are_left_out);
    tcase_add_test(cases, flipped_bytes_never_crash);
    tcase_add_test(cases, a_cut_or_overwritten_file_heals);
    tcase_add_test(cases, a_file_size_limit_is_a_full_store);
    tcase_add_test(cases, a_full_disk_heals);
    tcase_add_test(cases, a_disk_full_from_the_start_heals);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
