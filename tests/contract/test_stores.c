/* What tokens/store.h promises, asked of every store in turn. */
#include "tests/support/store_fixture.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"

static struct store *open_kind(int index)
{
    return store_fixture_open(store_fixture_kinds[index]);
}

START_TEST(schemes_are_known)
{
    struct store *store = NULL;
    ck_assert(store_scheme_is_known("sqlite:/x"));
    ck_assert(store_scheme_is_known("memory:"));
    static const char *const unknown[] = {"", ":", "memory", "sqlit:/x", "sqlite3:/x", "Memory:"};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        ck_assert(!store_scheme_is_known(unknown[i]));
        cause_clear();
        ck_assert_uint_ne(store_open(unknown[i], &store), CKR_OK);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    }
    ck_assert(store_fixture_log_has("sqlite:PATH"));
    static const char *const bad[] = {"memory:x", "sqlite:", "sqlite:x.db", "sqlite:/x/"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cause_clear();
        ck_assert_uint_ne(store_open(bad[i], &store), CKR_OK);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    }
    ck_assert_ptr_null(store);
    store_close(&store);
}
END_TEST

START_TEST(nothing_is_absent)
{
    struct store *store = open_kind(_i);
    struct object_id id = id_of(1);
    assert_record(store, "token", 0, "");
    assert_record(store, "a name that is far too long", 0, "");
    assert_record(store, "", 0, "");
    assert_object(store, &id, 0, "", "");
    ck_assert_uint_eq(count_objects(store), 0);
    store_close(&store);
    ck_assert_ptr_null(store);
}
END_TEST

START_TEST(records_are_made_changed_and_removed)
{
    struct store *store = open_kind(_i);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "one")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("sixteen-bytes-ok", 0, "long")), CKR_OK);
    assert_record(store, "token", 1, "one");
    ck_assert_uint_eq(commit_one(store, record_put("token", 1, "")), CKR_OK);
    assert_record(store, "token", 2, "");
    assert_record(store, "sixteen-bytes-ok", 1, "long");
    assert_record(store, "toke", 0, "");
    ck_assert_uint_eq(commit_one(store, record_remove("token", 2)), CKR_OK);
    assert_record(store, "token", 0, "");
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "again")), CKR_OK);
    assert_record(store, "token", 1, "again");
    ck_assert_uint_eq(count_objects(store), 0);
    store_close(&store);
}
END_TEST

START_TEST(objects_are_made_changed_and_removed)
{
    struct store *store = open_kind(_i);
    struct object_id one = id_of(1);
    struct object_id two = id_of(2);
    ck_assert_uint_eq(commit_one(store, object_put(&one, 0, "a1", "v1")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&two, 0, "a2", "")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&one, 1, "", "v1b")), CKR_OK);
    assert_object(store, &one, 2, "", "v1b");
    assert_object(store, &two, 1, "a2", "");
    ck_assert_uint_eq(count_objects(store), 2);
    ck_assert_uint_eq(commit_one(store, object_remove(&one, 2)), CKR_OK);
    assert_object(store, &one, 0, "", "");
    ck_assert_uint_eq(count_objects(store), 1);
    store_close(&store);
}
END_TEST

START_TEST(a_wrong_expectation_is_a_conflict)
{
    struct store *store = open_kind(_i);
    struct object_id here = id_of(1);
    struct object_id gone = id_of(2);
    ck_assert_uint_eq(commit_one(store, record_put("here", 0, "1")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("here", 1, "2")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&here, 0, "1", "1")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&here, 1, "2", "2")), CKR_OK);
    const struct store_change lost[] = {
        record_put("here", 0, "x"),
        record_put("here", 1, "x"),
        record_put("here", 3, "x"),
        record_put("gone", 1, "x"),
        record_remove("here", 1),
        record_remove("here", 3),
        record_remove("gone", 1),
        object_put(&here, 0, "x", ""),
        object_put(&here, 1, "x", ""),
        object_put(&here, 3, "x", ""),
        object_put(&gone, 1, "x", ""),
        object_remove(&here, 1),
        object_remove(&here, 3),
        object_remove(&gone, 1),
        record_put("here", INT64_MAX - 1, "x"),
    };
    for (size_t i = 0; i < COUNT_OF(lost); i++)
        ck_assert_uint_eq(commit_one(store, lost[i]), STORE_CONFLICT);
    assert_record(store, "here", 2, "2");
    assert_object(store, &here, 2, "2", "2");
    assert_record(store, "gone", 0, "");
    assert_object(store, &gone, 0, "", "");
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

