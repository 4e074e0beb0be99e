/* The change of epoch: what it leaves readable, what it does not, and who is in its way. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/renewal_fixture.h"
#include "tokens/summary.h"

static struct summary summary_of(struct custody *custody)
{
    struct blob bytes = renewal_record(custody, RECORD_SUMMARY);
    struct keyring *held = NULL;
    struct summary summary;
    ck_assert_uint_eq(keyring_hold(&custody->keyring, &held), CKR_OK);
    ck_assert_uint_eq(summary_open(held, blob_view(&bytes), &summary), CKR_OK);
    keyring_release(&held);
    blob_clear(&bytes);
    return summary;
}

static void shred(struct custody *custody)
{
    fixture_forget_log();
    CK_RV rv = custody_shred(custody);
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
}

START_TEST(values_survive_it)
{
    struct custody *custody = renewal_token();
    struct summary before = summary_of(custody);
    for (uint32_t epoch = 2; epoch < 5; epoch++) {
        shred(custody);
        ck_assert_uint_eq(keyring_epoch(&custody->keyring), epoch);
        renewal_check(custody);
    }
    struct summary after = summary_of(custody);
    ck_assert(summary_same_set(&before, &after));
    ck_assert_uint_eq(after.generation, before.generation + 3);
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

START_TEST(it_works_in_memory_and_for_the_so)
{
    struct custody *custody = objects_token("memory:");
    struct object_id id = objects_create(custody, "one", "value");
    shred(custody);
    objects_assert_value(custody, &id, 1, "value");
    custody_logout(custody);
    ck_assert_uint_eq(custody_shred(custody), CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
    shred(custody);
    custody_logout(custody);
    fixture_login_user(custody);
    objects_assert_value(custody, &id, 1, "value");
    custody_close(&custody);
}
END_TEST

/* Another process has the store open, too. */
START_TEST(nothing_of_the_former_key_is_left_in_the_files)
{
    struct custody *custody = renewal_token();
    struct custody *other = fixture_open(fixture_store(1), "");
    fixture_login_user(other);
    struct blob former = renewal_record(custody, RECORD_KEYS);
    struct view seal = {former.bytes + 5, former.len - 5};
    ck_assert(renewal_files_hold(seal));
    shred(custody);
    ck_assert(!renewal_files_hold(seal));
    for (size_t i = 0; i + 8 <= seal.len; i++)
        ck_assert(!renewal_files_hold((struct view){seal.bytes + i, 8}));
    blob_clear(&former);
    custody_close(&other);
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

struct row_copy {
    struct blob attributes;
    struct blob value;
};

static CK_RV copy_row(void *context, const struct store_row *row)
{
    struct row_copy *copy = context;
    ck_assert_uint_eq(blob_from(row->attributes.bytes, row->attributes.len, &copy->attributes),
                      CKR_OK);
    return blob_from(row->value.bytes, row->value.len, &copy->value);
}

START_TEST(a_copy_of_a_removed_row_opens_no_longer)
{
    struct custody *custody = renewal_token();
    struct store *store = custody->store;
    struct object_id id = objects_create(custody, "to be removed", "secret");
    struct row_copy copy = {0};
    struct secret value = {0};
    ck_assert_uint_eq(store->ops->read_object(store, &id, copy_row, &copy), CKR_OK);
    struct store_change put_back = {
        .object = &id, .attributes = blob_view(&copy.attributes), .value = blob_view(&copy.value)};
    struct store_change removal = {.object = &id, .expected = 1, .remove = true};
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
    /* Before the change of epoch it would. */
    ck_assert_uint_eq(store->ops->commit(store, &put_back, 1), CKR_OK);
    objects_assert_value(custody, &id, 1, "secret");
    ck_assert_uint_eq(store->ops->commit(store, &removal, 1), CKR_OK);
    shred(custody);
    ck_assert_uint_eq(store->ops->commit(store, &put_back, 1), CKR_OK);
    ck_assert_uint_eq(sealed_objects_value(custody, &id, 1, &value), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    blob_clear(&copy.attributes);
    blob_clear(&copy.value);
    custody_close(&custody);
}
END_TEST

/* A row that does not open is no reason to keep the former key. */
START_TEST(a_bad_row_is_left_as_it_is)
{
    struct custody *custody = renewal_token();
    struct object_id id = objects_create(custody, "bad", "value");
    struct store_change change = {
        .object = &id, .expected = 1, .value_only = true, .value = view_text("x")};
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(custody_shred(custody), CKR_OK);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
    renewal_check(custody);
    custody_close(&custody);
}
END_TEST

/* Another process that is logged in, before its tick. */
START_TEST(others_read_on_and_write_under_the_new_key)
{
    struct custody *custody = renewal_token();
    struct custody *other = fixture_open(fixture_store(1), "");
    fixture_login_user(other);
    renewal_check(other);
    shred(custody);
    renewal_check(other);
    ck_assert_uint_eq(keyring_epoch(&other->keyring), 2);
    shred(custody);
    struct object_id id = objects_create(other, "made meanwhile", "new");
    ck_assert_uint_eq(keyring_epoch(&other->keyring), 3);
    objects_assert_value(custody, &id, 1, "new");
    shred(custody);
    uint64_t version = 0;
    ck_assert_uint_eq(sealed_objects_update(other, &id, 1, view_text("changed"), &version), CKR_OK);
    objects_assert_value(custody, &id, 2, "new");
    shred(custody);
    clock_shift(200);
    ck_assert_int_eq(custody_tick(other), CUSTODY_CHANGED);
    ck_assert_uint_eq(keyring_epoch(&other->keyring), 5);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CHANGED); /* by the other's object */
    renewal_check(custody);
    clock_shift(400);
    shred(custody);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    custody_close(&other);
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

START_TEST(who_meets_a_store_of_an_older_epoch_is_logged_out)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    renewal_keep();
    custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    shred(custody);
    renewal_put_back();
    clock_shift(200);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CLOSED);
    fixture_login_user(custody);
    renewal_check(custody);
    custody_close(&custody);
}
END_TEST

