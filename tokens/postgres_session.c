#include "tokens/postgres_session.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cause.h"
#include "base/clock.h"
#include "tokens/stores.h"

/* Rows that a stranger made too long are not even sent; they count as malformed. */
#define BOUNDED(column) "CASE WHEN octet_length(" column ") <= 1048576 THEN " column " END"

/* The commit in the making, or the last one. */
#define TURN "(SELECT changes FROM store)"
/* Not before this turn, up to which what was removed may be forgotten. */
#define TURN_KEPT "(SELECT changes - " POSTGRES_TEXT(STORE_TURNS_KEPT) " FROM store)"
/* Since $1, if that is known. Both bounds make it few rows in the planner's eyes, whatever it knows
 * of the table, so that it takes the index. */
#define NEWS                                                                                       \
    "turn > $1::bigint AND turn <= " TURN " AND $1::bigint > 0 AND $1::bigint >= " TURN_KEPT

/* Of a change: $1 the row, $2 the expected version, $3 attributes, $4 value. A change whose
 * expectation does not hold changes no row. */
const struct postgres_statement postgres_statements[POSTGRES_WORK_COUNT] = {
    [POSTGRES_READ_RECORD] = {"read_record",
                              "SELECT version, " BOUNDED("bytes") " FROM record"
                                                                  " WHERE name = $1::text"},
    [POSTGRES_READ_OBJECTS] =
        {"read_objects",
         "SELECT id, version, " BOUNDED("attributes") ", " BOUNDED(
             "value") ", (SELECT changes FROM store) FROM object WHERE id > $1::bytea"
                      " ORDER BY id"},
    [POSTGRES_READ_OBJECT] = {"read_object",
                              "SELECT id, version, " BOUNDED("attributes") ", " BOUNDED(
                                  "value") " FROM object WHERE id = $1::bytea"},
    [POSTGRES_READ_COUNT] = {"read_count", "SELECT changes FROM store"},
    [POSTGRES_LOOK] = {"look",
                       "SELECT NULL::bytea AS id, changes AS version, NULL::bytea AS attributes,"
                       " NULL::bytea AS value, 0::bigint AS news FROM store"
                       " UNION ALL SELECT id, 0, NULL, NULL, 1 FROM removed WHERE " NEWS
                       " UNION ALL SELECT id, version, " BOUNDED("attributes") ", " BOUNDED(
                           "value") ", 2 FROM object WHERE " NEWS " ORDER BY news, id"},
    [POSTGRES_BEGIN] = {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
    /* The row's lock is the turn: from here to the end of the transaction nobody else has it. */
    [POSTGRES_TAKE_TURN] = {"take_turn", "UPDATE store SET changes = changes + 1"
                                         " RETURNING changes, version::bigint"},
    [POSTGRES_NOTE_COMMIT] = {"note_commit",
                              "INSERT INTO recent SELECT changes % " POSTGRES_RECENT ", $1::bytea"
                              " FROM store ON CONFLICT (slot) DO UPDATE SET id = excluded.id"},
    [POSTGRES_NOTIFY] = {"notify", "SELECT pg_notify('" POSTGRES_CHANNEL "' || $1::text,"
                                   " changes::text) FROM store"},
    [POSTGRES_FIND_COMMIT] = {"find_commit",
                              "SELECT id FROM recent WHERE slot = $1::bigint % " POSTGRES_RECENT},
    [POSTGRES_COMMIT] = {"commit", "COMMIT"},
    [POSTGRES_ROLLBACK] = {"rollback", "ROLLBACK"},
    [POSTGRES_INSERT_RECORD] = {"insert_record",
                                "INSERT INTO record VALUES ($1::text, $2::bigint + 1, $3::bytea)"
                                " ON CONFLICT DO NOTHING"},
    [POSTGRES_UPDATE_RECORD] = {"update_record",
                                "UPDATE record SET version = $2::bigint + 1, bytes = $3::bytea"
                                " WHERE name = $1::text AND version = $2::bigint"},
    [POSTGRES_REMOVE_RECORD] = {"remove_record", "DELETE FROM record WHERE name = $1::text"
                                                 " AND version = $2::bigint"},
    [POSTGRES_INSERT_OBJECT] = {"insert_object",
                                "INSERT INTO object (id, version, attributes, value, turn) VALUES"
                                " ($1::bytea, $2::bigint + 1, $3::bytea, $4::bytea, " TURN ")"
                                " ON CONFLICT DO NOTHING"},
    [POSTGRES_UPDATE_OBJECT] = {"update_object",
                                "UPDATE object SET version = $2::bigint + 1,"
                                " attributes = $3::bytea, value = $4::bytea,"
                                " turn = " TURN " WHERE id = $1::bytea AND version = $2::bigint"},
    [POSTGRES_UPDATE_VALUE] = {"update_value", "UPDATE object SET value = $3::bytea, turn = " TURN
                                               " WHERE id = $1::bytea AND version = $2::bigint"},
    [POSTGRES_REMOVE_OBJECT] = {"remove_object",
                                "WITH gone AS (DELETE FROM object WHERE id = $1::bytea"
                                " AND version = $2::bigint RETURNING id)"
                                " INSERT INTO removed (id, turn) SELECT id, " TURN " FROM gone"
                                " ON CONFLICT (id) DO UPDATE SET turn = excluded.turn"},
    /* One row, as of every change. */
    [POSTGRES_FORGET_REMOVED] = {"forget_removed", "WITH old AS (DELETE FROM removed WHERE turn > 0"
                                                   " AND turn <= " TURN_KEPT " RETURNING id)"
                                                   " SELECT count(*) FROM old"},
    [POSTGRES_CLEAR_RECORDS] = {"clear_records", "DELETE FROM record"},
    [POSTGRES_CLEAR_OBJECTS] = {"clear_objects", "DELETE FROM object"},
    [POSTGRES_CLEAR_REMOVED] = {"clear_removed", "DELETE FROM removed"},
    /* So far that no look goes on from before. */
    [POSTGRES_LEAP] = {"leap",
                       "UPDATE store SET changes = changes + " POSTGRES_TEXT(STORE_TURNS_KEPT)},
};

/* An answer or an error within half a minute; nobody keeps the turn who does nothing with it; a
 * commit is on the server's disk. What the role's own settings say of anything else stands. */
static const struct postgres_statement set_up = {
    .sql = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, \"' || $1::text ||"
           " '\", pg_temp', false),"
           " pg_catalog.set_config('statement_timeout', '30s', false),"
           " pg_catalog.set_config('lock_timeout', '20s', false),"
           " pg_catalog.set_config('idle_in_transaction_session_timeout', '30s', false),"
           " pg_catalog.set_config('row_security', 'off', false),"
           " pg_catalog.set_config('jit', 'off', false),"
           " pg_catalog.set_config('synchronous_commit', CASE"
           " WHEN pg_catalog.current_setting('synchronous_commit') = 'off' THEN 'on'"
           " ELSE pg_catalog.current_setting('synchronous_commit') END, false)"};

#define RIGHTS                                                                                     \
    "give its role the rights that conf/postgresql.sql gives, or let the owner run that file"

static const struct {
    const char *state; /* its beginning; the first that fits */
    enum indexkey_cause cause;
    const char *text;
} remedies[] = {
    {"42501", INDEXKEY_CAUSE_STORE, RIGHTS},
    {"53100", INDEXKEY_CAUSE_STORE_FULL, "nothing was changed: free space at the server"},
    {"53300", INDEXKEY_CAUSE_STORE, "raise max_connections, or the role's CONNECTION LIMIT"},
    {"55P03", INDEXKEY_CAUSE_STORE,
     "another process keeps its turn: look for it in "
     "pg_stat_activity, then try again"},
    {"57014", INDEXKEY_CAUSE_STORE, "the server took too long: look at its load and its locks"},
    {"XX", INDEXKEY_CAUSE_STORE, "damaged: restore the schema from a backup"},
    {"", INDEXKEY_CAUSE_STORE, "look at the server's log"},
};

CK_RV postgres_session_fail(struct postgres_session *session, CK_RV rv, const char *doing)
{
    const struct postgres_link *link = &session->link;
    const char *name = session->place->name;
    if (rv == POSTGRES_LOST) {
        (void) FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store %s: %s: %s; the server is away or the network: try again", name,
                          doing, link->why);
        postgres_session_close(session);
        return cause_rv(INDEXKEY_CAUSE_STORE);
    }
    if (rv != POSTGRES_REFUSED)
        return rv;
    if (link->state[0] == '\0')
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store %s: %s: %s; correct the URI, the role or pg_hba.conf", name, doing,
                          link->why);
    size_t i = 0;
    while (strncmp(remedies[i].state, link->state, strlen(remedies[i].state)) != 0)
        i++;
    return FAIL_CAUSE(remedies[i].cause, "store %s: %s: %s (SQLSTATE %s); %s", name, doing,
                      link->why, link->state, remedies[i].text);
}

