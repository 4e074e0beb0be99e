/*
 * The embedded store: one SQLite file, shared by any number of processes of one host.
 *
 * One connection under one mutex, kept open with its statements. The file is made by the first
 * commit, not by a look at an empty slot (which another user may take). After a failure the
 * connection is closed and the next call opens it anew, so that a repaired cause needs no restart;
 * a file that was replaced or removed underneath is noticed at the next call.
 *
 * The mutex is held while read_objects hands rows over: a callback must not call its own store. It
 * is held while an update's plan runs too, and is recursive, because a plan reads. A child of a
 * fork must not use the parent's store; it abandons it (sqlite_abandon).
 */
#include "tokens/sqlite_file.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/sqlite_look.h"
#include "tokens/sqlite_row.h"

/* The first pauses for a turn to write are much shorter than a commit: a process that commits
 * without a pause leaves the file alone for an instant only. They grow with the time that was
 * waited, by this part of it: hundreds of processes that look so often would leave no time to the
 * one that commits. */
#define BUSY_PAUSE_NS (250 * 1000L)
#define BUSY_PAUSE_MAX_NS (50 * 1000 * 1000L)
#define BUSY_PAUSE_PART 8
/* The longest wait for a turn, while others have theirs. */
#define CROWD_BUSY_MS (6 * SQLITE_FILE_BUSY_MS)
/* Never leaves this file. */
#define STORE_BUSY ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0003UL))

struct store_sqlite {
    struct store base;
    char *path;
    pthread_mutex_t mutex;
    /* Guarded by the mutex from here on. */
    unsigned int depth; /* of its holder: 2 while a plan reads */
    struct sqlite_file file;
    struct sqlite_statements statements;
    sqlite3_int64 turn; /* of the transaction that is open */
    bool failed;        /* close before the mutex is given back */
    uint64_t changes;
    sqlite3_int64 data_version;
};

/* In this process, the child of a fork, SQLite's record of who locks what is not to be trusted. */
static bool refused;

void store_sqlite_refuse(void)
{
    refused = true;
}

static void close_locked(struct store_sqlite *store)
{
    sqlite_statements_finalize(&store->statements);
    sqlite_file_close(&store->file);
    store->failed = false;
    /* What others commit while it is closed is counted here. */
    store->changes++;
}

static struct store_sqlite *enter(struct store *base)
{
    struct store_sqlite *store = (struct store_sqlite *) base;
    (void) pthread_mutex_lock(&store->mutex);
    store->depth++;
    return store;
}

/* Runs after the cleanups of the statements, which are declared later than the store: closing rolls
 * back what is open and gives up the locks. */
static void leave(struct store_sqlite **held)
{
    struct store_sqlite *store = *held;
    if (--store->depth == 0 && store->failed)
        close_locked(store);
    (void) pthread_mutex_unlock(&store->mutex);
}

static CK_RV fail_locked(struct store_sqlite *store, int code, const char *doing)
{
    store->failed = true;
    return sqlite_file_fail(store->file.db, store->path, code, doing);
}

static int run_locked(struct store_sqlite *store, enum sqlite_statement which)
{
    return sqlite_statement_run(store->statements.all[which]);
}

static int read_data_version_locked(struct store_sqlite *store, sqlite3_int64 *ret_version)
{
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement =
        store->statements.all[STATEMENT_DATA_VERSION];
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return code;
    *ret_version = sqlite3_column_int64(statement, 0);
    return SQLITE_OK;
}

static int prepare_locked(struct store_sqlite *store)
{
    int code = sqlite_statements_prepare(store->file.db, &store->statements);
    return code == SQLITE_OK ? read_data_version_locked(store, &store->data_version) : code;
}

/* STORE_ABSENT when there is no file and none is to be made. */
static CK_RV open_locked(struct store_sqlite *store, bool create)
{
    bool is_in_update = store->depth > 1;
    if (store->file.db != NULL &&
        (is_in_update || sqlite_file_is_current(&store->file, store->path)))
        return CKR_OK;
    if (refused)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: this process was forked while another thread of its "
                          "parent was using the store; start it by exec instead, or fork earlier",
                          store->path);
    if (store->file.db != NULL)
        close_locked(store);
    TRY(sqlite_file_open(store->path, create, &store->file));
    int code = prepare_locked(store);
    if (code != SQLITE_OK)
        return fail_locked(store, code, "preparing its statements");
    store->changes++;
    return CKR_OK;
}

