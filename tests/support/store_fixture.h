/*
 * For the tests of the stores: a folder of their own, short words for changes and expectations, and
 * the log lines that were written meanwhile.
 */
#pragma once

#include "tokens/store.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The stores that the suite runs over; the loop index of a test is an index here. */
extern const char *const store_fixture_kinds[];
/* The first of them in this run, and the one behind the last: PostgreSQL's alone where its server
 * runs (tests/servers/postgres.sh run), else the others. */
int store_fixture_first_kind(void);
int store_fixture_end_kind(void);

/* Checked fixture: a folder with mode 0700, empty log. The folder goes at the end. */
void store_fixture_setup(void);
void store_fixture_teardown(void);

const char *store_fixture_folder(void);
/* The database's path in the folder, and beside it with a suffix; valid until the next call. */
const char *store_fixture_path(const char *suffix);
/* A store of that kind (NULL: SQLite); for SQLite always the same file. */
struct store *store_fixture_open(const char *kind);

/* True when a log line since the last store_fixture_log_clear holds the words. */
bool store_fixture_log_has(const char *words);
void store_fixture_log_clear(void);

struct object_id id_of(unsigned int number);
struct store_change record_put(const char *name, uint64_t expected, const char *text);
struct store_change record_remove(const char *name, uint64_t expected);
struct store_change object_put(const struct object_id *id, uint64_t expected,
                               const char *attributes, const char *value);
struct store_change object_remove(const struct object_id *id, uint64_t expected);

CK_RV commit_one(struct store *store, struct store_change change);

/* Version 0: absent. */
void assert_record(struct store *store, const char *name, uint64_t version, const char *text);
void assert_object(struct store *store, const struct object_id *id, uint64_t version,
                   const char *attributes, const char *value);
size_t count_objects(struct store *store);
uint64_t changes_of(struct store *store);

/* For SQLite alone. */

/* A file with the record "token" ("a record") and 40 objects, closed. */
void make_database(void);
/* Another application's hands in our file. */
void run_sql(const char *sql);
/* A store of another path than the fixture's. */
struct store *open_at(const char *folder_path, const char *name);
/* A read and a commit both fail with `rv`, cause STORE, and a line that names path and remedy. */
void assert_refused(struct store *store, CK_RV rv, const char *remedy);
