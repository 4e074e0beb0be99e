#include "tokens/postgres_turn.h"

#include <stdio.h>
#include <string.h>

#include "base/cause.h"
#include "base/crypto.h"
#include "tokens/stores.h"

#define COMMIT_ID_LEN 16
/* In one pipeline; bounds what waits in memory to be sent. */
#define CHUNK_COUNT 256
#define CHUNK_LEN ((size_t) 1 << 20)

/* One run of postgres_turn_run, over all its tries. */
struct run {
    struct postgres_writer *writer;
    const struct postgres_transaction *transaction;
    unsigned char id[COMMIT_ID_LEN];
    bool is_planned;
    const struct store_change *changes;
    size_t change_count;
};

static CK_RV send(struct postgres_writer *writer, enum postgres_work work,
                  const struct postgres_params *params)
{
    return postgres_link_send(&writer->session.link, &postgres_statements[work], params);
}

static CK_RV collect(struct postgres_writer *writer, postgres_result_fn *each, void *context)
{
    const struct postgres_collecting collecting = {each, context, POSTGRES_SILENCE_MS};
    return postgres_link_collect(&writer->session.link, &collecting);
}

/* Where even that fails, the end of the connection does it. */
static void roll_back(struct postgres_writer *writer)
{
    if (writer->session.ready &&
        (send(writer, POSTGRES_ROLLBACK, NULL) != CKR_OK || collect(writer, NULL, NULL) != CKR_OK))
        postgres_session_close(&writer->session);
}

struct turn {
    uint64_t number;
    uint64_t version;
};

static CK_RV see_turn(void *context, const PGresult *result)
{
    struct turn *turn = context;
    if (PQresultStatus(result) == PGRES_TUPLES_OK &&
        (!postgres_number(result, 0, 0, &turn->number) ||
         !postgres_number(result, 0, 1, &turn->version)))
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store postgresql: the table \"store\" has lost its row: restore the "
                          "schema from a backup");
    return CKR_OK;
}

static CK_RV take_turn(struct postgres_writer *writer, bool create, struct turn *ret_turn)
{
    const struct postgres_collecting collecting = {see_turn, ret_turn, POSTGRES_TURN_MS};
    TRY(postgres_session_open(&writer->session, create));
    TRY(send(writer, POSTGRES_BEGIN, NULL));
    TRY(send(writer, POSTGRES_TAKE_TURN, NULL));
    TRY(postgres_link_collect(&writer->session.link, &collecting));
    if (ret_turn->version == POSTGRES_SCHEMA_VERSION)
        return CKR_OK;
    /* Another process has brought the tables to a version of its own; a new look says what that
     * means. */
    (void) snprintf(writer->session.link.why, sizeof(writer->session.link.why),
                    "its tables have another version since");
    return POSTGRES_LOST;
}

/* With writer->turn set: only if that is the turn that comes. */
static CK_RV begin(struct postgres_writer *writer, bool create)
{
    struct turn turn = {0};
    CK_RV rv = take_turn(writer, create, &turn);
    if (rv == CKR_OK && writer->turn != 0 && writer->turn != turn.number)
        rv = STORE_CONFLICT;
    if (rv == CKR_OK)
        writer->turn = turn.number;
    else if (rv == POSTGRES_LOST)
        postgres_session_close(&writer->session);
    else
        roll_back(writer);
    return rv;
}

CK_RV postgres_turn_resume(struct postgres_writer *writer)
{
    struct postgres_patience patience = {0};
    CK_RV rv = POSTGRES_LOST;
    postgres_session_close(&writer->session);
    while (rv == POSTGRES_LOST && postgres_patience_left(&patience)) {
        postgres_patience_pause(&patience);
        rv = begin(writer, false);
    }
    return postgres_session_fail(&writer->session, rv, "waiting for its turn");
}