static CK_RV sqlite_open(const char *location, struct store **ret_store)
{
    size_t len = strnlen(location, PATH_MAX);
    if (location[0] != '/' || location[len - 1] == '/' || len == PATH_MAX)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "store sqlite:%s: not the absolute path of a file; write it as "
                          "sqlite:/FOLDER/NAME.db",
                          location);
    struct store_sqlite *store = mem_calloc(1, sizeof(*store));
    char *path = mem_strdup(location);
    if (store == NULL || path == NULL) {
        mem_free(store);
        mem_free(path);
        return CKR_HOST_MEMORY;
    }
    store->base.ops = &store_sqlite_ops;
    store->path = path;
    store_mutex_init(&store->mutex);
    *ret_store = &store->base;
    return CKR_OK;
}

static void sqlite_close(struct store *base)
{
    struct store_sqlite *store = (struct store_sqlite *) base;
    close_locked(store);
    (void) pthread_mutex_destroy(&store->mutex);
    mem_free(store->path);
    mem_free(store);
}

/* SQLite notes once a process, by file, which locks are held. The parent's connection would make
 * the child's next one believe that it holds locks which only the parent has, and the parent's
 * close would delete the log under it ("How to corrupt", 2.6). An idle connection can be closed:
 * what the child unlocks is its own, which is nothing, and without a checkpoint the files are left
 * alone. One that the fork caught at work cannot; then this process does without SQLite stores. */
static void sqlite_abandon(struct store *base)
{
    struct store_sqlite *store = (struct store_sqlite *) base;

    if (pthread_mutex_trylock(&store->mutex) != 0) {
        refused = true;
        return;
    }
    if (store->file.db != NULL)
        (void) sqlite3_db_config(store->file.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    close_locked(store);
    (void) pthread_mutex_unlock(&store->mutex);
}

static CK_RV sqlite_read_record(struct store *base, const char *name, struct blob *ret_bytes,
                                uint64_t *ret_version)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    TRY(open_locked(store, false));
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement =
        store->statements.all[STATEMENT_READ_RECORD];
    int code = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return STORE_ABSENT;
    if (code != SQLITE_ROW)
        return fail_locked(store, code, "reading a record");
    uint64_t version;
    struct view bytes;
    if (!sqlite_row_version(statement, 0, &version) || !sqlite_row_bytes(statement, 1, &bytes))
        return fail_locked(store, SQLITE_CORRUPT, "reading a record");
    TRY(blob_from(bytes.bytes, bytes.len, ret_bytes));
    *ret_version = version;
    return CKR_OK;
}

static CK_RV end_reading_locked(struct store_sqlite *store, const struct sqlite_reading *reading)
{
    if (reading->code != SQLITE_OK)
        return fail_locked(store, reading->code, "reading the objects");
    if (reading->bad_count > 0)
        log_line(LOG_LEVEL_ERROR,
                 "store sqlite:%s: %zu rows are malformed and left out; restore the file from a "
                 "backup",
                 store->path, reading->bad_count);
    return CKR_OK;
}

static CK_RV sqlite_read_objects(struct store *base, store_row_fn *each, void *context)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    CK_RV rv = open_locked(store, false);
    if (rv != CKR_OK)
        return rv == STORE_ABSENT ? CKR_OK : rv;
    /* One statement, hence one snapshot. */
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement =
        store->statements.all[STATEMENT_READ_OBJECTS];
    struct sqlite_reading reading = {0};
    TRY(sqlite_look_rows(statement, each, context, &reading));
    return end_reading_locked(store, &reading);
}

static CK_RV sqlite_read_changes(struct store *base, struct store_look *look)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    CK_RV rv = open_locked(store, false);
    if (rv == STORE_ABSENT) {
        look->is_whole = true;
        look->turn = 0;
        return CKR_OK;
    }
    TRY(rv);
    struct sqlite_reading reading = {0};
    rv = sqlite_look_changes(&store->statements, look, &reading);
    /* A callback's failure is not the store's, a look that cannot be ended is. */
    CK_RV read = end_reading_locked(store, &reading);
    return rv != CKR_OK ? rv : read;
}

