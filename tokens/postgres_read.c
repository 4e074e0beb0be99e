#include "tokens/postgres_read.h"

#include <string.h>

#include "base/cause.h"
#include "tokens/stores.h"

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

static bool id_of(const PGresult *result, struct object_id *ret_id)
{
    struct view id;
    if (!postgres_bytes(result, 0, 0, &id) || id.len != OBJECT_ID_LEN)
        return false;
    memcpy(ret_id->bytes, id.bytes, OBJECT_ID_LEN);
    return true;
}

static bool row_of(const PGresult *result, struct store_row *ret_row)
{
    return id_of(result, &ret_row->id) && postgres_number(result, 0, 1, &ret_row->version) &&
           ret_row->version > 0 && postgres_bytes(result, 0, 2, &ret_row->attributes) &&
           postgres_bytes(result, 0, 3, &ret_row->value);
}

/* The rest would not be of the same snapshot. */
static CK_RV fail_changed(struct postgres_session *session)
{
    postgres_session_close(session);
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "store %s: the connection was lost between its objects, and others have "
                      "changed some since: try again",
                      session->place->name);
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
    return fail_changed(session);
}

static uint64_t turn_of(const struct postgres_changes_reading *reading, uint64_t number)
{
    return reading->in_plan && number > 0 ? number - 1 : number;
}

static CK_RV see_turn(struct postgres_changes_reading *reading, uint64_t number)
{
    struct store_look *look = reading->look;
    if (reading->handed_count > 0 && number != reading->number) {
        reading->is_changed = true;
        return POSTGRES_LOST;
    }
    reading->number = number;
    reading->is_begun = true;
    look->turn = turn_of(reading, number);
    look->is_whole =
        look->since == 0 || look->since > look->turn || number - look->since > STORE_TURNS_KEPT;
    return CKR_OK;
}

static CK_RV hand_over_news(struct postgres_changes_reading *reading, uint64_t news,
                            const PGresult *result)
{
    const struct store_look *look = reading->look;
    struct store_row row;
    if (reading->seen_count++ < reading->handed_count)
        return CKR_OK;
    reading->handed_count++;
    if (news == POSTGRES_NEWS_ROW && row_of(result, &row))
        return look->each(look->context, &row);
    if (news != POSTGRES_NEWS_GONE || !id_of(result, &row.id)) {
        reading->bad_count++;
        return CKR_OK;
    }
    return look->gone(look->context, &row.id);
}

static CK_RV take_news(void *context, const PGresult *result)
{
    struct postgres_changes_reading *reading = context;
    uint64_t news;
    uint64_t number;
    if (PQresultStatus(result) != PGRES_SINGLE_TUPLE || !postgres_number(result, 0, 4, &news))
        return CKR_OK;
    if (news == POSTGRES_NEWS_TURN && postgres_number(result, 0, 1, &number))
        return see_turn(reading, number);
    /* Nothing counts without a turn, which comes first. */
    return reading->is_begun && !reading->look->is_whole ? hand_over_news(reading, news, result)
                                                         : CKR_OK;
}

static CK_RV look_for_news(struct postgres_session *session,
                           struct postgres_changes_reading *reading)
{
    struct postgres_params params = {0};
    const struct postgres_collecting collecting = {take_news, reading, POSTGRES_SILENCE_MS};
    reading->is_begun = false;
    reading->seen_count = 0;
    postgres_add_number(&params, reading->look->since);
    TRY(postgres_link_send(&session->link, &postgres_statements[POSTGRES_LOOK], &params));
    postgres_link_stream(&session->link);
    CK_RV rv = postgres_link_collect(&session->link, &collecting);
    if (reading->is_changed)
        return fail_changed(session);
    TRY(rv);
    return reading->is_begun ? CKR_OK : postgres_read_malformed(session, "the table \"store\"");
}

CK_RV postgres_read_news(struct postgres_session *session, void *context)
{
    struct postgres_changes_reading *reading = context;
    struct store_look *look = reading->look;
    if (!reading->whole.is_begun)
        TRY(look_for_news(session, reading));
    if (!look->is_whole)
        return CKR_OK;
    reading->whole.each = look->each;
    reading->whole.context = look->context;
    TRY(postgres_read_all_objects(session, &reading->whole));
    /* Of this snapshot, which is a later one; without a row it is not told. */
    if (reading->whole.is_begun)
        look->turn = turn_of(reading, reading->whole.number);
    return CKR_OK;
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
