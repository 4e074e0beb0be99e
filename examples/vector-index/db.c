#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "util.h"

#define APPLICATION_ID 0x76696478 // "vidx"
#define SCHEMA_VERSION 1

enum db_statement {
    PUT_HEADER, PUT_CENTROID, PUT_EMBEDDING, PUT_ITEM, PUT_TERM,
    GET_HEADER, GET_CENTROID, GET_EMBEDDING, GET_ITEM,
    WALK_LIST, WALK_TERM,
    STATEMENT_COUNT,
};

static const char *const statements[STATEMENT_COUNT] = {
    [PUT_HEADER] = "INSERT INTO header (id, nonce, sealed, salt) VALUES (?1, ?2, ?3, ?4)",
    [PUT_CENTROID] = "INSERT INTO centroid (list, nonce, sealed) VALUES (?1, ?2, ?3)",
    [PUT_EMBEDDING] =
        "INSERT INTO embedding (record, nonce, sealed, list_token) VALUES (?1, ?2, ?3, ?4)",
    [PUT_ITEM] = "INSERT INTO item (record, nonce, sealed) VALUES (?1, ?2, ?3)",
    [PUT_TERM] = "INSERT INTO term (query_token, record) VALUES (?2, ?1)",
    [GET_HEADER] = "SELECT id, nonce, sealed, salt FROM header WHERE id = ?1",
    [GET_CENTROID] = "SELECT list, nonce, sealed FROM centroid WHERE list = ?1",
    [GET_EMBEDDING] =
        "SELECT record, nonce, sealed, list_token FROM embedding WHERE record = ?1",
    [GET_ITEM] = "SELECT record, nonce, sealed FROM item WHERE record = ?1",
    [WALK_LIST] =
        "SELECT record, nonce, sealed FROM embedding WHERE list_token = ?1 ORDER BY record",
    [WALK_TERM] = "SELECT record FROM term WHERE query_token = ?1 ORDER BY record",
};

// The file is scratch until it is whole: no journal, no sync before db_publish. Large pages hold
// rows of some kilobytes with less waste. Rows are only appended, so a larger cache would be of no
// use; the sorting of the indexes has as much memory again.
static const char schema[] =
    "PRAGMA page_size = 16384;"
    "PRAGMA journal_mode = OFF;"
    "PRAGMA synchronous = OFF;"
    "PRAGMA cache_size = -4096;"
    "BEGIN;"
    "CREATE TABLE header (id INTEGER PRIMARY KEY, salt BLOB NOT NULL, nonce BLOB NOT NULL,"
    " sealed BLOB NOT NULL);"
    "CREATE TABLE centroid (list INTEGER PRIMARY KEY, nonce BLOB NOT NULL, sealed BLOB NOT NULL);"
    "CREATE TABLE embedding (record INTEGER PRIMARY KEY, list_token BLOB NOT NULL,"
    " nonce BLOB NOT NULL, sealed BLOB NOT NULL);"
    "CREATE TABLE item (record INTEGER PRIMARY KEY, nonce BLOB NOT NULL, sealed BLOB NOT NULL);"
    "CREATE TABLE term (query_token BLOB NOT NULL, record INTEGER NOT NULL);";

// Indexes are made last: sorted once, not grown row by row.
static const char indexes[] = "CREATE INDEX embedding_list ON embedding (list_token, record);"
                              "CREATE INDEX term_query ON term (query_token, record);"
                              "COMMIT;";

struct db {
    sqlite3 *handle;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    char path[PATH_MAX];
    char temporary[PATH_MAX]; // empty: nothing to remove
};

static bool db_fail(const struct db *db, const char *what)
{
    return fail("%s: cannot %s: %s", db->path, what, sqlite3_errmsg(db->handle));
}

static bool db_execute(struct db *db, const char *sql, const char *what)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK || db_fail(db, what);
}

static bool db_new(const char *path, struct db **ret_db)
{
    struct db *db;

    if (strlen(path) + sizeof ".XXXXXX" > PATH_MAX) {
        return fail("--db: the path is too long");
    }
    db = util_alloc(1, sizeof *db);
    if (db == NULL) {
        return false;
    }
    memcpy(db->path, path, strlen(path) + 1);
    *ret_db = db;
    return true;
}

