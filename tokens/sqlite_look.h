/*
 * What came to the objects of a SQLite store since an earlier look, and all of them.
 *
 * A row tells the turn that wrote it; of a removed one its id and turn are kept for a while. What
 * the file says of turns decides what is read, and nothing else.
 */
#pragma once

#include "tokens/sqlite_statements.h"
#include "tokens/store.h"

/* How a reading ended: SQLITE_OK, or the code of what failed; and the malformed rows left out. */
struct sqlite_reading {
    int code;
    size_t bad_count;
};

/* The rest of the statement's rows. Returns what `each` returns if that fails, else CKR_OK. */
CK_RV sqlite_look_rows(sqlite3_stmt *statement, store_row_fn *each, void *context,
                       struct sqlite_reading *ret_reading);

/* The store's read_changes; works within a transaction too. Returns what a callback returns if that
 * fails, else CKR_OK. */
CK_RV sqlite_look_changes(const struct sqlite_statements *statements, struct store_look *look,
                          struct sqlite_reading *ret_reading);
