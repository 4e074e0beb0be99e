/* The changes of rows that renewal and restore need, asked of every store in turn. */
#include "tests/support/store_fixture.h"

#include <check.h>

static struct store *open_kind(int index)
{
    return store_fixture_open(store_fixture_kinds[index]);
}

START_TEST(a_value_alone_changes_under_its_version)
{
    struct store *store = open_kind(_i);
    struct object_id one = id_of(1);
    struct object_id two = id_of(2);
    ck_assert_uint_eq(commit_one(store, object_put(&one, 0, "a1", "v1")), CKR_OK);
    ck_assert_uint_eq(commit_one(store, object_put(&one, 1, "a2", "v2")), CKR_OK);
    uint64_t before = changes_of(store);
    struct store_change change = object_put(&one, 2, "", "v3");
    change.value_only = true;
    ck_assert_uint_eq(commit_one(store, change), CKR_OK);
    assert_object(store, &one, 2, "a2", "v3");
    ck_assert_uint_ge(changes_of(store), before);
    change.expected = 1;
    ck_assert_uint_eq(commit_one(store, change), STORE_CONFLICT);
    change.object = &two;
    ck_assert_uint_eq(commit_one(store, change), STORE_CONFLICT);
    change.expected = 0;
    ck_assert_uint_eq(commit_one(store, change), CKR_GENERAL_ERROR);
    change.expected = 2;
    change.remove = true;
    ck_assert_uint_eq(commit_one(store, change), CKR_GENERAL_ERROR);
    change.remove = false;
    change.record = "token";
    ck_assert_uint_eq(commit_one(store, change), CKR_GENERAL_ERROR);
    assert_object(store, &one, 2, "a2", "v3");
    if (store->ops->scrub != NULL)
        ck_assert_uint_eq(store->ops->scrub(store), CKR_OK);
    store_close(&store);
}
END_TEST

/* As a backup has it. */
START_TEST(a_new_row_begins_at_any_version)
{
    struct store *store = open_kind(_i);
    struct object_id one = id_of(1);
    struct object_id two = id_of(2);
    struct store_change change = object_put(&one, 0, "a1", "v1");
    change.begins_at = 7;
    ck_assert_uint_eq(commit_one(store, change), CKR_OK);
    assert_object(store, &one, 7, "a1", "v1");
    ck_assert_uint_eq(commit_one(store, change), STORE_CONFLICT);
    ck_assert_uint_eq(commit_one(store, object_put(&one, 7, "a2", "v2")), CKR_OK);
    assert_object(store, &one, 8, "a2", "v2");
    change.object = &two;
    const struct store_change both[] = {record_put("token", 0, "x"), change};
    ck_assert_uint_eq(store->ops->reset(store, "token", 0, both, 2), CKR_OK);
    assert_object(store, &one, 0, "", "");
    assert_object(store, &two, 7, "a1", "v1");
    change.expected = 7;
    ck_assert_uint_eq(commit_one(store, change), CKR_GENERAL_ERROR);
    change.expected = 0;
    change.begins_at = INT64_MAX;
    ck_assert_uint_eq(commit_one(store, change), CKR_GENERAL_ERROR);
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_rows");
    TCase *cases = tcase_create("contract");
    int first = store_fixture_first_kind();
    int end = store_fixture_end_kind();
    tcase_add_checked_fixture(cases, store_fixture_setup, store_fixture_teardown);
    tcase_add_loop_test(cases, a_value_alone_changes_under_its_version, first, end);
    tcase_add_loop_test(cases, a_new_row_begins_at_any_version, first, end);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
