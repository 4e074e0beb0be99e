/* Objects of a token, on both kinds of store: what is kept, and what a hostile store can do. */
#include <string.h>

#include "base/alloc.h"
#include "tests/support/object_fixture.h"
#include "tokens/seal.h"

START_TEST(an_object_lives_and_ends)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "label=a", "secret value");
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_mem_eq(&objects_loaded[0].id, &id, sizeof(id));
    ck_assert_str_eq(objects_loaded[0].attributes, "label=a");
    ck_assert_uint_eq(objects_loaded[0].version, 1);
    ck_assert_uint_eq(objects_loaded[0].value_len, strlen("secret value"));
    objects_assert_value(custody, &id, 1, "secret value");

    uint64_t version = 0;
    struct secret value = {0};
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("label=b"), &version),
                      CKR_OK);
    ck_assert_uint_eq(version, 2);
    /* Who knows the former version gets the same value; a row older than what is known is no good.
     */
    objects_assert_value(custody, &id, 1, "secret value");
    ck_assert_uint_eq(sealed_objects_value(custody, &id, 3, &value), CKR_OBJECT_HANDLE_INVALID);
    objects_assert_value(custody, &id, 2, "secret value");
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("c"), &version),
                      CKR_OBJECT_HANDLE_INVALID);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OBJECT_HANDLE_INVALID);
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_str_eq(objects_loaded[0].attributes, "label=b");

    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 2), CKR_OK);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 2), CKR_OBJECT_HANDLE_INVALID);
    ck_assert_uint_eq(objects_load(custody), 0);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(an_object_may_have_no_value)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "data", "");
    uint64_t version;
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_uint_eq(objects_loaded[0].value_len, 0);
    objects_assert_value(custody, &id, 1, "");
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("x"), &version), CKR_OK);
    objects_assert_value(custody, &id, 2, "");
    custody_close(&custody);
}
END_TEST

/* A commit of several: what one of them meets decides for all. */
START_TEST(several_changes_are_one)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id changed = objects_create(custody, "to change", "value");
    struct object_id removed = objects_create(custody, "to remove", "value");
    struct object_id added;
    struct secret value = {0};
    ck_assert_uint_eq(sealed_objects_new_id(&added), CKR_OK);
    ck_assert_uint_eq(secret_from("other", 5, &value), CKR_OK);
    struct sealed_change changes[] = {
        {.id = &added, .attributes = view_text("added"), .value = &value},
        {.id = &changed, .version = 1, .attributes = view_text("changed")},
        {.id = &removed, .version = 2, .remove = true},
    };
    ck_assert_uint_eq(sealed_objects_commit(custody, changes, 3), CKR_OBJECT_HANDLE_INVALID);
    ck_assert_uint_eq(objects_load(custody), 2);
    ck_assert_uint_eq(objects_loaded[0].version, 1);
    ck_assert_uint_eq(objects_loaded[1].version, 1);
    changes[2].version = 1;
    ck_assert_uint_eq(sealed_objects_commit(custody, changes, 3), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), 2);
    ck_assert_uint_eq(fixture_log_count(), 0);
    objects_assert_value(custody, &added, 1, "other");
    objects_assert_value(custody, &changed, 2, "value");
    ck_assert_uint_eq(sealed_objects_commit(custody, NULL, 0), CKR_OK);
    secret_clear(&value);
    custody_close(&custody);
}
END_TEST

#define MANY_CHANGES 400

/* More rows than threads could bring together. */
START_TEST(many_changes_are_one)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id ids[MANY_CHANGES];
    struct sealed_change changes[MANY_CHANGES];
    for (size_t i = 0; i < MANY_CHANGES; i++) {
        ck_assert_uint_eq(sealed_objects_new_id(&ids[i]), CKR_OK);
        changes[i] = (struct sealed_change){.id = &ids[i], .attributes = view_text("many")};
    }
    ck_assert_uint_eq(sealed_objects_commit(custody, changes, MANY_CHANGES), CKR_OK);
    ck_assert_uint_eq(objects_load(custody), MANY_CHANGES);
    for (size_t i = 0; i < MANY_CHANGES; i++)
        changes[i] = (struct sealed_change){.id = &ids[i], .version = 1, .remove = true};
    ck_assert_uint_eq(sealed_objects_commit(custody, changes, MANY_CHANGES), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), 0);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(objects_survive_a_restart)
{
    struct custody *first = objects_token(fixture_store(1));
    struct object_id id = objects_create(first, "label", "value");
    custody_close(&first);
    struct custody *second = fixture_open(fixture_store(1), "");
    fixture_login_user(second);
    ck_assert_uint_eq(objects_load(second), 1);
    objects_assert_value(second, &id, 1, "value");
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&second);
}
END_TEST

