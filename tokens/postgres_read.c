#include "tokens/postgres_read.h"

#include <string.h>

#include "base/cause.h"

CK_RV postgres_read_malformed(const struct postgres_session *session, const char *what)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "store %s: %s is malformed: restore the schema from a backup",
                      session->place->name, what);
}

CK_RV postgres_read_one_record(struct postgres_session *session, void *context)
{
    struct postgres_record_reading *reading = context;
    struct postgres_params params = {0};
    _cleanup_(postgres_result_clear) PGresult *row = NULL;
    struct view bytes;
    postgres_add_bytes(&params, view_text(reading->name));
    TRY(postgres_link_ask(&session->link, &postgres_statements[POSTGRES_READ_RECORD], &params,
                          &row));
    if (PQntuples(row) == 0)
        return STORE_ABSENT;
    if (!postgres_number(row, 0, 0, &reading->version) || reading->version == 0 ||
        !postgres_bytes(row, 0, 1, &bytes))
        return postgres_read_malformed(session, "a record");
    return blob_from(bytes.bytes, bytes.len, &reading->bytes);
}

static bool row_of(const PGresult *result, struct store_row *ret_row)
{
    struct view id;
    if (!postgres_bytes(result, 0, 0, &id) || id.len != OBJECT_ID_LEN ||
        !postgres_number(result, 0, 1, &ret_row->version) || ret_row->version == 0 ||
        !postgres_bytes(result, 0, 2, &ret_row->attributes) ||
        !postgres_bytes(result, 0, 3, &ret_row->value))
        return false;
    memcpy(ret_row->id.bytes, id.bytes, OBJECT_ID_LEN);
    return true;
}

static CK_RV hand_over(void *context, const PGresult *result)
{
    struct postgres_objects_reading *reading = context;
    struct store_row row;
    uint64_t number;
    /* The end of the rows. */
    if (PQresultStatus(result) != PGRES_SINGLE_TUPLE)
        return CKR_OK;
    /* Without a count it is as if it had changed: nobody can tell. */
    if (!postgres_number(result, 0, 4, &number) ||
        (reading->is_begun && number != reading->number)) {
        reading->is_changed = true;
        return POSTGRES_LOST;
    }
    reading->number = number;
    reading->is_begun = true;
    if (!row_of(result, &row)) {
        reading->bad_count++;
        return CKR_OK;
    }
    reading->last = row.id;
    return reading->each(reading->context, &row);
}

CK_RV postgres_read_all_objects(struct postgres_session *session, void *context)
{
    struct postgres_objects_reading *reading = context;
    struct postgres_params params = {0};
    const struct postgres_collecting collecting = {hand_over, reading, POSTGRES_SILENCE_MS};
    postgres_add_bytes(&params,
                       (struct view){reading->last.bytes, reading->is_begun ? OBJECT_ID_LEN : 0});
    TRY(postgres_link_send(&session->link, &postgres_statements[POSTGRES_READ_OBJECTS], &params));
    postgres_link_stream(&session->link);
    CK_RV rv = postgres_link_collect(&session->link, &collecting);
    if (!reading->is_changed)
        return rv;
    postgres_session_close(session);
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "store %s: the connection was lost between its objects, and others have "
                      "changed some since: try again",
                      session->place->name);
}

CK_RV postgres_read_one_object(struct postgres_session *session, void *context)
{
    const struct postgres_object_reading *reading = context;
    struct postgres_params params = {0};
    _cleanup_(postgres_result_clear) PGresult *result = NULL;
    struct store_row row;
    postgres_add_bytes(&params, (struct view){reading->id->bytes, OBJECT_ID_LEN});
    TRY(postgres_link_ask(&session->link, &postgres_statements[POSTGRES_READ_OBJECT], &params,
                          &result));
    if (PQntuples(result) == 0)
        return STORE_ABSENT;
    if (!row_of(result, &row) || memcmp(row.id.bytes, reading->id->bytes, OBJECT_ID_LEN) != 0)
        return postgres_read_malformed(session, "an object");
    return reading->each(reading->context, &row);
}
