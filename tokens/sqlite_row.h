/*
 * What a row of our SQLite file says, which is not believed: type and size are looked at first.
 */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>

#include "tokens/store.h"

/* Views live until the statement goes on. False: malformed. */
bool sqlite_row_bytes(sqlite3_stmt *statement, int column, struct view *ret_bytes);
bool sqlite_row_version(sqlite3_stmt *statement, int column, uint64_t *ret_version);
/* Of an object's row: id, version, attributes, value. */
bool sqlite_row_read(sqlite3_stmt *statement, struct store_row *ret_row);