START_TEST(a_commit_is_all_or_nothing)
{
    struct store *store = open_kind(_i);
    struct object_id one = id_of(1);
    struct object_id two = id_of(2);
    struct object_id three = id_of(3);
    const struct store_change first[] = {record_put("summary", 0, "s"),
                                         object_put(&one, 0, "1", "1"),
                                         object_put(&two, 0, "2", "2")};
    ck_assert_uint_eq(store->ops->commit(store, first, COUNT_OF(first)), CKR_OK);

    struct store_change changes[] = {
        object_put(&one, 1, "x", "x"),  object_remove(&two, 1),    object_put(&three, 0, "3", "3"),
        object_put(&three, 1, "x", ""), record_put("new", 0, "n"), record_put("summary", 9, "x"),
    };
    ck_assert_uint_eq(store->ops->commit(store, changes, COUNT_OF(changes)), STORE_CONFLICT);
    assert_record(store, "summary", 1, "s");
    assert_record(store, "new", 0, "");
    assert_object(store, &one, 1, "1", "1");
    assert_object(store, &two, 1, "2", "2");
    assert_object(store, &three, 0, "", "");

    changes[COUNT_OF(changes) - 1].expected = 1;
    ck_assert_uint_eq(store->ops->commit(store, changes, COUNT_OF(changes)), CKR_OK);
    assert_record(store, "summary", 2, "x");
    assert_record(store, "new", 1, "n");
    assert_object(store, &one, 2, "x", "x");
    assert_object(store, &two, 0, "", "");
    assert_object(store, &three, 2, "x", "");
    ck_assert_uint_eq(store->ops->commit(store, NULL, 0), CKR_OK);
    store_close(&store);
}
END_TEST

START_TEST(a_reset_needs_its_guard)
{
    struct store *store = open_kind(_i);
    struct object_id old = id_of(1);
    struct object_id fresh = id_of(2);
    const struct store_change first[] = {record_put("token", 0, "t"), record_put("keys", 0, "k"),
                                         object_put(&old, 0, "o", "o")};
    const struct store_change anew[] = {record_put("token", 0, "T"),
                                        object_put(&fresh, 0, "f", "f")};
    const struct store_change wrong[] = {record_put("token", 0, "T"), record_put("keys", 1, "x")};

    /* Guard 0: nothing is there yet. */
    ck_assert_uint_eq(store->ops->reset(store, "token", 1, first, 3), STORE_CONFLICT);
    ck_assert_uint_eq(store->ops->reset(store, "token", 0, first, 3), CKR_OK);
    ck_assert_uint_eq(store->ops->reset(store, "token", 0, anew, 2), STORE_CONFLICT);
    ck_assert_uint_eq(store->ops->reset(store, "token", 2, anew, 2), STORE_CONFLICT);
    ck_assert_uint_eq(store->ops->reset(store, "token", 1, wrong, 2), STORE_CONFLICT);
    assert_record(store, "token", 1, "t");
    assert_record(store, "keys", 1, "k");
    assert_object(store, &old, 1, "o", "o");

    ck_assert_uint_eq(store->ops->reset(store, "token", 1, anew, 2), CKR_OK);
    assert_record(store, "token", 1, "T");
    assert_record(store, "keys", 0, "");
    assert_object(store, &old, 0, "", "");
    assert_object(store, &fresh, 1, "f", "f");
    ck_assert_uint_eq(count_objects(store), 1);
    store_close(&store);
}
END_TEST

#define PAIR_COMMITS 200

struct pair_writer {
    struct store *store;
    atomic_bool done;
};

/* Two rows whose versions rise together. */
static void *write_pairs(void *argument)
{
    struct pair_writer *writer = argument;
    struct object_id ids[] = {id_of(1), id_of(2)};
    for (uint64_t version = 0; version < PAIR_COMMITS; version++) {
        const struct store_change both[] = {object_put(&ids[0], version, "a", "v"),
                                            object_put(&ids[1], version, "a", "v")};
        ck_assert_uint_eq(writer->store->ops->commit(writer->store, both, 2), CKR_OK);
    }
    atomic_store(&writer->done, true);
    return NULL;
}

struct pair_seen {
    uint64_t version;
    size_t count;
};

