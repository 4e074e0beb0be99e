/* Another token key: what goes on, what does not, and who notices. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/renewal_fixture.h"
#include "tokens/seal.h"

static CK_RV rotate(struct custody *custody)
{
    return custody_rotate_token_key(custody, view_text(FIXTURE_SO_PIN), view_text(FIXTURE_PIN));
}

static void assert_rotates(struct custody *custody)
{
    fixture_forget_log();
    CK_RV rv = rotate(custody);
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
}

START_TEST(values_and_pins_survive_it)
{
    struct custody *custody = renewal_token();
    custody_logout(custody);
    for (uint32_t i = 0; i < 3; i++) {
        struct token_record before = {0};
        struct token_record after = {0};
        ck_assert_uint_eq(custody_read_token(custody, &before), CKR_OK);
        assert_rotates(custody);
        ck_assert_uint_eq(custody_read_token(custody, &after), CKR_OK);
        ck_assert(view_equal(before.wrapped, after.wrapped));
        ck_assert_mem_eq(before.serial, after.serial, SERIAL_LEN);
        for (size_t role = 0; role < ROLE_COUNT; role++)
            ck_assert_mem_ne(before.roles[role].stretch.salt, after.roles[role].stretch.salt,
                             ROLE_SALT_LEN);
        token_record_clear(&before);
        token_record_clear(&after);
        fixture_login_user(custody);
        ck_assert_uint_eq(keyring_epoch(&custody->keyring), 2 + 2 * i);
        renewal_check(custody);
        ck_assert_uint_eq(custody_shred(custody), CKR_OK);
        custody_logout(custody);
        ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
        custody_logout(custody);
    }
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

START_TEST(it_works_in_memory_and_without_a_user_pin)
{
    struct custody *custody = fixture_open("memory:", "");
    fixture_init_token(custody);
    ck_assert_uint_eq(
        custody_rotate_token_key(custody, view_text(FIXTURE_SO_PIN), (struct view){0}), CKR_OK);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN)),
                      CKR_USER_PIN_NOT_INITIALIZED);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
    custody_close(&custody);
    custody = fixture_token(fixture_store(1), "login = ambient");
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_OK);
    struct object_id id = objects_create(custody, "one", "value");
    custody_logout(custody);
    ck_assert_uint_eq(
        custody_rotate_token_key(custody, view_text(FIXTURE_SO_PIN), (struct view){0}), CKR_OK);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_OK);
    objects_assert_value(custody, &id, 1, "value");
    custody_close(&custody);
}
END_TEST

static void assert_refused(struct custody *custody, const char *so_pin, const char *user_pin)
{
    struct blob before = renewal_record(custody, RECORD_TOKEN);
    struct custody_info info;
    ck_assert_uint_eq(custody_rotate_token_key(custody, view_text(so_pin), view_text(user_pin)),
                      CKR_PIN_INCORRECT);
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert_int_eq(info.so.count_low, strcmp(so_pin, FIXTURE_SO_PIN) != 0);
    ck_assert(info.so.count_low || info.user.count_low);
    struct blob after = renewal_record(custody, RECORD_TOKEN);
    ck_assert(view_equal(blob_view(&before), blob_view(&after)));
    blob_clear(&before);
    blob_clear(&after);
}

START_TEST(both_pins_are_proved_and_counted)
{
    struct custody *custody = renewal_token();
    assert_refused(custody, "wrong so", FIXTURE_PIN);
    assert_refused(custody, FIXTURE_SO_PIN, "wrong user");
    assert_refused(custody, FIXTURE_SO_PIN, "");
    renewal_check(custody);
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

START_TEST(an_old_copy_is_what_it_was_and_nothing_of_it_opens_in_the_new_one)
{
    struct custody *custody = renewal_token();
    struct object_id id = objects_create(custody, "removed", "secret");
    custody_close(&custody);
    renewal_keep();
    custody = fixture_open(fixture_store(1), "");
    struct blob token = renewal_record(custody, RECORD_TOKEN);
    struct blob keys = renewal_record(custody, RECORD_KEYS);
    assert_rotates(custody);
    ck_assert(!renewal_files_hold((struct view){token.bytes + token.len - 32, 32}));
    ck_assert(!renewal_files_hold((struct view){keys.bytes + 5, keys.len - 5}));
    /* The former record beside the new ones. */
    struct blob fresh = renewal_record(custody, RECORD_TOKEN);
    struct store_change put_back = {
        .record = RECORD_TOKEN, .expected = 3, .attributes = blob_view(&token)};
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &put_back, 1), CKR_OK);
    ck_assert_uint_ne(custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN)), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    blob_clear(&token);
    blob_clear(&keys);
    blob_clear(&fresh);
    custody_close(&custody);
    renewal_put_back();
    custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    objects_assert_value(custody, &id, 1, "secret");
    custody_close(&custody);
    renewal_check_anew();
}
END_TEST

