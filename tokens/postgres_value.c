#include "tokens/postgres_value.h"

#include <string.h>

#include "tokens/store.h"

/* Of the catalogue pg_type; fixed since long. */
#define TYPE_BYTEA 17
#define TYPE_INT8 20
#define BINARY 1

void postgres_add_bytes(struct postgres_params *params, struct view bytes)
{
    /* A NULL pointer would be NULL, not an empty value. */
    params->values[params->count] = bytes.len > 0 ? (const char *) bytes.bytes : "";
    params->lengths[params->count] = (int) bytes.len;
    params->count++;
}

void postgres_add_number(struct postgres_params *params, uint64_t number)
{
    unsigned char *bytes = params->numbers[params->count];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char) (number >> (8 * (7 - i)));
    postgres_add_bytes(params, (struct view){bytes, 8});
}

static bool cell(const PGresult *result, int row, int column, Oid type)
{
    return row < PQntuples(result) && column < PQnfields(result) &&
           PQftype(result, column) == type && PQfformat(result, column) == BINARY &&
           !PQgetisnull(result, row, column) && PQgetlength(result, row, column) >= 0;
}

bool postgres_bytes(const PGresult *result, int row, int column, struct view *ret_bytes)
{
    if (!cell(result, row, column, TYPE_BYTEA))
        return false;
    size_t len = (size_t) PQgetlength(result, row, column);
    if (len > STORE_BLOB_MAX)
        return false;
    *ret_bytes = (struct view){(const unsigned char *) PQgetvalue(result, row, column), len};
    return true;
}

bool postgres_number(const PGresult *result, int row, int column, uint64_t *ret_number)
{
    if (!cell(result, row, column, TYPE_INT8) || PQgetlength(result, row, column) != 8)
        return false;
    const unsigned char *bytes = (const unsigned char *) PQgetvalue(result, row, column);
    struct reader reader = reader_of((struct view){bytes, 8});
    uint64_t number = read_u64(&reader);
    if (number > INT64_MAX)
        return false;
    *ret_number = number;
    return true;
}
