/*
 * One SQLite database file of ours: made safely, opened, checked, and its failures put into words.
 *
 * The file, its folder and its content are hostile until checked: a symbolic link, a file that
 * group or others can reach, another application's database, a newer or a changed schema are
 * refused. The schema and every setting are in docs/formats.md.
 *
 * SQLite is a library of the host too: nothing process-wide is set (no sqlite3_config, no default
 * VFS, no automatic extension). The connection has no mutex of its own: one thread at a time, by
 * the caller's lock. A child of a fork must not use the parent's connection (SQLite's file locks
 * and shared memory are the parent's); sqlite_abandon in store_sqlite.c says how it gets rid of it.
 */
#pragma once

#include <sqlite3.h>
#include <sys/types.h>

#include "tokens/stores.h"

struct sqlite_file {
    sqlite3 *db; /* NULL: not open */
    dev_t device;
    ino_t inode;
};

/* How long a connection waits for another process's commit. */
#define SQLITE_FILE_BUSY_MS 5000

/* Opens the file, with the schema brought to the newest version. A missing file is made when
 * `create` is set, else STORE_ABSENT. Closed with sqlite_file_close. Failures are logged and carry
 * a cause. */
CK_RV sqlite_file_open(const char *path, bool create, struct sqlite_file *ret_file);
/* Statements of the connection are finalized first, by their owner. */
void sqlite_file_close(struct sqlite_file *file);

/* All of the log goes into the file, where secure_delete has put zeros in place of what was
 * replaced, and the log is cut. At once, or SQLITE_BUSY. */
int sqlite_file_empty_log(struct sqlite_file *file);

/* False when `path` now names another file than the one that is open, or none. */
bool sqlite_file_is_current(const struct sqlite_file *file, const char *path);

/* Logs what failed while `doing`, why, and what to do about it; returns the CK_RV of its cause.
 * `code` is what SQLite returned, or a code that fits what was found; `db` may be NULL. */
CK_RV sqlite_file_fail(sqlite3 *db, const char *path, int code, const char *doing);
