/* A SQLite file of schema version 1: brought to the newest one at its first opening, or not at all.
 */
#include "tests/support/store_fixture.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/kill_at.h"

#define ROWS 300
#define WRITES_MAX 200

/* As version 1 wrote it. */
static void make_first_version(void)
{
    (void) umask(077);
    run_sql("PRAGMA journal_mode = WAL;"
            "CREATE TABLE record (name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
            " bytes BLOB NOT NULL) STRICT;"
            "CREATE TABLE object (id BLOB NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"
            " attributes BLOB NOT NULL, value BLOB NOT NULL) STRICT;"
            "PRAGMA application_id = 0x494B4559; PRAGMA user_version = 1;"
            "INSERT INTO record VALUES ('token', 3, CAST('a record' AS BLOB));"
            "WITH RECURSIVE row (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM row WHERE n < 299)"
            " INSERT INTO object SELECT CAST(printf('%016d', n) AS BLOB), 7,"
            " CAST('attributes' AS BLOB), CAST(printf('value %d', n) AS BLOB) FROM row");
}

static int schema_version(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    ck_assert_int_eq(sqlite3_open(store_fixture_path(""), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int version = sqlite3_column_int(statement, 0);
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    return version;
}

static struct object_id id_of_row(unsigned int number)
{
    char text[OBJECT_ID_LEN + 1];
    struct object_id id;
    (void) snprintf(text, sizeof(text), "%016u", number);
    memcpy(id.bytes, text, OBJECT_ID_LEN);
    return id;
}

static void assert_rows(struct store *store)
{
    for (unsigned int i = 0; i < ROWS; i++) {
        char value[24];
        struct object_id id = id_of_row(i);
        (void) snprintf(value, sizeof(value), "value %u", i);
        assert_object(store, &id, 7, "attributes", value);
    }
    ck_assert_uint_eq(count_objects(store), ROWS);
    assert_record(store, "token", 3, "a record");
}

static CK_RV count_gone(void *context, const struct object_id *id)
{
    (void) id;
    ++((size_t *) context)[0];
    return CKR_OK;
}

static CK_RV count_row(void *context, const struct store_row *row)
{
    (void) row;
    ++((size_t *) context)[1];
    return CKR_OK;
}

static void assert_look(struct store *store, uint64_t *turn, bool is_whole, size_t gone,
                        size_t rows)
{
    size_t counts[2] = {0};
    struct store_look look = {*turn, count_gone, count_row, counts, false, 0};
    ck_assert_uint_eq(store->ops->read_changes(store, &look), CKR_OK);
    ck_assert(look.is_whole == is_whole);
    ck_assert_uint_eq(counts[0], gone);
    ck_assert_uint_eq(counts[1], rows);
    *turn = look.turn;
}

START_TEST(a_file_of_the_first_version_is_upgraded)
{
    struct object_id ids[] = {id_of_row(1), id_of_row(2), id_of(1)};
    uint64_t turn = 0;
    make_first_version();
    struct store *store = store_fixture_open(NULL);
    assert_rows(store);
    ck_assert_int_eq(schema_version(), 2);
    assert_look(store, &turn, true, 0, ROWS);
    const struct store_change changes[] = {object_put(&ids[0], 7, "a", "v"),
                                           object_remove(&ids[1], 7),
                                           object_put(&ids[2], 0, "a", "v")};
    ck_assert_uint_eq(store->ops->commit(store, changes, COUNT_OF(changes)), CKR_OK);
    assert_look(store, &turn, false, 1, 2);
    store_close(&store);
    store = store_fixture_open(NULL);
    ck_assert_uint_eq(count_objects(store), ROWS);
    assert_look(store, &turn, false, 0, 0);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

/* A process of the former version that has the file open: what it makes fails, what it changes is
 * there, and comes with no look. */
START_TEST(a_process_of_the_first_version_does_no_harm)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    sqlite3_stmt *update = NULL;
    uint64_t turn = 0;
    struct object_id id = id_of_row(1);
    make_first_version();
    ck_assert_int_eq(sqlite3_open(store_fixture_path(""), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "INSERT INTO object VALUES (zeroblob(16), 1, x'', x'')",
                                        -1, &insert, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db,
                                        "UPDATE object SET version = 8, value = x'6e6577'"
                                        " WHERE id = CAST('0000000000000001' AS BLOB)",
                                        -1, &update, NULL),
                     SQLITE_OK);
    struct store *store = store_fixture_open(NULL);
    assert_look(store, &turn, true, 0, ROWS);
    ck_assert_int_eq(sqlite3_step(insert), SQLITE_ERROR);
    ck_assert_int_eq(sqlite3_step(update), SQLITE_DONE);
    ck_assert_int_eq(sqlite3_finalize(update), SQLITE_OK);
    (void) sqlite3_finalize(insert);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    assert_look(store, &turn, false, 0, 0);
    assert_object(store, &id, 8, "attributes", "new");
    ck_assert_uint_eq(count_objects(store), ROWS);
    store_close(&store);
}
END_TEST

/* In a child, which is killed. */
static void upgrade(void *context)
{
    struct blob bytes = {0};
    uint64_t version;
    (void) context;
    struct store *store = store_fixture_open(NULL);
    kill_at_begin();
    CK_RV rv = store->ops->read_record(store, "token", &bytes, &version);
    kill_at_end();
    if (rv != CKR_OK)
        _exit(1);
}

static void remove_file(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++)
        (void) unlink(store_fixture_path(suffixes[i]));
}

START_TEST(a_kill_at_any_write_leaves_the_old_or_the_new)
{
    enum kill_at end = KILL_AT_STRUCK;
    unsigned int count[3] = {0};
    for (unsigned int nth = 1; end == KILL_AT_STRUCK; nth++) {
        ck_assert_uint_lt(nth, WRITES_MAX);
        remove_file();
        make_first_version();
        end = kill_at_nth_write(nth, upgrade, NULL);
        ck_assert_int_ne(end, KILL_AT_FAILED);
        int version = schema_version();
        ck_assert(version == 1 || version == 2);
        count[version] += end == KILL_AT_STRUCK;
        struct store *store = store_fixture_open(NULL);
        assert_rows(store);
        store_close(&store);
        ck_assert_int_eq(schema_version(), 2);
    }
    ck_assert_uint_gt(count[1], 0);
    ck_assert(!store_fixture_log_has("store"));
}
END_TEST

/* Two processes that find the old file at once. */
START_TEST(who_comes_second_finds_it_done)
{
    make_first_version();
    struct store *one = store_fixture_open(NULL);
    struct store *two = store_fixture_open(NULL);
    uint64_t turn = 0;
    assert_look(one, &turn, true, 0, ROWS);
    assert_look(two, &turn, false, 0, 0);
    ck_assert_uint_eq(commit_one(one, record_put("r", 0, "x")), CKR_OK);
    assert_record(two, "r", 1, "x");
    store_close(&two);
    store_close(&one);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_upgrade");
    TCase *cases = tcase_create("sqlite");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_file_of_the_first_version_is_upgraded);
    tcase_add_test(cases, a_process_of_the_first_version_does_no_harm);
    tcase_add_test(cases, a_kill_at_any_write_leaves_the_old_or_the_new);
    tcase_add_test(cases, who_comes_second_finds_it_done);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
