#include "tokens/sqlite_row.h"

#include <string.h>

bool sqlite_row_bytes(sqlite3_stmt *statement, int column, struct view *ret_bytes)
{
    if (sqlite3_column_type(statement, column) != SQLITE_BLOB)
        return false;
    const unsigned char *bytes = sqlite3_column_blob(statement, column);
    size_t len = (size_t) sqlite3_column_bytes(statement, column);
    if (len > STORE_BLOB_MAX || (bytes == NULL && len > 0))
        return false;
    *ret_bytes = (struct view){bytes, len};
    return true;
}

bool sqlite_row_version(sqlite3_stmt *statement, int column, uint64_t *ret_version)
{
    sqlite3_int64 version = sqlite3_column_int64(statement, column);
    if (sqlite3_column_type(statement, column) != SQLITE_INTEGER || version < 1)
        return false;
    *ret_version = (uint64_t) version;
    return true;
}

bool sqlite_row_read(sqlite3_stmt *statement, struct store_row *ret_row)
{
    struct view id;
    if (!sqlite_row_bytes(statement, 0, &id) || id.len != OBJECT_ID_LEN ||
        !sqlite_row_version(statement, 1, &ret_row->version) ||
        !sqlite_row_bytes(statement, 2, &ret_row->attributes) ||
        !sqlite_row_bytes(statement, 3, &ret_row->value)) {
        return false;
    }
    memcpy(ret_row->id.bytes, id.bytes, OBJECT_ID_LEN);
    return true;
}