static CK_RV clear_rows(struct postgres_writer *writer,
                        const struct postgres_transaction *transaction)
{
    struct postgres_params params = {0};
    _cleanup_(postgres_result_clear) PGresult *row = NULL;
    uint64_t version = 0;
    postgres_add_bytes(&params, view_text(transaction->guard));
    TRY(postgres_link_ask(&writer->session.link, &postgres_statements[POSTGRES_READ_RECORD],
                          &params, &row));
    /* A version that is none is not the one that was read. */
    if (PQntuples(row) > 0 && !postgres_number(row, 0, 0, &version))
        return STORE_CONFLICT;
    if (version != transaction->guard_version)
        return STORE_CONFLICT;
    TRY(send(writer, POSTGRES_CLEAR_RECORDS, NULL));
    TRY(send(writer, POSTGRES_CLEAR_OBJECTS, NULL));
    TRY(send(writer, POSTGRES_CLEAR_REMOVED, NULL));
    TRY(send(writer, POSTGRES_LEAP, NULL));
    writer->turn += STORE_TURNS_KEPT;
    return collect(writer, NULL, NULL);
}

static CK_RV expect_one_row(void *context, const PGresult *result)
{
    (void) context;
    return strcmp(PQcmdTuples((PGresult *) result), "1") == 0 ? CKR_OK : STORE_CONFLICT;
}

static CK_RV send_change(struct postgres_writer *writer, const struct store_change *change)
{
    struct postgres_params params = {0};
    bool is_record = change->record != NULL;
    postgres_add_bytes(&params, is_record ? view_text(change->record)
                                          : (struct view){change->object->bytes, OBJECT_ID_LEN});
    postgres_add_number(&params, store_change_base(change));
    if (change->remove)
        return send(writer, is_record ? POSTGRES_REMOVE_RECORD : POSTGRES_REMOVE_OBJECT, &params);
    if (!change->value_only)
        postgres_add_bytes(&params, change->attributes);
    if (!is_record)
        postgres_add_bytes(&params, change->value);
    if (change->expected == 0)
        return send(writer, is_record ? POSTGRES_INSERT_RECORD : POSTGRES_INSERT_OBJECT, &params);
    if (change->value_only)
        return send(writer, POSTGRES_UPDATE_VALUE, &params);
    return send(writer, is_record ? POSTGRES_UPDATE_RECORD : POSTGRES_UPDATE_OBJECT, &params);
}

/* The end of them stays in the pipeline. */
static CK_RV change_rows(struct run *run)
{
    struct postgres_writer *writer = run->writer;
    size_t sent_len = 0;
    for (size_t i = 0; i < run->change_count; i++) {
        const struct store_change *change = &run->changes[i];
        TRY(send_change(writer, change));
        sent_len += change->attributes.len + change->value.len;
        if ((i + 1) % CHUNK_COUNT == 0 || sent_len >= CHUNK_LEN) {
            TRY(collect(writer, expect_one_row, NULL));
            sent_len = 0;
        }
    }
    return CKR_OK;
}

static bool removes_objects(const struct run *run)
{
    for (size_t i = 0; i < run->change_count; i++) {
        if (run->changes[i].remove && run->changes[i].record == NULL)
            return true;
    }
    return false;
}

static CK_RV note_commit(struct run *run)
{
    struct postgres_writer *writer = run->writer;
    struct postgres_params id = {0};
    struct postgres_params channel = {0};
    if (removes_objects(run))
        TRY(send(writer, POSTGRES_FORGET_REMOVED, NULL));
    postgres_add_bytes(&id, (struct view){run->id, COMMIT_ID_LEN});
    postgres_add_bytes(&channel, view_text(writer->session.place->schema));
    TRY(send(writer, POSTGRES_NOTE_COMMIT, &id));
    TRY(send(writer, POSTGRES_NOTIFY, &channel));
    return collect(writer, expect_one_row, NULL);
}

static CK_RV fill(struct run *run)
{
    const struct postgres_transaction *transaction = run->transaction;
    if (transaction->guard != NULL)
        TRY(clear_rows(run->writer, transaction));
    if (transaction->plan != NULL && !run->is_planned) {
        TRY(transaction->plan(transaction->plan_context, &run->changes, &run->change_count));
        TRY(store_changes_check(run->changes, run->change_count));
        run->is_planned = true;
    }
    TRY(change_rows(run));
    return note_commit(run);
}

/* A transaction that something has aborted is rolled back by COMMIT. */
static CK_RV expect_commit(void *context, const PGresult *result)
{
    struct postgres_link *link = context;
    if (strcmp(PQcmdStatus((PGresult *) result), "COMMIT") == 0)
        return CKR_OK;
    (void) snprintf(link->why, sizeof(link->why), "the server rolled the transaction back");
    return POSTGRES_LOST;
}