/* Another custody stands for another process, and for this one. */
START_TEST(who_is_logged_in_is_logged_out)
{
    struct custody *custody = renewal_token();
    struct custody *other = fixture_open(fixture_store(1), "");
    struct secret value = {0};
    fixture_login_user(other);
    struct object_id id = objects_create(other, "one", "value");
    assert_rotates(custody);
    for (size_t i = 0; i < 2; i++) {
        struct custody *each = i == 0 ? custody : other;
        uint64_t version = 0;
        fixture_forget_log();
        ck_assert_uint_eq(sealed_objects_value(each, &id, 1, &value), CKR_DEVICE_ERROR);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
        ck_assert_ptr_nonnull(strstr(fixture_log(), "log in again"));
        ck_assert_uint_eq(sealed_objects_update(each, &id, 1, view_text("x"), &version),
                          CKR_DEVICE_ERROR);
        clock_shift(200 + 200 * (int64_t) i);
        ck_assert_int_eq(custody_tick(each), CUSTODY_CLOSED);
        ck_assert_uint_eq(sealed_objects_value(each, &id, 1, &value), CKR_USER_NOT_LOGGED_IN);
        fixture_login_user(each);
        objects_assert_value(each, &id, 1, "value");
        renewal_check(each);
    }
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

/* Rows that are found by a value: invocation counts. */
START_TEST(the_rows_of_values_are_found_where_they_were)
{
    struct custody *custody = renewal_token();
    struct secret value = {0};
    struct object_id ids[4];
    uint64_t version = 0;
    struct blob attributes = {0};
    ck_assert_uint_eq(secret_from("a key of AES-GCM", 16, &value), CKR_OK);
    ck_assert_uint_eq(sealed_objects_value_id(custody, &value, &ids[0]), CKR_OK);
    ck_assert_uint_eq(sealed_objects_create(custody, &ids[0], view_text("count 4711"), NULL),
                      CKR_OK);
    for (size_t i = 1; i < COUNT_OF(ids); i++) {
        assert_rotates(custody);
        custody_logout(custody);
        fixture_login_user(custody);
        ck_assert_uint_eq(custody_shred(custody), CKR_OK);
        ck_assert_uint_eq(sealed_objects_value_id(custody, &value, &ids[i]), CKR_OK);
        ck_assert_mem_eq(&ids[0], &ids[i], sizeof(ids[0]));
    }
    ck_assert_uint_eq(sealed_objects_attributes(custody, &ids[0], &version, &attributes), CKR_OK);
    ck_assert(view_equal(blob_view(&attributes), view_text("count 4711")));
    blob_clear(&attributes);
    secret_clear(&value);
    custody_close(&custody);
}
END_TEST

START_TEST(what_was_lost_stays_noticed)
{
    struct custody *custody = renewal_token();
    struct object_id id = objects_create(custody, "lost", "value");
    struct store_change removal = {.object = &id, .expected = 1, .remove = true};
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &removal, 1), CKR_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_rotates(custody);
        custody_logout(custody);
        fixture_login_user(custody);
        fixture_forget_log();
        ck_assert_uint_eq(objects_load(custody), RENEWAL_OBJECTS);
        ck_assert_ptr_nonnull(strstr(fixture_log(), "40 objects where 41 were recorded"));
    }
    custody_close(&custody);
}
END_TEST

