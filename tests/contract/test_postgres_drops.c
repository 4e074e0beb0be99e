/*
 * The PostgreSQL store while its connections are lost: nothing that was acknowledged is lost,
 * nothing happens twice, and one of those who compare and swap wins.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cause.h"
#include "base/clock.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/store_fixture.h"
#include "tests/threads/crew.h"

#define WRITERS 8
#define DROPS_MS 2000
#define KILL_MS 20

static struct store *open_there(void)
{
    return store_fixture_open("postgresql");
}

static struct store *open_location(const char *location)
{
    struct store *store = NULL;
    ck_assert_uint_eq(store_open(location, &store), CKR_OK);
    return store;
}

/* By the proxy, in clear, so that it can read. */
static struct store *open_by_proxy(int port)
{
    char location[POSTGRES_LOCATION_MAX];
    postgres_fixture_tcp(location, "admin", port);
    strcat(location, "&sslmode=disable");
    return open_location(location);
}

static int start_proxy(void)
{
    postgres_fixture_sql("ALTER ROLE admin PASSWORD 'secret-word'");
    return cutting_proxy_start(postgres_fixture_port());
}

/* One of them at a time, whatever it is doing. */
static void kill_for_ever(struct crew_member *member, void *context)
{
    (void) context;
    while (crew_goes_on(member)) {
        postgres_fixture_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                             " WHERE application_name = 'indexkey' ORDER BY random() LIMIT 1");
        crew_sleep_ms(KILL_MS);
    }
}

static void kill_all(void)
{
    postgres_fixture_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                         " WHERE application_name = 'indexkey'");
}

/* Adds one to the number in the record "count", and makes the object of that number. */
struct addition {
    struct store *store;
    unsigned int number;
    unsigned int plans;
    bool kills_before;
    bool kills_after;
    struct store *other; /* commits once, when it is its turn again */
    struct object_id id;
    struct store_change changes[2];
};

static CK_RV plan_addition(void *context, const struct store_change **ret_changes,
                           size_t *ret_change_count)
{
    struct addition *addition = context;
    const struct store_ops *ops = addition->store->ops;
    _cleanup_(blob_clear) struct blob bytes = {0};
    uint64_t version = 0;
    addition->plans++;
    if (addition->kills_before)
        kill_all();
    if (addition->other != NULL)
        ck_assert_uint_eq(commit_one(addition->other, record_put("other", 0, "x")), CKR_OK);
    CK_RV rv = ops->read_record(addition->store, "count", &bytes, &version);
    if (rv != CKR_OK && rv != STORE_ABSENT)
        return rv;
    addition->number = 0;
    if (rv == CKR_OK)
        memcpy(&addition->number, bytes.bytes, sizeof(addition->number));
    addition->number++;
    addition->id = id_of(addition->number);
    addition->changes[0] = record_put("count", version, "");
    addition->changes[0].attributes =
        (struct view){(unsigned char *) &addition->number, sizeof(addition->number)};
    addition->changes[1] = object_put(&addition->id, 0, "a", "v");
    *ret_changes = addition->changes;
    *ret_change_count = 2;
    if (addition->kills_after)
        kill_all();
    return CKR_OK;
}

static CK_RV add_one(struct addition *addition)
{
    return addition->store->ops->update(addition->store, plan_addition, addition);
}

static unsigned int count_now(struct store *store)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    uint64_t version = 0;
    unsigned int number = 0;
    ck_assert_uint_eq(store->ops->read_record(store, "count", &bytes, &version), CKR_OK);
    memcpy(&number, bytes.bytes, sizeof(number));
    ck_assert_uint_eq(version, number);
    return number;
}

struct writing {
    atomic_uint done;
    atomic_uint again;
};

static void add_for_ever(struct crew_member *member, void *context)
{
    struct writing *writing = context;
    struct store *store = open_there();
    while (crew_goes_on(member)) {
        struct addition addition = {.store = store};
        CK_RV rv = add_one(&addition);
        ck_assert_msg(rv == CKR_OK || rv == STORE_CONFLICT, "%lx", rv);
        atomic_fetch_add(rv == CKR_OK ? &writing->done : &writing->again, 1);
    }
    store_close(&store);
}

START_TEST(acknowledged_updates_stay)
{
    static struct crew crew;
    struct writing writing = {0};
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("first", 0, "1")), CKR_OK);
    crew_start(&crew, WRITERS, add_for_ever, &writing);
    crew_start(&crew, 1, kill_for_ever, NULL);
    crew_run(&crew, DROPS_MS);
    unsigned int done = atomic_load(&writing.done);
    ck_assert_uint_gt(done, 20);
    ck_assert_uint_eq(count_now(store), done);
    ck_assert_uint_eq(count_objects(store), done);
    store_close(&store);
}
END_TEST

