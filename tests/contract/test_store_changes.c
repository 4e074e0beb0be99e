/* What came since an earlier look (read_changes), asked of every store. */
#include "tests/support/store_fixture.h"

#include <check.h>
#include <string.h>

#include "tokens/stores.h"

#define SEEN_MAX 64

struct seen {
    struct object_id gone[SEEN_MAX];
    size_t gone_count;
    struct object_id rows[SEEN_MAX];
    char values[SEEN_MAX][8];
    size_t row_count;
    bool rows_follow; /* a row has come: no more ids of rows that went */
    const struct store_look *look;
    bool is_whole; /* as the first callback found it */
};

static CK_RV note_gone(void *context, const struct object_id *id)
{
    struct seen *seen = context;
    ck_assert(!seen->rows_follow);
    ck_assert(!seen->look->is_whole);
    ck_assert_uint_lt(seen->gone_count, SEEN_MAX);
    seen->gone[seen->gone_count++] = *id;
    return CKR_OK;
}

static CK_RV note_row(void *context, const struct store_row *row)
{
    struct seen *seen = context;
    if (!seen->rows_follow)
        seen->is_whole = seen->look->is_whole;
    seen->rows_follow = true;
    ck_assert_uint_lt(seen->row_count, SEEN_MAX);
    ck_assert_uint_lt(row->value.len, sizeof(seen->values[0]));
    seen->rows[seen->row_count] = row->id;
    memcpy(seen->values[seen->row_count++], row->value.bytes, row->value.len);
    return CKR_OK;
}

/* Returns the turn of the look. */
static uint64_t look_since(struct store *store, uint64_t since, struct seen *ret_seen)
{
    memset(ret_seen, 0, sizeof(*ret_seen));
    struct store_look look = {
        .since = since,
        .gone = note_gone,
        .each = note_row,
        .context = ret_seen,
    };
    ret_seen->look = &look;
    ck_assert_uint_eq(store->ops->read_changes(store, &look), CKR_OK);
    if (ret_seen->rows_follow)
        ck_assert(ret_seen->is_whole == look.is_whole);
    ret_seen->is_whole = look.is_whole;
    ret_seen->look = NULL;
    return look.turn;
}

static bool has_gone(const struct seen *seen, const struct object_id *id)
{
    for (size_t i = 0; i < seen->gone_count; i++) {
        if (memcmp(&seen->gone[i], id, sizeof(*id)) == 0)
            return true;
    }
    return false;
}

static void assert_value(const struct seen *seen, const struct object_id *id, const char *value)
{
    size_t count = 0;
    for (size_t i = 0; i < seen->row_count; i++) {
        if (memcmp(&seen->rows[i], id, sizeof(*id)) != 0)
            continue;
        ck_assert_str_eq(seen->values[i], value);
        count++;
    }
    ck_assert_uint_eq(count, 1);
}

static struct store *open_kind(int index)
{
    return store_fixture_open(store_fixture_kinds[index]);
}

START_TEST(the_first_look_is_whole)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id id = id_of(1);
    (void) look_since(store, 0, &seen);
    ck_assert(seen.is_whole);
    ck_assert_uint_eq(seen.row_count, 0);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "v")), CKR_OK);
    uint64_t turn = look_since(store, 0, &seen);
    ck_assert(seen.is_whole);
    assert_value(&seen, &id, "v");
    ck_assert_uint_gt(turn, 0);
    ck_assert_uint_eq(look_since(store, turn, &seen), turn);
    ck_assert(!seen.is_whole);
    ck_assert_uint_eq(seen.row_count + seen.gone_count, 0);
    store_close(&store);
}
END_TEST

