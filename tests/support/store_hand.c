#include "tests/support/store_hand.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/postgres_fixture.h"

static const char *const record_names[HAND_RECORDS] = {"token", "attempts", "keys", "summary"};

static bool is_postgres(const struct store *store)
{
    return strcmp(store->ops->scheme, "postgresql") == 0;
}

/* With each # replaced by the copy's number. */
static void tables_sql(unsigned int number, const char *sql)
{
    char filled[512];
    size_t len = 0;
    for (; *sql != '\0'; sql++) {
        len += (size_t) snprintf(filled + len, sizeof(filled) - len, *sql == '#' ? "%u" : "%c",
                                 *sql == '#' ? number : (unsigned int) *sql);
        ck_assert_uint_lt(len, sizeof(filled));
    }
    postgres_fixture_sql(filled);
}

static unsigned int tables_take(void)
{
    static unsigned int last;
    tables_sql(++last, "CREATE SCHEMA @_#;"
                       "CREATE TABLE @_#.store AS TABLE @.store;"
                       "CREATE TABLE @_#.record AS TABLE @.record;"
                       "CREATE TABLE @_#.object AS TABLE @.object;"
                       "CREATE TABLE @_#.removed AS TABLE @.removed;"
                       "CREATE TABLE @_#.recent AS TABLE @.recent");
    return last;
}

/* In one transaction; the row of "store" stays, as whoever waits for his turn waits for it. */
static void tables_put_back(unsigned int number)
{
    tables_sql(number, "UPDATE @.store SET (version, changes) ="
                       " (SELECT version, changes FROM @_#.store);"
                       "DELETE FROM @.record; INSERT INTO @.record TABLE @_#.record;"
                       "DELETE FROM @.object; INSERT INTO @.object TABLE @_#.object;"
                       "DELETE FROM @.removed; INSERT INTO @.removed TABLE @_#.removed;"
                       "DELETE FROM @.recent; INSERT INTO @.recent TABLE @_#.recent");
}

static void print_bytes(FILE *sql, struct view bytes)
{
    (void) fputs("'\\x", sql);
    for (size_t i = 0; i < bytes.len; i++)
        (void) fprintf(sql, "%02x", bytes.bytes[i]);
    (void) fputs("'", sql);
}

/* NULL: no row is there afterwards. */
static void sql_put_row(const struct object_id *id, const struct hand_row *row)
{
    char *text = NULL;
    size_t len = 0;
    FILE *sql = open_memstream(&text, &len);
    struct view id_bytes = {id->bytes, OBJECT_ID_LEN};
    ck_assert_ptr_nonnull(sql);
    (void) fputs("DELETE FROM @.object WHERE id = ", sql);
    print_bytes(sql, id_bytes);
    if (row != NULL) {
        (void) fputs("; INSERT INTO @.object (id, version, attributes, value) VALUES (", sql);
        print_bytes(sql, id_bytes);
        (void) fprintf(sql, ", %llu, ", (unsigned long long) row->version);
        print_bytes(sql, blob_view(&row->attributes));
        (void) fputs(", ", sql);
        print_bytes(sql, blob_view(&row->value));
        (void) fputs(")", sql);
    }
    ck_assert_int_eq(fclose(sql), 0);
    postgres_fixture_sql(text);
    free(text);
}

static CK_RV take_row(void *context, const struct store_row *row)
{
    struct hand_copy *copy = context;
    copy->rows = realloc(copy->rows, (copy->row_count + 1) * sizeof(*copy->rows));
    ck_assert_ptr_nonnull(copy->rows);
    struct hand_row *taken = &copy->rows[copy->row_count++];
    *taken = (struct hand_row){.id = row->id, .version = row->version};
    ck_assert_uint_eq(blob_from(row->attributes.bytes, row->attributes.len, &taken->attributes),
                      CKR_OK);
    ck_assert_uint_eq(blob_from(row->value.bytes, row->value.len, &taken->value), CKR_OK);
    return CKR_OK;
}

