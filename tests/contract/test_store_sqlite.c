/* The SQLite store's file: who may reach it, who makes it, who changes it, and how it heals. */
#include "tests/support/store_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cause.h"

static unsigned int mode_of(const char *suffix)
{
    struct stat status;
    ck_assert_int_eq(stat(store_fixture_path(suffix), &status), 0);
    return status.st_mode & 07777U;
}

static CK_RV never_asked(void *context, const struct store_change **ret_changes, size_t *ret_count)
{
    (void) context;
    (void) ret_changes;
    (void) ret_count;
    ck_abort_msg("a plan was asked where there is no file");
    return CKR_OK;
}

START_TEST(an_update_makes_no_file)
{
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(store->ops->update(store, never_asked, NULL), STORE_ABSENT);
    ck_assert_int_ne(access(store_fixture_path(""), F_OK), 0);
    store_close(&store);
}
END_TEST

START_TEST(the_first_commit_makes_the_file)
{
    (void) umask(0);
    struct store *store = store_fixture_open(NULL);
    assert_record(store, "token", 0, "");
    ck_assert_uint_eq(count_objects(store), 0);
    uint64_t before = changes_of(store);
    ck_assert_int_eq(access(store_fixture_path(""), F_OK), -1);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    ck_assert_uint_ne(changes_of(store), before);
    ck_assert_uint_eq(mode_of(""), 0600);
    ck_assert_uint_eq(mode_of("-wal"), 0600);
    ck_assert_uint_eq(mode_of("-shm"), 0600);
    store_close(&store);

    store = store_fixture_open(NULL);
    assert_record(store, "token", 1, "t");
    store_close(&store);
}
END_TEST

START_TEST(the_settings_are_in_the_file)
{
    make_database();
    run_sql("CREATE TEMP TABLE t (ok CHECK (ok));"
            "INSERT INTO t SELECT user_version = 2 FROM pragma_user_version;"
            "INSERT INTO t SELECT application_id = 0x494B4559 FROM pragma_application_id;"
            "INSERT INTO t SELECT journal_mode = 'wal' FROM pragma_journal_mode");
}
END_TEST

START_TEST(a_file_that_others_reach_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0666, 0610};
    make_database();
    ck_assert_int_eq(chmod(store_fixture_path(""), modes[_i]), 0);
    struct store *store = store_fixture_open(NULL);
    assert_refused(store, CKR_DEVICE_ERROR, "chmod 600");
    ck_assert_int_eq(chmod(store_fixture_path(""), 0600), 0);
    assert_record(store, "token", 1, "a record");
    store_close(&store);
}
END_TEST

START_TEST(a_side_file_that_others_reach_is_refused)
{
    make_database();
    int fd = open(store_fixture_path("-wal"), O_CREAT | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, 0666), 0);
    (void) close(fd);
    struct store *store = store_fixture_open(NULL);
    assert_refused(store, CKR_DEVICE_ERROR, "chmod 600");
    ck_assert_int_eq(unlink(store_fixture_path("-wal")), 0);
    assert_record(store, "token", 1, "a record");
    store_close(&store);
}
END_TEST

START_TEST(a_symbolic_link_is_refused)
{
    struct store *store = store_fixture_open(NULL);
    char target[160];
    (void) snprintf(target, sizeof(target), "%s", store_fixture_path(".real"));
    ck_assert_int_eq(symlink(target, store_fixture_path("")), 0);
    assert_refused(store, CKR_DEVICE_ERROR, "symbolic link");
    ck_assert_int_eq(access(target, F_OK), -1);
    ck_assert_int_eq(unlink(store_fixture_path("")), 0);
    ck_assert_int_eq(mkdir(store_fixture_path(""), 0700), 0);
    assert_refused(store, CKR_DEVICE_ERROR, "not a regular file");
    ck_assert_int_eq(rmdir(store_fixture_path("")), 0);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    store_close(&store);
}
END_TEST

START_TEST(the_folder_may_be_a_link)
{
    char link_path[160];
    make_database();
    (void) snprintf(link_path, sizeof(link_path), "%s/link", store_fixture_folder());
    ck_assert_int_eq(symlink(".", link_path), 0);
    struct store *store = open_at(link_path, "store.db");
    assert_record(store, "token", 1, "a record");
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    store_close(&store);
}
END_TEST