START_TEST(nothing_works_without_a_login)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "label", "value");
    struct secret value = {0};
    uint64_t version;
    custody_logout(custody);
    ck_assert_uint_eq(sealed_objects_load(custody, objects_keep, NULL), CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(sealed_objects_value(custody, &id, 1, &value), CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(sealed_objects_create(custody, &id, view_text("x"), NULL),
                      CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("x"), &version),
                      CKR_USER_NOT_LOGGED_IN);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_USER_NOT_LOGGED_IN);
    custody_close(&custody);
}
END_TEST

START_TEST(what_is_too_large_is_refused)
{
    struct custody *custody = objects_token("memory:");
    struct object_id id;
    struct secret value = {0};
    ck_assert_uint_eq(sealed_objects_new_id(&id), CKR_OK);
    ck_assert_uint_eq(secret_new(SEAL_VALUE_MAX + 1, &value), CKR_OK);
    ck_assert_uint_eq(sealed_objects_create(custody, &id, view_text("x"), &value),
                      CKR_DEVICE_MEMORY);
    secret_clear(&value);
    ck_assert_uint_eq(secret_new(SEAL_VALUE_MAX, &value), CKR_OK);
    ck_assert_uint_eq(sealed_objects_create(custody, &id, view_text("x"), &value), CKR_OK);
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_uint_eq(objects_loaded[0].value_len, SEAL_VALUE_MAX);
    secret_clear(&value);
    custody_close(&custody);
}
END_TEST

/* A row as a hostile store would keep a copy of it. */
struct row_copy {
    struct object_id id;
    uint64_t version;
    struct blob attributes;
    struct blob value;
};

static CK_RV copy_row(void *context, const struct store_row *row)
{
    struct row_copy *copy = context;
    copy->id = row->id;
    copy->version = row->version;
    TRY(blob_from(row->attributes.bytes, row->attributes.len, &copy->attributes));
    return blob_from(row->value.bytes, row->value.len, &copy->value);
}

static struct row_copy row_read(struct custody *custody, const struct object_id *id)
{
    struct row_copy copy = {0};
    ck_assert_uint_eq(custody->store->ops->read_object(custody->store, id, copy_row, &copy),
                      CKR_OK);
    return copy;
}

static void row_clear(struct row_copy *row)
{
    blob_clear(&row->attributes);
    blob_clear(&row->value);
}

static void row_remove(struct custody *custody, const struct object_id *id, uint64_t version)
{
    struct store_change change = {.object = id, .expected = version, .remove = true};
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
}

/* Puts these bytes under `id` at exactly `version`, whatever is there. */
static void row_write(struct custody *custody, const struct object_id *id, uint64_t version,
                      const struct row_copy *bytes)
{
    struct row_copy old = {0};
    if (custody->store->ops->read_object(custody->store, id, copy_row, &old) == CKR_OK)
        row_remove(custody, id, old.version);
    row_clear(&old);
    struct store_change change = {
        .object = id,
        .attributes = blob_view(&bytes->attributes),
        .value = blob_view(&bytes->value),
    };
    for (; change.expected < version; change.expected++)
        ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
}

/* Two objects of the same shape, and what can be done to the first one's row. */
enum tampering {
    SWAP_ROWS,
    SWAP_ATTRIBUTES,
    SWAP_VALUES,
    DROP_VALUE,
    CUT_VALUE,
    EMPTY_ATTRIBUTES,
    OTHER_VERSION,
    OLDER_FIELDS,
    TAMPERING_COUNT,
};

static void tamper(enum tampering how, struct row_copy *a, const struct row_copy *b)
{
    if (how == SWAP_ROWS || how == SWAP_ATTRIBUTES) {
        blob_clear(&a->attributes);
        (void) blob_from(b->attributes.bytes, b->attributes.len, &a->attributes);
    }
    if (how == SWAP_ROWS || how == SWAP_VALUES) {
        blob_clear(&a->value);
        (void) blob_from(b->value.bytes, b->value.len, &a->value);
    }
    if (how == DROP_VALUE)
        a->value.len = 0;
    if (how == CUT_VALUE)
        a->value.len--;
    if (how == EMPTY_ATTRIBUTES)
        a->attributes.len = 0;
    if (how == OTHER_VERSION)
        a->version++;
}

