#include "tests/support/postgres_fixture.h"

#include <check.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"

static char schema[32];

bool postgres_fixture_is_here(void)
{
    return getenv("POSTGRES_SOCKET") != NULL;
}

void postgres_fixture_setup(void)
{
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    (void) snprintf(schema, sizeof(schema), "test_%ld", (long) getpid());
}

void postgres_fixture_teardown(void)
{
    postgres_fixture_sql("DROP SCHEMA IF EXISTS @ CASCADE");
    crypto_finish();
}

const char *postgres_fixture_schema(void)
{
    return schema;
}

void postgres_fixture_location(char location[POSTGRES_LOCATION_MAX], const char *more)
{
    int len = snprintf(location, POSTGRES_LOCATION_MAX,
                       "postgresql:///postgres?host=%s&port=%d&user=admin&schema=%s%s",
                       getenv("POSTGRES_SOCKET"), postgres_fixture_port(), schema, more);
    ck_assert_int_lt(len, POSTGRES_LOCATION_MAX);
}

const char *postgres_fixture_or(const char *store)
{
    static char location[POSTGRES_LOCATION_MAX];
    if (!postgres_fixture_is_here())
        return store;
    postgres_fixture_location(location, "");
    return location;
}

void postgres_fixture_tcp(char location[POSTGRES_LOCATION_MAX], const char *user, int port)
{
    int len = snprintf(location, POSTGRES_LOCATION_MAX,
                       "postgresql://%s:secret-word@127.0.0.1:%d/postgres?schema=%s", user,
                       port != 0 ? port : postgres_fixture_port(), schema);
    ck_assert_int_lt(len, POSTGRES_LOCATION_MAX);
}

int postgres_fixture_port(void)
{
    return atoi(getenv("POSTGRES_PORT"));
}

static char *fill_in(const char *sql)
{
    size_t room = (strlen(sql) + 1) * sizeof(schema);
    char *filled = calloc(room, 1);
    for (const char *at = sql; *at != '\0'; at++) {
        size_t len = strlen(filled);
        const char *part = *at == '@' ? schema : at;
        (void) snprintf(filled + len, room - len, "%.*s", *at == '@' ? (int) sizeof(schema) : 1,
                        part);
    }
    return filled;
}

char *postgres_fixture_text(const char *sql)
{
    char conninfo[256];
    (void) snprintf(conninfo, sizeof(conninfo), "host=%s port=%d user=admin dbname=postgres",
                    getenv("POSTGRES_SOCKET"), postgres_fixture_port());
    PGconn *conn = PQconnectdb(conninfo);
    ck_assert_msg(PQstatus(conn) == CONNECTION_OK, "%s", PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET client_min_messages = error"));
    char *filled = fill_in(sql);
    PGresult *result = PQexec(conn, filled);
    ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK, "%s: %s", filled,
                  PQerrorMessage(conn));
    char *text = strdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);
    free(filled);
    return text;
}

void postgres_fixture_sql(const char *sql)
{
    free(postgres_fixture_text(sql));
}

long postgres_fixture_number(const char *sql)
{
    char *text = postgres_fixture_text(sql);
    long number = strtol(text, NULL, 10);
    free(text);
    return number;
}

const char *postgres_fixture_role(void)
{
    static char role[48];
    (void) snprintf(role, sizeof(role), "role_%s", schema);
    return role;
}

void postgres_fixture_make_role(void)
{
    postgres_fixture_sql("CREATE ROLE role_@ LOGIN PASSWORD 'secret-word'");
    postgres_fixture_sql("REVOKE CREATE ON DATABASE postgres FROM PUBLIC");
}

void postgres_fixture_drop_role(void)
{
    postgres_fixture_sql("DROP OWNED BY role_@");
    postgres_fixture_sql("DROP ROLE role_@");
}

void postgres_fixture_run_script(const char *script, const char *role)
{
    char command[512];
    int len = snprintf(command, sizeof(command),
                       "%s -X -q -h %s -p %d -U admin -d postgres -v schema=%s -v role=%s -f '%s'",
                       getenv("POSTGRES_PSQL"), getenv("POSTGRES_SOCKET"), postgres_fixture_port(),
                       schema, role, script);
    ck_assert_int_lt(len, (int) sizeof(command));
    ck_assert_int_eq(system(command), 0);
}

char *postgres_fixture_describe(void)
{
    return postgres_fixture_text(
        "SELECT string_agg(line, E'\\n' ORDER BY line) FROM ("
        " SELECT concat_ws(' ', c.relname, c.relkind, a.attname, format_type(atttypid, atttypmod),"
        "  attnotnull, attcollation, pg_get_expr(d.adbin, d.adrelid)) AS line"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE relnamespace = '@'::regnamespace"
        " UNION ALL SELECT concat_ws(' ', conrelid::regclass::text, conname,"
        "  pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = '@'::regnamespace"
        " UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = '@'"
        " UNION ALL SELECT 'version ' || version FROM @.store) lines");
}
