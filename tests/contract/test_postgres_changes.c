/*
 * What has changed since an earlier look, where that is PostgreSQL's own: tables of version 1,
 * servers that went back in time, connections that are cut in a look, looks within a plan.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cause.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/store_fixture.h"
#include "tests/threads/crew.h"
#include "tokens/stores.h"

static struct store *open_there(void)
{
    return store_fixture_open("postgresql");
}

static struct store *open_as(const char *user, int port, const char *more)
{
    char location[POSTGRES_LOCATION_MAX];
    struct store *store = NULL;
    postgres_fixture_tcp(location, user, port);
    strcat(location, more);
    ck_assert_uint_eq(store_open(location, &store), CKR_OK);
    return store;
}

/* One look, and what may happen in the midst of it. */
struct seen {
    struct store_look look;
    size_t gone_count;
    size_t row_count;
    struct object_id last; /* of the same kind */
    size_t kill_at;        /* 0: never */
    struct store *other;   /* commits then */
};

static void kill_all(void)
{
    postgres_fixture_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                         " WHERE application_name = 'indexkey'");
}

static void happen(struct seen *seen)
{
    if (seen->gone_count + seen->row_count != seen->kill_at)
        return;
    kill_all();
    if (seen->other != NULL)
        ck_assert_uint_eq(commit_one(seen->other, record_put("x", 0, "x")), CKR_OK);
}

static CK_RV note_gone(void *context, const struct object_id *id)
{
    struct seen *seen = context;
    ck_assert_uint_eq(seen->row_count, 0);
    ck_assert(!seen->look.is_whole);
    ck_assert(seen->gone_count == 0 || memcmp(&seen->last, id, sizeof(*id)) < 0);
    seen->last = *id;
    seen->gone_count++;
    happen(seen);
    return CKR_OK;
}

static CK_RV note_row(void *context, const struct store_row *row)
{
    struct seen *seen = context;
    ck_assert(seen->row_count == 0 || memcmp(&seen->last, &row->id, sizeof(row->id)) < 0);
    seen->last = row->id;
    seen->row_count++;
    happen(seen);
    return CKR_OK;
}

static CK_RV try_look(struct store *store, uint64_t since, struct seen *seen)
{
    seen->look =
        (struct store_look){.since = since, .gone = note_gone, .each = note_row, .context = seen};
    return store->ops->read_changes(store, &seen->look);
}

static struct seen look_since(struct store *store, uint64_t since)
{
    struct seen seen = {0};
    ck_assert_uint_eq(try_look(store, since, &seen), CKR_OK);
    return seen;
}

/* As if there had been so many commits. */
static void pass_turns(int count)
{
    char sql[96];
    (void) snprintf(sql, sizeof(sql), "UPDATE @.store SET changes = changes + %d", count);
    postgres_fixture_sql(sql);
}

/* As conf/postgresql.sql made them, and a token's rows. */
static void make_version_1(void)
{
    postgres_fixture_sql(
        "CREATE SCHEMA @; REVOKE ALL ON SCHEMA @ FROM PUBLIC; SET search_path = @;"
        "CREATE TABLE store (one boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one),"
        " version integer NOT NULL, changes bigint NOT NULL);"
        "CREATE TABLE record (name text COLLATE \"C\" NOT NULL PRIMARY KEY"
        " CHECK (octet_length(name) BETWEEN 1 AND 16),"
        " version bigint NOT NULL CHECK (version > 0),"
        " bytes bytea NOT NULL CHECK (octet_length(bytes) <= 1048576));"
        "CREATE TABLE object (id bytea NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),"
        " version bigint NOT NULL CHECK (version > 0),"
        " attributes bytea NOT NULL CHECK (octet_length(attributes) <= 1048576),"
        " value bytea NOT NULL CHECK (octet_length(value) <= 1048576));"
        "CREATE TABLE recent (slot integer NOT NULL PRIMARY KEY CHECK (slot >= 0 AND slot < 65536),"
        " id bytea NOT NULL CHECK (octet_length(id) = 16));"
        "INSERT INTO store (version, changes) VALUES (1, 70);"
        "INSERT INTO record VALUES ('token', 3, 't');"
        "INSERT INTO object SELECT decode(md5(n::text), 'hex'), n, 'a', 'v'"
        " FROM generate_series(1, 40) n");
}