static CK_RV see_pair(void *context, const struct store_row *row)
{
    struct pair_seen *seen = context;
    if (seen->count++ > 0)
        ck_assert_uint_eq(row->version, seen->version);
    seen->version = row->version;
    return CKR_OK;
}

static void read_while_written(struct store *reader, struct store *writer_store)
{
    struct pair_writer writer = {.store = writer_store};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_pairs, &writer), 0);
    uint64_t last = 0;
    bool done;
    do {
        done = atomic_load(&writer.done);
        struct pair_seen seen = {0};
        ck_assert_uint_eq(reader->ops->read_objects(reader, see_pair, &seen), CKR_OK);
        ck_assert(seen.count == 0 || seen.count == 2);
        ck_assert_uint_ge(seen.version, last);
        last = seen.version;
    } while (!done);
    ck_assert_uint_eq(last, PAIR_COMMITS);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(readers_see_one_snapshot)
{
    struct store *store = open_kind(_i);
    read_while_written(store, store);
    store_close(&store);
}
END_TEST

START_TEST(another_opener_sees_one_snapshot)
{
    if (strcmp(store_fixture_kinds[_i], "memory") == 0)
        return; /* each opener has a store of its own */
    struct store *reader = open_kind(_i);
    struct store *writer = open_kind(_i);
    read_while_written(reader, writer);
    store_close(&reader);
    store_close(&writer);
}
END_TEST

#define MANY 10000

static CK_RV mark_row(void *context, const struct store_row *row)
{
    unsigned int number;
    memcpy(&number, row->id.bytes + 8, sizeof(number));
    ck_assert_uint_lt(number, MANY);
    struct object_id id = id_of(number);
    ck_assert_mem_eq(id.bytes, row->id.bytes, OBJECT_ID_LEN);
    ck_assert_mem_eq(row->value.bytes, &number, sizeof(number));
    ++((unsigned char *) context)[number];
    return CKR_OK;
}

START_TEST(ten_thousand_rows)
{
    struct store *store = open_kind(_i);
    struct store_change *changes = calloc(MANY, sizeof(*changes));
    struct object_id *ids = calloc(MANY, sizeof(*ids));
    unsigned int *numbers = calloc(MANY, sizeof(*numbers));
    unsigned char *seen = calloc(MANY, 1);
    for (unsigned int i = 0; i < MANY; i++) {
        ids[i] = id_of(i);
        numbers[i] = i;
        changes[i] = object_put(&ids[i], 0, "attributes", "");
        changes[i].value = (struct view){(unsigned char *) &numbers[i], sizeof(numbers[i])};
    }
    ck_assert_uint_eq(store->ops->commit(store, changes, MANY), CKR_OK);
    ck_assert_uint_eq(store->ops->read_objects(store, mark_row, seen), CKR_OK);
    for (unsigned int i = 0; i < MANY; i++)
        ck_assert_uint_eq(seen[i], 1);
    for (unsigned int i = 0; i < MANY; i++)
        changes[i] = object_remove(&ids[i], 1);
    ck_assert_uint_eq(store->ops->commit(store, changes + 1, MANY - 1), CKR_OK);
    ck_assert_uint_eq(count_objects(store), 1);
    free(seen);
    free(numbers);
    free(ids);
    free(changes);
    store_close(&store);
}
END_TEST

START_TEST(blobs_have_a_limit)
{
    struct store *store = open_kind(_i);
    char *big = malloc(STORE_BLOB_MAX + 2);
    memset(big, 'x', STORE_BLOB_MAX + 1);
    big[STORE_BLOB_MAX + 1] = '\0';
    struct object_id id = id_of(1);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, big, "v")), CKR_DEVICE_MEMORY);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", big)), CKR_DEVICE_MEMORY);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, big)), CKR_DEVICE_MEMORY);
    ck_assert_uint_eq(count_objects(store), 0);

    big[STORE_BLOB_MAX] = '\0';
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, big, big)), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, big)), CKR_OK);
    assert_object(store, &id, 1, big, big);
    assert_record(store, "token", 1, big);
    free(big);
    store_close(&store);
}
END_TEST

START_TEST(impossible_changes_are_refused)
{
    struct store *store = open_kind(_i);
    struct object_id id = id_of(1);
    const struct store_change bad[] = {
        record_put("seventeen-bytes-x", 0, "x"),
        record_put("", 0, "x"),
        record_put("a", INT64_MAX, "x"),
        record_put("a", UINT64_MAX, "x"),
        object_remove(&id, 0),
        object_put(NULL, 0, "a", "v"),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const struct store_change both[] = {record_put("good", 0, "g"), bad[i]};
        ck_assert_uint_eq(store->ops->commit(store, both, 2), CKR_GENERAL_ERROR);
        ck_assert_uint_eq(store->ops->reset(store, "token", 0, both, 2), CKR_GENERAL_ERROR);
    }
    assert_record(store, "good", 0, "");
    store_close(&store);
}
END_TEST