START_TEST(a_missing_folder_is_named)
{
    char folder[160];
    (void) snprintf(folder, sizeof(folder), "%s/missing", store_fixture_folder());
    struct store *store = open_at(folder, "store.db");
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert(store_fixture_log_has("there is no folder"));
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    ck_assert_int_eq(chmod(folder, 0777), 0);
    store_fixture_log_clear();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("chmod o-w"));
    ck_assert_int_eq(rmdir(folder), 0);
    store_close(&store);
}
END_TEST

START_TEST(an_endless_path_is_refused)
{
    char name[300];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct store *store = open_at(store_fixture_folder(), name);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_DEVICE_ERROR);
    store_close(&store);

    char *location = malloc(5001);
    memset(location, '/', 5000);
    location[5000] = '\0';
    memcpy(location, "sqlite:", 7);
    location[4999] = 'x';
    ck_assert_uint_ne(store_open(location, &store), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    free(location);
}
END_TEST

/* Root may write everywhere: the test goes on as somebody else, in its own process. */
static void become_somebody(void)
{
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(store_fixture_folder(), 65534, 65534), 0);
        ck_assert_int_eq(seteuid(65534), 0);
    }
}

static void become_oneself(void)
{
    ck_assert_int_eq(seteuid(getuid()), 0);
}

START_TEST(an_unwritable_file_heals)
{
    become_somebody();
    make_database();
    ck_assert_int_eq(chmod(store_fixture_path(""), 0400), 0);
    struct store *store = store_fixture_open(NULL);
    assert_refused(store, CKR_DEVICE_ERROR, "unwritable");
    ck_assert_int_eq(chmod(store_fixture_path(""), 0), 0);
    assert_refused(store, CKR_DEVICE_ERROR, "unwritable");
    ck_assert_int_eq(chmod(store_fixture_path(""), 0600), 0);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    store_close(&store);
    become_oneself();
}
END_TEST

START_TEST(an_unwritable_folder_heals)
{
    become_somebody();
    struct store *store = store_fixture_open(NULL);
    ck_assert_int_eq(chmod(store_fixture_folder(), 0500), 0);
    assert_record(store, "token", 0, "");
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("unwritable"));
    ck_assert_int_eq(chmod(store_fixture_folder(), 0700), 0);
    make_database();
    ck_assert_int_eq(chmod(store_fixture_folder(), 0500), 0);
    assert_refused(store, CKR_DEVICE_ERROR, "unwritable");
    ck_assert_int_eq(chmod(store_fixture_folder(), 0700), 0);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    store_close(&store);
    become_oneself();
}
END_TEST

START_TEST(a_replaced_file_is_noticed)
{
    make_database();
    struct store *store = store_fixture_open(NULL);
    assert_record(store, "token", 1, "a record");
    uint64_t before = changes_of(store);

    ck_assert_int_eq(unlink(store_fixture_path("")), 0);
    (void) unlink(store_fixture_path("-wal"));
    (void) unlink(store_fixture_path("-shm"));
    uint64_t after = changes_of(store);
    ck_assert_uint_ne(after, before);
    ck_assert_uint_eq(changes_of(store), after);
    assert_record(store, "token", 0, "");
    ck_assert_int_eq(access(store_fixture_path(""), F_OK), -1);

    make_database();
    ck_assert_uint_ne(changes_of(store), after);
    assert_record(store, "token", 1, "a record");

    char copy[160];
    (void) snprintf(copy, sizeof(copy), "%s", store_fixture_path(".copy"));
    run_sql("UPDATE record SET version = 9");
    char sql[256];
    (void) snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", copy);
    run_sql(sql);
    ck_assert_int_eq(chmod(copy, 0600), 0);
    run_sql("UPDATE record SET version = 3");
    assert_record(store, "token", 3, "a record");
    (void) unlink(store_fixture_path("-wal"));
    (void) unlink(store_fixture_path("-shm"));
    ck_assert_int_eq(rename(copy, store_fixture_path("")), 0);
    assert_record(store, "token", 9, "a record");
    store_close(&store);
}
END_TEST

