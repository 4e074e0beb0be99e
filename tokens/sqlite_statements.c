#include "tokens/sqlite_statements.h"

/* Of a change: ?1 the row, ?2 the expected version, ?3 attributes, ?4 value, ?5 the turn. A change
 * whose expectation does not hold changes no row. */
static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    /* A transaction of its own, or a part of the one that is open. */
    [STATEMENT_BEGIN_LOOK] = "SAVEPOINT look",
    [STATEMENT_END_LOOK] = "RELEASE look",
    [STATEMENT_DATA_VERSION] = "PRAGMA data_version",
    [STATEMENT_READ_RECORD] = "SELECT version, bytes FROM record WHERE name = ?1",
    [STATEMENT_READ_OBJECTS] = "SELECT id, version, attributes, value FROM object",
    [STATEMENT_READ_OBJECT] = "SELECT id, version, attributes, value FROM object WHERE id = ?1",
    [STATEMENT_READ_TURN] = "SELECT turn, begins FROM store",
    [STATEMENT_READ_REMOVED] = "SELECT id FROM removed WHERE turn > ?1",
    [STATEMENT_READ_CHANGED] = "SELECT id, version, attributes, value FROM object WHERE turn > ?1",
    [STATEMENT_INSERT_RECORD] = "INSERT INTO record VALUES (?1, ?2 + 1, ?3) ON CONFLICT DO NOTHING",
    [STATEMENT_UPDATE_RECORD] =
        "UPDATE record SET version = ?2 + 1, bytes = ?3 WHERE name = ?1 AND version = ?2",
    [STATEMENT_REMOVE_RECORD] = "DELETE FROM record WHERE name = ?1 AND version = ?2",
    [STATEMENT_INSERT_OBJECT] =
        "INSERT INTO object VALUES (?1, ?2 + 1, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    [STATEMENT_UPDATE_OBJECT] =
        ("UPDATE object SET version = ?2 + 1, attributes = ?3, value = ?4, turn = ?5"
         " WHERE id = ?1 AND version = ?2"),
    [STATEMENT_UPDATE_VALUE] =
        "UPDATE object SET value = ?4, turn = ?5 WHERE id = ?1 AND version = ?2",
    [STATEMENT_REMOVE_OBJECT] = "DELETE FROM object WHERE id = ?1 AND version = ?2",
    [STATEMENT_RAISE_TURN] = "UPDATE store SET turn = turn + 1 RETURNING turn",
    [STATEMENT_NOTE_REMOVED] = "INSERT INTO removed VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    [STATEMENT_FORGET_REMOVED] = "DELETE FROM removed WHERE turn <= ?1",
    [STATEMENT_CLEAR_RECORDS] = "DELETE FROM record",
    [STATEMENT_CLEAR_OBJECTS] = "DELETE FROM object",
    [STATEMENT_CLEAR_REMOVED] = "DELETE FROM removed",
    [STATEMENT_FORGET_TURNS] = "UPDATE store SET begins = turn",
};

int sqlite_statements_prepare(sqlite3 *db, struct sqlite_statements *ret_statements)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        int code = sqlite3_prepare_v3(db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &ret_statements->all[i], NULL);
        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}

void sqlite_statements_finalize(struct sqlite_statements *statements)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        (void) sqlite3_finalize(statements->all[i]);
        statements->all[i] = NULL;
    }
}

void sqlite_statement_release(sqlite3_stmt **statement)
{
    (void) sqlite3_reset(*statement);
    (void) sqlite3_clear_bindings(*statement);
}

int sqlite_statement_run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite_statement_release(&statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int sqlite_statement_bind_bytes(sqlite3_stmt *statement, int index, const void *bytes, size_t len)
{
    /* A NULL pointer would bind NULL, not an empty BLOB. */
    return sqlite3_bind_blob64(statement, index, len > 0 ? bytes : "", len, SQLITE_STATIC);
}
