/*
 * For tests on a PostgreSQL server: tests/servers/postgres.sh run TEST. Each test has a schema of
 * its own, and its administrator's hand.
 */
#pragma once

#include <stdbool.h>

#define POSTGRES_LOCATION_MAX 512

/* The environment names a server. */
bool postgres_fixture_is_here(void);
/* A name for the schema, which is not there yet. */
void postgres_fixture_setup(void);
/* The schema goes, and what hangs on it. */
void postgres_fixture_teardown(void);

const char *postgres_fixture_schema(void);
/* The store as the administrator, by the socket; `more` is added to the URI ("&user=x"). */
void postgres_fixture_location(char location[POSTGRES_LOCATION_MAX], const char *more);
/* That store, or the one given where no server is; valid until the next call. */
const char *postgres_fixture_or(const char *store);
/* As a role, by TCP at this port (0: the server's own). */
void postgres_fixture_tcp(char location[POSTGRES_LOCATION_MAX], const char *user, int port);
int postgres_fixture_port(void);

/* A role with the password "secret-word" that may do nothing, for one test. */
void postgres_fixture_make_role(void);
void postgres_fixture_drop_role(void);
/* "role_" and the schema's name: role_@ in SQL. */
const char *postgres_fixture_role(void);

/* conf/postgresql.sql, by psql, for that role. */
void postgres_fixture_run_script(const char *script, const char *role);
/* Columns, defaults, constraints, indexes and version of the tables, in words; freed with free. */
char *postgres_fixture_describe(void);

/* As the administrator, with each @ replaced by the schema's name; fails the test. */
void postgres_fixture_sql(const char *sql);
/* The number in the first column of the first row. */
long postgres_fixture_number(const char *sql);
/* The text there; freed with free. */
char *postgres_fixture_text(const char *sql);