#define WORKERS 3
#define SHREDS 25

struct work {
    struct custody *custody;
    atomic_bool *over;
    unsigned int made;
};

static void *work_for_ever(void *context)
{
    struct work *work = context;
    while (!atomic_load(work->over)) {
        struct object_id id = objects_create(work->custody, "meanwhile", "value");
        objects_assert_value(work->custody, &id, 1, "value");
        uint64_t version = 0;
        ck_assert_uint_eq(sealed_objects_update(work->custody, &id, 1, view_text("more"), &version),
                          CKR_OK);
        objects_assert_value(work->custody, &id, 1, "value");
        ck_assert_uint_eq(sealed_objects_destroy(work->custody, &id, 2), CKR_OK);
        work->made++;
    }
    return NULL;
}

START_TEST(others_work_meanwhile)
{
    struct custody *custody = renewal_token();
    struct work work[WORKERS];
    pthread_t threads[WORKERS];
    atomic_bool over = false;
    fixture_forget_log();
    for (size_t i = 0; i < WORKERS; i++) {
        work[i] = (struct work){.custody = i == 0 ? custody : fixture_open(fixture_store(1), ""),
                                .over = &over};
        if (i > 0)
            fixture_login_user(work[i].custody);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work_for_ever, &work[i]), 0);
    }
    for (int i = 0; i < SHREDS; i++)
        ck_assert_uint_eq(custody_shred(custody), CKR_OK);
    atomic_store(&over, true);
    for (size_t i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_gt(work[i].made, 0);
    }
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    for (size_t i = 0; i < WORKERS; i++)
        custody_close(&work[i].custody);
    renewal_check_anew();
}
END_TEST

START_TEST(a_kill_leaves_the_old_or_the_new)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    renewal_kill_everywhere(custody_shred, renewal_check_anew);
}
END_TEST

START_TEST(a_failing_device_leaves_the_old_or_the_new)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    renewal_fail_everywhere(custody_shred, renewal_check_anew);
}
END_TEST

START_TEST(a_hundred_thousand_objects)
{
    struct custody *custody = objects_token(fixture_store(1));
    struct secret value = {0};
    struct object_id last = renewal_put_many(custody);
    renewal_measure(custody, custody_shred, "the epoch changed");
    ck_assert_uint_eq(sealed_objects_value(custody, &last, 1, &value), CKR_OK);
    ck_assert_uint_eq(value.len, RENEWAL_VALUE_LEN);
    secret_clear(&value);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("renewal_shred");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, values_survive_it);
    tcase_add_test(cases, it_works_in_memory_and_for_the_so);
    tcase_add_test(cases, nothing_of_the_former_key_is_left_in_the_files);
    tcase_add_test(cases, a_copy_of_a_removed_row_opens_no_longer);
    tcase_add_test(cases, a_bad_row_is_left_as_it_is);
    tcase_add_test(cases, others_read_on_and_write_under_the_new_key);
    tcase_add_test(cases, who_meets_a_store_of_an_older_epoch_is_logged_out);
    tcase_add_test(cases, others_work_meanwhile);
    tcase_add_test(cases, a_kill_leaves_the_old_or_the_new);
    tcase_add_test(cases, a_failing_device_leaves_the_old_or_the_new);
    tcase_add_test(cases, a_hundred_thousand_objects);
    return fixture_run("renewal_shred", cases);
}