bool db_create(const char *path, struct db **ret_db)
{
    _cleanup_(db_closep) struct db *db = NULL;
    char temporary[PATH_MAX];
    char sql[128];
    int fd;

    if (!db_new(path, &db)) {
        return false;
    }
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    fd = mkstemp(temporary);
    if (fd < 0) {
        return fail("cannot create %s: %s: check the folder of --db", temporary, strerror(errno));
    }
    close(fd);
    memcpy(db->temporary, temporary, sizeof temporary);
    if (sqlite3_open_v2(temporary, &db->handle, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        return db_fail(db, "open the new index");
    }
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             APPLICATION_ID, SCHEMA_VERSION);
    if (!db_execute(db, schema, "make the tables") ||
        !db_execute(db, sql, "mark the new index")) {
        return false;
    }
    *ret_db = db;
    db = NULL;
    return true;
}

static bool db_prepare(struct db *db, enum db_statement which)
{
    if (db->prepared[which] == NULL &&
        sqlite3_prepare_v2(db->handle, statements[which], -1, &db->prepared[which], NULL) !=
            SQLITE_OK) {
        return db_fail(db, "read its tables");
    }
    sqlite3_reset(db->prepared[which]);
    return true;
}

static bool db_pragma(struct db *db, const char *sql, int *ret_value)
{
    sqlite3_stmt *statement = NULL;
    bool ok = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL) == SQLITE_OK &&
              sqlite3_step(statement) == SQLITE_ROW;

    if (ok) {
        *ret_value = sqlite3_column_int(statement, 0);
    } else {
        db_fail(db, "read it as an SQLite database");
    }
    sqlite3_finalize(statement);
    return ok;
}

bool db_open(const char *path, struct db **ret_db)
{
    _cleanup_(db_closep) struct db *db = NULL;
    int application = 0;
    int version = 0;

    if (!db_new(path, &db)) {
        return false;
    }
    if (sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        return db_fail(db, "open it");
    }
    // Whoever wrote the file could have put triggers, views or huge values into its schema.
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, 1 << 20);
    if (!db_pragma(db, "PRAGMA application_id", &application) ||
        !db_pragma(db, "PRAGMA user_version", &version)) {
        return false;
    }
    if (application != APPLICATION_ID || version != SCHEMA_VERSION) {
        return fail("%s is no vector index of version %d", path, SCHEMA_VERSION);
    }
    *ret_db = db;
    db = NULL;
    return true;
}

static void db_close_handle(struct db *db)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(db->prepared[i]);
        db->prepared[i] = NULL;
    }
    sqlite3_close(db->handle);
    db->handle = NULL;
}

void db_close(struct db *db)
{
    if (db == NULL) {
        return;
    }
    db_close_handle(db);
    if (db->temporary[0] != '\0') {
        unlink(db->temporary);
    }
    free(db);
}

void db_closep(struct db **db)
{
    db_close(*db);
}

