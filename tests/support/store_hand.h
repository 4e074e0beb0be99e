/*
 * A stranger's hand in a token's store, of any kind: through the store's own interface, which asks
 * for no key. Rows get any id, version and bytes, and a whole store goes back to an older copy.
 *
 * In PostgreSQL it is the administrator's, by SQL in the schema of postgres_fixture.h: no change is
 * counted and nobody is notified of it, and a copy of the whole store is one of its tables, with
 * the count of changes as it was.
 */
#pragma once

#include "tokens/store.h"

struct hand_row {
    struct object_id id;
    uint64_t version;
    struct blob attributes;
    struct blob value;
};

struct hand_record {
    char name[STORE_NAME_MAX + 1];
    struct blob bytes;
};

#define HAND_RECORDS 4

/* A whole store at one moment. */
struct hand_copy {
    struct hand_record records[HAND_RECORDS];
    struct hand_row *rows;
    size_t row_count;
    unsigned int tables; /* PostgreSQL: the number of the schema that has the tables; or 0 */
};

/* Freed with hand_copy_clear. */
void hand_take(struct store *store, struct hand_copy *ret_copy);
void hand_copy_clear(struct hand_copy *copy);
/* Every record and row as it was then; the versions of the records begin anew. */
void hand_put_back(struct store *store, const struct hand_copy *copy);

/* The row is there with exactly this version and these bytes afterwards, whatever was there. */
void hand_put_row(struct store *store, const struct object_id *id, uint64_t version,
                  struct view attributes, struct view value);
void hand_remove_row(struct store *store, const struct object_id *id);
