/*
 * Parameters and columns of PostgreSQL's statements, in its binary format: bytea, text, int8, int4.
 */
#pragma once

#include <libpq-fe.h>

#include "base/bytes.h"

#define POSTGRES_PARAMS_MAX 4

/* Points into itself and to what its maker lends: not to be copied. Begins as {0}. */
struct postgres_params {
    int count;
    const char *values[POSTGRES_PARAMS_MAX];
    int lengths[POSTGRES_PARAMS_MAX];
    unsigned char numbers[POSTGRES_PARAMS_MAX][8];
};

/* bytea or text; at most STORE_BLOB_MAX. */
void postgres_add_bytes(struct postgres_params *params, struct view bytes);
/* int8. */
void postgres_add_number(struct postgres_params *params, uint64_t number);

/* A server's word is not believed: false unless the column has that type and a value that fits,
 * which is at most STORE_BLOB_MAX bytes of bytea, or an int8 that is not negative. Views live as
 * long as the result. */
bool postgres_bytes(const PGresult *result, int row, int column, struct view *ret_bytes);
bool postgres_number(const PGresult *result, int row, int column, uint64_t *ret_number);
