/*
 * The statements of the SQLite store, prepared once for a connection. Private to it.
 *
 * Every row has the turn that wrote it: the number of a commit. Functions return SQLite's codes.
 */
#pragma once

#include <sqlite3.h>
#include <stddef.h>

enum sqlite_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_BEGIN_LOOK,
    STATEMENT_END_LOOK,
    STATEMENT_DATA_VERSION,
    STATEMENT_READ_RECORD,
    STATEMENT_READ_OBJECTS,
    STATEMENT_READ_OBJECT,
    STATEMENT_READ_TURN,
    STATEMENT_READ_REMOVED,
    STATEMENT_READ_CHANGED,
    STATEMENT_INSERT_RECORD,
    STATEMENT_UPDATE_RECORD,
    STATEMENT_REMOVE_RECORD,
    STATEMENT_INSERT_OBJECT,
    STATEMENT_UPDATE_OBJECT,
    STATEMENT_UPDATE_VALUE,
    STATEMENT_REMOVE_OBJECT,
    STATEMENT_RAISE_TURN,
    STATEMENT_NOTE_REMOVED,
    STATEMENT_FORGET_REMOVED,
    STATEMENT_CLEAR_RECORDS,
    STATEMENT_CLEAR_OBJECTS,
    STATEMENT_CLEAR_REMOVED,
    STATEMENT_FORGET_TURNS,
    STATEMENT_COUNT,
};

struct sqlite_statements {
    sqlite3_stmt *all[STATEMENT_COUNT];
};

/* Finalized with sqlite_statements_finalize, after a failure too. */
int sqlite_statements_prepare(sqlite3 *db, struct sqlite_statements *ret_statements);
void sqlite_statements_finalize(struct sqlite_statements *statements);

/* Ready for its next use, and without pointers to what the caller lent. For the cleanup attribute.
 */
void sqlite_statement_release(sqlite3_stmt **statement);
/* To its end, and released. */
int sqlite_statement_run(sqlite3_stmt *statement);
/* The bytes stay the caller's until the statement is released. */
int sqlite_statement_bind_bytes(sqlite3_stmt *statement, int index, const void *bytes, size_t len);
