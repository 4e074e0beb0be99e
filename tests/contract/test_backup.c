/* Backups: into an empty store and over the token itself, and hostile ones. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/renewal_fixture.h"

/* A backup in memory. */
struct file {
    unsigned char *bytes;
    size_t len;
    size_t at;    /* of its reader */
    size_t piece; /* that a read gives at most */
};

static CK_RV write_file(void *context, struct view bytes)
{
    struct file *file = context;
    file->bytes = realloc(file->bytes, file->len + bytes.len);
    ck_assert_ptr_nonnull(file->bytes);
    memcpy(file->bytes + file->len, bytes.bytes, bytes.len);
    file->len += bytes.len;
    return CKR_OK;
}

static CK_RV read_file(void *context, unsigned char *bytes, size_t len, size_t *ret_len)
{
    struct file *file = context;
    size_t left = file->len - file->at;
    size_t got = len < left ? len : left;
    if (file->piece > 0 && got > file->piece)
        got = file->piece;
    if (got > 0)
        memcpy(bytes, file->bytes + file->at, got);
    file->at += got;
    *ret_len = got;
    return CKR_OK;
}

static struct file back_up(struct custody *custody)
{
    struct file file = {0};
    fixture_forget_log();
    CK_RV rv = custody_backup(custody, write_file, &file);
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
    return file;
}

static CK_RV restore_as(struct custody *custody, struct file *file, enum custody_role role,
                        const char *pin, bool force)
{
    const struct custody_restore what = {
        .read = read_file, .context = file, .role = role, .pin = view_text(pin), .force = force};
    file->at = 0;
    fixture_forget_log();
    return custody_restore(custody, &what);
}

static void assert_restores(struct custody *custody, struct file *file, bool force)
{
    CK_RV rv = restore_as(custody, file, CUSTODY_USER, FIXTURE_PIN, force);
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
}

static void assert_empty(struct custody *custody)
{
    struct custody_info info;
    ck_assert_uint_eq(custody_info(custody, &info), CKR_OK);
    ck_assert(!info.initialized);
    ck_assert(!renewal_files_hold(view_text("SQLite")));
}

/* Run 0: the user's PIN, in large pieces; run 1: the SO's, byte for byte. */
START_TEST(it_opens_in_an_empty_store)
{
    struct custody *custody = renewal_token();
    struct object_id changed = objects_create(custody, "one", "value");
    struct object_id gone = objects_create(custody, "another", "value");
    uint64_t version = 0;
    ck_assert_uint_eq(sealed_objects_update(custody, &changed, 1, view_text("two"), &version),
                      CKR_OK);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &gone, 1), CKR_OK);
    ck_assert_uint_eq(custody_shred(custody), CKR_OK);
    struct file file = back_up(custody);
    ck_assert_ptr_null(memmem(file.bytes, file.len, "value", 5));
    custody_close(&custody);
    renewal_remove_store();
    custody = fixture_open(fixture_store(1), "");
    file.piece = _i == 0 ? 0 : 1;
    CK_RV rv = _i == 0 ? restore_as(custody, &file, CUSTODY_USER, FIXTURE_PIN, false)
                       : restore_as(custody, &file, CUSTODY_SO, FIXTURE_SO_PIN, false);
    ck_assert_msg(rv == CKR_OK && fixture_log_count() == 0, "%lx %s", rv, fixture_log());
    fixture_login_user(custody);
    renewal_check(custody);
    objects_assert_value(custody, &changed, 2, "value");
    ck_assert_uint_eq(objects_count, RENEWAL_OBJECTS + 1);
    ck_assert_uint_eq(sealed_objects_update(custody, &changed, 2, view_text("three"), &version),
                      CKR_OK);
    ck_assert_uint_eq(version, 3);
    custody_close(&custody);
    renewal_check_anew();
    free(file.bytes);
}
END_TEST

START_TEST(it_goes_from_one_kind_of_store_to_the_other)
{
    struct custody *custody = renewal_token();
    struct file file = back_up(custody);
    custody_close(&custody);
    custody = fixture_open("memory:", "");
    assert_restores(custody, &file, false);
    fixture_login_user(custody);
    renewal_check(custody);
    free(file.bytes);
    file = back_up(custody);
    custody_close(&custody);
    renewal_remove_store();
    custody = fixture_open(fixture_store(1), "");
    assert_restores(custody, &file, false);
    custody_close(&custody);
    renewal_check_anew();
    free(file.bytes);
}
END_TEST

