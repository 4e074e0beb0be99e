/*
 * The tables of a PostgreSQL store: whether they are there, which version they have, and the way to
 * the newest one (docs/formats-store.md).
 */
#pragma once

#include "tokens/postgres_link.h"

#define POSTGRES_SCHEMA_VERSION 2
/* How many of the last commits can be asked for; a power of two. */
#define POSTGRES_RECENT "65536"
#define POSTGRES_RECENT_COUNT 65536
/* A constant within a statement. */
#define POSTGRES_TEXT(constant) POSTGRES_TEXT_(constant)
#define POSTGRES_TEXT_(text) #text

/* `*ret_version` 0: there are none. POSTGRES_LOST, POSTGRES_REFUSED. */
CK_RV postgres_schema_read(struct postgres_link *link, const char *schema, uint64_t *ret_version);
/* Makes them, or brings them to the newest version: needs their owner's rights, or the right to
 * create a schema. */
CK_RV postgres_schema_upgrade(struct postgres_link *link, const char *schema);
