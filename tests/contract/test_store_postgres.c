/* What is PostgreSQL's own: places, schemas, roles, TLS, notifications, forks, hostile rows. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cause.h"
#include "base/clock.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/store_fixture.h"
#include "tests/threads/crew.h"

static struct store *open_location(const char *location)
{
    struct store *store = NULL;
    ck_assert_uint_eq(store_open(location, &store), CKR_OK);
    return store;
}

static struct store *open_there(void)
{
    return store_fixture_open("postgresql");
}

/* A read and a commit both fail, and say what to do. */
static void assert_fails(struct store *store, const char *remedy)
{
    struct blob bytes = {0};
    uint64_t version = 0;
    store_fixture_log_clear();
    cause_clear();
    ck_assert_uint_eq(store->ops->read_record(store, "token", &bytes, &version), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert(store_fixture_log_has(remedy));
    store_fixture_log_clear();
    ck_assert_uint_eq(commit_one(store, record_put("new", 0, "n")), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has(remedy));
    ck_assert(!store_fixture_log_has("secret-word"));
}

START_TEST(bad_places_are_refused)
{
    static const char *const bad[] = {
        "postgresql:",
        "postgresql:db",
        "postgresql:/db",
        "postgresql://u:secret-word@h/db?no_such=1",
        "postgresql://u:secret-word@h/db?schema=",
        "postgresql://u:secret-word@h/db?schema=Upper",
        "postgresql://u:secret-word@h/db?schema=pg_own",
        "postgresql://u:secret-word@h/db?schema=a%22b",
        "postgresql://u:secret-word@h/db?schema=1st",
        "postgres://u:secret-word@h/db?schema=a234567890b234567890c234567890d234567890e23456789",
        "postgresql://u:secret-word@db.example/db?sslmode=disable",
        "postgresql://u:secret-word@db.example/db?sslmode=require&schema=x",
        "postgresql://u:secret-word@127.0.0.1,10.0.0.1/db?sslmode=prefer",
        "postgresql://u:secret-word@localhost/db?hostaddr=10.0.0.1&sslmode=verify-ca",
        "postgresql://u:secret-word@127.0.0.1.example/db?sslmode=allow",
        "postgresql:///db?service=any&sslmode=require",
        "postgresq://u:secret-word@h/db",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct store *store = NULL;
        cause_clear();
        ck_assert_msg(store_open(bad[i], &store) == CKR_ARGUMENTS_BAD ||
                          cause_last() == INDEXKEY_CAUSE_CONFIG,
                      "%s", bad[i]);
        ck_assert_ptr_null(store);
        ck_assert(!store_fixture_log_has("secret-word"));
    }
    static const char *const good[] = {
        "postgresql://",
        "postgres://u@127.0.0.1:1/db?sslmode=disable",
        "postgresql://u@localhost,[::1]/db?schema=x&sslmode=disable",
        "postgresql:///db?host=/tmp&schema=_x9&sslmode=disable",
        "postgresql://u@db.example/db",
        "postgresql://u@db.example/db?sslmode=verify-full&schema=x",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct store *store = open_location(good[i]);
        store_close(&store);
    }
}
END_TEST

/* 127.0.0.1 stands for any host when its name is not given: libpq asks the environment. */
START_TEST(the_environment_counts)
{
    struct store *store = NULL;
    ck_assert_int_eq(setenv("PGHOST", "db.example", 1), 0);
    ck_assert_uint_ne(store_open("postgresql:///db?sslmode=disable", &store), CKR_OK);
    ck_assert_int_eq(setenv("PGHOST", "/tmp", 1), 0);
    ck_assert_uint_eq(store_open("postgresql:///db?sslmode=disable", &store), CKR_OK);
    store_close(&store);
    ck_assert_int_eq(setenv("PGHOSTADDR", "10.0.0.1", 1), 0);
    ck_assert_uint_ne(store_open("postgresql:///db?sslmode=disable", &store), CKR_OK);
    ck_assert_int_eq(unsetenv("PGHOST") | unsetenv("PGHOSTADDR"), 0);

    /* A password, as libpq finds it. */
    char location[POSTGRES_LOCATION_MAX];
    postgres_fixture_sql("ALTER ROLE admin PASSWORD 'secret-word'");
    (void) snprintf(location, sizeof(location),
                    "postgresql://admin@127.0.0.1:%d/postgres?schema=%s", postgres_fixture_port(),
                    postgres_fixture_schema());
    ck_assert_int_eq(setenv("PGPASSWORD", "secret-word", 1), 0);
    store = open_location(location);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    store_close(&store);
    ck_assert_int_eq(setenv("PGPASSWORD", "wrong-word", 1), 0);
    store = open_location(location);
    int64_t begun_ms = clock_boot_ms();
    assert_fails(store, "pg_hba.conf");
    /* A no is not asked for again. */
    ck_assert_int_lt(clock_boot_ms() - begun_ms, 3000);
    ck_assert(!store_fixture_log_has("wrong-word"));
    store_close(&store);
    ck_assert_int_eq(unsetenv("PGPASSWORD"), 0);
}
END_TEST

START_TEST(tls_proves_the_server)
{
    char location[POSTGRES_LOCATION_MAX];
    postgres_fixture_sql("ALTER ROLE admin PASSWORD 'secret-word'");
    postgres_fixture_tcp(location, "admin", 0);
    strcat(location, "&sslmode=verify-full&sslrootcert=");
    size_t len = strlen(location);
    strcat(location, getenv("POSTGRES_CA"));
    struct store *store = open_location(location);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    ck_assert_int_eq(postgres_fixture_number("SELECT count(*) FROM pg_stat_ssl s"
                                             " JOIN pg_stat_activity a USING (pid)"
                                             " WHERE application_name = 'indexkey' AND s.ssl"),
                     1);
    store_close(&store);
    /* Another authority's. */
    char *name = strrchr(location, '/');
    ck_assert_uint_gt((size_t) (name - location), len);
    (void) strcpy(name, "/other-ca.pem");
    store = open_location(location);
    assert_fails(store, "certificate");
    store_close(&store);
}
END_TEST

START_TEST(reading_makes_nothing)
{
    struct store *store = open_there();
    assert_record(store, "token", 0, "");
    ck_assert_uint_eq(count_objects(store), 0);
    uint64_t before = changes_of(store);
    ck_assert_uint_eq(changes_of(store), before);
    ck_assert_int_eq(
        postgres_fixture_number("SELECT count(*) FROM pg_namespace WHERE nspname = '@'"), 0);
    /* Made by another opener, it is seen. */
    struct store *other = open_there();
    ck_assert_uint_eq(commit_one(other, record_put("token", 0, "t")), CKR_OK);
    assert_record(store, "token", 1, "t");
    ck_assert_uint_ne(changes_of(store), before);
    /* Gone and made again underneath. */
    postgres_fixture_sql("DROP SCHEMA @ CASCADE");
    assert_record(store, "token", 0, "");
    ck_assert_uint_eq(commit_one(other, record_put("token", 0, "again")), CKR_OK);
    assert_record(store, "token", 1, "again");
    store_close(&other);
    store_close(&store);
}
END_TEST

#define MAKERS 6

static void make_schema(struct crew_member *member, void *context)
{
    (void) context;
    char name[8];
    struct store *store = open_there();
    (void) snprintf(name, sizeof(name), "m%zu", member->number);
    ck_assert_uint_eq(commit_one(store, record_put(name, 0, "t")), CKR_OK);
    store_close(&store);
}

START_TEST(many_make_the_schema_at_once)
{
    static struct crew crew;
    crew_start(&crew, MAKERS, make_schema, NULL);
    crew_join(&crew);
    ck_assert_int_eq(postgres_fixture_number("SELECT count(*) FROM @.record"), MAKERS);
    ck_assert_int_eq(postgres_fixture_number("SELECT version FROM @.store"), 2);
    ck_assert_int_eq(postgres_fixture_number("SELECT changes FROM @.store"), MAKERS);
}
END_TEST

START_TEST(a_newer_version_is_refused)
{
    struct store *running = open_there();
    ck_assert_uint_eq(commit_one(running, record_put("token", 0, "t")), CKR_OK);
    postgres_fixture_sql("UPDATE @.store SET version = 3");
    struct store *store = open_there();
    assert_fails(store, "update the module");
    store_close(&store);
    /* One that knew the tables before commits nothing to them. */
    ck_assert_uint_eq(commit_one(running, record_put("new", 0, "n")), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("schema 3"));
    postgres_fixture_sql("UPDATE @.store SET version = 2");
    ck_assert_uint_eq(commit_one(running, record_put("new", 0, "n")), CKR_OK);
    store_close(&running);
}
END_TEST

START_TEST(the_script_makes_the_same_tables)
{
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    store_close(&store);
    char *by_module = postgres_fixture_describe();
    postgres_fixture_sql("DROP SCHEMA @ CASCADE");
    postgres_fixture_run_script(POSTGRES_SQL, "admin");
    char *by_script = postgres_fixture_describe();
    ck_assert_str_eq(by_module, by_script);
    ck_assert_ptr_nonnull(strstr(by_module, "object r attributes bytea"));
    ck_assert_uint_gt(strlen(by_module), 800);
    /* Once more changes nothing. */
    postgres_fixture_run_script(POSTGRES_SQL, "admin");
    free(by_script);
    by_script = postgres_fixture_describe();
    ck_assert_str_eq(by_module, by_script);
    free(by_module);
    free(by_script);
}
END_TEST

/* What the role does itself, over its own connection. */
static void assert_denied(const char *sql)
{
    char switched[256];
    (void) snprintf(switched, sizeof(switched),
                    "DO $$ BEGIN SET LOCAL ROLE role_@; BEGIN EXECUTE $s$%s$s$;"
                    " EXCEPTION WHEN insufficient_privilege THEN RETURN; END;"
                    " RAISE 'it may do that'; END $$",
                    sql);
    postgres_fixture_sql(switched);
}

START_TEST(a_role_with_few_rights_is_enough)
{
    char location[POSTGRES_LOCATION_MAX];
    postgres_fixture_make_role();
    postgres_fixture_tcp(location, postgres_fixture_role(), 0);
    struct store *store = open_location(location);
    /* Nothing is there, and it may not make it. */
    assert_record(store, "token", 0, "");
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_DEVICE_ERROR);
    ck_assert(store_fixture_log_has("its schema or tables are missing"));
    ck_assert(store_fixture_log_has("conf/postgresql.sql"));
    ck_assert(!store_fixture_log_has("secret-word"));

    postgres_fixture_run_script(POSTGRES_SQL, postgres_fixture_role());
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "u")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_remove(&id, 1)), CKR_OK);
    ck_assert_uint_eq(store->ops->reset(store, "token", 2, NULL, 0), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    assert_record(store, "token", 1, "t");
    (void) changes_of(store);

    postgres_fixture_sql("CREATE TABLE public.other_@ (secret text)");
    assert_denied("SELECT * FROM public.other_@");
    assert_denied("UPDATE @.store SET version = 9");
    assert_denied("DELETE FROM @.store");
    assert_denied("CREATE TABLE @.more (a int)");
    assert_denied("ALTER TABLE @.object ADD COLUMN more text");
    assert_denied("DROP TABLE @.object");
    assert_denied("CREATE SCHEMA more");
    assert_denied("TRUNCATE @.object");
    postgres_fixture_sql("DROP TABLE public.other_@");

    /* Rights that were taken away. */
    postgres_fixture_sql("REVOKE ALL ON ALL TABLES IN SCHEMA @ FROM role_@");
    assert_fails(store, "give its role the rights");
    store_close(&store);
    postgres_fixture_drop_role();
}
END_TEST