enum outcome { OUTCOME_NONE, OUTCOME_DONE, OUTCOME_UNKNOWN };

/* Holds the turn that came after the commit in question, so that the server is done with it. */
static CK_RV look_for_commit(struct run *run, uint64_t number, uint64_t next,
                             enum outcome *ret_outcome)
{
    struct postgres_params params = {0};
    _cleanup_(postgres_result_clear) PGresult *row = NULL;
    struct view id;
    postgres_add_number(&params, number);
    TRY(postgres_link_ask(&run->writer->session.link, &postgres_statements[POSTGRES_FIND_COMMIT],
                          &params, &row));
    bool is_ours =
        postgres_bytes(row, 0, 0, &id) && view_equal(id, (struct view){run->id, COMMIT_ID_LEN});
    bool is_forgotten = next - number >= POSTGRES_RECENT_COUNT;
    if (next > number && is_ours)
        *ret_outcome = OUTCOME_DONE;
    else
        *ret_outcome = next > number && is_forgotten ? OUTCOME_UNKNOWN : OUTCOME_NONE;
    return CKR_OK;
}

static CK_RV try_find_outcome(struct run *run, uint64_t number, enum outcome *ret_outcome)
{
    struct postgres_writer *writer = run->writer;
    struct turn turn = {0};
    CK_RV rv = take_turn(writer, false, &turn);
    if (rv == CKR_OK)
        rv = look_for_commit(run, number, turn.number, ret_outcome);
    if (rv == POSTGRES_LOST)
        postgres_session_close(&writer->session);
    else
        roll_back(writer);
    return rv;
}

/* CKR_OK: it has happened. POSTGRES_LOST: it has not. */
static CK_RV find_outcome(struct run *run)
{
    struct postgres_writer *writer = run->writer;
    struct postgres_patience patience = {0};
    enum outcome outcome = OUTCOME_UNKNOWN;
    CK_RV rv = POSTGRES_LOST;
    postgres_session_close(&writer->session);
    while (rv == POSTGRES_LOST && postgres_patience_left(&patience)) {
        postgres_patience_pause(&patience);
        rv = try_find_outcome(run, writer->turn, &outcome);
    }
    if (rv == CKR_OK && outcome == OUTCOME_DONE)
        return CKR_OK;
    if (rv == CKR_OK && outcome == OUTCOME_NONE)
        return POSTGRES_LOST;
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "store %s: the connection was lost in a commit, and whether it was done "
                      "cannot be found out: %s; look at the objects before you try again",
                      writer->session.place->name, writer->session.link.why);
}

static CK_RV commit(struct run *run)
{
    struct postgres_writer *writer = run->writer;
    CK_RV rv = send(writer, POSTGRES_COMMIT, NULL);
    if (rv == CKR_OK)
        rv = collect(writer, expect_commit, &writer->session.link);
    return rv == POSTGRES_LOST ? find_outcome(run) : rv;
}

/* POSTGRES_LOST: nothing has happened. */
static CK_RV try_run(struct run *run)
{
    struct postgres_writer *writer = run->writer;
    /* Without a plan, nobody has looked at what others may have changed. */
    if (!run->is_planned)
        writer->turn = 0;
    TRY(begin(writer, run->transaction->plan == NULL));
    CK_RV rv = fill(run);
    if (rv == CKR_OK)
        rv = commit(run);
    if (rv == POSTGRES_LOST)
        postgres_session_close(&writer->session);
    else if (rv != CKR_OK)
        roll_back(writer);
    return rv;
}

CK_RV postgres_turn_run(struct postgres_writer *writer,
                        const struct postgres_transaction *transaction)
{
    struct run run = {
        .writer = writer,
        .transaction = transaction,
        .changes = transaction->changes,
        .change_count = transaction->change_count,
    };
    struct postgres_patience patience = {0};
    TRY(crypto_random(run.id, sizeof(run.id)));
    CK_RV rv = try_run(&run);
    while (rv == POSTGRES_LOST && postgres_patience_left(&patience)) {
        postgres_patience_pause(&patience);
        rv = try_run(&run);
    }
    return postgres_session_fail(&writer->session, rv, "committing");
}
