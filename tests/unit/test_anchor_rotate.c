/* A token's anchor while its token key changes: what other processes and kills leave of it. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "tests/support/object_fixture.h"
#include "tokens/custody_anchor.h"

#define ANCHOR "anchor"
#define HEAD_LEN 6
#define ENTRY_LEN (SERIAL_LEN + 8 + 16 + SHA256_LEN)

static struct custody *open_anchored(void)
{
    char line[256];
    (void) snprintf(line, sizeof(line), "anchor = file:%s\n", fixture_path(ANCHOR));
    return fixture_open(fixture_store(1), line);
}

static struct custody *anchored_token(void)
{
    struct custody *custody = open_anchored();
    fixture_init_token(custody);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
    ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)), CKR_OK);
    custody_logout(custody);
    fixture_login_user(custody);
    fixture_forget_log();
    return custody;
}

static CK_RV login(struct custody *custody)
{
    return custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN));
}

static CK_RV rotate(struct custody *custody)
{
    return custody_rotate_token_key(custody, view_text(FIXTURE_SO_PIN), view_text(FIXTURE_PIN));
}

static const unsigned char other_serial[SERIAL_LEN] = {7};

static struct secret admit_new_key(struct custody *custody)
{
    struct secret token_key = {0};
    ck_assert_uint_eq(crypto_random_secret(SEAL_KEY_LEN, &token_key), CKR_OK);
    ck_assert_uint_eq(custody_anchor_admit(custody, other_serial, &token_key, 5), CKR_OK);
    return token_key;
}

static bool is_proved(struct custody *custody, const struct secret *token_key)
{
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    struct anchor_state state;
    ck_assert_uint_eq(anchor_key_make(token_key, other_serial, &key), CKR_OK);
    return anchor_read(custody->anchor, &key, &state) == CKR_OK;
}

static size_t count_entries(void)
{
    struct stat status;
    ck_assert_int_eq(stat(fixture_path(ANCHOR), &status), 0);
    return ((size_t) status.st_size - HEAD_LEN) / ENTRY_LEN;
}

/* Between the entry and the commit anybody on the former token key goes on. */
START_TEST(others_keep_what_is_admitted)
{
    struct custody *custody = anchored_token();
    struct secret next = admit_new_key(custody);
    (void) objects_create(custody, "a", "value");
    ck_assert(is_proved(custody, &next));
    custody_logout(custody);
    ck_assert_uint_eq(login(custody), CKR_OK);
    ck_assert(is_proved(custody, &next));
    ck_assert_uint_eq(count_entries(), 2);
    custody_anchor_settle(custody, other_serial, &next, 5);
    ck_assert_uint_eq(count_entries(), 1);
    ck_assert(is_proved(custody, &next));
    secret_clear(&next);
    custody_close(&custody);
}
END_TEST

START_TEST(a_late_settle_leaves_a_newer_key_alone)
{
    struct custody *custody = anchored_token();
    struct secret first = admit_new_key(custody);
    struct secret second = admit_new_key(custody);
    custody_anchor_settle(custody, other_serial, &second, 5);
    custody_anchor_settle(custody, other_serial, &first, 5);
    ck_assert(is_proved(custody, &second));
    ck_assert(!is_proved(custody, &first));
    ck_assert_uint_eq(fixture_log_count(), 0);
    secret_clear(&first);
    secret_clear(&second);
    custody_close(&custody);
}
END_TEST

/* Stands before a store's own operations. */
static struct store_ops hooked;
static const struct store_ops *real;

struct planning {
    store_plan_fn *plan;
    void *context;
};

/* A rotation ends between its plan and its commit; the attempts of a PIN are counted. */
static CK_RV plan_to_fail(void *context, const struct store_change **ret_changes,
                          size_t *ret_change_count)
{
    const struct planning *planning = context;
    ck_assert_uint_eq(planning->plan(planning->context, ret_changes, ret_change_count), CKR_OK);
    return *ret_change_count > 1 ? CKR_CANCEL : CKR_OK;
}

static CK_RV update_to_fail(struct store *store, store_plan_fn *plan, void *context)
{
    struct planning planning = {plan, context};
    return real->update(store, plan_to_fail, &planning);
}

static void hook(struct custody *custody)
{
    real = custody->store->ops;
    hooked = *real;
    custody->store->ops = &hooked;
}

static void unhook(struct custody *custody)
{
    custody->store->ops = real;
}