#define ROUNDS 10

static long ms_until_change(struct store *store, uint64_t before)
{
    int64_t begun_ms = clock_boot_ms();
    while (changes_of(store) == before) {
        ck_assert_int_lt(clock_boot_ms() - begun_ms, 5000);
        crew_sleep_ms(1);
    }
    return (long) (clock_boot_ms() - begun_ms);
}

/* A machine that is busy may delay one round; the best of them is the store's own delay. */
START_TEST(another_process_is_seen_at_once)
{
    int orders[2];
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    ck_assert_int_eq(pipe(orders), 0);
    pid_t child = fork();
    if (child == 0) {
        char order;
        store_abandon(store);
        struct store *own = open_there();
        uint64_t version = 1;
        (void) close(orders[1]);
        while (read(orders[0], &order, 1) == 1) {
            if (commit_one(own, record_put("token", version++, "c")) != CKR_OK)
                _exit(1);
        }
        store_close(&own);
        _exit(0);
    }
    long best = 5000;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t before = changes_of(store);
        ck_assert_int_eq(write(orders[1], "x", 1), 1);
        long ms = ms_until_change(store, before);
        best = ms < best ? ms : best;
    }
    ck_assert_int_le(best, 50);
    (void) close(orders[1]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    assert_record(store, "token", 1 + ROUNDS, "c");
    store_close(&store);
}
END_TEST