/* Adds one to a number in the record "token", and makes the object with the new number. */
struct addition {
    struct store *store;
    CK_RV ends_with;
    unsigned char number;
    struct object_id id;
    struct store_change changes[2];
};

static CK_RV plan_addition(void *context, const struct store_change **ret_changes,
                           size_t *ret_count)
{
    struct addition *addition = context;
    struct blob bytes = {0};
    uint64_t version = 0;
    CK_RV rv = addition->store->ops->read_record(addition->store, "token", &bytes, &version);
    ck_assert_uint_eq(rv, version > 0 ? CKR_OK : STORE_ABSENT);
    addition->number = (unsigned char) (version > 0 ? bytes.bytes[0] + 1 : 1);
    blob_clear(&bytes);
    addition->id = id_of(addition->number);
    assert_object(addition->store, &addition->id, 0, "", "");
    addition->changes[0] = (struct store_change){
        .record = "token", .expected = version, .attributes = {&addition->number, 1}};
    addition->changes[1] = object_put(&addition->id, 0, "a", "v");
    *ret_changes = addition->changes;
    *ret_count = 2;
    return addition->ends_with;
}

static CK_RV add_one(struct store *store, CK_RV ends_with)
{
    struct addition addition = {.store = store, .ends_with = ends_with};
    return store->ops->update(store, plan_addition, &addition);
}

START_TEST(an_update_changes_what_its_plan_has_read)
{
    struct store *store = open_kind(_i);
    ck_assert_uint_eq(commit_one(store, record_put("other", 0, "1")), CKR_OK);
    ck_assert_uint_eq(add_one(store, CKR_OK), CKR_OK);
    ck_assert_uint_eq(add_one(store, CKR_OK), CKR_OK);
    assert_record(store, "token", 2, "\x02");
    ck_assert_uint_eq(count_objects(store), 2);
    store_close(&store);
}
END_TEST

START_TEST(a_plan_that_fails_changes_nothing)
{
    struct store *store = open_kind(_i);
    ck_assert_uint_eq(commit_one(store, record_put("other", 0, "1")), CKR_OK);
    ck_assert_uint_eq(add_one(store, CKR_OK), CKR_OK);
    uint64_t before = changes_of(store);
    ck_assert_uint_eq(add_one(store, CKR_FUNCTION_CANCELED), CKR_FUNCTION_CANCELED);
    ck_assert_uint_eq(changes_of(store), before);
    assert_record(store, "token", 1, "\x01");
    ck_assert_uint_eq(count_objects(store), 1);
    ck_assert_uint_eq(add_one(store, CKR_OK), CKR_OK);
    store_close(&store);
}
END_TEST

#define ADDER_COUNT 4
#define ADDITIONS 50

static void *add_many(void *store)
{
    for (int i = 0; i < ADDITIONS; i++)
        ck_assert_uint_eq(add_one(store, CKR_OK), CKR_OK);
    return NULL;
}

/* Half of the threads have a store of their own, where others can open it. */
START_TEST(updates_lose_no_race)
{
    struct store *store = open_kind(_i);
    bool is_shared = strcmp(store_fixture_kinds[_i], "memory") != 0;
    struct store *other = is_shared ? open_kind(_i) : NULL;
    ck_assert_uint_eq(commit_one(store, record_put("other", 0, "1")), CKR_OK);
    pthread_t threads[ADDER_COUNT];
    for (size_t i = 0; i < ADDER_COUNT; i++) {
        struct store *one = is_shared && i % 2 == 1 ? other : store;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, one), 0);
    }
    for (size_t i = 0; i < ADDER_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    assert_record(store, "token", ADDER_COUNT * ADDITIONS, "\xc8");
    ck_assert_uint_eq(count_objects(store), ADDER_COUNT * ADDITIONS);
    store_close(&other);
    store_close(&store);
}
END_TEST