static char *describe_new(void)
{
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    store_close(&store);
    char *text = postgres_fixture_describe();
    postgres_fixture_sql("DROP SCHEMA @ CASCADE");
    return text;
}

static void assert_described(const char *expected)
{
    char *text = postgres_fixture_describe();
    ck_assert_str_eq(text, expected);
    free(text);
}

/* The rows of version 1 are all there, no older look goes on, and what comes now is told. */
static void assert_upgraded(struct store *store)
{
    assert_record(store, "token", 3, "t");
    struct seen seen = look_since(store, 70);
    ck_assert(seen.look.is_whole);
    ck_assert_uint_eq(seen.row_count, 40);
    uint64_t turn = seen.look.turn;
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("token", 3, "t")), CKR_OK);
    seen = look_since(store, turn);
    ck_assert(!seen.look.is_whole);
    ck_assert_uint_eq(seen.row_count, 1);
    ck_assert_uint_eq(seen.look.turn, turn + 2);
    ck_assert_uint_eq(commit_one(store, object_remove(&id, 1)), CKR_OK);
    ck_assert_uint_eq(look_since(store, turn + 2).gone_count, 1);
}

START_TEST(the_module_upgrades_its_own_tables)
{
    char *expected = describe_new();
    make_version_1();
    struct store *store = open_there();
    assert_upgraded(store);
    assert_described(expected);
    store_close(&store);
    free(expected);
}
END_TEST

