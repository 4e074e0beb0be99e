#include "tokens/sqlite_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cause.h"
#include "base/clock.h"

/* "IKEY": in the file's header, where file(1) and we look. */
#define APPLICATION_ID 0x494B4559
#define SCHEMA_VERSION 2

/* SQLite's limit for a path is 512 with its suffixes. */
#define PATH_LEN_MAX 480

#define CREATE_RECORD                                                                              \
    "CREATE TABLE record (name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,"               \
    " bytes BLOB NOT NULL) STRICT"
#define OBJECT_COLUMNS                                                                             \
    "id BLOB NOT NULL PRIMARY KEY, version INTEGER NOT NULL, attributes BLOB NOT NULL,"            \
    " value BLOB NOT NULL"
#define CREATE_OBJECT_1 "CREATE TABLE object (" OBJECT_COLUMNS ") STRICT"
#define TURN_COLUMN "turn INTEGER NOT NULL DEFAULT 0"
/* The text that ALTER TABLE makes of the former one. */
#define CREATE_OBJECT "CREATE TABLE object (" OBJECT_COLUMNS ", " TURN_COLUMN ") STRICT"
#define CREATE_OBJECT_TURN "CREATE INDEX object_turn ON object (turn)"
#define CREATE_REMOVED                                                                             \
    "CREATE TABLE removed (turn INTEGER NOT NULL, id BLOB NOT NULL, PRIMARY KEY (turn, id))"       \
    " STRICT, WITHOUT ROWID"
#define CREATE_STORE                                                                               \
    "CREATE TABLE store (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),"                        \
    " turn INTEGER NOT NULL, begins INTEGER NOT NULL) STRICT"

/* upgrades[v] leads from version v to v + 1; an empty file has version 0. */
static const char *const upgrades[SCHEMA_VERSION] = {
    CREATE_RECORD ";" CREATE_OBJECT_1 ";",
    ("ALTER TABLE object ADD COLUMN " TURN_COLUMN ";" CREATE_OBJECT_TURN ";" CREATE_REMOVED
     ";" CREATE_STORE ";INSERT INTO store VALUES (1, 1, 1);"),
};

/* Exactly these: no trigger, view, index or generated column of a stranger's runs here. */
static const char schema_check[] =
    "SELECT count(sql) = 5 AND total(sql IN ('" CREATE_RECORD "', '" CREATE_OBJECT
    "', '" CREATE_OBJECT_TURN "', '" CREATE_REMOVED "', '" CREATE_STORE "')) = 5"
    " FROM sqlite_schema";

enum remedy { REMEDY_FULL, REMEDY_UNWRITABLE, REMEDY_RESTORE, REMEDY_BUSY, REMEDY_DEVICE };

static const struct {
    enum indexkey_cause cause;
    const char *text;
} remedies[] = {
    [REMEDY_FULL] = {INDEXKEY_CAUSE_STORE_FULL,
                     "nothing was changed: free space on its file system, or raise the quota"},
    [REMEDY_UNWRITABLE] = {INDEXKEY_CAUSE_STORE,
                           "unwritable: let the user who runs the application own the file (mode "
                           "0600) and its folder (mode 0700), on a file system mounted rw"},
    [REMEDY_RESTORE] = {INDEXKEY_CAUSE_STORE, "damaged: restore the file from a backup"},
    [REMEDY_BUSY] = {INDEXKEY_CAUSE_STORE,
                     "another process keeps it locked: try again, or end that process"},
    [REMEDY_DEVICE] = {INDEXKEY_CAUSE_STORE,
                       "check its folder and device (the kernel's log), then try again"},
};

static enum remedy system_remedy(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return REMEDY_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return REMEDY_UNWRITABLE;
    default:
        return REMEDY_DEVICE;
    }
}

static enum remedy code_remedy(int code, int error)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return REMEDY_FULL;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return REMEDY_UNWRITABLE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return REMEDY_BUSY;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return system_remedy(error);
    default:
        return REMEDY_RESTORE;
    }
}

CK_RV sqlite_file_fail(sqlite3 *db, const char *path, int code, const char *doing)
{
    /* SQLite keeps no system error of a failed COMMIT; errno is then still the one of its write. */
    int error = errno;
    if ((code & 0xff) == SQLITE_NOMEM)
        return FAIL(CKR_HOST_MEMORY, "store sqlite:%s: %s: out of memory", path, doing);
    bool is_last = db != NULL && sqlite3_extended_errcode(db) == code;
    if (is_last && sqlite3_system_errno(db) != 0)
        error = sqlite3_system_errno(db);
    enum remedy remedy = code_remedy(code, error);
    const char *why = is_last ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    return FAIL_CAUSE(remedies[remedy].cause, "store sqlite:%s: %s: %s (SQLite %d); %s", path,
                      doing, why, code, remedies[remedy].text);
}

/* A failed system call on `path`; errno still tells of it. */
static CK_RV fail_system(const char *path, const char *doing)
{
    enum remedy remedy = system_remedy(errno);
    return FAIL_CAUSE(remedies[remedy].cause, "store sqlite:%s: %s: %m; %s", path, doing,
                      remedies[remedy].text);
}