void postgres_session_close(struct postgres_session *session)
{
    postgres_link_close(&session->link);
    session->ready = false;
}

#define PAUSE_FIRST_MS 10
#define PAUSE_MAX_MS 400
#define REDIAL_MS 100

bool postgres_patience_left(struct postgres_patience *patience)
{
    int64_t now_ms = clock_boot_ms();
    if (patience->end_ms == 0)
        *patience = (struct postgres_patience){now_ms + POSTGRES_PATIENCE_MS, PAUSE_FIRST_MS};
    return now_ms < patience->end_ms;
}

void postgres_patience_pause(struct postgres_patience *patience)
{
    (void) nanosleep(&(struct timespec){.tv_nsec = patience->pause_ms * CLOCK_NS_PER_MS}, NULL);
    if (2 * patience->pause_ms <= PAUSE_MAX_MS)
        patience->pause_ms *= 2;
}

static CK_RV connect_to(struct postgres_session *session)
{
    struct postgres_link *link = &session->link;
    struct postgres_params params = {0};
    const struct postgres_collecting collecting = {.silence_ms = POSTGRES_SILENCE_MS};
    /* Threads that wait for this one's try do not all make one of their own. */
    if (session->undialled_ms != 0 && clock_boot_ms() - session->undialled_ms < REDIAL_MS)
        return POSTGRES_LOST;
    CK_RV rv = postgres_link_connect(link, session->rest);
    session->undialled_ms = rv == CKR_OK ? 0 : clock_boot_ms();
    TRY(rv);
    postgres_add_bytes(&params, view_text(session->place->schema));
    TRY(postgres_link_send(link, &set_up, &params));
    return postgres_link_collect(link, &collecting);
}