START_TEST(a_store_with_a_token_is_left_alone)
{
    struct custody *custody = renewal_token();
    struct file file = back_up(custody);
    struct object_id later = objects_create(custody, "later", "value");
    struct secret value = {0};
    ck_assert_uint_ne(restore_as(custody, &file, CUSTODY_USER, FIXTURE_PIN, false), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    ck_assert_uint_eq(fixture_log_count(), 1);
    objects_assert_value(custody, &later, 1, "value");
    ck_assert_uint_eq(custody_shred(custody), CKR_OK);
    /* By force: the token is as old as the backup, and so is its epoch. */
    assert_restores(custody, &file, true);
    clock_shift(200);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CLOSED);
    fixture_login_user(custody);
    renewal_check(custody);
    ck_assert_uint_eq(sealed_objects_value(custody, &later, 1, &value), CKR_OBJECT_HANDLE_INVALID);
    custody_close(&custody);
    renewal_remove_store();
    custody = fixture_token(fixture_store(1), "");
    ck_assert_uint_ne(restore_as(custody, &file, CUSTODY_USER, FIXTURE_PIN, true), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONFIG);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "another token"));
    custody_close(&custody);
    free(file.bytes);
}
END_TEST

START_TEST(source_and_pin_are_needed)
{
    struct custody *custody = renewal_token();
    struct file file = back_up(custody);
    ck_assert_uint_eq(
        custody_set_pin(custody, CUSTODY_USER, view_text(FIXTURE_PIN), view_text("another pin")),
        CKR_OK);
    custody_logout(custody);
    ck_assert_uint_eq(custody_backup(custody, write_file, &file), CKR_USER_NOT_LOGGED_IN);
    custody_close(&custody);
    renewal_remove_store();
    custody = fixture_open(fixture_store(1), "");
    static const char *const wrong[] = {"wrong pin", "another pin", FIXTURE_SO_PIN, ""};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        ck_assert_uint_eq(restore_as(custody, &file, CUSTODY_USER, wrong[i], false),
                          CKR_PIN_INCORRECT);
        ck_assert_uint_eq(fixture_log_count(), 1);
        assert_empty(custody);
    }
    fixture_write("root.key", fixture_other_root_key, 0600);
    ck_assert_uint_ne(restore_as(custody, &file, CUSTODY_USER, FIXTURE_PIN, false), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONTEXT);
    assert_empty(custody);
    custody_close(&custody);
    custody = fixture_open(fixture_store(1), "context.tenant = another");
    fixture_write("root.key", fixture_root_key, 0600);
    ck_assert_uint_ne(restore_as(custody, &file, CUSTODY_USER, FIXTURE_PIN, false), CKR_OK);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_CONTEXT);
    assert_empty(custody);
    custody_close(&custody);
    free(file.bytes);
}
END_TEST

/* ---- hostile ones ---- */

static void assert_refused(struct custody *custody, struct file *file, const char *what, size_t at)
{
    CK_RV rv = restore_as(custody, file, CUSTODY_USER, "", false);
    ck_assert_msg(rv != CKR_OK, "%s at %zu of %zu was restored", what, at, file->len);
    ck_assert_msg(fixture_log_count() == 1, "%s at %zu: %s", what, at, fixture_log());
    assert_empty(custody);
}

/* Without a PIN, which would be stretched each time. */
static struct custody *ambient_token(void)
{
    struct custody *custody = fixture_token(fixture_store(1), "login = ambient");
    ck_assert_uint_eq(custody_login(custody, CUSTODY_USER, (struct view){0}), CKR_OK);
    return custody;
}

static struct custody *empty_store(struct custody **former)
{
    custody_close(former);
    renewal_remove_store();
    return fixture_open(fixture_store(1), "login = ambient");
}

