/* Loading what changed: what is read, what is believed, and when everything is read again. */
#include <sqlite3.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/support/object_fixture.h"
#include "tokens/row_macs.h"

#define GONE_MAX 16

static struct object_id gone[GONE_MAX];
static size_t gone_count;

static CK_RV keep_gone(void *context, const struct object_id *id)
{
    (void) context;
    ck_assert_uint_lt(gone_count, GONE_MAX);
    gone[gone_count++] = *id;
    return CKR_OK;
}

static const struct sealed_reader reader = {objects_keep, keep_gone, NULL};

/* True: what is in objects_loaded and gone is all that changed. */
static bool load_changes(struct custody *custody)
{
    bool is_known = false;
    objects_count = 0;
    gone_count = 0;
    CK_RV rv = sealed_objects_load_changes(custody, &reader, &is_known);
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
    return is_known;
}

static bool is_loaded(const struct object_id *id, const char *attributes)
{
    for (size_t i = 0; i < objects_count; i++) {
        if (memcmp(&objects_loaded[i].id, id, sizeof(*id)) == 0)
            return strcmp(objects_loaded[i].attributes, attributes) == 0;
    }
    return false;
}

/* A stranger's hand, which says nothing of turns. */
static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;
    char *error = NULL;
    ck_assert_int_eq(sqlite3_open(fixture_store(1) + strlen("sqlite:"), &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s", error);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

#define OBJECTS 10

/* Two processes' custodies of one token with objects; both have loaded them. */
static struct custody *one;
static struct custody *two;
static struct object_id ids[OBJECTS];

static void open_both(void)
{
    one = objects_token(fixture_store(1));
    two = fixture_open(fixture_store(1), "");
    fixture_login_user(two);
    for (size_t i = 0; i < OBJECTS; i++)
        ids[i] = objects_create(one, "label", "value");
    ck_assert_uint_eq(objects_load(one), OBJECTS);
    ck_assert_uint_eq(objects_load(two), OBJECTS);
    fixture_forget_log();
}

static void close_both(void)
{
    custody_close(&two);
    custody_close(&one);
}

START_TEST(only_what_changed_comes)
{
    uint64_t version;
    open_both();
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count + gone_count, 0);
    struct object_id made = objects_create(one, "made", "value");
    ck_assert_uint_eq(sealed_objects_update(one, &ids[1], 1, view_text("changed"), &version),
                      CKR_OK);
    ck_assert_uint_eq(sealed_objects_destroy(one, &ids[2], 1), CKR_OK);
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count, 2);
    ck_assert(is_loaded(&made, "made"));
    ck_assert(is_loaded(&ids[1], "changed"));
    ck_assert_uint_eq(gone_count, 1);
    ck_assert_mem_eq(&gone[0], &ids[2], sizeof(ids[2]));
    /* Own changes come with the next load, too. */
    ck_assert(load_changes(one));
    ck_assert_uint_eq(objects_count, 2);
    ck_assert_uint_eq(gone_count, 1);
    ck_assert_uint_eq(objects_load(two), OBJECTS);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    close_both();
}
END_TEST

START_TEST(the_first_load_of_a_login_is_whole)
{
    open_both();
    custody_logout(two);
    bool is_known = true;
    ck_assert_uint_eq(sealed_objects_load_changes(two, &reader, &is_known), CKR_OK);
    ck_assert(!is_known);
    fixture_login_user(two);
    ck_assert(!load_changes(two));
    ck_assert_uint_eq(objects_load(two), OBJECTS);
    ck_assert(load_changes(two));
    sealed_objects_forget(two);
    ck_assert(!load_changes(two));
    close_both();
}
END_TEST

/* A row that is put back, without a word of it, is noticed when everything is read. */
START_TEST(a_row_put_back_in_silence_is_noticed_at_the_next_whole_load)
{
    uint64_t version;
    open_both();
    run_sql("CREATE TABLE former AS SELECT * FROM object");
    ck_assert_uint_eq(sealed_objects_update(one, &ids[0], 1, view_text("changed"), &version),
                      CKR_OK);
    ck_assert(load_changes(two));
    ck_assert(is_loaded(&ids[0], "changed"));
    run_sql("UPDATE object SET version = former.version, attributes = former.attributes,"
            " value = former.value FROM former WHERE former.id = object.id;"
            "DROP TABLE former");
    (void) objects_create(one, "made", "value");
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count, 1);
    ck_assert_uint_eq(fixture_log_count(), 0);
    clock_shift(SEALED_WHOLE_EVERY_MS);
    ck_assert(!load_changes(two));
    ck_assert_uint_eq(objects_load(two), OBJECTS + 1);
    ck_assert(is_loaded(&ids[0], "label"));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "put back to an older version"));
    clock_shift(0);
    close_both();
}
END_TEST