START_TEST(the_change_count_tells_of_others)
{
    struct store *here = store_fixture_open(NULL);
    struct store *there = store_fixture_open(NULL);
    uint64_t start = changes_of(here);
    ck_assert_uint_eq(commit_one(there, record_put("token", 0, "1")), CKR_OK);
    uint64_t first = changes_of(here);
    ck_assert_uint_ne(first, start);
    ck_assert_uint_eq(changes_of(here), first);
    ck_assert_uint_eq(commit_one(there, record_put("token", 1, "2")), CKR_OK);
    uint64_t second = changes_of(here);
    ck_assert_uint_ne(second, first);
    ck_assert_uint_eq(commit_one(here, record_put("token", 2, "3")), CKR_OK);
    uint64_t third = changes_of(here);
    ck_assert_uint_ne(third, second);
    ck_assert_uint_eq(changes_of(here), third);
    assert_record(there, "token", 3, "3");
    store_close(&here);
    store_close(&there);
}
END_TEST

START_TEST(a_locked_file_fails_in_time_and_heals)
{
    make_database();
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(store_fixture_path(""), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store *store = store_fixture_open(NULL);
    assert_record(store, "token", 1, "a record");
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert(store_fixture_log_has("another process"));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    store_close(&store);
}
END_TEST

#define TURNS 10

/* Seven seconds of turns, each begun at once after the one before. */
static void *commit_without_a_pause(void *context)
{
    sqlite3 *db = context;
    for (int i = 0; i < TURNS; i++) {
        (void) nanosleep(&(struct timespec){.tv_nsec = 700 * 1000000L}, NULL);
        ck_assert_int_eq(sqlite3_exec(db,
                                      "UPDATE object SET version = version + 1;"
                                      "COMMIT; BEGIN IMMEDIATE",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
    }
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    return NULL;
}

START_TEST(a_turn_comes_late_where_others_have_theirs)
{
    pthread_t others;
    make_database();
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(store_fixture_path(""), &db), SQLITE_OK);
    (void) sqlite3_busy_timeout(db, 1000);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store *store = store_fixture_open(NULL);
    ck_assert_int_eq(pthread_create(&others, NULL, commit_without_a_pause, db), 0);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "t")), CKR_OK);
    ck_assert_int_eq(pthread_join(others, NULL), 0);
    store_close(&store);
}
END_TEST

/* True when the bytes stand anywhere in the database or its log. */
static bool files_hold(const char *words)
{
    static const char *const suffixes[] = {"", "-wal"};
    bool found = false;
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        FILE *file = fopen(store_fixture_path(suffixes[i]), "rb");
        ck_assert_ptr_nonnull(file);
        char *bytes = malloc(1 << 20);
        size_t len = fread(bytes, 1, 1 << 20, file);
        found = found || memmem(bytes, len, words, strlen(words)) != NULL;
        free(bytes);
        (void) fclose(file);
    }
    return found;
}

START_TEST(a_reset_leaves_no_bytes)
{
    struct store *store = store_fixture_open(NULL);
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "former-attributes", "v")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "former-record")), CKR_OK);
    ck_assert(files_hold("former-attributes"));
    ck_assert_uint_eq(store->ops->reset(store, "token", 1, NULL, 0), CKR_OK);
    ck_assert(!files_hold("former-attributes"));
    ck_assert(!files_hold("former-record"));
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_sqlite");
    TCase *cases = tcase_create("file");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, an_update_makes_no_file);
    tcase_add_test(cases, the_first_commit_makes_the_file);
    tcase_add_test(cases, the_settings_are_in_the_file);
    tcase_add_loop_test(cases, a_file_that_others_reach_is_refused, 0, 7);
    tcase_add_test(cases, a_side_file_that_others_reach_is_refused);
    tcase_add_test(cases, a_symbolic_link_is_refused);
    tcase_add_test(cases, the_folder_may_be_a_link);
    tcase_add_test(cases, a_missing_folder_is_named);
    tcase_add_test(cases, an_endless_path_is_refused);
    tcase_add_test(cases, an_unwritable_file_heals);
    tcase_add_test(cases, an_unwritable_folder_heals);
    tcase_add_test(cases, a_replaced_file_is_noticed);
    tcase_add_test(cases, the_change_count_tells_of_others);
    tcase_add_test(cases, a_locked_file_fails_in_time_and_heals);
    tcase_add_test(cases, a_turn_comes_late_where_others_have_theirs);
    tcase_add_test(cases, a_reset_leaves_no_bytes);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
