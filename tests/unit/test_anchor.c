/* A token with an anchor: stores put back to older copies, anchors lost or changed, kills. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/support/object_fixture.h"
#include "tests/support/store_hand.h"

#define ANCHOR "anchor"

/* Of the one anchor of these tests. */
static const char *with_anchor(void)
{
    static char line[256];
    (void) snprintf(line, sizeof(line), "anchor = file:%s\n", fixture_path(ANCHOR));
    return line;
}

static struct custody *anchored_token(int store)
{
    struct custody *custody = fixture_token(fixture_store(store), with_anchor());
    fixture_login_user(custody);
    ck_assert_uint_eq(objects_load(custody), 0);
    fixture_forget_log();
    return custody;
}

/* Without a PIN, whose stretching takes its time: for logins by the hundred. */
static struct custody *ambient_token(int store)
{
    char lines[320];
    (void) snprintf(lines, sizeof(lines), "%slogin = ambient\n", with_anchor());
    struct custody *custody = fixture_open(fixture_store(store), lines);
    fixture_init_token(custody);
    return custody;
}

static CK_RV login(struct custody *custody)
{
    return custody_login(custody, CUSTODY_USER, view_text(FIXTURE_PIN));
}

static void assert_refused(struct custody *custody, const char *words)
{
    fixture_forget_log();
    ck_assert_uint_eq(login(custody), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    ck_assert_msg(strstr(fixture_log(), words) != NULL, "%s", fixture_log());
    ck_assert_ptr_nonnull(strstr(fixture_log(), "indexkey anchor --accept"));
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)),
                      CKR_DEVICE_ERROR);
    ck_assert_uint_eq(secrets_in_use(), 0);
}

static void accept(struct custody *custody)
{
    uint64_t generation;
    ck_assert_msg(custody_anchor_accept(custody, view_text(FIXTURE_SO_PIN), &generation) == CKR_OK,
                  "%s", fixture_log());
}

struct bytes {
    unsigned char bytes[512];
    size_t len;
};

static struct bytes read_anchor(void)
{
    struct bytes read;
    FILE *file = fopen(fixture_path(ANCHOR), "rb");
    ck_assert_ptr_nonnull(file);
    read.len = fread(read.bytes, 1, sizeof(read.bytes), file);
    (void) fclose(file);
    return read;
}

static void write_anchor(const struct bytes *bytes)
{
    (void) unlink(fixture_path(ANCHOR));
    int fd = open(fixture_path(ANCHOR), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes->bytes, bytes->len), (ssize_t) bytes->len);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(an_older_copy_is_refused_until_accepted)
{
    struct custody *custody = anchored_token(_i);
    struct hand_copy copy;
    hand_take(custody->store, &copy);
    struct object_id id = objects_create(custody, "a", "value");
    custody_logout(custody);
    ck_assert_uint_eq(login(custody), CKR_OK);
    custody_logout(custody);

    hand_put_back(custody->store, &copy);
    assert_refused(custody, "generation 1 and its anchor");
    ck_assert_ptr_nonnull(strstr(fixture_log(), "says 2"));
    uint64_t generation = 0;
    ck_assert_uint_eq(custody_anchor_accept(custody, view_text("wrong"), &generation),
                      CKR_PIN_INCORRECT);
    assert_refused(custody, "put back to an older copy");
    ck_assert_uint_eq(custody_anchor_accept(custody, view_text(FIXTURE_SO_PIN), &generation),
                      CKR_OK);
    ck_assert_uint_eq(generation, 1);
    ck_assert_uint_eq(login(custody), CKR_OK);
    struct secret value = {0};
    ck_assert_uint_eq(sealed_objects_value(custody, &id, 1, &value), CKR_OBJECT_HANDLE_INVALID);
    hand_copy_clear(&copy);
    custody_close(&custody);
}
END_TEST

enum change { CREATE, UPDATE, DESTROY, SO_PIN, USER_PIN, RESET_PIN, CHANGE_KINDS };