START_TEST(every_flipped_bit_is_noticed)
{
    struct custody *custody = ambient_token();
    (void) objects_create(custody, "one", "value");
    struct file file = back_up(custody);
    custody = empty_store(&custody);
    for (size_t i = 0; i < file.len; i++) {
        for (unsigned int bit = 0; bit < 8; bit++) {
            file.bytes[i] ^= (unsigned char) (1u << bit);
            assert_refused(custody, &file, "a flipped bit", i);
            file.bytes[i] ^= (unsigned char) (1u << bit);
        }
    }
    ck_assert_uint_eq(restore_as(custody, &file, CUSTODY_USER, "", false), CKR_OK);
    custody_close(&custody);
    free(file.bytes);
}
END_TEST

START_TEST(every_cut_is_noticed)
{
    struct custody *custody = ambient_token();
    (void) objects_create(custody, "one", "value");
    struct file file = back_up(custody);
    size_t len = file.len;
    custody = empty_store(&custody);
    for (file.len = 0; file.len < len; file.len++)
        assert_refused(custody, &file, "a cut", file.len);
    (void) write_file(&file, view_text("x"));
    assert_refused(custody, &file, "one byte more", file.len);
    custody_close(&custody);
    free(file.bytes);
}
END_TEST

#define CHUNKS 4
#define BULK 40000

/* Where the chunks of a backup begin and end; docs/formats.md. */
static void find_chunks(const struct file *file, size_t ends[CHUNKS + 1])
{
    struct reader reader = reader_of((struct view){file->bytes, file->len});
    (void) read_raw(&reader, 4 + 1 + 16);
    (void) read_string(&reader, file->len);
    ends[0] = (size_t) (reader.at - file->bytes);
    for (size_t i = 0; i < CHUNKS; i++) {
        (void) read_u8(&reader);
        (void) read_string(&reader, file->len);
        ends[i + 1] = (size_t) (reader.at - file->bytes);
    }
    ck_assert(reader_done(&reader));
}

/* `order` names the chunks of the new file: 0 to CHUNKS-1 of the first, CHUNKS… of the second. */
static struct file recompose(const struct file files[2], const int *order, size_t count)
{
    struct file made = {0};
    size_t ends[2][CHUNKS + 1];
    for (size_t i = 0; i < 2; i++)
        find_chunks(&files[i], ends[i]);
    (void) write_file(&made, (struct view){files[0].bytes, ends[0][0]});
    for (size_t i = 0; i < count; i++) {
        size_t file = (size_t) order[i] / CHUNKS;
        size_t chunk = (size_t) order[i] % CHUNKS;
        (void) write_file(&made, (struct view){files[file].bytes + ends[file][chunk],
                                               ends[file][chunk + 1] - ends[file][chunk]});
    }
    return made;
}

START_TEST(chunks_stay_in_their_place_and_their_file)
{
    static const struct {
        int order[CHUNKS + 1];
        size_t count;
    } rows[] = {
        {{1, 0, 2, 3}, 4}, {{0, 2, 3}, 3},       {{0, 1, 1, 2, 3}, 5}, {{0, 1, 2}, 3},
        {{3}, 1},          {{0, 5, 2, 3}, 4},    {{0, 1, 2, 7}, 4},    {{4, 5, 6, 7}, 4},
        {{0, 1, 3}, 3},    {{0, 1, 2, 3, 3}, 5},
    };
    static const int whole[] = {0, 1, 2, 3};
    static char bulk[BULK + 1];
    struct file files[2];
    memset(bulk, 'x', BULK);
    struct custody *custody = ambient_token();
    for (size_t i = 0; i < 7; i++)
        (void) objects_create(custody, "bulky", bulk);
    files[0] = back_up(custody);
    files[1] = back_up(custody);
    custody = empty_store(&custody);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct file made = recompose(files, rows[i].order, rows[i].count);
        assert_refused(custody, &made, "a mixture", i);
        free(made.bytes);
    }
    struct file made = recompose(files, whole, COUNT_OF(whole));
    ck_assert_uint_eq(restore_as(custody, &made, CUSTODY_USER, "", false), CKR_OK);
    custody_close(&custody);
    for (size_t i = 0; i < 2; i++)
        free(files[i].bytes);
    free(made.bytes);
}
END_TEST

static CK_RV write_fails(void *context, struct view bytes)
{
    (void) context;
    (void) bytes;
    return CKR_DEVICE_MEMORY;
}

