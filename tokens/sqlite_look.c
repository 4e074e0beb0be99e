#include "tokens/sqlite_look.h"

#include <string.h>

#include "base/rv.h"
#include "tokens/sqlite_row.h"
#include "tokens/stores.h"

CK_RV sqlite_look_rows(sqlite3_stmt *statement, store_row_fn *each, void *context,
                       struct sqlite_reading *ret_reading)
{
    int code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
        struct store_row row;
        if (sqlite_row_read(statement, &row)) {
            TRY(each(context, &row));
        } else {
            ret_reading->bad_count++;
        }
    }
    ret_reading->code = code == SQLITE_DONE ? SQLITE_OK : code;
    return CKR_OK;
}

/* The present turn, and the first that the store remembers. */
static int read_turn(sqlite3_stmt *turn, uint64_t *ret_turn, uint64_t *ret_begins)
{
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement = turn;
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    return sqlite_row_version(statement, 0, ret_turn) &&
                   sqlite_row_version(statement, 1, ret_begins)
               ? SQLITE_OK
               : SQLITE_CORRUPT;
}

static CK_RV hand_over_gone(sqlite3_stmt *removed, const struct store_look *look,
                            struct sqlite_reading *reading)
{
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement = removed;
    int code = sqlite3_bind_int64(statement, 1, (sqlite3_int64) look->since);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
        struct object_id id;
        struct view bytes;
        if (sqlite_row_bytes(statement, 0, &bytes) && bytes.len == OBJECT_ID_LEN) {
            memcpy(id.bytes, bytes.bytes, OBJECT_ID_LEN);
            TRY(look->gone(look->context, &id));
        } else {
            reading->bad_count++;
        }
    }
    reading->code = code == SQLITE_DONE ? SQLITE_OK : code;
    return CKR_OK;
}

static CK_RV hand_over_changed(sqlite3_stmt *changed, const struct store_look *look,
                               struct sqlite_reading *reading)
{
    _cleanup_(sqlite_statement_release) sqlite3_stmt *statement = changed;
    if (sqlite3_bind_parameter_count(statement) > 0)
        reading->code = sqlite3_bind_int64(statement, 1, (sqlite3_int64) look->since);
    if (reading->code != SQLITE_OK)
        return CKR_OK;
    return sqlite_look_rows(statement, look->each, look->context, reading);
}

static CK_RV look_at_all(const struct sqlite_statements *statements, struct store_look *look,
                         struct sqlite_reading *reading)
{
    uint64_t turn = 0;
    uint64_t begins = 0;
    reading->code = read_turn(statements->all[STATEMENT_READ_TURN], &turn, &begins);
    if (reading->code != SQLITE_OK)
        return CKR_OK;
    look->is_whole =
        look->since < begins || look->since > turn || turn - look->since > STORE_TURNS_KEPT;
    look->turn = turn;
    if (!look->is_whole)
        TRY(hand_over_gone(statements->all[STATEMENT_READ_REMOVED], look, reading));
    if (reading->code != SQLITE_OK)
        return CKR_OK;
    enum sqlite_statement which = look->is_whole ? STATEMENT_READ_OBJECTS : STATEMENT_READ_CHANGED;
    return hand_over_changed(statements->all[which], look, reading);
}

CK_RV sqlite_look_changes(const struct sqlite_statements *statements, struct store_look *look,
                          struct sqlite_reading *ret_reading)
{
    struct sqlite_reading reading = {
        .code = sqlite_statement_run(statements->all[STATEMENT_BEGIN_LOOK]),
    };
    if (reading.code != SQLITE_OK) {
        *ret_reading = reading;
        return CKR_OK;
    }
    CK_RV rv = look_at_all(statements, look, &reading);
    int code = sqlite_statement_run(statements->all[STATEMENT_END_LOOK]);
    if (reading.code == SQLITE_OK)
        reading.code = code;
    *ret_reading = reading;
    return rv;
}