START_TEST(a_tampered_row_loses_that_object_alone)
{
    enum tampering how = (enum tampering) _i;
    struct custody *custody = objects_token("memory:");
    struct object_id ids[2] = {objects_create(custody, "first", "value-1"),
                               objects_create(custody, "other", "value-2")};
    struct row_copy a = row_read(custody, &ids[0]);
    struct row_copy b = row_read(custody, &ids[1]);
    if (how == OLDER_FIELDS) {
        uint64_t version;
        ck_assert_uint_eq(sealed_objects_update(custody, &ids[0], 1, view_text("newer"), &version),
                          CKR_OK);
        a.version = 2;
    }
    tamper(how, &a, &b);
    row_write(custody, &ids[0], a.version, &a);
    fixture_forget_log();
    struct secret value = {0};
    size_t count = objects_load(custody);
    /* Attributes that are intact keep the object in the list; then its value does not open. */
    if (how == SWAP_VALUES) {
        ck_assert_uint_eq(count, 2);
    } else {
        ck_assert_uint_eq(count, 1);
        ck_assert_str_eq(objects_loaded[0].attributes, "other");
    }
    ck_assert_uint_eq(sealed_objects_value(custody, &ids[0], a.version, &value), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
    ck_assert_uint_ge(fixture_log_count(), 1);
    objects_assert_value(custody, &ids[1], 1, "value-2");
    row_clear(&a);
    row_clear(&b);
    custody_close(&custody);
}
END_TEST

/* Flips one bit of each byte in turn; the load loses the first object or, where only its value is
 * touched, the value does. */
static void flip_each_byte(struct custody *custody, struct row_copy *row, struct blob *field,
                           bool is_value)
{
    for (size_t i = 0; i < field->len; i++) {
        struct secret value = {0};
        field->bytes[i] ^= (unsigned char) (1u << i % 8);
        row_write(custody, &row->id, 1, row);
        ck_assert_uint_eq(objects_load(custody), is_value ? 2 : 1);
        CK_RV rv = sealed_objects_value(custody, &row->id, 1, &value);
        /* A value vouches for the tag of the attributes, not for the rest of them. */
        if (is_value || i + AEAD_TAG_LEN >= field->len)
            ck_assert_uint_eq(rv, CKR_DEVICE_ERROR);
        secret_clear(&value);
        field->bytes[i] ^= (unsigned char) (1u << i % 8);
    }
}

START_TEST(no_flipped_byte_of_a_row_opens)
{
    struct custody *custody = objects_token("memory:");
    struct object_id id = objects_create(custody, "first", "value-1");
    (void) objects_create(custody, "other", "value-2");
    struct row_copy row = row_read(custody, &id);
    flip_each_byte(custody, &row, &row.attributes, false);
    flip_each_byte(custody, &row, &row.value, true);
    row_write(custody, &id, 1, &row);
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), 2);
    ck_assert_uint_eq(fixture_log_count(), 0);
    row_clear(&row);
    custody_close(&custody);
}
END_TEST

START_TEST(a_row_of_another_token_does_not_open)
{
    struct custody *custody = objects_token("memory:");
    struct custody *other = objects_token("memory:");
    struct object_id id = objects_create(other, "theirs", "value");
    struct row_copy row = row_read(other, &id);
    row_write(custody, &id, 1, &row);
    ck_assert_uint_eq(objects_load(custody), 0);
    row_clear(&row);
    custody_close(&other);
    custody_close(&custody);
}
END_TEST

START_TEST(a_dropped_row_is_noticed_and_never_healed)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "lost", "value");
    row_remove(custody, &id, 1);
    for (size_t i = 0; i < 3; i++) {
        fixture_forget_log();
        ck_assert_uint_eq(objects_load(custody), i);
        ck_assert_uint_eq(fixture_log_count(), 1);
        ck_assert_msg(strstr(fixture_log(), "objects are missing") != NULL, "%s", fixture_log());
        (void) objects_create(custody, "new", "value");
    }
    custody_close(&custody);
}
END_TEST

START_TEST(a_restored_row_is_noticed)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "old", "value");
    struct row_copy row = row_read(custody, &id);
    uint64_t version;
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("new"), &version), CKR_OK);
    row_write(custody, &id, 1, &row);
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "older version"));
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
    row_write(custody, &id, 1, &row);
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "added or put back"));
    row_clear(&row);
    custody_close(&custody);
}
END_TEST