static CK_RV sqlite_read_object(struct store *base, const struct object_id *id, store_row_fn *each,
                                void *context)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    TRY(open_locked(store, false));
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement =
        store->statements.all[STATEMENT_READ_OBJECT];
    int code = sqlite_statement_bind_bytes(statement, 1, id->bytes, OBJECT_ID_LEN);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return STORE_ABSENT;
    struct store_row row;
    if (code == SQLITE_ROW && !sqlite_row_read(statement, &row))
        code = SQLITE_CORRUPT;
    if (code != SQLITE_ROW)
        return fail_locked(store, code, "reading an object");
    return each(context, &row);
}

static int bind_change(sqlite3_stmt *statement, const struct store_change *change,
                       sqlite3_int64 turn)
{
    int code =
        change->record != NULL
            ? sqlite3_bind_text(statement, 1, change->record, -1, SQLITE_STATIC)
            : sqlite_statement_bind_bytes(statement, 1, change->object->bytes, OBJECT_ID_LEN);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, (sqlite3_int64) store_change_base(change));
    int count = sqlite3_bind_parameter_count(statement);
    if (code == SQLITE_OK && count >= 3)
        code = sqlite_statement_bind_bytes(statement, 3, change->attributes.bytes,
                                           change->attributes.len);
    if (code == SQLITE_OK && count >= 4)
        code = sqlite_statement_bind_bytes(statement, 4, change->value.bytes, change->value.len);
    if (code == SQLITE_OK && count >= 5)
        code = sqlite3_bind_int64(statement, 5, turn);
    return code;
}

static CK_RV note_removed_locked(struct store_sqlite *store, const struct object_id *id)
{
    sqlite3_stmt *statement = store->statements.all[STATEMENT_NOTE_REMOVED];
    int code = sqlite3_bind_int64(statement, 1, store->turn);
    if (code == SQLITE_OK)
        code = sqlite_statement_bind_bytes(statement, 2, id->bytes, OBJECT_ID_LEN);
    if (code == SQLITE_OK)
        code = sqlite_statement_run(statement);
    return code == SQLITE_OK ? CKR_OK : fail_locked(store, code, "noting what is removed");
}

static CK_RV apply_locked(struct store_sqlite *store, const struct store_change *change)
{
    enum sqlite_statement which =
        change->record != NULL ? STATEMENT_INSERT_RECORD : STATEMENT_INSERT_OBJECT;
    if (change->value_only) {
        which = STATEMENT_UPDATE_VALUE;
    } else if (change->remove) {
        which = change->record != NULL ? STATEMENT_REMOVE_RECORD : STATEMENT_REMOVE_OBJECT;
    } else if (change->expected > 0) {
        which = change->record != NULL ? STATEMENT_UPDATE_RECORD : STATEMENT_UPDATE_OBJECT;
    }
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement = store->statements.all[which];
    int code = bind_change(statement, change, store->turn);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code != SQLITE_DONE)
        return fail_locked(store, code, "changing a row");
    if (sqlite3_changes(store->file.db) != 1)
        return STORE_CONFLICT;
    return which == STATEMENT_REMOVE_OBJECT ? note_removed_locked(store, change->object) : CKR_OK;
}

/* What stands between BEGIN and COMMIT. */
struct transaction {
    const char *guard; /* a record that must have this version, whereupon every row goes; or NULL */
    uint64_t guard_version;
    store_plan_fn *plan; /* finds the changes; NULL: they are known */
    void *plan_context;
    const struct store_change *changes;
    size_t change_count;
};

static CK_RV clear_locked(struct store_sqlite *store, const struct transaction *transaction)
{
    uint64_t version = 0;
    {
        _cleanup_(sqlite_statement_release) sqlite3_stmt *statement =
            store->statements.all[STATEMENT_READ_RECORD];
        int code = sqlite3_bind_text(statement, 1, transaction->guard, -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
            code = sqlite3_step(statement);
        if (code == SQLITE_ROW && !sqlite_row_version(statement, 0, &version))
            code = SQLITE_CORRUPT;
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            return fail_locked(store, code, "reading a record");
    }
    if (version != transaction->guard_version)
        return STORE_CONFLICT;
    static const enum sqlite_statement steps[] = {
        STATEMENT_CLEAR_RECORDS,
        STATEMENT_CLEAR_OBJECTS,
        STATEMENT_CLEAR_REMOVED,
        STATEMENT_FORGET_TURNS,
    };
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && code == SQLITE_OK; i++)
        code = run_locked(store, steps[i]);
    return code == SQLITE_OK ? CKR_OK : fail_locked(store, code, "removing its rows");
}