START_TEST(a_look_has_what_changed_alone)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id ids[5];
    for (unsigned int i = 0; i < 4; i++) {
        ids[i] = id_of(i);
        ck_assert_uint_eq(commit_one(store, object_put(&ids[i], 0, "a", "v")), CKR_OK);
    }
    ids[4] = id_of(4);
    uint64_t turn = look_since(store, 0, &seen);
    ck_assert_uint_eq(seen.row_count, 4);
    struct store_change value = object_put(&ids[1], 1, "", "sealed");
    value.value_only = true;
    ck_assert_uint_eq(commit_one(store, object_put(&ids[0], 1, "a", "new")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, value), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_remove(&ids[2], 1)), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&ids[4], 0, "a", "more")), CKR_OK);
    uint64_t next = look_since(store, turn, &seen);
    ck_assert(!seen.is_whole);
    ck_assert_uint_gt(next, turn);
    ck_assert_uint_eq(seen.row_count, 3);
    assert_value(&seen, &ids[0], "new");
    assert_value(&seen, &ids[1], "sealed");
    assert_value(&seen, &ids[4], "more");
    ck_assert(has_gone(&seen, &ids[2]));
    ck_assert(!has_gone(&seen, &ids[3]));
    (void) look_since(store, next, &seen);
    ck_assert_uint_eq(seen.row_count + seen.gone_count, 0);
    store_close(&store);
}
END_TEST

/* A commit that lost, and one of records alone, are no news of objects. */
START_TEST(what_did_not_happen_is_not_told)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id here = id_of(1);
    struct object_id other = id_of(2);
    ck_assert_uint_eq(commit_one(store, object_put(&here, 0, "a", "v")), CKR_OK);
    uint64_t turn = look_since(store, 0, &seen);
    const struct store_change lost[] = {object_put(&other, 0, "a", "x"), object_remove(&here, 1),
                                        record_put("summary", 7, "x")};
    ck_assert_uint_eq(store->ops->commit(store, lost, COUNT_OF(lost)), STORE_CONFLICT);
    ck_assert_uint_eq(commit_one(store, record_put("summary", 0, "s")), CKR_OK);
    (void) look_since(store, turn, &seen);
    ck_assert(!seen.is_whole);
    ck_assert_uint_eq(seen.row_count + seen.gone_count, 0);
    assert_object(store, &here, 1, "a", "v");
    store_close(&store);
}
END_TEST

START_TEST(what_was_removed_and_made_again_comes_as_it_is)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id id = id_of(1);
    struct object_id brief = id_of(2);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "old")), CKR_OK);
    uint64_t turn = look_since(store, 0, &seen);
    ck_assert_uint_eq(commit_one(store, object_remove(&id, 1)), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "a", "new")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&brief, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_remove(&brief, 1)), CKR_OK);
    uint64_t next = look_since(store, turn, &seen);
    ck_assert_uint_eq(seen.row_count, 1);
    assert_value(&seen, &id, "new");
    /* All in one commit, and a second removal. */
    const struct store_change changes[] = {
        object_remove(&id, 1),
        object_put(&id, 0, "a", "newer"),
        object_remove(&id, 1),
    };
    ck_assert_uint_eq(store->ops->commit(store, changes, COUNT_OF(changes)), CKR_OK);
    (void) look_since(store, next, &seen);
    ck_assert_uint_eq(seen.row_count, 0);
    ck_assert(has_gone(&seen, &id));
    store_close(&store);
}
END_TEST

START_TEST(a_turn_that_is_not_known_gives_all)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id one = id_of(1);
    struct object_id two = id_of(2);
    const struct store_change first[] = {record_put("token", 0, "t"),
                                         object_put(&one, 0, "a", "one")};
    ck_assert_uint_eq(store->ops->commit(store, first, COUNT_OF(first)), CKR_OK);
    uint64_t turn = look_since(store, 0, &seen);
    ck_assert_uint_eq(look_since(store, turn + 1, &seen), turn);
    ck_assert(seen.is_whole);
    assert_value(&seen, &one, "one");
    ck_assert_uint_eq(look_since(store, UINT64_MAX, &seen), turn);
    ck_assert(seen.is_whole);

    const struct store_change anew[] = {record_put("token", 0, "T"),
                                        object_put(&two, 0, "a", "two")};
    ck_assert_uint_eq(store->ops->reset(store, "token", 1, anew, COUNT_OF(anew)), CKR_OK);
    uint64_t next = look_since(store, turn, &seen);
    ck_assert(seen.is_whole);
    ck_assert_uint_eq(seen.row_count, 1);
    assert_value(&seen, &two, "two");
    ck_assert_uint_gt(next, turn);
    (void) look_since(store, next, &seen);
    ck_assert(!seen.is_whole);
    ck_assert_uint_eq(seen.row_count, 0);
    store_close(&store);
}
END_TEST