#define RACES 40

static atomic_uint winners[RACES];

static void race(struct crew_member *member, void *context)
{
    (void) context;
    struct store *store = open_there();
    char name[8];
    (void) snprintf(name, sizeof(name), "%zu", member->number);
    for (uint64_t version = 0; version < RACES; version++) {
        CK_RV rv = commit_one(store, record_put("race", version, name));
        ck_assert_msg(rv == CKR_OK || rv == STORE_CONFLICT, "%lx", rv);
        atomic_fetch_add(&winners[version], rv == CKR_OK ? 1 : 0);
        while (rv != CKR_OK) {
            struct blob bytes = {0};
            uint64_t found = 0;
            rv = store->ops->read_record(store, "race", &bytes, &found);
            ck_assert_uint_eq(rv, CKR_OK);
            ck_assert_uint_gt(found, version);
            blob_clear(&bytes);
        }
    }
    store_close(&store);
}

START_TEST(one_wins_each_version)
{
    static struct crew racers;
    static struct crew killers;
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("first", 0, "1")), CKR_OK);
    crew_start(&killers, 1, kill_for_ever, NULL);
    crew_start(&racers, WRITERS, race, NULL);
    crew_join(&racers);
    crew_run(&killers, 1);
    for (size_t i = 0; i < RACES; i++)
        ck_assert_uint_eq(atomic_load(&winners[i]), 1);
    store_close(&store);
}
END_TEST

/* The answer to COMMIT is lost, or the COMMIT itself: in both cases it is done once. */
START_TEST(a_lost_commit_is_found_out)
{
    int port = start_proxy();
    struct store *store = open_by_proxy(port);
    ck_assert_uint_eq(commit_one(store, record_put("r", 0, "1")), CKR_OK);
    for (uint64_t version = 1; version < 9; version++) {
        cutting_proxy_cut(version % 2 == 0 ? CUT_BEFORE : CUT_AFTER, "commit", false);
        struct object_id id = id_of((unsigned int) version);
        const struct store_change both[] = {record_put("r", version, "x"),
                                            object_put(&id, 0, "a", "v")};
        ck_assert_uint_eq(store->ops->commit(store, both, 2), CKR_OK);
        ck_assert_uint_eq(cutting_proxy_cuts(), version);
    }
    assert_record(store, "r", 9, "x");
    ck_assert_uint_eq(count_objects(store), 8);
    ck_assert_uint_eq(commit_one(store, record_put("r", 8, "y")), STORE_CONFLICT);
    store_close(&store);
}
END_TEST

START_TEST(every_step_may_be_cut)
{
    static const char *const steps[] = {"begin",         "take_turn",    "update_record",
                                        "insert_object", "note_commit",  "notify",
                                        "commit",        "read_objects", "read_record"};
    int port = start_proxy();
    struct store *store = open_by_proxy(port);
    ck_assert_uint_eq(commit_one(store, record_put("count", 0, "\0\0\0")), CKR_OK);
    postgres_fixture_sql("UPDATE @.record SET bytes = '\\x01000000'");
    unsigned int count = 1;
    for (size_t i = 0; i < 2 * COUNT_OF(steps); i++) {
        struct addition addition = {.store = store};
        cutting_proxy_cut(i % 2 == 0 ? CUT_BEFORE : CUT_AFTER, steps[i / 2], false);
        ck_assert_uint_eq(add_one(&addition), CKR_OK);
        ck_assert_uint_eq(addition.plans, 1);
        count++;
        ck_assert_uint_eq(count_now(store), count);
        ck_assert_uint_eq(count_objects(store), count - 1);
        ck_assert_uint_eq(cutting_proxy_cuts(), i + 1);
    }
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

/* Nobody says OK, and nobody says that nothing happened. */
START_TEST(what_cannot_be_found_out_is_an_error)
{
    int port = start_proxy();
    struct store *store = open_by_proxy(port);
    struct store *direct = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("r", 0, "1")), CKR_OK);
    cutting_proxy_cut(CUT_AFTER, "commit", true);
    int64_t begun_ms = clock_boot_ms();
    ck_assert_uint_eq(commit_one(store, record_put("r", 1, "2")), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert_int_lt(clock_boot_ms() - begun_ms, 9000);
    ck_assert(store_fixture_log_has("cannot be found out"));
    ck_assert(store_fixture_log_has("postgresql://127.0.0.1:"));
    ck_assert(!store_fixture_log_has("secret-word"));
    assert_record(direct, "r", 2, "2");
    /* It heals without a restart. */
    cutting_proxy_cut(CUT_NOTHING, "none", false);
    crew_sleep_ms(200);
    ck_assert_uint_eq(commit_one(store, record_put("r", 2, "3")), CKR_OK);
    store_close(&store);
    store_close(&direct);
}
END_TEST