START_TEST(no_change_is_missed)
{
    struct store *store = open_there();
    struct store *other = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    /* While nobody listened. */
    uint64_t before = changes_of(store);
    postgres_fixture_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                         " WHERE application_name = 'indexkey'");
    ck_assert_uint_eq(commit_one(other, record_put("token", 1, "u")), CKR_OK);
    ck_assert_uint_ne(changes_of(store), before);
    /* Nobody told. */
    before = changes_of(store);
    postgres_fixture_sql("UPDATE @.store SET changes = changes + 1");
    ck_assert_int_le(ms_until_change(store, before), 1500);
    /* Somebody tells what is not so. */
    before = changes_of(store);
    postgres_fixture_sql("SELECT pg_notify('indexkey:@', repeat('9', n)) FROM"
                         " generate_series(0, 1000) n");
    crew_sleep_ms(50);
    ck_assert_uint_eq(changes_of(store), before);
    ck_assert_uint_eq(commit_one(other, record_put("token", 2, "v")), CKR_OK);
    ck_assert_int_le(ms_until_change(store, before), 500);
    store_close(&other);
    store_close(&store);
}
END_TEST

static long backends(void)
{
    return postgres_fixture_number("SELECT coalesce(sum(pid::bigint), 0) FROM pg_stat_activity"
                                   " WHERE application_name = 'indexkey'");
}