/* The oldest turn that is remembered, and the one before it. */
START_TEST(removals_are_remembered_for_so_many_turns)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id gone = id_of(1);
    ck_assert_uint_eq(commit_one(store, object_put(&gone, 0, "a", "v")), CKR_OK);
    uint64_t turn = look_since(store, 0, &seen);
    ck_assert_uint_eq(commit_one(store, object_remove(&gone, 1)), CKR_OK);
    ck_assert_uint_eq(commit_one(store, record_put("r", 0, "x")), CKR_OK);
    uint64_t step = look_since(store, turn, &seen) - turn;
    ck_assert_uint_ge(step, 2);
    uint64_t now = turn + step;
    for (uint64_t version = 1; now < turn + STORE_TURNS_KEPT; version++) {
        ck_assert_uint_eq(commit_one(store, record_put("r", version, "x")), CKR_OK);
        now++;
    }
    ck_assert_uint_eq(look_since(store, turn, &seen), now);
    ck_assert(!seen.is_whole);
    ck_assert(has_gone(&seen, &gone));
    ck_assert_uint_eq(commit_one(store, object_put(&gone, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(look_since(store, turn, &seen), now + 1);
    ck_assert(seen.is_whole);
    (void) look_since(store, turn + 1, &seen);
    ck_assert(!seen.is_whole);
    ck_assert_uint_eq(seen.gone_count, 0);
    ck_assert_uint_eq(seen.row_count, 1);
    store_close(&store);
}
END_TEST

#define SOME_RV CKR_FUNCTION_CANCELED

static CK_RV refuse_row(void *context, const struct store_row *row)
{
    (void) context;
    (void) row;
    return SOME_RV;
}

static CK_RV refuse_gone(void *context, const struct object_id *id)
{
    (void) context;
    (void) id;
    return SOME_RV;
}

START_TEST(a_callback_may_stop_the_look)
{
    struct store *store = open_kind(_i);
    struct seen seen;
    struct object_id one = id_of(1);
    struct object_id two = id_of(2);
    ck_assert_uint_eq(commit_one(store, object_put(&one, 0, "a", "v")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&two, 0, "a", "v")), CKR_OK);
    struct store_look look = {.gone = refuse_gone, .each = refuse_row};
    ck_assert_uint_eq(store->ops->read_changes(store, &look), SOME_RV);
    look.since = look_since(store, 0, &seen);
    ck_assert_uint_eq(commit_one(store, object_remove(&one, 1)), CKR_OK);
    ck_assert_uint_eq(store->ops->read_changes(store, &look), SOME_RV);
    /* Nothing is left open. */
    ck_assert_uint_eq(commit_one(store, object_put(&one, 0, "a", "v")), CKR_OK);
    (void) look_since(store, 0, &seen);
    ck_assert_uint_eq(seen.row_count, 2);
    ck_assert(!store_fixture_log_has("store"));
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_changes");
    TCase *cases = tcase_create("contract");
    int first = store_fixture_first_kind();
    int end = store_fixture_end_kind();
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, the_first_look_is_whole, first, end);
    tcase_add_loop_test(cases, a_look_has_what_changed_alone, first, end);
    tcase_add_loop_test(cases, what_did_not_happen_is_not_told, first, end);
    tcase_add_loop_test(cases, what_was_removed_and_made_again_comes_as_it_is, first, end);
    tcase_add_loop_test(cases, a_turn_that_is_not_known_gives_all, first, end);
    tcase_add_loop_test(cases, removals_are_remembered_for_so_many_turns, first, end);
    tcase_add_loop_test(cases, a_callback_may_stop_the_look, first, end);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