/* The own entry goes to the end, where a kill after the commit of a rotation leaves it. */
static void put_own_last(void)
{
    unsigned char bytes[HEAD_LEN + 4 * ENTRY_LEN];
    unsigned char own[ENTRY_LEN];
    FILE *file = fopen(fixture_path(ANCHOR), "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    memcpy(own, bytes + HEAD_LEN, ENTRY_LEN);
    memmove(bytes + HEAD_LEN, bytes + HEAD_LEN + ENTRY_LEN, (size_t) 3 * ENTRY_LEN);
    memcpy(bytes + HEAD_LEN + 3 * ENTRY_LEN, own, ENTRY_LEN);
    rewind(file);
    ck_assert_uint_eq(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    (void) fclose(file);
}

/* First (the others are dead), or last (the others are superseded). */
START_TEST(a_full_file_keeps_the_entry_that_counts)
{
    struct custody *custody = anchored_token();
    custody_logout(custody);
    for (int i = 0; i < 3; i++) {
        struct secret dead = admit_new_key(custody);
        secret_clear(&dead);
    }
    ck_assert_uint_eq(count_entries(), 4);
    if (_i == 1)
        put_own_last();
    hook(custody);
    hooked.update = update_to_fail;
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(rotate(custody), CKR_CANCEL);
    unhook(custody);
    ck_assert_msg(login(custody) == CKR_OK, "%s", fixture_log());
    custody_logout(custody);
    ck_assert_uint_eq(rotate(custody), CKR_OK);
    ck_assert_uint_eq(count_entries(), 1);
    ck_assert_uint_eq(login(custody), CKR_OK);
    custody_close(&custody);
}
END_TEST

static CK_RV init_again(struct custody *custody)
{
    return custody_init_token(custody, view_text(FIXTURE_SO_PIN),
                              (const unsigned char *) "again                           ");
}

/* A kill before the commit. */
static CK_RV reset_never(struct store *store, const char *guard, uint64_t guard_version,
                         const struct store_change *changes, size_t change_count)
{
    (void) store;
    (void) guard;
    (void) guard_version;
    (void) changes;
    (void) change_count;
    return CKR_CANCEL;
}

/* A kill right after it. */
static CK_RV reset_and_cancel(struct store *store, const char *guard, uint64_t guard_version,
                              const struct store_change *changes, size_t change_count)
{
    ck_assert_uint_eq(real->reset(store, guard, guard_version, changes, change_count), CKR_OK);
    return CKR_CANCEL;
}

/* With no login in between that would settle the entry of the token that is there. */
START_TEST(a_token_made_again_and_again_keeps_its_entry)
{
    struct custody *custody = anchored_token();
    custody_logout(custody);
    hook(custody);
    hooked.reset = reset_and_cancel;
    ck_assert_uint_eq(init_again(custody), CKR_CANCEL);
    hooked.reset = reset_never;
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(init_again(custody), CKR_CANCEL);
    unhook(custody);
    CK_RV rv = custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN));
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    ck_assert_uint_eq(custody_init_pin(custody, view_text(FIXTURE_PIN)), CKR_OK);
    custody_close(&custody);
}
END_TEST

/* Nobody is logged in, so nobody has seen a generation. */
START_TEST(one_pin_at_most_goes_without_the_anchor)
{
    struct custody *custody = anchored_token();
    struct view pin = view_text(FIXTURE_PIN);
    custody_close(&custody);
    custody = open_anchored();
    /* What stands in the way of the successor: unlink does not remove a folder. */
    ck_assert_int_eq(mkdir(fixture_path(ANCHOR ".new"), 0700), 0);
    ck_assert_uint_eq(custody_set_pin(custody, CUSTODY_USER, pin, pin), CKR_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(custody_set_pin(custody, CUSTODY_USER, pin, pin), CKR_DEVICE_ERROR);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    }
    ck_assert_int_eq(rmdir(fixture_path(ANCHOR ".new")), 0);
    ck_assert_uint_eq(custody_set_pin(custody, CUSTODY_USER, pin, pin), CKR_OK);
    ck_assert(!anchor_is_behind(custody->anchor));
    custody_close(&custody);
}
END_TEST

static struct custody *other;
static int rotations_left;

/* What a login asks last, before it looks at the anchor. */
static CK_RV rotate_and_count(struct store *store, uint64_t *ret_count)
{
    if (rotations_left > 0) {
        rotations_left--;
        ck_assert_uint_eq(rotate(other), CKR_OK);
    }
    return real->change_count(store, ret_count);
}

START_TEST(a_login_during_a_rotation_is_no_alarm)
{
    struct custody *custody = anchored_token();
    other = open_anchored();
    custody_logout(custody);
    hook(custody);
    hooked.change_count = rotate_and_count;
    rotations_left = 2;
    fixture_forget_log();
    ck_assert_msg(login(custody) == CKR_OK, "%s", fixture_log());
    unhook(custody);
    ck_assert_int_eq(rotations_left, 0);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    (void) objects_create(custody, "a", "value");
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

START_TEST(a_rotation_under_a_login_is_no_alarm)
{
    struct custody *custody = anchored_token();
    unsigned char id[CUSTODY_ANCHOR_ID_LEN];
    struct stored_summary stored;
    other = open_anchored();
    ck_assert_uint_eq(rotate(other), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_ne(custody_anchor_id(custody, id), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "log in again"));
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_uint_ne(custody_read_summary(custody, &custody->keyring, &stored), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    /* A commit before the rotation, whose follower comes after it. */
    fixture_forget_log();
    custody_generation_follow(custody, &custody->keyring, 1);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    cause_clear();
    ck_assert_uint_ne(custody_anchor_ready(custody, &custody->keyring), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    custody_logout(custody);
    ck_assert_uint_eq(login(custody), CKR_OK);
    ck_assert_uint_eq(custody_anchor_id(custody, id), CKR_OK);
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("anchor_rotate");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, others_keep_what_is_admitted);
    tcase_add_test(cases, a_late_settle_leaves_a_newer_key_alone);
    tcase_add_loop_test(cases, a_full_file_keeps_the_entry_that_counts, 0, 2);
    tcase_add_test(cases, a_token_made_again_and_again_keeps_its_entry);
    tcase_add_test(cases, one_pin_at_most_goes_without_the_anchor);
    tcase_add_test(cases, a_login_during_a_rotation_is_no_alarm);
    tcase_add_test(cases, a_rotation_under_a_login_is_no_alarm);
    return fixture_run("anchor_rotate", cases);
}