START_TEST(a_changed_summary_keeps_objects_readable_and_refuses_changes)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "label", "value");
    struct blob summary = {0};
    struct store_change change = {.record = RECORD_SUMMARY};
    ck_assert_uint_eq(custody->store->ops->read_record(custody->store, RECORD_SUMMARY, &summary,
                                                       &change.expected),
                      CKR_OK);
    for (size_t i = 0; i < summary.len; i++) {
        summary.bytes[i] ^= (unsigned char) (1u << i % 8);
        change.attributes = blob_view(&summary);
        ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
        change.expected++;
        fixture_forget_log();
        ck_assert_uint_eq(objects_load(custody), 1);
        ck_assert_uint_eq(fixture_log_count(), 1);
        ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_DEVICE_ERROR);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_TAMPERED);
        summary.bytes[i] ^= (unsigned char) (1u << i % 8);
    }
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
    blob_clear(&summary);
    custody_close(&custody);
}
END_TEST

static CK_RV read_only(struct store *store, store_plan_fn *plan, void *context)
{
    (void) store;
    (void) plan;
    (void) context;
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE, "the store is read-only");
}

START_TEST(a_store_that_fails_changes_nothing_and_heals)
{
    struct custody *custody = objects_token(fixture_store(_i));
    struct object_id id = objects_create(custody, "label", "value");
    const struct store_ops *good = custody->store->ops;
    struct store_ops unwritable = *good;
    uint64_t version;
    unwritable.update = read_only;
    custody->store->ops = &unwritable;
    fixture_forget_log();
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("x"), &version),
                      CKR_DEVICE_ERROR);
    ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_DEVICE_ERROR);
    ck_assert_uint_eq(fixture_log_count(), 2);
    ck_assert_uint_eq(objects_load(custody), 1);
    custody->store->ops = good;
    ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("x"), &version), CKR_OK);
    ck_assert_uint_eq(objects_load(custody), 1);
    ck_assert_uint_eq(fixture_log_count(), 2);
    custody_close(&custody);
}
END_TEST

START_TEST(memory_that_runs_out_creates_nothing)
{
    struct custody *custody = objects_token("memory:");
    struct secret value = {0};
    unsigned long n = 0;
    CK_RV rv;
    ck_assert_uint_eq(secret_from("value", 5, &value), CKR_OK);
    do {
        struct object_id id;
        size_t secrets = secrets_in_use();
        ck_assert_uint_eq(sealed_objects_new_id(&id), CKR_OK);
        mem_fail_at(++n, 0);
        rv = sealed_objects_create(custody, &id, view_text("label"), &value);
        mem_fail_at(0, 0);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "%lu: %lx %s", n, rv, fixture_log());
        ck_assert_uint_eq(secrets_in_use(), secrets);
        ck_assert_uint_eq(objects_load(custody), rv == CKR_OK ? 1 : 0);
    } while (rv != CKR_OK && n < 1000);
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_gt(n, 10);
    /* Loading runs out of memory, too: the failure is told, nothing is left out in silence. */
    for (n = 1; n < 1000; n++) {
        objects_count = 0;
        mem_fail_at(n, 0);
        rv = sealed_objects_load(custody, objects_keep, NULL);
        mem_fail_at(0, 0);
        if (rv == CKR_OK && objects_count == 1 && mem_count() < n)
            break;
        ck_assert(rv == CKR_HOST_MEMORY || objects_count == 1);
    }
    ck_assert_uint_lt(n, 1000);
    secret_clear(&value);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("sealed_objects");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, an_object_lives_and_ends, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, an_object_may_have_no_value, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, several_changes_are_one, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, many_changes_are_one, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, objects_survive_a_restart);
    tcase_add_loop_test(cases, nothing_works_without_a_login, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, what_is_too_large_is_refused);
    tcase_add_loop_test(cases, a_tampered_row_loses_that_object_alone, 0, TAMPERING_COUNT);
    tcase_add_test(cases, no_flipped_byte_of_a_row_opens);
    tcase_add_test(cases, a_row_of_another_token_does_not_open);
    tcase_add_loop_test(cases, a_dropped_row_is_noticed_and_never_healed, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_restored_row_is_noticed, 0, FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_changed_summary_keeps_objects_readable_and_refuses_changes, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_loop_test(cases, a_store_that_fails_changes_nothing_and_heals, 0,
                        FIXTURE_STORE_COUNT);
    tcase_add_test(cases, memory_that_runs_out_creates_nothing);
    return fixture_run("sealed_objects", cases);
}
