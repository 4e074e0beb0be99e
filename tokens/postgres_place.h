/*
 * Where a PostgreSQL store is: the URI of `store = postgresql://…`, read once, with what this
 * module adds to it. libpq's environment, password file and service file fill what the URI leaves
 * open.
 */
#pragma once

#include <libpq-fe.h>

#include "base/rv.h"

/* The channel's name is the schema's with a prefix, and PostgreSQL cuts names at 63 bytes. */
#define POSTGRES_SCHEMA_MAX 48
#define POSTGRES_PLACE_ADDED 16

struct postgres_place {
    char *name; /* for log lines: host, port, database and schema, without user or password */
    char schema[POSTGRES_SCHEMA_MAX + 1];
    PQconninfoOption *options; /* of the URI; the arrays point into it */
    const char **keywords;     /* as PQconnectdbParams takes them, ended by NULL */
    const char **values;
};

/* `rest` is what follows "postgresql:" or "postgres:". INDEXKEY_CAUSE_CONFIG, logged without the
 * URI, for one that libpq does not take, a bad schema, and a connection to another host that TLS
 * would not prove (sslmode below verify-full). Freed with postgres_place_free. */
CK_RV postgres_place_new(const char *rest, struct postgres_place **ret_place);
/* Sets NULL. */
void postgres_place_free(struct postgres_place **place);