/* Connections that stay open and say nothing. */
START_TEST(silence_has_an_end)
{
    int port = start_proxy();
    struct store *store = open_by_proxy(port);
    ck_assert_uint_eq(commit_one(store, record_put("r", 0, "1")), CKR_OK);
    assert_record(store, "r", 1, "1");
    cutting_proxy_cut(CUT_SILENT, "read_record", false);
    struct blob bytes = {0};
    uint64_t version = 0;
    int64_t begun_ms = clock_boot_ms();
    ck_assert_uint_eq(store->ops->read_record(store, "r", &bytes, &version), CKR_DEVICE_ERROR);
    ck_assert_int_lt(clock_boot_ms() - begun_ms, 17000);
    ck_assert(store_fixture_log_has("try again"));
    store_close(&store);
}
END_TEST

START_TEST(a_plan_goes_on_in_its_turn)
{
    struct store *store = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("first", 0, "1")), CKR_OK);
    for (int i = 0; i < 4; i++) {
        struct addition addition = {
            .store = store, .kills_before = i % 2 == 1, .kills_after = i >= 2};
        ck_assert_uint_eq(add_one(&addition), CKR_OK);
        ck_assert_uint_eq(addition.plans, 1);
    }
    ck_assert_uint_eq(count_now(store), 4);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

/* What the plan has read may have changed by now. */
START_TEST(a_plan_whose_turn_went_to_others_is_a_conflict)
{
    struct store *store = open_there();
    struct store *other = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("first", 0, "1")), CKR_OK);
    struct addition addition = {.store = store, .kills_before = true, .other = other};
    ck_assert_uint_eq(add_one(&addition), STORE_CONFLICT);
    assert_record(store, "count", 0, "");
    addition = (struct addition){.store = store};
    ck_assert_uint_eq(add_one(&addition), CKR_OK);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&other);
    store_close(&store);
}
END_TEST

#define ROWS 20000

struct counting {
    size_t count;
    struct object_id last;
    struct store *other; /* changes a row behind, when the connection is lost */
    bool is_lost;
};

static CK_RV lose_connection(void *context, const struct store_row *row)
{
    struct counting *counting = context;
    ck_assert(counting->count == 0 ||
              memcmp(counting->last.bytes, row->id.bytes, OBJECT_ID_LEN) < 0);
    counting->last = row->id;
    if (++counting->count == 100) {
        counting->is_lost = true;
        kill_all();
        if (counting->other != NULL)
            ck_assert_uint_eq(commit_one(counting->other, record_put("x", 0, "x")), CKR_OK);
    }
    return CKR_OK;
}

START_TEST(a_reading_goes_on_behind_the_last_row)
{
    struct store *store = open_there();
    struct store *other = open_there();
    ck_assert_uint_eq(commit_one(store, record_put("r", 0, "1")), CKR_OK);
    postgres_fixture_sql("INSERT INTO @.object SELECT decode(md5(n::text), 'hex'), 1,"
                         " decode(repeat(md5(n::text), 32), 'hex'), 'v'"
                         " FROM generate_series(1, 20000) n");
    struct counting counting = {0};
    ck_assert_uint_eq(store->ops->read_objects(store, lose_connection, &counting), CKR_OK);
    ck_assert_uint_eq(counting.count, ROWS);
    counting = (struct counting){.other = other};
    ck_assert_uint_eq(store->ops->read_objects(store, lose_connection, &counting),
                      CKR_DEVICE_ERROR);
    ck_assert_uint_lt(counting.count, ROWS);
    ck_assert(store_fixture_log_has("others have changed some since"));
    ck_assert_uint_eq(count_objects(store), ROWS);
    store_close(&other);
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("postgres drops");
    TCase *cases = tcase_create("drops");
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, acknowledged_updates_stay);
    tcase_add_test(cases, one_wins_each_version);
    tcase_add_test(cases, a_lost_commit_is_found_out);
    tcase_add_test(cases, every_step_may_be_cut);
    tcase_add_test(cases, what_cannot_be_found_out_is_an_error);
    tcase_add_test(cases, a_plan_goes_on_in_its_turn);
    tcase_add_test(cases, a_plan_whose_turn_went_to_others_is_a_conflict);
    tcase_add_test(cases, a_reading_goes_on_behind_the_last_row);
    suite_add_tcase(suite, cases);
    TCase *silence = tcase_create("silence");
    tcase_add_checked_fixture(silence, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(silence, 60);
    tcase_add_test(silence, silence_has_an_end);
    suite_add_tcase(suite, silence);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
