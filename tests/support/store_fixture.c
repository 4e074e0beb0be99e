#include "tests/support/store_fixture.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cause.h"
#include "tests/support/postgres_fixture.h"

#define POSTGRESQL 2

const char *const store_fixture_kinds[] = {"memory", "sqlite", [POSTGRESQL] = "postgresql"};

int store_fixture_first_kind(void)
{
    return postgres_fixture_is_here() ? POSTGRESQL : 0;
}

int store_fixture_end_kind(void)
{
    return postgres_fixture_is_here() ? POSTGRESQL + 1 : POSTGRESQL;
}

static char folder[64];
static char log_text[1 << 16];

static void keep_line(enum log_level level, const char *line, void *context)
{
    (void) level;
    (void) context;
    size_t len = strlen(log_text);
    (void) snprintf(log_text + len, sizeof(log_text) - len, "%s\n", line);
}

void store_fixture_setup(void)
{
    (void) snprintf(folder, sizeof(folder), "/tmp/store-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    store_fixture_log_clear();
    log_set_sink(keep_line, NULL);
    cause_clear();
    if (postgres_fixture_is_here())
        postgres_fixture_setup();
}

void store_fixture_teardown(void)
{
    if (postgres_fixture_is_here())
        postgres_fixture_teardown();
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            (void) unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    }
    (void) closedir(dir);
    ck_assert_int_eq(rmdir(folder), 0);
    log_set_sink(NULL, NULL);
}

const char *store_fixture_folder(void)
{
    return folder;
}

const char *store_fixture_path(const char *suffix)
{
    static char path[128];
    (void) snprintf(path, sizeof(path), "%s/store.db%s", folder, suffix);
    return path;
}

struct store *store_fixture_open(const char *kind)
{
    char location[POSTGRES_LOCATION_MAX];
    if (kind == NULL || strcmp(kind, "sqlite") == 0)
        (void) snprintf(location, sizeof(location), "sqlite:%s", store_fixture_path(""));
    else if (strcmp(kind, "memory") == 0)
        (void) snprintf(location, sizeof(location), "memory:");
    else
        postgres_fixture_location(location, "");
    struct store *store = NULL;
    ck_assert_uint_eq(store_open(location, &store), CKR_OK);
    return store;
}

bool store_fixture_log_has(const char *words)
{
    return strstr(log_text, words) != NULL;
}

void store_fixture_log_clear(void)
{
    log_text[0] = '\0';
}

struct object_id id_of(unsigned int number)
{
    /* Spread, so that rows do not arrive in order. */
    uint32_t spread = number * 2654435761U;
    struct object_id id = {{0xa5}};
    memcpy(id.bytes + 4, &spread, sizeof(spread));
    memcpy(id.bytes + 8, &number, sizeof(number));
    return id;
}

struct store_change record_put(const char *name, uint64_t expected, const char *text)
{
    return (struct store_change){
        .record = name, .expected = expected, .attributes = view_text(text)};
}

struct store_change record_remove(const char *name, uint64_t expected)
{
    return (struct store_change){.record = name, .expected = expected, .remove = true};
}

struct store_change object_put(const struct object_id *id, uint64_t expected,
                               const char *attributes, const char *value)
{
    return (struct store_change){.object = id,
                                 .expected = expected,
                                 .attributes = view_text(attributes),
                                 .value = view_text(value)};
}

struct store_change object_remove(const struct object_id *id, uint64_t expected)
{
    return (struct store_change){.object = id, .expected = expected, .remove = true};
}

CK_RV commit_one(struct store *store, struct store_change change)
{
    return store->ops->commit(store, &change, 1);
}

void assert_record(struct store *store, const char *name, uint64_t version, const char *text)
{
    struct blob bytes = {0};
    uint64_t found = 0;
    CK_RV rv = store->ops->read_record(store, name, &bytes, &found);
    ck_assert_uint_eq(rv, version > 0 ? CKR_OK : STORE_ABSENT);
    ck_assert_uint_eq(found, version);
    if (version > 0)
        ck_assert(view_equal(blob_view(&bytes), view_text(text)));
    blob_clear(&bytes);
}

struct expected_row {
    const struct object_id *id;
    uint64_t version;
    struct view attributes;
    struct view value;
};

static CK_RV compare_row(void *context, const struct store_row *row)
{
    const struct expected_row *expected = context;
    ck_assert_mem_eq(row->id.bytes, expected->id->bytes, OBJECT_ID_LEN);
    ck_assert_uint_eq(row->version, expected->version);
    ck_assert(view_equal(row->attributes, expected->attributes));
    ck_assert(view_equal(row->value, expected->value));
    return CKR_OK;
}

void assert_object(struct store *store, const struct object_id *id, uint64_t version,
                   const char *attributes, const char *value)
{
    struct expected_row expected = {id, version, view_text(attributes), view_text(value)};
    CK_RV rv = store->ops->read_object(store, id, compare_row, &expected);
    ck_assert_uint_eq(rv, version > 0 ? CKR_OK : STORE_ABSENT);
}

static CK_RV count_row(void *context, const struct store_row *row)
{
    (void) row;
    ++*(size_t *) context;
    return CKR_OK;
}

size_t count_objects(struct store *store)
{
    size_t count = 0;
    ck_assert_uint_eq(store->ops->read_objects(store, count_row, &count), CKR_OK);
    return count;
}

uint64_t changes_of(struct store *store)
{
    uint64_t count = 0;
    ck_assert_uint_eq(store->ops->change_count(store, &count), CKR_OK);
    return count;
}

void make_database(void)
{
    struct store *store = store_fixture_open(NULL);
    ck_assert_uint_eq(commit_one(store, record_put("token", 0, "a record")), CKR_OK);
    for (unsigned int i = 0; i < 40; i++) {
        struct object_id id = id_of(i);
        ck_assert_uint_eq(commit_one(store, object_put(&id, 0, "attributes", "value")), CKR_OK);
    }
    store_close(&store);
}

void run_sql(const char *sql)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(store_fixture_path(""), &db), SQLITE_OK);
    char *error = NULL;
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s", error);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

void assert_refused(struct store *store, CK_RV rv, const char *remedy)
{
    struct blob bytes = {0};
    uint64_t version = 0;
    store_fixture_log_clear();
    cause_clear();
    ck_assert_uint_eq(store->ops->read_record(store, "token", &bytes, &version), rv);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert(store_fixture_log_has(remedy));
    ck_assert(store_fixture_log_has(store_fixture_path("")));
    store_fixture_log_clear();
    cause_clear();
    ck_assert_uint_eq(commit_one(store, record_put("new", 0, "n")), rv);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_STORE);
    ck_assert(store_fixture_log_has(remedy));
}

struct store *open_at(const char *folder_path, const char *name)
{
    char location[512];
    (void) snprintf(location, sizeof(location), "sqlite:%s/%s", folder_path, name);
    struct store *store = NULL;
    ck_assert_uint_eq(store_open(location, &store), CKR_OK);
    return store;
}