/* STORE_ABSENT, or logged, too. */
static CK_RV look_at_tables(struct postgres_session *session, bool create)
{
    const struct postgres_place *place = session->place;
    uint64_t version = 0;
    TRY(postgres_schema_read(&session->link, place->schema, &version));
    if (version > POSTGRES_SCHEMA_VERSION)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "store %s: written by a newer version of this module (schema %llu; this "
                          "one knows %d): update the module",
                          place->name, (unsigned long long) version, POSTGRES_SCHEMA_VERSION);
    if (version == POSTGRES_SCHEMA_VERSION)
        return CKR_OK;
    if (version == 0 && !create)
        return STORE_ABSENT;
    CK_RV rv = postgres_schema_upgrade(&session->link, place->schema);
    if (rv != POSTGRES_REFUSED || strcmp(session->link.state, "42501") != 0)
        return rv;
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "store %s: %s (%s): let the owner run conf/postgresql.sql", place->name,
                      version == 0 ? "its schema or tables are missing, and its role may not make "
                                     "them"
                                   : "its tables are of an older version, and its role may not "
                                     "change them",
                      session->link.why);
}

static CK_RV prepare(struct postgres_session *session)
{
    struct postgres_link *link = &session->link;
    char listen[32 + POSTGRES_SCHEMA_MAX];
    const struct postgres_collecting collecting = {.silence_ms = POSTGRES_SILENCE_MS};
    for (size_t i = 0; i < POSTGRES_WORK_COUNT; i++)
        TRY(postgres_link_prepare(link, &postgres_statements[i]));
    (void) snprintf(listen, sizeof(listen), "LISTEN \"" POSTGRES_CHANNEL "%s\"",
                    session->place->schema);
    if (session->listens)
        TRY(postgres_link_send(link, &(struct postgres_statement){.sql = listen}, NULL));
    return postgres_link_collect(link, &collecting);
}

static CK_RV make_ready(struct postgres_session *session, bool create)
{
    if (session->link.conn == NULL)
        TRY(connect_to(session));
    TRY(look_at_tables(session, create));
    TRY(prepare(session));
    session->ready = true;
    return CKR_OK;
}

CK_RV postgres_session_open(struct postgres_session *session, bool create)
{
    if (session->ready)
        return CKR_OK;
    CK_RV rv = make_ready(session, create);
    if (rv == CKR_OK || rv == STORE_ABSENT)
        return rv;
    rv = rv == POSTGRES_LOST ? rv : postgres_session_fail(session, rv, "connecting");
    postgres_session_close(session);
    return rv;
}