START_TEST(the_change_count_moves_with_commits)
{
    struct store *store = open_kind(_i);
    uint64_t before = changes_of(store);
    ck_assert_uint_eq(changes_of(store), before);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "1")), CKR_OK);
    uint64_t after = changes_of(store);
    ck_assert_uint_ne(after, before);
    assert_record(store, "token", 1, "1");
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "x")), STORE_CONFLICT);
    ck_assert_uint_eq(changes_of(store), after);
    ck_assert_uint_eq(store->ops->reset(store, "token", 1, NULL, 0), CKR_OK);
    ck_assert_uint_ne(changes_of(store), after);
    store_close(&store);
}
END_TEST

#define SOME_RV ((CK_RV) CKR_FUNCTION_CANCELED)

static CK_RV refuse_second(void *context, const struct store_row *row)
{
    (void) row;
    return ++*(int *) context < 2 ? CKR_OK : SOME_RV;
}

START_TEST(a_callback_may_stop_the_reading)
{
    struct store *store = open_kind(_i);
    for (unsigned int i = 0; i < 5; i++) {
        struct object_id id = id_of(i);
        ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    }
    int calls = 0;
    ck_assert_uint_eq(store->ops->read_objects(store, refuse_second, &calls), SOME_RV);
    ck_assert_int_eq(calls, 2);
    struct object_id id = id_of(3);
    ck_assert_uint_eq(store->ops->read_object(store, &id, refuse_second, &calls), SOME_RV);

    /* Nothing is left open: the next commit and the next opener go on. */
    struct object_id next = id_of(9);
    ck_assert_uint_eq(commit_one(store, object_put(&next, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(count_objects(store), 6);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

START_TEST(short_memory_changes_nothing)
{
    struct store *store = open_kind(_i);
    struct object_id id = id_of(1);
    const struct store_change first[] = {record_put("r", 0, "1"), object_put(&id, 0, "1", "1")};
    const struct store_change both[] = {record_put("r", 1, "2"), object_put(&id, 1, "2", "2")};
    ck_assert_uint_eq(store->ops->commit(store, first, 2), CKR_OK);
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    for (unsigned long nth = 1; rv != CKR_OK; nth++) {
        ck_assert_uint_lt(nth, 100);
        mem_fail_at(nth, false);
        rv = store->ops->commit(store, both, 2);
        mem_fail_at(0, false);
        ck_assert(rv == CKR_OK || rv == CKR_HOST_MEMORY);
        if (rv != CKR_OK) {
            assert_record(store, "r", 1, "1");
            assert_object(store, &id, 1, "1", "1");
            ck_assert_int_eq(mem_live(), live);
        }
    }
    assert_object(store, &id, 2, "2", "2");
    struct blob bytes = {0};
    uint64_t version = 77;
    mem_fail_at(1, true);
    ck_assert_uint_eq(store->ops->read_record(store, "r", &bytes, &version), CKR_HOST_MEMORY);
    mem_fail_at(0, false);
    ck_assert_uint_eq(version, 77);
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stores");
    TCase *cases = tcase_create("contract");
    int first = store_fixture_first_kind();
    int end = store_fixture_end_kind();
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, schemes_are_known);
    tcase_add_loop_test(cases, nothing_is_absent, first, end);
    tcase_add_loop_test(cases, records_are_made_changed_and_removed, first, end);
    tcase_add_loop_test(cases, objects_are_made_changed_and_removed, first, end);
    tcase_add_loop_test(cases, a_wrong_expectation_is_a_conflict, first, end);
    tcase_add_loop_test(cases, a_commit_is_all_or_nothing, first, end);
    tcase_add_loop_test(cases, a_reset_needs_its_guard, first, end);
    tcase_add_loop_test(cases, readers_see_one_snapshot, first, end);
    tcase_add_loop_test(cases, another_opener_sees_one_snapshot, first, end);
    tcase_add_loop_test(cases, ten_thousand_rows, first, end);
    tcase_add_loop_test(cases, blobs_have_a_limit, first, end);
    tcase_add_loop_test(cases, impossible_changes_are_refused, first, end);
    tcase_add_loop_test(cases, an_update_changes_what_its_plan_has_read, first, end);
    tcase_add_loop_test(cases, a_plan_that_fails_changes_nothing, first, end);
    tcase_add_loop_test(cases, updates_lose_no_race, first, end);
    tcase_add_loop_test(cases, the_change_count_moves_with_commits, first, end);
    tcase_add_loop_test(cases, a_callback_may_stop_the_reading, first, end);
    tcase_add_loop_test(cases, short_memory_changes_nothing, first, end);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