static CK_RV read_fails(void *context, unsigned char *bytes, size_t len, size_t *ret_len)
{
    struct file *file = context;
    return file->at > file->len / 2 ? CKR_DEVICE_ERROR : read_file(context, bytes, len, ret_len);
}

START_TEST(what_the_file_answers_is_passed_on)
{
    struct custody *custody = ambient_token();
    struct file file = back_up(custody);
    ck_assert_uint_eq(custody_backup(custody, write_fails, NULL), CKR_DEVICE_MEMORY);
    custody = empty_store(&custody);
    const struct custody_restore what = {
        .read = read_fails, .context = &file, .role = CUSTODY_USER};
    ck_assert_uint_eq(custody_restore(custody, &what), CKR_DEVICE_ERROR);
    assert_empty(custody);
    custody_close(&custody);
    free(file.bytes);
}
END_TEST

/* ---- beside others, and through time ---- */

static void *work_for_ever(void *context)
{
    struct custody *custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    while (!atomic_load((atomic_bool *) context)) {
        struct object_id id = objects_create(custody, "meanwhile", "value");
        ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
    }
    custody_close(&custody);
    return NULL;
}

START_TEST(it_is_of_one_moment)
{
    struct custody *custody = renewal_token();
    struct file files[8];
    pthread_t thread;
    atomic_bool over = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, work_for_ever, &over), 0);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        files[i] = (struct file){0};
        ck_assert_uint_eq(custody_backup(custody, write_file, &files[i]), CKR_OK);
    }
    atomic_store(&over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    custody_close(&custody);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        custody = fixture_open("memory:", "");
        assert_restores(custody, &files[i], false);
        fixture_login_user(custody);
        renewal_check(custody);
        custody_close(&custody);
        free(files[i].bytes);
    }
}
END_TEST

static struct file kept;

static CK_RV restore_kept(struct custody *custody)
{
    return restore_as(custody, &kept, CUSTODY_USER, FIXTURE_PIN, true);
}

START_TEST(a_kill_leaves_the_old_or_the_new)
{
    struct custody *custody = renewal_token();
    kept = back_up(custody);
    (void) objects_create(custody, "later", "value");
    custody_close(&custody);
    renewal_kill_everywhere(restore_kept, renewal_check_anew);
    free(kept.bytes);
}
END_TEST

/* A token of the root key of tests/support/token_fixture.c with RENEWAL_OBJECTS objects, as
 * custody_backup of the first format wrote it. Every later version must restore it. */
START_TEST(the_first_format_is_read_for_ever)
{
    static unsigned char bytes[65536];
    FILE *data = fopen(BACKUP_DATA, "rb");
    ck_assert_ptr_nonnull(data);
    struct file file = {.bytes = bytes, .len = fread(bytes, 1, sizeof(bytes), data)};
    (void) fclose(data);
    ck_assert_uint_gt(file.len, 1000);
    ck_assert_uint_lt(file.len, sizeof(bytes));
    struct custody *custody = fixture_open(fixture_store(1), "");
    assert_restores(custody, &file, false);
    fixture_login_user(custody);
    ck_assert_uint_eq(objects_load(custody), RENEWAL_OBJECTS);
    for (size_t i = 0; i < objects_count; i++) {
        char value[32];
        ck_assert_int_eq(strncmp(objects_loaded[i].attributes, "object ", 7), 0);
        (void) snprintf(value, sizeof(value), "value %s", objects_loaded[i].attributes + 7);
        objects_assert_value(custody, &objects_loaded[i].id, objects_loaded[i].version, value);
    }
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("backup");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, it_opens_in_an_empty_store, 0, 2);
    tcase_add_test(cases, it_goes_from_one_kind_of_store_to_the_other);
    tcase_add_test(cases, a_store_with_a_token_is_left_alone);
    tcase_add_test(cases, source_and_pin_are_needed);
    tcase_add_test(cases, every_flipped_bit_is_noticed);
    tcase_add_test(cases, every_cut_is_noticed);
    tcase_add_test(cases, chunks_stay_in_their_place_and_their_file);
    tcase_add_test(cases, what_the_file_answers_is_passed_on);
    tcase_add_test(cases, it_is_of_one_moment);
    tcase_add_test(cases, a_kill_leaves_the_old_or_the_new);
    tcase_add_test(cases, the_first_format_is_read_for_ever);
    return fixture_run("backup", cases);
}