START_TEST(a_fork_leaves_the_parent_alone)
{
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    assert_record(store, "token", 1, "t");
    long before = backends();
    for (int round = 0; round < 5; round++) {
        pid_t child = fork();
        if (child == 0) {
            struct blob bytes = {0};
            uint64_t version = 0;
            store_abandon(store);
            struct store *own = open_there();
            if (own->ops->read_record(own, "token", &bytes, &version) != CKR_OK)
                _exit(1);
            store_close(&own);
            _exit(0);
        }
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
        assert_record(store, "token", (uint64_t) round + 1, "t");
        ck_assert_uint_eq(commit_one(store, record_put("token", (uint64_t) round + 1, "t")),
                          CKR_OK);
    }
    crew_sleep_ms(100);
    ck_assert_int_eq(backends(), before);
    store_close(&store);
}
END_TEST

START_TEST(hostile_rows_do_no_harm)
{
    struct store *store = open_there();
    struct object_id good = id_of(1);
    const struct store_change first[] = {record_put("token", 0, "t"), record_put("long", 0, "l"),
                                         record_put("null", 0, "n"), record_put("minus", 0, "m"),
                                         object_put(&good, 0, "a", "v")};
    ck_assert_uint_eq(store->ops->commit(store, first, COUNT_OF(first)), CKR_OK);
    postgres_fixture_sql(
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT conrelid::regclass t, conname FROM"
        " pg_constraint WHERE connamespace = '@'::regnamespace AND contype = 'c' LOOP"
        " EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.t, r.conname); END LOOP; END $$;"
        "ALTER TABLE @.object ALTER attributes DROP NOT NULL, ALTER version DROP NOT NULL;"
        "ALTER TABLE @.record ALTER bytes DROP NOT NULL;"
        "INSERT INTO @.object VALUES ('short', 1, 'a', 'v'),"
        " (decode(repeat('01', 17), 'hex'), 1, 'a', 'v'), ('', 1, 'a', 'v'),"
        " (decode(repeat('02', 16), 'hex'), 0, 'a', 'v'),"
        " (decode(repeat('03', 16), 'hex'), -5, 'a', 'v'),"
        " (decode(repeat('04', 16), 'hex'), NULL, 'a', 'v'),"
        " (decode(repeat('05', 16), 'hex'), 1, NULL, 'v'),"
        " (decode(repeat('06', 16), 'hex'), 1, 'a', convert_to(repeat('v', 1048577), 'UTF8'));"
        "UPDATE @.record SET bytes = convert_to(repeat('v', 3000000), 'UTF8') WHERE name = 'long';"
        "UPDATE @.record SET bytes = NULL WHERE name = 'null';"
        "UPDATE @.record SET version = -1 WHERE name = 'minus'");
    ck_assert_uint_eq(count_objects(store), 1);
    /* The empty id is not behind the beginning; the others are told of. */
    ck_assert(store_fixture_log_has("7 rows are malformed"));
    static const char *const bad[] = {"long", "null", "minus"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct blob bytes = {0};
        uint64_t version = 0;
        ck_assert_uint_eq(store->ops->read_record(store, bad[i], &bytes, &version),
                          CKR_DEVICE_ERROR);
        ck_assert_ptr_null(bytes.bytes);
    }
    assert_object(store, &good, 1, "a", "v");
    /* Columns of another type. */
    postgres_fixture_sql("ALTER TABLE @.record ALTER version TYPE text");
    struct store *other = open_there();
    assert_fails(other, "look at the server's log");
    store_close(&other);
    postgres_fixture_sql("DELETE FROM @.store");
    other = open_there();
    assert_fails(other, "restore");
    store_close(&other);
    store_close(&store);
}
END_TEST

