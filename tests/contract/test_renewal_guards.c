/* What epoch changes, rotations and new tokens do to whom they meet: rows that go, PIN
 * changes, other makers of a token. */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "tests/support/object_fixture.h"
#include "tokens/summary.h"

static struct custody_row row_of(const struct object_id *id, uint64_t version)
{
    return (struct custody_row){.id = *id, .version = version};
}

static uint64_t token_version(struct custody *custody)
{
    struct token_record record = {0};
    ck_assert_uint_eq(custody_read_token(custody, &record), CKR_OK);
    uint64_t version = record.version;
    token_record_clear(&record);
    return version;
}

START_TEST(rows_go_with_the_epoch)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id kept = objects_create(custody, "kept", "value");
    struct object_id one = objects_create(custody, "one", "value one");
    struct object_id two = objects_create(custody, "two", "value two");
    struct custody_row gone[] = {row_of(&two, 1), row_of(&one, 1)};
    ck_assert_uint_eq(custody_shred_rows(custody, gone, 2), CKR_OK);
    ck_assert_uint_eq(keyring_epoch(&custody->keyring), 2);
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    objects_assert_value(custody, &kept, 1, "value");
    custody_close(&custody);
}
END_TEST

/* All of them or none, and then the epoch stays too. */
START_TEST(a_row_that_changed_keeps_all)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id one = objects_create(custody, "one", "value one");
    struct object_id two = objects_create(custody, "two", "value two");
    struct object_id absent;
    ck_assert_uint_eq(sealed_objects_new_id(&absent), CKR_OK);
    struct custody_row changed[] = {row_of(&one, 1), row_of(&two, 2)};
    struct custody_row missing[] = {row_of(&one, 1), row_of(&absent, 1)};
    ck_assert_uint_eq(custody_shred_rows(custody, changed, 2), CKR_OBJECT_HANDLE_INVALID);
    ck_assert_uint_eq(custody_shred_rows(custody, missing, 2), CKR_OBJECT_HANDLE_INVALID);
    ck_assert_uint_eq(keyring_epoch(&custody->keyring), 1);
    ck_assert_uint_eq(objects_load(custody), 2);
    objects_assert_value(custody, &one, 1, "value one");
    custody_close(&custody);
}
END_TEST

/* Else whoever has read the former would find his guard true, and wipe the new token. */
START_TEST(a_new_token_has_another_version_than_the_former)
{
    struct custody *custody = fixture_open(fixture_store(_i), "login = ambient\n");
    fixture_init_token(custody);
    uint64_t former = token_version(custody);
    fixture_init_token(custody);
    ck_assert_uint_gt(token_version(custody), former);
    custody_close(&custody);
}
END_TEST

static void *set_pin(void *context)
{
    struct custody *custody = context;
    static CK_RV rv;
    rv = custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), view_text("another-pin"));
    return &rv;
}

/* The change of the PIN has read its record before the rotation commits, or comes after it. */
START_TEST(a_pin_changes_beside_a_rotation)
{
    struct custody *custody = fixture_token(fixture_store(1), "");
    struct custody *slow = fixture_open(fixture_store(1), "");
    struct fixture_source *source = fixture_interpose(slow);
    pthread_t thread;
    void *result;
    atomic_store(&source->delay_ms, 400);
    ck_assert_int_eq(pthread_create(&thread, NULL, set_pin, slow), 0);
    while (atomic_load(&source->unwrap_count) == 0)
        sched_yield();
    CK_RV rv = custody_rotate_token_key(custody, view_text(FIXTURE_SO_PIN), view_text(FIXTURE_PIN));
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_msg(*(CK_RV *) result == CKR_OK, "%lx %s", *(CK_RV *) result, fixture_log());
    /* Where the PIN came first the rotation was given the wrong one. */
    ck_assert_msg(rv == CKR_OK || rv == CKR_PIN_INCORRECT, "%lx %s", rv, fixture_log());
    ck_assert_ptr_null(strstr(fixture_log(), "was changed"));
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, view_text("another-pin")), CKR_OK);
    custody_close(&slow);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("renewal_guards");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, rows_go_with_the_epoch, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_row_that_changed_keeps_all, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_new_token_has_another_version_than_the_former, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_test(cases, a_pin_changes_beside_a_rotation);
    return fixture_run("guards of renewal", cases);
}