void hand_take(struct store *store, struct hand_copy *ret_copy)
{
    *ret_copy = (struct hand_copy){.row_count = 0};
    for (size_t i = 0; i < HAND_RECORDS; i++) {
        struct hand_record *record = &ret_copy->records[i];
        uint64_t version;
        strcpy(record->name, record_names[i]);
        ck_assert_uint_eq(store->ops->read_record(store, record->name, &record->bytes, &version),
                          CKR_OK);
    }
    ck_assert_uint_eq(store->ops->read_objects(store, take_row, ret_copy), CKR_OK);
    if (is_postgres(store))
        ret_copy->tables = tables_take();
}

void hand_copy_clear(struct hand_copy *copy)
{
    for (size_t i = 0; i < HAND_RECORDS; i++)
        blob_clear(&copy->records[i].bytes);
    for (size_t i = 0; i < copy->row_count; i++) {
        blob_clear(&copy->rows[i].attributes);
        blob_clear(&copy->rows[i].value);
    }
    free(copy->rows);
    if (copy->tables != 0)
        tables_sql(copy->tables, "DROP SCHEMA @_# CASCADE");
    *copy = (struct hand_copy){.row_count = 0};
}

/* A store counts versions itself: a row that is put so often has that version. */
static void put_from(struct store *store, const struct hand_row *row, uint64_t version)
{
    for (; version < row->version; version++) {
        struct store_change change = {
            .object = &row->id,
            .expected = version,
            .attributes = blob_view(&row->attributes),
            .value = blob_view(&row->value),
        };
        ck_assert_uint_eq(store->ops->commit(store, &change, 1), CKR_OK);
    }
}

void hand_put_back(struct store *store, const struct hand_copy *copy)
{
    if (copy->tables != 0) {
        tables_put_back(copy->tables);
        return;
    }
    size_t count = HAND_RECORDS + copy->row_count;
    struct store_change *changes = calloc(count, sizeof(*changes));
    ck_assert_ptr_nonnull(changes);
    for (size_t i = 0; i < HAND_RECORDS; i++)
        changes[i] = (struct store_change){.record = copy->records[i].name,
                                           .attributes = blob_view(&copy->records[i].bytes)};
    for (size_t i = 0; i < copy->row_count; i++)
        changes[HAND_RECORDS + i] =
            (struct store_change){.object = &copy->rows[i].id,
                                  .attributes = blob_view(&copy->rows[i].attributes),
                                  .value = blob_view(&copy->rows[i].value)};
    struct blob guard = {0};
    uint64_t version;
    ck_assert_uint_eq(store->ops->read_record(store, record_names[0], &guard, &version), CKR_OK);
    blob_clear(&guard);
    ck_assert_uint_eq(store->ops->reset(store, record_names[0], version, changes, count), CKR_OK);
    for (size_t i = 0; i < copy->row_count; i++)
        put_from(store, &copy->rows[i], 1);
    free(changes);
}

static CK_RV note_version(void *context, const struct store_row *row)
{
    *(uint64_t *) context = row->version;
    return CKR_OK;
}

void hand_remove_row(struct store *store, const struct object_id *id)
{
    if (is_postgres(store)) {
        sql_put_row(id, NULL);
        return;
    }
    struct store_change change = {.object = id, .remove = true};
    CK_RV rv = store->ops->read_object(store, id, note_version, &change.expected);
    if (rv == STORE_ABSENT)
        return;
    ck_assert_uint_eq(rv, CKR_OK);
    ck_assert_uint_eq(store->ops->commit(store, &change, 1), CKR_OK);
}

void hand_put_row(struct store *store, const struct object_id *id, uint64_t version,
                  struct view attributes, struct view value)
{
    struct hand_row row = {
        .id = *id,
        .version = version,
        .attributes = {(unsigned char *) attributes.bytes, attributes.len},
        .value = {(unsigned char *) value.bytes, value.len},
    };
    if (is_postgres(store)) {
        sql_put_row(id, &row);
        return;
    }
    hand_remove_row(store, id);
    put_from(store, &row, 0);
}