#ifdef MEASURES_MEMORY
static long memory_kib(void)
{
    long kib = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof(line), status) != NULL)
        (void) sscanf(line, "VmHWM: %ld", &kib);
    (void) fclose(status);
    return kib;
}

/* 30,000 rows of 1 KiB. */
START_TEST(rows_come_one_by_one)
{
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "t")), CKR_OK);
    postgres_fixture_sql("INSERT INTO @.object SELECT decode(md5(n::text), 'hex'), 1,"
                         " decode(repeat(md5(n::text), 64), 'hex'), 'v'"
                         " FROM generate_series(1, 30000) n");
    assert_record(store, "token", 1, "t");
    long before = memory_kib();
    ck_assert_uint_eq(count_objects(store), 30000);
    ck_assert_int_lt(memory_kib() - before, 8192);
    store_close(&store);
}
END_TEST

#endif

int main(void)
{
    Suite *suite = suite_create("store postgres");
    TCase *cases = tcase_create("postgres");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, bad_places_are_refused);
    tcase_add_test(cases, the_environment_counts);
    tcase_add_test(cases, tls_proves_the_server);
    tcase_add_test(cases, reading_makes_nothing);
    tcase_add_test(cases, many_make_the_schema_at_once);
    tcase_add_test(cases, a_newer_version_is_refused);
    tcase_add_test(cases, the_script_makes_the_same_tables);
    tcase_add_test(cases, a_role_with_few_rights_is_enough);
    tcase_add_test(cases, another_process_is_seen_at_once);
    tcase_add_test(cases, no_change_is_missed);
    tcase_add_test(cases, a_fork_leaves_the_parent_alone);
    tcase_add_test(cases, hostile_rows_do_no_harm);
#ifdef MEASURES_MEMORY
    tcase_add_test(cases, rows_come_one_by_one);
#endif
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
