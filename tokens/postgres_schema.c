#include "tokens/postgres_schema.h"

#include <stdio.h>
#include <string.h>

#include "tokens/stores.h"

#define STEP_MAX 8

/* upgrades[v] leads from version v to v + 1; a schema that is being made has version 0 until the
 * last of them. conf/postgresql.sql makes the same by hand. */
static const char *const upgrades[POSTGRES_SCHEMA_VERSION][STEP_MAX] = {
    {
        "CREATE TABLE store (one boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one),"
        " version integer NOT NULL, changes bigint NOT NULL)",
        "CREATE TABLE record (name text COLLATE \"C\" NOT NULL PRIMARY KEY"
        " CHECK (octet_length(name) BETWEEN 1 AND 16),"
        " version bigint NOT NULL CHECK (version > 0),"
        " bytes bytea NOT NULL CHECK (octet_length(bytes) <= 1048576))",
        "CREATE TABLE object (id bytea NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),"
        " version bigint NOT NULL CHECK (version > 0),"
        " attributes bytea NOT NULL CHECK (octet_length(attributes) <= 1048576),"
        " value bytea NOT NULL CHECK (octet_length(value) <= 1048576))",
        "CREATE TABLE recent (slot integer NOT NULL PRIMARY KEY"
        " CHECK (slot >= 0 AND slot < " POSTGRES_RECENT "),"
        " id bytea NOT NULL CHECK (octet_length(id) = 16))",
        "INSERT INTO store (version, changes) VALUES (0, 0)",
    },
    {
        /* First, because who may not do it has then kept nobody from anything. */
        "CREATE TABLE removed (id bytea NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),"
        " turn bigint NOT NULL)",
        "CREATE INDEX removed_turn ON removed (turn)",
        /* The turn, before the lock of a table that somebody in his turn may wait for. What has
         * been removed so far is not known: no look goes on from then. */
        "UPDATE store SET changes = changes + " POSTGRES_TEXT(
            STORE_TURNS_KEPT) " + 1"
                              " WHERE version = 1",
        "ALTER TABLE object ADD COLUMN turn bigint NOT NULL DEFAULT 0",
        "CREATE INDEX object_turn ON object (turn)",
    },
};

/* The catalogue may be read by everybody, even where the schema may not be used. */
static const struct postgres_statement look = {
    .sql = "SELECT (SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1::name),"
           " (SELECT count(*) FROM pg_catalog.pg_class c"
           " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
           " WHERE n.nspname = $1::name AND c.relname = 'store' AND c.relkind = 'r')"};
static const struct postgres_statement read_version = {.sql = "SELECT version::bigint FROM store"};
/* "IKEY" */
static const struct postgres_statement take_turn = {
    .sql = "SELECT pg_catalog.pg_advisory_xact_lock(1229669721, pg_catalog.hashtext($1::text))"};
/* New tables go into the first schema of the path. */
static const struct postgres_statement lead_to = {
    .sql = "SELECT pg_catalog.set_config('search_path', '\"' || $1::text || '\", pg_catalog, "
           "pg_temp', true)"};

static CK_RV run(struct postgres_link *link, const struct postgres_statement *statement,
                 const struct postgres_params *params)
{
    const struct postgres_collecting collecting = {.silence_ms = POSTGRES_TURN_MS};
    TRY(postgres_link_send(link, statement, params));
    return postgres_link_collect(link, &collecting);
}

static CK_RV run_sql(struct postgres_link *link, const char *sql)
{
    return run(link, &(struct postgres_statement){.sql = sql}, NULL);
}

static CK_RV malformed(struct postgres_link *link)
{
    (void) snprintf(link->why, sizeof(link->why),
                    "its table \"store\" has not the row that it has "
                    "in a store");
    memcpy(link->state, "XX001", sizeof(link->state));
    return POSTGRES_REFUSED;
}

/* `*ret_schemas`: 0 or 1. */
static CK_RV look_for(struct postgres_link *link, const char *schema, uint64_t *ret_schemas,
                      uint64_t *ret_version)
{
    struct postgres_params params = {0};
    _cleanup_(postgres_result_clear) PGresult *found = NULL;
    _cleanup_(postgres_result_clear) PGresult *row = NULL;
    uint64_t tables = 0;
    postgres_add_bytes(&params, view_text(schema));
    TRY(postgres_link_ask(link, &look, &params, &found));
    if (!postgres_number(found, 0, 0, ret_schemas) || !postgres_number(found, 0, 1, &tables))
        return malformed(link);
    *ret_version = 0;
    if (tables == 0)
        return CKR_OK;
    TRY(postgres_link_ask(link, &read_version, NULL, &row));
    if (PQntuples(row) != 1 || !postgres_number(row, 0, 0, ret_version) || *ret_version == 0)
        return malformed(link);
    return CKR_OK;
}

CK_RV postgres_schema_read(struct postgres_link *link, const char *schema, uint64_t *ret_version)
{
    uint64_t schemas;
    return look_for(link, schema, &schemas, ret_version);
}

/* In a transaction, with nobody else at it. */
static CK_RV upgrade_locked(struct postgres_link *link, const char *schema)
{
    char sql[96];
    struct postgres_params params = {0};
    uint64_t schemas = 0;
    uint64_t version = 0;
    postgres_add_bytes(&params, view_text(schema));
    TRY(run(link, &take_turn, &params));
    TRY(look_for(link, schema, &schemas, &version));
    (void) snprintf(sql, sizeof(sql), "CREATE SCHEMA \"%s\"", schema);
    if (schemas == 0)
        TRY(run_sql(link, sql));
    TRY(run(link, &lead_to, &params));
    if (version >= POSTGRES_SCHEMA_VERSION)
        return CKR_OK;
    for (; version < POSTGRES_SCHEMA_VERSION; version++) {
        for (size_t i = 0; i < STEP_MAX && upgrades[version][i] != NULL; i++)
            TRY(run_sql(link, upgrades[version][i]));
    }
    (void) snprintf(sql, sizeof(sql), "UPDATE store SET version = %d", POSTGRES_SCHEMA_VERSION);
    return run_sql(link, sql);
}

CK_RV postgres_schema_upgrade(struct postgres_link *link, const char *schema)
{
    TRY(run_sql(link, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"));
    CK_RV rv = upgrade_locked(link, schema);
    if (rv == POSTGRES_LOST)
        return rv;
    if (rv != CKR_OK) {
        char state[sizeof(link->state)];
        memcpy(state, link->state, sizeof(state));
        TRY(run_sql(link, "ROLLBACK"));
        memcpy(link->state, state, sizeof(state));
        return rv;
    }
    return run_sql(link, "COMMIT");
}