static bool db_sync(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (!ok) {
        util_say("cannot write %s to the disk: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool db_publish(struct db *db)
{
    char folder[PATH_MAX];

    if (!db_execute(db, indexes, "finish the new index")) {
        return false;
    }
    db_close_handle(db);
    if (!db_sync(db->temporary, O_RDWR)) {
        return false;
    }
    if (rename(db->temporary, db->path) != 0) {
        return fail("cannot put the new index at %s: %s", db->path, strerror(errno));
    }
    db->temporary[0] = '\0';
    memcpy(folder, db->path, sizeof folder);
    return db_sync(dirname(folder), O_RDONLY | O_DIRECTORY);
}

// Parameters: ?1 the number, ?2 and ?3 the sealed record, ?4 a further value where there is one.
static bool db_put(struct db *db, enum db_statement which, uint64_t number, struct bytes extra,
                   const struct crypt_sealed *sealed)
{
    sqlite3_stmt *statement;
    bool ok;

    if (!db_prepare(db, which)) {
        return false;
    }
    statement = db->prepared[which];
    ok = sqlite3_bind_int64(statement, 1, (sqlite3_int64)number) == SQLITE_OK &&
         sqlite3_bind_blob(statement, 2, sealed->nonce, (int)sealed->nonce_len, NULL) ==
             SQLITE_OK &&
         sqlite3_bind_blob(statement, 3, sealed->data, (int)sealed->len, NULL) == SQLITE_OK &&
         (extra.len == 0 ||
          sqlite3_bind_blob(statement, 4, extra.data, (int)extra.len, NULL) == SQLITE_OK) &&
         sqlite3_step(statement) == SQLITE_DONE;
    return ok || db_fail(db, "write it");
}

bool db_put_header(struct db *db, const uint8_t salt[RECORD_SALT_LEN],
                   const struct crypt_sealed *sealed)
{
    return db_put(db, PUT_HEADER, 0, (struct bytes){ salt, RECORD_SALT_LEN }, sealed);
}

bool db_put_centroid(struct db *db, uint64_t list, const struct crypt_sealed *sealed)
{
    return db_put(db, PUT_CENTROID, list, (struct bytes){ NULL, 0 }, sealed);
}

bool db_put_embedding(struct db *db, uint64_t record, const uint8_t list_token[CRYPT_MAC_LEN],
                      const struct crypt_sealed *sealed)
{
    return db_put(db, PUT_EMBEDDING, record, (struct bytes){ list_token, CRYPT_MAC_LEN }, sealed);
}

bool db_put_item(struct db *db, uint64_t record, const struct crypt_sealed *sealed)
{
    return db_put(db, PUT_ITEM, record, (struct bytes){ NULL, 0 }, sealed);
}

bool db_put_term(struct db *db, uint64_t record, const uint8_t query_token[CRYPT_MAC_LEN])
{
    sqlite3_stmt *statement;

    if (!db_prepare(db, PUT_TERM)) {
        return false;
    }
    statement = db->prepared[PUT_TERM];
    return (sqlite3_bind_int64(statement, 1, (sqlite3_int64)record) == SQLITE_OK &&
            sqlite3_bind_blob(statement, 2, query_token, CRYPT_MAC_LEN, NULL) == SQLITE_OK &&
            sqlite3_step(statement) == SQLITE_DONE) ||
           db_fail(db, "write it");
}

struct db_limits {
    size_t min;
    size_t max;
};

static const struct db_limits nonce_limits = { CRYPT_NONCE_LEN, CRYPT_NONCE_MAX_LEN };
static const struct db_limits data_limits = { CRYPT_TAG_LEN,
                                              sizeof((struct crypt_sealed *)NULL)->data };
static const struct db_limits salt_limits = { RECORD_SALT_LEN, RECORD_SALT_LEN };
static const struct db_limits mac_limits = { CRYPT_MAC_LEN, CRYPT_MAC_LEN };

static bool db_column(const struct db *db, sqlite3_stmt *statement, int column,
                      struct db_limits limits, struct bytes *ret_bytes)
{
    const void *data = sqlite3_column_blob(statement, column);
    size_t len = (size_t)sqlite3_column_bytes(statement, column);

    if (sqlite3_column_type(statement, column) != SQLITE_BLOB || data == NULL ||
        len < limits.min || len > limits.max) {
        return fail("%s was altered: %s of row %lld is no value of %zu to %zu bytes", db->path,
                    sqlite3_column_name(statement, column),
                    (long long)sqlite3_column_int64(statement, 0), limits.min, limits.max);
    }
    *ret_bytes = (struct bytes){ data, len };
    return true;
}

static bool db_column_sealed(const struct db *db, sqlite3_stmt *statement,
                             struct crypt_sealed *ret_sealed)
{
    struct bytes nonce;
    struct bytes data;

    if (!db_column(db, statement, 1, nonce_limits, &nonce) ||
        !db_column(db, statement, 2, data_limits, &data)) {
        return false;
    }
    memcpy(ret_sealed->nonce, nonce.data, nonce.len);
    ret_sealed->nonce_len = nonce.len;
    memcpy(ret_sealed->data, data.data, data.len);
    ret_sealed->len = data.len;
    return true;
}

// Finds the one row; the statement stays on it until the next use.
static bool db_get(struct db *db, enum db_statement which, uint64_t number, const char *what,
                   struct crypt_sealed *ret_sealed)
{
    sqlite3_stmt *statement;
    int result;

    if (!db_prepare(db, which)) {
        return false;
    }
    statement = db->prepared[which];
    if (sqlite3_bind_int64(statement, 1, (sqlite3_int64)number) != SQLITE_OK) {
        return db_fail(db, "read it");
    }
    result = sqlite3_step(statement);
    if (result == SQLITE_DONE) {
        return fail("%s was altered: it lacks %s %llu; restore it or build it again", db->path,
                    what, (unsigned long long)number);
    }
    return result == SQLITE_ROW ? db_column_sealed(db, statement, ret_sealed)
                                : db_fail(db, "read it");
}

bool db_get_header(struct db *db, uint8_t ret_salt[RECORD_SALT_LEN],
                   struct crypt_sealed *ret_sealed)
{
    struct bytes salt;

    if (!db_get(db, GET_HEADER, 0, "header", ret_sealed) ||
        !db_column(db, db->prepared[GET_HEADER], 3, salt_limits, &salt)) {
        return false;
    }
    memcpy(ret_salt, salt.data, RECORD_SALT_LEN);
    return true;
}

bool db_get_centroid(struct db *db, uint64_t list, struct crypt_sealed *ret_sealed)
{
    return db_get(db, GET_CENTROID, list, "centroid of list", ret_sealed);
}

bool db_get_embedding(struct db *db, uint64_t record, uint8_t ret_list_token[CRYPT_MAC_LEN],
                      struct crypt_sealed *ret_sealed)
{
    struct bytes list_token;

    if (!db_get(db, GET_EMBEDDING, record, "embedding of record", ret_sealed) ||
        !db_column(db, db->prepared[GET_EMBEDDING], 3, mac_limits, &list_token)) {
        return false;
    }
    memcpy(ret_list_token, list_token.data, CRYPT_MAC_LEN);
    return true;
}

bool db_get_item(struct db *db, uint64_t record, struct crypt_sealed *ret_sealed)
{
    return db_get(db, GET_ITEM, record, "content of record", ret_sealed);
}

static bool db_walk_begin(struct db *db, enum db_statement which,
                          const uint8_t token[CRYPT_MAC_LEN])
{
    return db_prepare(db, which) && (sqlite3_bind_blob(db->prepared[which], 1, token, CRYPT_MAC_LEN,
                                                       NULL) == SQLITE_OK ||
                                     db_fail(db, "read it"));
}

// Numbers must rise: with a forged schema a record could come twice to hide another's absence.
static bool db_walk_next(struct db *db, enum db_statement which, sqlite3_int64 *record,
                         bool *ret_more)
{
    sqlite3_stmt *statement = db->prepared[which];
    int result = sqlite3_step(statement);
    sqlite3_int64 found;

    if (result == SQLITE_DONE) {
        *ret_more = false;
        return true;
    }
    if (result != SQLITE_ROW) {
        return db_fail(db, "read it");
    }
    found = sqlite3_column_int64(statement, 0);
    if (sqlite3_column_type(statement, 0) != SQLITE_INTEGER || found <= *record) {
        return fail("%s was altered: record %lld is out of order", db->path, (long long)found);
    }
    *record = found;
    *ret_more = true;
    return true;
}

bool db_walk_list(struct db *db, const uint8_t list_token[CRYPT_MAC_LEN],
                  db_on_embedding *on_embedding, void *context)
{
    struct crypt_sealed sealed;
    sqlite3_int64 record = -1;
    bool more = true;

    if (!db_walk_begin(db, WALK_LIST, list_token)) {
        return false;
    }
    while (db_walk_next(db, WALK_LIST, &record, &more)) {
        if (!more) {
            return true;
        }
        if (!db_column_sealed(db, db->prepared[WALK_LIST], &sealed) ||
            !on_embedding(context, (uint64_t)record, &sealed)) {
            return false;
        }
    }
    return false;
}

bool db_walk_term(struct db *db, const uint8_t query_token[CRYPT_MAC_LEN], db_on_record *on_record,
                  void *context)
{
    sqlite3_int64 record = -1;
    bool more = true;

    if (!db_walk_begin(db, WALK_TERM, query_token)) {
        return false;
    }
    while (db_walk_next(db, WALK_TERM, &record, &more)) {
        if (!more) {
            return true;
        }
        if (!on_record(context, (uint64_t)record)) {
            return false;
        }
    }
    return false;
}