static void make_change(struct custody *custody, enum change change, const struct object_id *id)
{
    uint64_t version;
    CK_RV rv = CKR_OK;
    if (change == CREATE)
        (void) objects_create(custody, "new", "value");
    if (change == UPDATE)
        rv = sealed_objects_update(custody, id, 1, view_text("changed"), &version);
    if (change == DESTROY)
        rv = sealed_objects_destroy(custody, id, 1);
    if (change == SO_PIN)
        rv = custody_set_pin(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN),
                             view_text(FIXTURE_SO_PIN));
    if (change == USER_PIN)
        rv = custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), view_text(FIXTURE_PIN));
    if (change == RESET_PIN) {
        custody_logout(custody);
        ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
        rv = custody_init_pin(custody, view_text(FIXTURE_PIN));
    }
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
}

/* Objects and PINs: whatever was acknowledged is missed. */
START_TEST(a_copy_older_by_one_change_is_noticed)
{
    struct custody *custody = anchored_token(_i / CHANGE_KINDS);
    struct object_id id = objects_create(custody, "a", "value");
    struct hand_copy copy;
    hand_take(custody->store, &copy);
    make_change(custody, (enum change)(_i % CHANGE_KINDS), &id);
    custody_logout(custody);
    hand_put_back(custody->store, &copy);
    hand_copy_clear(&copy);
    assert_refused(custody, "put back to an older copy");
    /* Nor does a change that needs no login make it new again. */
    ck_assert_uint_eq(
        custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), view_text("another")),
        CKR_DEVICE_ERROR);
    custody_close(&custody);
}
END_TEST

START_TEST(a_store_ahead_of_its_anchor_is_accepted_and_advances_it)
{
    struct custody *custody = anchored_token(_i);
    struct bytes before = read_anchor();
    (void) objects_create(custody, "a", "value");
    struct bytes after = read_anchor();
    ck_assert_mem_ne(before.bytes, after.bytes, after.len);
    custody_logout(custody);
    /* As after a kill between the store's commit and the anchor's. */
    write_anchor(&before);
    ck_assert_uint_eq(login(custody), CKR_OK);
    struct bytes advanced = read_anchor();
    ck_assert_mem_eq(advanced.bytes, after.bytes, after.len);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(a_lost_or_changed_anchor_is_refused)
{
    struct custody *custody = ambient_token(_i);
    struct bytes good = read_anchor();
    fixture_remove(ANCHOR);
    assert_refused(custody, "is missing");
    ck_assert_int_ne(access(fixture_path(ANCHOR), F_OK), 0);
    for (size_t bit = 0; bit < 8 * good.len; bit++) {
        struct bytes bad = good;
        bad.bytes[bit / 8] ^= (unsigned char) (1u << bit % 8);
        write_anchor(&bad);
        fixture_forget_log();
        ck_assert_uint_eq(login(custody), CKR_DEVICE_ERROR);
        ck_assert_ptr_nonnull(strstr(fixture_log(), "damaged or another token's"));
    }
    for (size_t len = 0; len < good.len; len++) {
        struct bytes bad = good;
        bad.len = len;
        write_anchor(&bad);
        ck_assert_uint_eq(login(custody), CKR_DEVICE_ERROR);
    }
    struct bytes longer = good;
    longer.len = sizeof(longer.bytes);
    write_anchor(&longer);
    ck_assert_uint_eq(login(custody), CKR_DEVICE_ERROR);
    write_anchor(&good);
    ck_assert_uint_eq(login(custody), CKR_OK);
    custody_logout(custody);
    fixture_remove(ANCHOR);
    accept(custody);
    ck_assert_uint_eq(login(custody), CKR_OK);
    /* The same generation under a new id. */
    struct bytes accepted = read_anchor();
    ck_assert_uint_eq(accepted.len, good.len);
    ck_assert_mem_eq(accepted.bytes, good.bytes, 6 + SERIAL_LEN + 8);
    ck_assert_mem_ne(accepted.bytes, good.bytes, good.len);
    custody_close(&custody);
}
END_TEST

START_TEST(another_tokens_anchor_is_refused)
{
    struct custody *custody = anchored_token(0);
    struct bytes first = read_anchor();
    custody_close(&custody);
    custody = anchored_token(0);
    custody_logout(custody);
    write_anchor(&first);
    assert_refused(custody, "damaged or another token's");
    custody_close(&custody);
}
END_TEST

START_TEST(an_anchor_for_a_token_that_had_none)
{
    struct custody *custody = fixture_token(fixture_store(1), "");
    custody_close(&custody);
    custody = fixture_open(fixture_store(1), with_anchor());
    assert_refused(custody, "is missing");
    accept(custody);
    ck_assert_uint_eq(login(custody), CKR_OK);
    custody_close(&custody);
    /* Without one there is nothing to accept. */
    custody = fixture_open(fixture_store(1), "");
    uint64_t generation;
    ck_assert_uint_eq(custody_anchor_accept(custody, view_text(FIXTURE_SO_PIN), &generation),
                      CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    custody_close(&custody);
}
END_TEST

static enum custody_news tick_later(struct custody *custody, int64_t *shift_ms)
{
    *shift_ms += 100;
    clock_shift(*shift_ms);
    return custody_tick(custody);
}

/* With an anchor and without. */
START_TEST(a_store_that_goes_back_under_a_login_ends_it)
{
    struct custody *custody = fixture_token(fixture_store(1), _i == 0 ? "" : with_anchor());
    struct store *hand = NULL;
    struct hand_copy copy;
    int64_t shift_ms = 0;
    ck_assert_uint_eq(store_open(fixture_store(1), &hand), CKR_OK);
    fixture_login_user(custody);
    ck_assert_uint_eq(objects_load(custody), 0);
    hand_take(hand, &copy);
    (void) objects_create(custody, "a", "value");
    ck_assert_int_eq(tick_later(custody, &shift_ms), CUSTODY_SAME);
    hand_put_back(hand, &copy);
    fixture_forget_log();
    ck_assert_int_eq(tick_later(custody, &shift_ms), CUSTODY_CLOSED);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "went back from generation 2 to 1"));
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert_uint_eq(login(custody), _i == 0 ? CKR_OK : CKR_DEVICE_ERROR);
    hand_copy_clear(&copy);
    store_close(&hand);
    custody_close(&custody);
}
END_TEST