START_TEST(the_script_upgrades_what_the_role_may_not)
{
    char *expected = describe_new();
    postgres_fixture_make_role();
    make_version_1();
    postgres_fixture_sql("GRANT USAGE ON SCHEMA @ TO role_@;"
                         "GRANT SELECT, INSERT, UPDATE, DELETE ON @.record, @.object, @.recent"
                         " TO role_@; GRANT SELECT, UPDATE (changes) ON @.store TO role_@");
    char *before = postgres_fixture_describe();
    struct store *store = open_as(postgres_fixture_role(), 0, "");
    struct seen seen = {0};
    ck_assert_uint_eq(try_look(store, 0, &seen), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert(store_fixture_log_has("of an older version, and its role may not change them"));
    ck_assert(store_fixture_log_has("let the owner run conf/postgresql.sql"));
    ck_assert_uint_eq(commit_one(store, record_put("token", 3, "t")), CKR_DEVICE_ERROR);
    assert_described(before);
    ck_assert_int_eq(postgres_fixture_number("SELECT changes FROM @.store"), 70);

    postgres_fixture_run_script(POSTGRES_SQL, postgres_fixture_role());
    assert_described(expected);
    assert_upgraded(store);
    long changes = postgres_fixture_number("SELECT changes FROM @.store");
    ck_assert_uint_eq(store->ops->reset(store, "token", 4, NULL, 0), CKR_OK);
    ck_assert(look_since(store, (uint64_t) changes).look.is_whole);
    changes = postgres_fixture_number("SELECT changes FROM @.store");
    postgres_fixture_run_script(POSTGRES_SQL, postgres_fixture_role());
    ck_assert_int_eq(postgres_fixture_number("SELECT changes FROM @.store"), changes);
    assert_described(expected);
    store_close(&store);
    postgres_fixture_drop_role();
    free(before);
    free(expected);
}
END_TEST

/* As a process of the older module that commits. */
static void commit_slowly(struct crew_member *member, void *context)
{
    (void) member;
    (void) context;
    postgres_fixture_sql("BEGIN; UPDATE @.store SET changes = changes + 1; SELECT pg_sleep(1);"
                         " UPDATE @.object SET value = 'w'; COMMIT");
}

START_TEST(an_upgrade_waits_for_who_commits)
{
    static struct crew crews[2];
    for (int by_script = 0; by_script < 2; by_script++) {
        struct crew *crew = &crews[by_script];
        make_version_1();
        crew_start(crew, 1, commit_slowly, NULL);
        while (postgres_fixture_number("SELECT count(*) FROM pg_stat_activity"
                                       " WHERE wait_event = 'PgSleep'") == 0)
            crew_sleep_ms(10);
        if (by_script)
            postgres_fixture_run_script(POSTGRES_SQL, "admin");
        struct store *store = open_there();
        ck_assert_uint_eq(look_since(store, 0).row_count, 40);
        store_close(&store);
        crew_join(crew);
        ck_assert_int_eq(postgres_fixture_number("SELECT count(*) FROM @.object"
                                                 " WHERE value = 'w'"),
                         40);
        postgres_fixture_sql("DROP SCHEMA @ CASCADE");
    }
}
END_TEST

START_TEST(a_newer_version_is_refused)
{
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    store_close(&store);
    postgres_fixture_sql("UPDATE @.store SET version = 3");
    postgres_fixture_run_script(POSTGRES_SQL, "admin");
    ck_assert_int_eq(postgres_fixture_number("SELECT version FROM @.store"), 3);
    store = open_there();
    struct seen seen = {0};
    ck_assert_uint_eq(try_look(store, 1, &seen), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("update the module"));
    store_close(&store);
}
END_TEST

static void work_for_ever(struct crew_member *member, void *context)
{
    (void) context;
    struct store *store = open_there();
    struct object_id id = id_of((unsigned int) member->number);
    uint64_t turn = 0;
    do {
        ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
        turn = look_since(store, turn).look.turn;
        ck_assert_uint_eq(commit_one(store, object_remove(&id, 1)), CKR_OK);
        turn = look_since(store, turn).look.turn;
        (void) count_objects(store);
    } while (crew_goes_on(member));
    store_close(&store);
}

START_TEST(the_script_disturbs_nobody)
{
    static struct crew crew;
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    crew_start(&crew, 4, work_for_ever, NULL);
    for (int i = 0; i < 10; i++)
        postgres_fixture_run_script(POSTGRES_SQL, "admin");
    crew_run(&crew, 1);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

/* A replica that was behind, or a dump. */
START_TEST(a_server_that_went_back_gives_all)
{
    struct store *store = open_there();
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 1, "a", "w")), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    pass_turns(-1);
    struct seen seen = look_since(store, turn);
    ck_assert(seen.look.is_whole);
    ck_assert_uint_eq(seen.look.turn, turn - 1);
    ck_assert_uint_eq(seen.row_count, 1);
    store_close(&store);
}
END_TEST

START_TEST(old_removals_are_forgotten)
{
    struct store *store = open_there();
    struct object_id ids[4];
    struct store_change changes[COUNT_OF(ids)];
    for (unsigned int i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = id_of(i);
        changes[i] = object_put(&ids[i], 0, "a", "v");
    }
    ck_assert_uint_eq(store->ops->commit(store, changes, COUNT_OF(ids)), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    ck_assert_uint_eq(commit_one(store, object_remove(&ids[0], 1)), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_remove(&ids[1], 1)), CKR_OK);
    /* To the last turn that goes on from there, less the one that comes. */
    pass_turns(STORE_TURNS_KEPT - 2);
    ck_assert_uint_eq(look_since(store, turn).gone_count, 2);
    ck_assert_uint_eq(commit_one(store, object_remove(&ids[2], 1)), CKR_OK);
    ck_assert_int_eq(postgres_fixture_number("SELECT count(*) FROM @.removed"), 2);
    ck_assert(look_since(store, turn).look.is_whole);
    struct seen seen = look_since(store, turn + 1);
    ck_assert(!seen.look.is_whole);
    ck_assert_uint_eq(seen.gone_count, 2);
    ck_assert_uint_eq(seen.row_count, 0);
    store_close(&store);
}
END_TEST