static int raise_turn_locked(struct store_sqlite *store)
{
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement =
        store->statements.all[STATEMENT_RAISE_TURN];
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    store->turn = sqlite3_column_int64(statement, 0);
    code = sqlite3_step(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* The number of this commit; what was removed long before it is forgotten. */
static CK_RV take_turn_locked(struct store_sqlite *store)
{
    sqlite3_stmt *forget = store->statements.all[STATEMENT_FORGET_REMOVED];
    int code = raise_turn_locked(store);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(forget, 1, store->turn - STORE_TURNS_KEPT);
    if (code == SQLITE_OK)
        code = sqlite_statement_run(forget);
    return code == SQLITE_OK ? CKR_OK : fail_locked(store, code, "counting the commit");
}

static CK_RV change_rows_locked(struct store_sqlite *store, const struct transaction *transaction)
{
    const struct store_change *changes = transaction->changes;
    size_t change_count = transaction->change_count;
    if (transaction->plan != NULL) {
        TRY(transaction->plan(transaction->plan_context, &changes, &change_count));
        TRY(store_changes_check(changes, change_count));
    }
    TRY(take_turn_locked(store));
    if (transaction->guard != NULL)
        TRY(clear_locked(store, transaction));
    for (size_t i = 0; i < change_count; i++)
        TRY(apply_locked(store, &changes[i]));
    return CKR_OK;
}

/* The one way to write. */
static CK_RV transact_locked(struct store_sqlite *store, const struct transaction *transaction)
{
    CK_RV rv = change_rows_locked(store, transaction);
    if (rv != CKR_OK && !store->failed && run_locked(store, STATEMENT_ROLLBACK) != SQLITE_OK)
        store->failed = true;
    TRY(rv);
    int code = run_locked(store, STATEMENT_COMMIT);
    if (code != SQLITE_OK)
        return fail_locked(store, code, "committing");
    store->changes++;
    return CKR_OK;
}

/* SQLITE_BUSY at once where another process is changing the file. */
static int begin_locked(struct store_sqlite *store)
{
    (void) sqlite3_busy_timeout(store->file.db, 0);
    int code = run_locked(store, STATEMENT_BEGIN);
    (void) sqlite3_busy_timeout(store->file.db, SQLITE_FILE_BUSY_MS);
    return code;
}

/* Of one transaction; begins with zeros. */
struct waiting {
    int64_t begin_ms;
    int64_t end_ms; /* unless others commit before it */
    sqlite3_int64 data_version;
};

/* Where hundreds of processes commit, a turn is a matter of luck: they are waited for as long as
 * they do commit. One that keeps the file locked is not. */
static bool may_wait_locked(struct store_sqlite *store, struct waiting *waiting)
{
    int64_t now_ms = clock_boot_ms();
    sqlite3_int64 data_version = 0;
    bool begins = waiting->begin_ms == 0;
    if (begins)
        waiting->begin_ms = now_ms;
    if (now_ms < waiting->end_ms)
        return true;
    if (now_ms >= waiting->begin_ms + CROWD_BUSY_MS ||
        read_data_version_locked(store, &data_version) != SQLITE_OK ||
        (!begins && data_version == waiting->data_version))
        return false;
    waiting->data_version = data_version;
    waiting->end_ms = now_ms + SQLITE_FILE_BUSY_MS;
    return true;
}

/* STORE_BUSY: nothing has happened, and others may have the mutex. */
static CK_RV try_transact(struct store *base, const struct transaction *transaction,
                          struct waiting *waiting)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    bool may_create = transaction->plan == NULL;
    TRY(open_locked(store, may_create));
    int code = begin_locked(store);
    if ((code & 0xff) == SQLITE_BUSY && may_wait_locked(store, waiting))
        return STORE_BUSY;
    if (code != SQLITE_OK)
        return fail_locked(store, code, "beginning a transaction");
    return transact_locked(store, transaction);
}

/* From 0 to the bound, so that those who wait do not stay in step. */
static void pause_for_turn(const struct waiting *waiting)
{
    uint32_t random = UINT32_MAX;
    int64_t bound_ns = (clock_boot_ms() - waiting->begin_ms) * (1000 * 1000 / BUSY_PAUSE_PART);
    if (bound_ns < BUSY_PAUSE_NS)
        bound_ns = BUSY_PAUSE_NS;
    if (bound_ns > BUSY_PAUSE_MAX_NS)
        bound_ns = BUSY_PAUSE_MAX_NS;
    (void) crypto_random(&random, sizeof(random));
    (void) nanosleep(&(struct timespec){.tv_nsec = (long) (random % bound_ns)}, NULL);
}

/* Another process's change is waited for without the mutex: no lease is renewed without a read. */
static CK_RV transact(struct store *base, const struct transaction *transaction)
{
    struct waiting waiting = {0};
    CK_RV rv = try_transact(base, transaction, &waiting);
    while (rv == STORE_BUSY) {
        pause_for_turn(&waiting);
        rv = try_transact(base, transaction, &waiting);
    }
    return rv;
}

static CK_RV sqlite_commit(struct store *base, const struct store_change *changes,
                           size_t change_count)
{
    TRY(store_changes_check(changes, change_count));
    return transact(base, &(struct transaction){.changes = changes, .change_count = change_count});
}

static CK_RV sqlite_update(struct store *base, store_plan_fn *plan, void *context)
{
    return transact(base, &(struct transaction){.plan = plan, .plan_context = context});
}

static int empty_log(struct store *base)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    return sqlite_file_empty_log(&store->file);
}