START_TEST(rows_that_do_not_open)
{
    static const unsigned char zeros[SEAL_VALUE_OVERHEAD + 5]; /* as long as of "value" */
    struct custody *custody = renewal_token();
    struct object_id ids[] = {objects_create(custody, "bad value", "value"),
                              objects_create(custody, "bad attributes", "value")};
    struct store_change bad_value = {
        .object = &ids[0], .expected = 1, .value_only = true, .value = {zeros, sizeof(zeros)}};
    struct store_change bad_attributes = {
        .object = &ids[1], .expected = 1, .attributes = view_text("x"), .value = view_text("x")};
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &bad_value, 1), CKR_OK);
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &bad_attributes, 1), CKR_OK);
    /* The first would not be seen any more, and so not be destroyed. */
    ck_assert_uint_eq(rotate(custody), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &ids[0], 1), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(rotate(custody), CKR_OK);
    ck_assert_uint_eq(fixture_log_count(), 1);
    custody_logout(custody);
    fixture_login_user(custody);
    ck_assert_uint_eq(objects_load(custody), RENEWAL_OBJECTS);
    custody_close(&custody);
}
END_TEST

#define ROTATIONS 4

static void log_in_for_ever(void)
{
    secrets_abandon();
    for (;;) {
        struct custody *custody = fixture_open(fixture_store(1), "");
        if (custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN)) != CKR_OK) {
            (void) fprintf(stderr, "%s", fixture_log());
            _exit(1);
        }
        custody_close(&custody);
    }
}

START_TEST(others_log_in_meanwhile)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        log_in_for_ever();
    custody = fixture_open(fixture_store(1), "");
    for (int i = 0; i < ROTATIONS; i++)
        assert_rotates(custody);
    custody_close(&custody);
    int status = 0;
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status), "a login failed");
    renewal_check_anew();
}
END_TEST

START_TEST(a_kill_leaves_the_old_or_the_new)
{
    struct custody *custody = renewal_token();
    custody_close(&custody);
    renewal_kill_everywhere(rotate, renewal_check_anew);
}
END_TEST

START_TEST(a_hundred_thousand_objects)
{
    struct custody *custody = objects_token(fixture_store(1));
    struct secret value = {0};
    struct object_id last = renewal_put_many(custody);
    renewal_measure(custody, rotate, "the token key was rotated");
    custody_logout(custody);
    fixture_login_user(custody);
    ck_assert_uint_eq(sealed_objects_value(custody, &last, 2, &value), CKR_OK);
    ck_assert_uint_eq(value.len, RENEWAL_VALUE_LEN);
    secret_clear(&value);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("renewal_rotate");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, values_and_pins_survive_it);
    tcase_add_test(cases, it_works_in_memory_and_without_a_user_pin);
    tcase_add_test(cases, both_pins_are_proved_and_counted);
    tcase_add_test(cases, an_old_copy_is_what_it_was_and_nothing_of_it_opens_in_the_new_one);
    tcase_add_test(cases, who_is_logged_in_is_logged_out);
    tcase_add_test(cases, the_rows_of_values_are_found_where_they_were);
    tcase_add_test(cases, what_was_lost_stays_noticed);
    tcase_add_test(cases, rows_that_do_not_open);
    tcase_add_test(cases, others_log_in_meanwhile);
    tcase_add_test(cases, a_kill_leaves_the_old_or_the_new);
    tcase_add_test(cases, a_hundred_thousand_objects);
    return fixture_run("renewal_rotate", cases);
}