struct looking {
    struct store *store;
    uint64_t since;
    uint64_t turn;
    size_t row_count;
    size_t gone_count;
    bool kills;
    CK_RV rv;
};

static CK_RV plan_look(void *context, const struct store_change **ret_changes,
                       size_t *ret_change_count)
{
    struct looking *looking = context;
    if (looking->kills)
        kill_all();
    struct seen seen = look_since(looking->store, looking->since);
    ck_assert(!seen.look.is_whole);
    looking->turn = seen.look.turn;
    looking->row_count = seen.row_count;
    looking->gone_count = seen.gone_count;
    *ret_changes = NULL;
    *ret_change_count = 0;
    return looking->rv;
}

/* The commit in the making is not over: another may get its turn. */
START_TEST(a_plan_looks_at_what_was_before)
{
    struct store *store = open_there();
    struct store *other = open_there();
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    ck_assert_uint_eq(commit_one(other, object_put(&id, 0, "a", "v")), CKR_OK);
    struct looking looking = {.store = store, .since = turn, .rv = CKR_FUNCTION_CANCELED};
    for (int i = 0; i < 2; i++) {
        looking.kills = i == 1;
        ck_assert_uint_eq(store->ops->update(store, plan_look, &looking), CKR_FUNCTION_CANCELED);
        ck_assert_uint_eq(looking.turn, turn + 1);
        ck_assert_uint_eq(looking.row_count, 1);
    }
    ck_assert_uint_eq(commit_one(other, object_remove(&id, 1)), CKR_OK);
    ck_assert_uint_eq(look_since(store, looking.turn).gone_count, 1);
    looking = (struct looking){.store = store, .since = turn + 1};
    ck_assert_uint_eq(store->ops->update(store, plan_look, &looking), CKR_OK);
    ck_assert_uint_eq(looking.gone_count, 1);
    ck_assert_uint_eq(look_since(store, looking.turn).look.turn, turn + 3);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&other);
    store_close(&store);
}
END_TEST

/* The oldest look that goes on, when the count is one more than for the others. */
START_TEST(a_plan_looks_as_far_back)
{
    struct store *store = open_there();
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    pass_turns(STORE_TURNS_KEPT - 2);
    struct looking looking = {.store = store, .since = turn};
    ck_assert_uint_eq(store->ops->update(store, plan_look, &looking), CKR_OK);
    ck_assert_uint_eq(looking.row_count, 1);
    store_close(&store);
}
END_TEST

START_TEST(a_look_may_be_cut)
{
    postgres_fixture_sql("ALTER ROLE admin PASSWORD 'secret-word'");
    int port = cutting_proxy_start(postgres_fixture_port());
    struct store *store = open_as("admin", port, "&sslmode=disable");
    struct object_id ids[2] = {id_of(1), id_of(2)};
    ck_assert_uint_eq(commit_one(store, object_put(&ids[0], 0, "a", "v")), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    ck_assert_uint_eq(commit_one(store, object_remove(&ids[0], 1)), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&ids[1], 0, "a", "v")), CKR_OK);
    static const char *const steps[] = {"look", "look", "read_objects", "read_objects"};
    for (unsigned int i = 0; i < COUNT_OF(steps); i++) {
        bool is_whole = strcmp(steps[i], "look") != 0;
        cutting_proxy_cut(i % 2 == 0 ? CUT_BEFORE : CUT_AFTER, steps[i], false);
        struct seen seen = look_since(store, is_whole ? 0 : turn);
        ck_assert_uint_eq(cutting_proxy_cuts(), i + 1);
        ck_assert_uint_eq(seen.row_count, 1);
        ck_assert_uint_eq(seen.gone_count, is_whole ? 0 : 1);
        ck_assert_uint_eq(seen.look.turn, turn + 2);
    }
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

#define ROWS 20000
#define GONE 2000