static CK_RV sqlite_reset(struct store *base, const char *guard, uint64_t guard_version,
                          const struct store_change *changes, size_t change_count)
{
    TRY(store_changes_check(changes, change_count));
    TRY(transact(base, &(struct transaction){.guard = guard,
                                             .guard_version = guard_version,
                                             .changes = changes,
                                             .change_count = change_count}));
    /* The former token leaves the log too. It is removed whether or not this succeeds: a reader in
     * another process may keep the log for a while. */
    (void) empty_log(base);
    return CKR_OK;
}

/* A failure of another thread's may have closed the file. */
static CK_RV scrub_once(struct store *base, int *ret_code)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    TRY(open_locked(store, false));
    *ret_code = sqlite_file_empty_log(&store->file);
    return CKR_OK;
}

/* Another process that reads holds it up; it is waited for without the mutex. */
static CK_RV sqlite_scrub(struct store *base)
{
    int64_t end_ms = clock_boot_ms() + SQLITE_FILE_BUSY_MS;
    int code = SQLITE_OK;
    TRY(scrub_once(base, &code));
    while ((code & 0xff) == SQLITE_BUSY && clock_boot_ms() < end_ms) {
        (void) nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_MAX_NS}, NULL);
        TRY(scrub_once(base, &code));
    }
    if (code == SQLITE_OK)
        return CKR_OK;
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    return fail_locked(store, code, "emptying its log");
}

static CK_RV sqlite_change_count(struct store *base, uint64_t *ret_count)
{
    _cleanup_(leave) struct store_sqlite *store = enter(base);
    CK_RV rv = open_locked(store, false);
    if (rv != CKR_OK && rv != STORE_ABSENT)
        return rv;
    if (rv == CKR_OK) {
        /* It tells of the commits of other connections only; our own are counted where they
         * happen. */
        sqlite3_int64 data_version = 0;
        int code = read_data_version_locked(store, &data_version);
        if (code != SQLITE_OK)
            return fail_locked(store, code, "asking for changes");
        if (data_version != store->data_version) {
            store->data_version = data_version;
            store->changes++;
        }
    }
    *ret_count = store->changes;
    return CKR_OK;
}

const struct store_ops store_sqlite_ops = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .abandon = sqlite_abandon,
    .read_record = sqlite_read_record,
    .read_objects = sqlite_read_objects,
    .read_object = sqlite_read_object,
    .read_changes = sqlite_read_changes,
    .commit = sqlite_commit,
    .update = sqlite_update,
    .reset = sqlite_reset,
    .change_count = sqlite_change_count,
    .scrub = sqlite_scrub,
};