START_TEST(a_change_on_an_older_store_is_refused)
{
    struct custody *custody = anchored_token(_i);
    struct hand_copy copy;
    hand_take(custody->store, &copy);
    struct object_id id = objects_create(custody, "a", "value");
    hand_put_back(custody->store, &copy);
    struct secret none = {0};
    struct object_id new_id = {{7}};
    ck_assert_uint_eq(sealed_objects_create(custody, &new_id, view_text("b"), &none),
                      CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_DEVICE_ERROR);
    hand_copy_clear(&copy);
    custody_close(&custody);
}
END_TEST

/* Of another host, say, whose anchor is another file. */
START_TEST(a_tick_that_sees_others_changes_advances)
{
    struct custody *custody = anchored_token(1);
    struct custody *other = fixture_open(fixture_store(1), "");
    int64_t shift_ms = 0;
    struct bytes before = read_anchor();
    fixture_login_user(other);
    (void) objects_create(other, "a", "value");
    struct bytes after = read_anchor();
    ck_assert_mem_eq(before.bytes, after.bytes, before.len);
    ck_assert_int_eq(tick_later(custody, &shift_ms), CUSTODY_CHANGED);
    after = read_anchor();
    ck_assert_mem_ne(before.bytes, after.bytes, before.len);
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

/* A kill on either side of the store's commit leaves an entry that counts: the one before it is
 * what an admitted entry beside the former one looks like. */
START_TEST(a_token_made_again_keeps_an_anchor_at_each_moment)
{
    struct custody *custody = anchored_token(1);
    (void) objects_create(custody, "a", "value");
    custody_logout(custody);
    struct hand_copy former;
    hand_take(custody->store, &former);
    struct bytes old = read_anchor();
    struct bytes both = old;
    ck_assert_uint_eq(
        custody_init_token(custody, view_text(FIXTURE_SO_PIN),
                           (const unsigned char *) "again                           "),
        CKR_OK);
    struct bytes new = read_anchor();
    ck_assert_uint_eq(new.len, old.len);
    /* The file as it was while the store committed. */
    memcpy(both.bytes + old.len, new.bytes + 6, new.len - 6);
    both.bytes[5] = 2;
    both.len = 2 * old.len - 6;
    write_anchor(&both);
    ck_assert_uint_eq(custody_login(custody, CUSTODY_SO, view_text(FIXTURE_SO_PIN)), CKR_OK);
    struct bytes settled = read_anchor();
    ck_assert_uint_eq(settled.len, new.len);
    ck_assert_mem_eq(settled.bytes, new.bytes, new.len);
    custody_logout(custody);
    /* The commit has not been: the former token opens by its own entry. */
    write_anchor(&both);
    hand_put_back(custody->store, &former);
    ck_assert_uint_eq(login(custody), CKR_OK);
    /* Nor does it drop the other, whose commit may be under way for all it knows. */
    settled = read_anchor();
    ck_assert_mem_eq(settled.bytes, both.bytes, both.len);
    hand_copy_clear(&former);
    custody_close(&custody);
}
END_TEST

START_TEST(an_anchor_that_cannot_be_written_stops_the_next_change)
{
    struct custody *custody = anchored_token(1);
    /* What stands in the way of the successor: unlink does not remove a folder. */
    ck_assert_int_eq(mkdir(fixture_path(ANCHOR ".new"), 0700), 0);
    (void) objects_create(custody, "a", "value");
    ck_assert_ptr_nonnull(strstr(fixture_log(), "making its successor"));
    struct object_id id = {{7}};
    cause_clear();
    ck_assert_uint_eq(sealed_objects_create(custody, &id, view_text("b"), NULL), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_int_eq(rmdir(fixture_path(ANCHOR ".new")), 0);
    ck_assert_uint_eq(sealed_objects_create(custody, &id, view_text("b"), NULL), CKR_OK);
    ck_assert_uint_eq(objects_load(custody), 2);
    custody_close(&custody);
}
END_TEST

/* Each makes the place of the anchor a bad one. */
static void make_link(void)
{
    ck_assert_int_eq(rename(fixture_path(ANCHOR), fixture_path("elsewhere")), 0);
    ck_assert_int_eq(symlink(fixture_path("elsewhere"), fixture_path(ANCHOR)), 0);
}

static void make_readable(void)
{
    ck_assert_int_eq(chmod(fixture_path(ANCHOR), 0640), 0);
}

static void make_folder(void)
{
    ck_assert_int_eq(unlink(fixture_path(ANCHOR)), 0);
    ck_assert_int_eq(mkdir(fixture_path(ANCHOR), 0700), 0);
}

static void make_fifo(void)
{
    ck_assert_int_eq(unlink(fixture_path(ANCHOR)), 0);
    ck_assert_int_eq(mkfifo(fixture_path(ANCHOR), 0600), 0);
}

static void open_its_folder(void)
{
    ck_assert_int_eq(chmod(fixture_path("."), 0777), 0);
}

static const struct {
    void (*make)(void);
    const char *words;
} places[] = {
    {make_link, "symbolic link"},        {make_readable, "mode 0640"},
    {make_folder, "not a regular file"}, {make_fifo, "not a regular file"},
    {open_its_folder, "chmod o-w"},
};

START_TEST(a_bad_place_is_refused)
{
    struct custody *custody = anchored_token(0);
    custody_logout(custody);
    places[_i].make();
    fixture_forget_log();
    ck_assert_uint_eq(login(custody), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert_msg(strstr(fixture_log(), places[_i].words) != NULL, "%s", fixture_log());
    uint64_t generation;
    ck_assert_uint_eq(custody_anchor_accept(custody, view_text(FIXTURE_SO_PIN), &generation),
                      CKR_DEVICE_ERROR);
    (void) rmdir(fixture_path(ANCHOR));
    custody_close(&custody);
}
END_TEST

START_TEST(a_file_of_anothers_is_left_as_it_is)
{
    fixture_write(ANCHOR, "something that somebody needs\n", 0600);
    struct bytes before = read_anchor();
    struct custody *custody = fixture_open(fixture_store(0), with_anchor());
    ck_assert_uint_eq(
        custody_init_token(custody, view_text(FIXTURE_SO_PIN),
                           (const unsigned char *) "never                           "),
        CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    struct custody_info info;
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.initialized);
    struct bytes after = read_anchor();
    ck_assert_mem_eq(before.bytes, after.bytes, before.len);
    custody_close(&custody);
}
END_TEST

static const char *const bad_locations[] = {
    "/tmp/anchor", "file:anchor", "file:/tmp/", "sqlite:/tmp/anchor", "file:", "",
};

START_TEST(a_location_that_is_none_is_refused)
{
    ck_assert_str_eq(anchor_check_location(bad_locations[_i]), "file:/PATH");
    ck_assert_ptr_null(anchor_check_location("file:/tmp/anchor"));
}
END_TEST

START_TEST(the_store_is_no_anchor)
{
    char line[256];
    struct custody *custody = NULL;
    (void) snprintf(line, sizeof(line), "anchor = file:%s\n", fixture_path("token.db"));
    ck_assert_uint_eq(fixture_try_open(fixture_store(1), line, &custody), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
}
END_TEST

START_TEST(no_memory_leaves_nothing_behind)
{
    struct custody *custody = ambient_token(0);
    CK_RV rv = CKR_HOST_MEMORY;
    int failures = 0;
    for (unsigned long nth = 1; rv != CKR_OK; nth++) {
        mem_fail_at(nth, true);
        rv = login(custody);
        mem_fail_at(0, false);
        ck_assert(rv == CKR_OK || secrets_in_use() == 0);
        failures += rv != CKR_OK;
        ck_assert_uint_lt(nth, 2000);
    }
    ck_assert_int_gt(failures, 5);
    custody_close(&custody);
}
END_TEST

#define WRITERS 4
#define WRITER_OBJECTS 25

/* Several processes share one file, which never goes back. */
START_TEST(processes_share_one_anchor)
{
    struct custody *custody = fixture_token(fixture_store(1), with_anchor());
    custody_close(&custody);
    pid_t children[WRITERS];
    for (size_t i = 0; i < WRITERS; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] != 0)
            continue;
        secrets_abandon();
        custody = fixture_open(fixture_store(1), with_anchor());
        fixture_login_user(custody);
        for (int j = 0; j < WRITER_OBJECTS; j++)
            (void) objects_create(custody, "many", "value");
        custody_close(&custody);
        _exit(fixture_log_count() == 0 ? 0 : 1);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        int status = 0;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    struct bytes anchor = read_anchor();
    /* After the head and the serial: the PIN was a change too. */
    ck_assert_uint_eq(anchor.bytes[6 + 8 + 7], WRITERS * WRITER_OBJECTS + 1);
    custody = fixture_open(fixture_store(1), with_anchor());
    fixture_login_user(custody);
    ck_assert_uint_eq(objects_load(custody), WRITERS * WRITER_OBJECTS);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("anchor");
    tcase_add_loop_test(cases, an_older_copy_is_refused_until_accepted, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_copy_older_by_one_change_is_noticed, 0,
                        FIXTURE_STORE_COUNT * CHANGE_KINDS);
    tcase_add_loop_test(cases, a_store_ahead_of_its_anchor_is_accepted_and_advances_it, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_lost_or_changed_anchor_is_refused, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, another_tokens_anchor_is_refused);
    tcase_add_test(cases, an_anchor_for_a_token_that_had_none);
    tcase_add_loop_test(cases, a_store_that_goes_back_under_a_login_ends_it, 0, 2);
    tcase_add_loop_test(cases, a_change_on_an_older_store_is_refused, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, a_tick_that_sees_others_changes_advances);
    tcase_add_test(cases, a_token_made_again_keeps_an_anchor_at_each_moment);
    tcase_add_test(cases, an_anchor_that_cannot_be_written_stops_the_next_change);
    tcase_add_loop_test(cases, a_bad_place_is_refused, 0, (int) COUNT_OF(places));
    tcase_add_test(cases, a_file_of_anothers_is_left_as_it_is);
    tcase_add_loop_test(cases, a_location_that_is_none_is_refused, 0,
                        (int) COUNT_OF(bad_locations));
    tcase_add_test(cases, the_store_is_no_anchor);
    tcase_add_test(cases, no_memory_leaves_nothing_behind);
    tcase_add_test(cases, processes_share_one_anchor);
    return fixture_run("anchor", cases);
}