/* Cut among the ids that went, and among the rows. */
START_TEST(a_look_goes_on_behind_what_it_gave)
{
    static const size_t kill_at[] = {100, GONE + 100};
    struct store *store = open_there();
    struct store *other = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("r", 0, "1")), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    postgres_fixture_sql("UPDATE @.store SET changes = changes + 1;"
                         "INSERT INTO @.object SELECT decode(md5(n::text), 'hex'), 1,"
                         " decode(repeat(md5(n::text), 32), 'hex'), 'v', (SELECT changes FROM"
                         " @.store) FROM generate_series(1, 20000) n;"
                         "INSERT INTO @.removed SELECT decode(md5((-n)::text), 'hex'),"
                         " (SELECT changes FROM @.store) FROM generate_series(1, 2000) n");
    for (size_t i = 0; i < 2 * COUNT_OF(kill_at); i++) {
        bool is_changed = i % 2 == 1;
        struct seen seen = {.kill_at = kill_at[i / 2], .other = is_changed ? other : NULL};
        postgres_fixture_sql("DELETE FROM @.record WHERE name = 'x'");
        store_fixture_log_clear();
        CK_RV rv = try_look(store, turn, &seen);
        ck_assert_uint_eq(rv, is_changed ? CKR_DEVICE_ERROR : CKR_OK);
        ck_assert(store_fixture_log_has("others have changed some since") == is_changed);
        ck_assert(!seen.look.is_whole);
        ck_assert(is_changed || (seen.gone_count == GONE && seen.row_count == ROWS));
    }
    store_close(&other);
    store_close(&store);
}
END_TEST

START_TEST(hostile_rows_do_no_harm)
{
    struct store *store = open_there();
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    uint64_t turn = look_since(store, 0).look.turn;
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    postgres_fixture_sql(
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT conrelid::regclass t, conname FROM"
        " pg_constraint WHERE connamespace = '@'::regnamespace AND contype = 'c' LOOP"
        " EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.t, r.conname); END LOOP; END $$;"
        "INSERT INTO @.removed VALUES ('short', 2), ('', 2), (decode(repeat('01', 17), 'hex'), 2),"
        " (decode(repeat('01', 16), 'hex'), 2), (decode(repeat('02', 16), 'hex'), -2),"
        " (decode(repeat('03', 16), 'hex'), 9223372036854775807);"
        "INSERT INTO @.object VALUES ('short', 1, 'a', 'v', 2),"
        " (decode(repeat('02', 16), 'hex'), 0, 'a', 'v', 2),"
        " (decode(repeat('06', 16), 'hex'), 1, 'a', convert_to(repeat('v', 1048577), 'UTF8'), 2)");
    struct seen seen = look_since(store, turn);
    ck_assert_uint_eq(seen.gone_count, 1);
    ck_assert_uint_eq(seen.row_count, 1);
    ck_assert(store_fixture_log_has("6 rows are malformed"));
    postgres_fixture_sql("DELETE FROM @.store");
    ck_assert_uint_eq(try_look(store, turn, &seen), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("restore the schema from a backup"));
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("postgres changes");
    TCase *cases = tcase_create("changes");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_module_upgrades_its_own_tables);
    tcase_add_test(cases, the_script_upgrades_what_the_role_may_not);
    tcase_add_test(cases, an_upgrade_waits_for_who_commits);
    tcase_add_test(cases, a_newer_version_is_refused);
    tcase_add_test(cases, the_script_disturbs_nobody);
    tcase_add_test(cases, a_server_that_went_back_gives_all);
    tcase_add_test(cases, old_removals_are_forgotten);
    tcase_add_test(cases, a_plan_looks_at_what_was_before);
    tcase_add_test(cases, a_plan_looks_as_far_back);
    tcase_add_test(cases, a_look_may_be_cut);
    tcase_add_test(cases, a_look_goes_on_behind_what_it_gave);
    tcase_add_test(cases, hostile_rows_do_no_harm);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