/* Whoever may write the folder can put other files in place of ours. */
static CK_RV check_folder(const char *folder, const char *path)
{
    struct stat status;
    if (stat(folder, &status) != 0)
        return fail_system(path, "looking at its folder");
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: everyone may write its folder; chmod o-w the folder",
                          path);
    return CKR_OK;
}

/* The path with its folder's links resolved: SQLITE_OPEN_NOFOLLOW refuses a link anywhere, and a
 * link to the folder is the administrator's own affair. */
static CK_RV resolve(const char *path, char ret_real[PATH_MAX])
{
    char folder[PATH_MAX];
    char real[PATH_MAX];
    const char *name = strrchr(path, '/') + 1;
    size_t folder_len = (size_t) (name - path);
    memcpy(folder, path, folder_len);
    folder[folder_len] = '\0';

    if (realpath(folder, real) == NULL) {
        if (errno != ENOENT && errno != ENOTDIR)
            return fail_system(path, "finding its folder");
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: there is no folder %s; make it with mode 0700, owned "
                          "by the user who runs the application",
                          path, folder);
    }
    TRY(check_folder(real, path));
    int len = snprintf(ret_real, PATH_MAX, "%s/%s", real[1] == '\0' ? "" : real, name);
    if (len > PATH_LEN_MAX)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: the path is longer than %d bytes; choose a shorter one",
                          path, PATH_LEN_MAX);
    return CKR_OK;
}

/* lstat and mknod, never open: to close a descriptor of the file would drop the POSIX locks that
 * any SQLite connection of this process holds on it (SQLite, "How to corrupt", 2.2). */
static CK_RV check_file(const char *path, struct stat *ret_status)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? STORE_ABSENT : fail_system(path, "looking at the file");
    if (!S_ISREG(status.st_mode))
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: %s, not a regular file; name the file itself", path,
                          S_ISLNK(status.st_mode) ? "a symbolic link" : "a folder or a device");
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: group or others can reach it (mode %04o); chmod 600 "
                          "it, after a look at what they did",
                          path, (unsigned int) status.st_mode & 07777U);
    *ret_status = status;
    return CKR_OK;
}

static CK_RV check_or_create_file(const char *path, bool create, struct stat *ret_status)
{
    CK_RV rv = check_file(path, ret_status);
    if (rv != STORE_ABSENT || !create)
        return rv;
    /* Exclusive, and follows no link; whoever made it first is checked like any other. */
    if (mknod(path, S_IFREG | S_IRUSR | S_IWUSR, 0) != 0 && errno != EEXIST)
        return fail_system(path, "making the file");
    return check_file(path, ret_status);
}

/* SQLite gives new side files the database's mode and owner; one that lies there already is
 * checked. */
static CK_RV check_side_files(const char *path, uid_t owner)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char side[PATH_MAX + 16];
        struct stat status = {0};
        (void) snprintf(side, sizeof(side), "%s%s", path, suffixes[i]);
        CK_RV rv = check_file(side, &status);
        if (rv == STORE_ABSENT)
            continue;
        TRY(rv);
        if (status.st_uid != owner)
            return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                              "store sqlite:%s: owned by user %lu, the database by user %lu; chown "
                              "them to the user who runs the application",
                              side, (unsigned long) status.st_uid, (unsigned long) owner);
    }
    return CKR_OK;
}

/* One integer in the first column of the first row; `sql` is one of ours. */
static int query_integer(sqlite3 *db, const char *sql, int *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *ret_value = sqlite3_column_int(statement, 0);
        code = SQLITE_OK;
    } else if (code == SQLITE_DONE) {
        code = SQLITE_CORRUPT;
    }
    (void) sqlite3_finalize(statement);
    return code;
}

static int configure(sqlite3 *db)
{
    static const struct {
        int option;
        int value;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},        {SQLITE_DBCONFIG_DQS_DML, 0},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        int code = sqlite3_db_config(db, options[i].option, options[i].value, NULL);
        if (code != SQLITE_OK)
            return code;
    }
    (void) sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 2 * (int) STORE_BLOB_MAX + 4096);
    (void) sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    (void) sqlite3_busy_timeout(db, SQLITE_FILE_BUSY_MS);
    /* mmap_size 0: a file that another process cuts must not end the host with SIGBUS. */
    return sqlite3_exec(db,
                        "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
                        "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON;"
                        "PRAGMA synchronous = FULL;",
                        NULL, NULL, NULL);
}

struct identity {
    int application_id;
    int version;
    int tables;
};

static int read_identity(sqlite3 *db, struct identity *identity)
{
    /* In one transaction: another process may be making the database meanwhile. */
    int code = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = query_integer(db, "PRAGMA application_id", &identity->application_id);
    if (code == SQLITE_OK)
        code = query_integer(db, "PRAGMA user_version", &identity->version);
    if (code == SQLITE_OK)
        code = query_integer(db, "SELECT count(*) FROM sqlite_schema", &identity->tables);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return code;
}