/* A store that keeps a change to itself, as a module of the former version makes it. */
START_TEST(a_change_that_is_not_told_ends_in_a_whole_load)
{
    uint64_t version;
    open_both();
    ck_assert_uint_eq(sealed_objects_update(one, &ids[0], 1, view_text("changed"), &version),
                      CKR_OK);
    run_sql("UPDATE object SET turn = 0");
    ck_assert(!load_changes(two));
    ck_assert_uint_eq(objects_load(two), OBJECTS);
    ck_assert(is_loaded(&ids[0], "changed"));
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count, 0);
    ck_assert_uint_eq(sealed_objects_destroy(one, &ids[1], 1), CKR_OK);
    run_sql("DELETE FROM removed");
    ck_assert(!load_changes(two));
    ck_assert_uint_eq(objects_load(two), OBJECTS - 1);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    close_both();
}
END_TEST

/* What is told of, and was not done by the token. */
START_TEST(a_stranger_s_change_ends_in_a_whole_load_that_reports)
{
    static const char *const changes[] = {
        "DELETE FROM object WHERE rowid = (SELECT min(rowid) FROM object);"
        "INSERT INTO removed SELECT 1000, id FROM former EXCEPT SELECT 1000, id FROM object",
        "INSERT INTO object SELECT CAST(substr(id, 1, 15) || x'00' AS BLOB), version, attributes,"
        " value, 1000 FROM former LIMIT 1",
        "UPDATE object SET version = 7, turn = 1000",
    };
    open_both();
    run_sql("CREATE TABLE former AS SELECT * FROM object");
    run_sql(changes[_i]);
    run_sql("DROP TABLE former; UPDATE store SET turn = 1000");
    ck_assert(!load_changes(two));
    fixture_forget_log();
    (void) objects_load(two);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "behind the token's back"));
    /* It stays so, and is told as often as it is looked at. */
    ck_assert(!load_changes(two));
    close_both();
}
END_TEST

/* An IV is outside what the sum is made of: the row does not open, and counts all the same. */
START_TEST(a_row_that_does_not_open_goes_and_stays_in_the_sum)
{
    open_both();
    run_sql("UPDATE object SET turn = 1000, attributes = CAST(substr(attributes, 1, 5) ||"
            " zeroblob(12) || substr(attributes, 18) AS BLOB)"
            " WHERE rowid = (SELECT min(rowid) FROM object); UPDATE store SET turn = 1000");
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count, 0);
    ck_assert_uint_eq(gone_count, 1);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "was changed and does not open"));
    (void) objects_create(one, "made", "value");
    fixture_forget_log();
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count, 1);
    ck_assert_uint_eq(objects_load(two), OBJECTS);
    ck_assert_uint_eq(fixture_log_count(), 1);
    close_both();
}
END_TEST

START_TEST(a_change_of_epoch_is_followed)
{
    open_both();
    ck_assert_uint_eq(custody_shred(one), CKR_OK);
    ck_assert_uint_eq(custody_confirm_keys(two), CKR_OK);
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count, OBJECTS);
    ck_assert_uint_eq(gone_count, 0);
    objects_assert_value(two, &ids[3], 1, "value");
    ck_assert_uint_eq(sealed_objects_destroy(two, &ids[3], 1), CKR_OK);
    ck_assert(load_changes(one));
    ck_assert_uint_eq(gone_count, 1);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    close_both();
}
END_TEST

/* So much that the table of the sums grows, and shrinks by any of its rows. */
START_TEST(many_come_and_go)
{
    static struct object_id many[300];
    open_both();
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = objects_create(one, "many", "value");
        if (i % 50 == 49)
            ck_assert(load_changes(two));
    }
    for (size_t i = 0; i < COUNT_OF(many); i += 3) {
        ck_assert_uint_eq(sealed_objects_destroy(one, &many[i], 1), CKR_OK);
        if (i % 9 == 0)
            ck_assert(load_changes(two));
    }
    ck_assert(load_changes(two));
    ck_assert(load_changes(two));
    ck_assert_uint_eq(objects_count + gone_count, 0);
    ck_assert_uint_eq(objects_load(two), OBJECTS + COUNT_OF(many) * 2 / 3);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
    close_both();
}
END_TEST

#define STEPS 20000
#define NAMES 500

/* Beside a plain summary of the same rows. */
START_TEST(sums_follow_any_order_of_changes)
{
    static unsigned char macs_of[NAMES][SHA256_LEN];
    static bool is_there[NAMES];
    struct row_macs macs = {0};
    struct summary plain = {0};
    uint32_t random = 1;
    for (size_t i = 0; i < STEPS; i++) {
        random = random * 1664525U + 1013904223U;
        size_t name = (random >> 8) % NAMES;
        struct object_id id = {{(unsigned char) name, (unsigned char) (name >> 8)}};
        if (is_there[name])
            summary_remove(&plain, macs_of[name]);
        is_there[name] = (random >> 30) != 0;
        memcpy(macs_of[name] + SHA256_LEN - sizeof(random), &random, sizeof(random));
        memset(macs_of[name] + SHA256_LEN - 8, (int) (random >> 24), 4);
        if (is_there[name]) {
            summary_add(&plain, macs_of[name]);
            ck_assert_uint_eq(row_macs_put(&macs, &id, macs_of[name]), CKR_OK);
        } else {
            row_macs_remove(&macs, &id);
        }
        ck_assert(row_macs_match(&macs, &plain));
    }
    plain.sum[SHA256_LEN - 8] ^= 1;
    ck_assert(!row_macs_match(&macs, &plain));
    row_macs_clear(&macs);
}
END_TEST

static CK_RV refuse_object(void *context, const struct sealed_object *object)
{
    (void) context;
    (void) object;
    return CKR_FUNCTION_CANCELED;
}

START_TEST(a_load_that_failed_is_followed_by_a_whole_one)
{
    static const struct sealed_reader refusing = {refuse_object, keep_gone, NULL};
    bool is_known = true;
    open_both();
    (void) objects_create(one, "made", "value");
    ck_assert_uint_eq(sealed_objects_load_changes(two, &refusing, &is_known),
                      CKR_FUNCTION_CANCELED);
    ck_assert(!load_changes(two));
    ck_assert_uint_eq(objects_load(two), OBJECTS + 1);
    CK_RV rv = CKR_HOST_MEMORY;
    for (unsigned long nth = 1; rv != CKR_OK || !is_known; nth++) {
        ck_assert_uint_lt(nth, 400);
        ck_assert_uint_eq(objects_load(two) - OBJECTS, nth);
        (void) objects_create(one, "made", "value");
        objects_count = 0;
        mem_fail_at(nth, false);
        rv = sealed_objects_load_changes(two, &reader, &is_known);
        mem_fail_at(0, false);
        ck_assert(rv == CKR_OK || rv == CKR_HOST_MEMORY || rv == CKR_DEVICE_ERROR);
        if (rv != CKR_OK)
            ck_assert(!load_changes(two));
    }
    ck_assert_uint_eq(objects_count, 1);
    close_both();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("sealed_load");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, only_what_changed_comes);
    tcase_add_test(cases, the_first_load_of_a_login_is_whole);
    tcase_add_test(cases, a_row_put_back_in_silence_is_noticed_at_the_next_whole_load);
    tcase_add_test(cases, a_change_that_is_not_told_ends_in_a_whole_load);
    tcase_add_loop_test(cases, a_stranger_s_change_ends_in_a_whole_load_that_reports, 0, 3);
    tcase_add_test(cases, a_row_that_does_not_open_goes_and_stays_in_the_sum);
    tcase_add_test(cases, a_change_of_epoch_is_followed);
    tcase_add_test(cases, many_come_and_go);
    tcase_add_test(cases, sums_follow_any_order_of_changes);
    tcase_add_test(cases, a_load_that_failed_is_followed_by_a_whole_one);
    return fixture_run("sealed_load", cases);
}