/* An empty file or one of ours, before anything is written to it. */
static CK_RV check_identity(sqlite3 *db, const char *path, int *ret_version)
{
    struct identity found = {0};
    int code = read_identity(db, &found);
    if (code != SQLITE_OK)
        return sqlite_file_fail(db, path, code, "reading its header");
    bool is_empty = found.application_id == 0 && found.version == 0 && found.tables == 0;
    if (!is_empty && found.application_id != APPLICATION_ID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: another application's database (application id "
                          "0x%08x); name another file in `store =`",
                          path, (unsigned int) found.application_id);
    if (found.version < 0 || found.version > SCHEMA_VERSION)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: written by a newer version of this module (schema %d; "
                          "this one knows %d): update the module",
                          path, found.version, SCHEMA_VERSION);
    *ret_version = found.version;
    return CKR_OK;
}

/* Two processes that turn to WAL at once: SQLite answers BUSY without asking its own timeout,
 * because waiting could be a deadlock. */
static CK_RV set_wal(sqlite3 *db, const char *path)
{
    int64_t deadline = clock_boot_ms() + SQLITE_FILE_BUSY_MS;
    int code = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    while ((code & 0xff) == SQLITE_BUSY && clock_boot_ms() < deadline) {
        (void) sqlite3_sleep(10);
        code = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    }
    int is_wal = 0;
    if (code == SQLITE_OK)
        code = query_integer(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &is_wal);
    if (code != SQLITE_OK)
        return sqlite_file_fail(db, path, code, "setting its journal to WAL");
    if (!is_wal)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: its file system has no shared memory for SQLite's WAL; "
                          "move it to a local disk",
                          path);
    return CKR_OK;
}

static int upgrade(sqlite3 *db)
{
    int version = 0;
    char numbers[96];
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        /* Again, now that nobody else can: another process may have done it. */
        code = query_integer(db, "PRAGMA user_version", &version);
    }
    for (; code == SQLITE_OK && version < SCHEMA_VERSION; version++)
        code = sqlite3_exec(db, upgrades[version], NULL, NULL, NULL);
    (void) snprintf(numbers, sizeof(numbers),
                    "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
                    SCHEMA_VERSION);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, numbers, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return code;
}

static CK_RV check_schema(sqlite3 *db, const char *path)
{
    int is_ours = 0;
    int code = query_integer(db, schema_check, &is_ours);
    if (code != SQLITE_OK)
        return sqlite_file_fail(db, path, code, "reading its schema");
    return is_ours ? CKR_OK : sqlite_file_fail(db, path, SQLITE_CORRUPT, "checking its schema");
}

static CK_RV prepare_database(sqlite3 *db, const char *path)
{
    /* SQLite turns to reading where it may not write; every use of a store writes.
     * Asked first: the first look inside would make side files with the same mode. */
    if (sqlite3_db_readonly(db, "main") != 0)
        return sqlite_file_fail(db, path, SQLITE_READONLY, "opening it for writing");
    int code = configure(db);
    if (code != SQLITE_OK)
        return sqlite_file_fail(db, path, code, "setting up the connection");
    int version = 0;
    TRY(check_identity(db, path, &version));
    TRY(set_wal(db, path));
    if (version < SCHEMA_VERSION) {
        code = upgrade(db);
        if (code != SQLITE_OK)
            return sqlite_file_fail(db, path, code, "bringing its schema to the newest version");
    }
    return check_schema(db, path);
}

CK_RV sqlite_file_open(const char *path, bool create, struct sqlite_file *ret_file)
{
    char real[PATH_MAX] = "";
    struct stat status = {0};
    TRY(resolve(path, real));
    TRY(check_or_create_file(real, create, &status));
    TRY(check_side_files(real, status.st_uid));

    _cleanup_(sqlite_file_close) struct sqlite_file file = {
        .device = status.st_dev,
        .inode = status.st_ino,
    };
    /* "unix" by name: the host may have made another VFS the default. */
    int code = sqlite3_open_v2(real, &file.db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                                   SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
                               "unix");
    if (code != SQLITE_OK)
        return sqlite_file_fail(file.db, path, code, "opening it");
    if (!sqlite_file_is_current(&file, real))
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store sqlite:%s: replaced while it was opened; try again, and see who "
                          "writes to its folder",
                          path);
    TRY(prepare_database(file.db, path));
    *ret_file = file;
    file.db = NULL;
    return CKR_OK;
}

void sqlite_file_close(struct sqlite_file *file)
{
    (void) sqlite3_close(file->db);
    file->db = NULL;
}

int sqlite_file_empty_log(struct sqlite_file *file)
{
    if (file->db == NULL)
        return SQLITE_OK;
    (void) sqlite3_busy_timeout(file->db, 0);
    int code = sqlite3_wal_checkpoint_v2(file->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    (void) sqlite3_busy_timeout(file->db, SQLITE_FILE_BUSY_MS);
    return code;
}

bool sqlite_file_is_current(const struct sqlite_file *file, const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_dev == file->device &&
           status.st_ino == file->inode;
}
