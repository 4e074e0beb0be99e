/*
 * What each row of a token adds to the sum of its summary, by the row's id: so that the sum follows
 * the rows that change, and no other is read for it. Nothing in it is secret.
 */
#pragma once

#include "tokens/store.h"
#include "tokens/summary.h"

struct row_mac {
    struct object_id id;
    unsigned char mac[SHA256_LEN];
    bool is_used;
};

/* Begins with zeros; freed with row_macs_clear. One owner at a time. */
struct row_macs {
    struct row_mac *slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t count;
    struct summary found; /* count and sum of what came, less what went */
};

void row_macs_clear(struct row_macs *macs);

/* In place of what the row had, if it is there. CKR_HOST_MEMORY: nothing has changed. */
CK_RV row_macs_put(struct row_macs *macs, const struct object_id *id,
                   const unsigned char mac[SHA256_LEN]);
/* A row that should not be there yet; one that is counts twice, in the sum. */
CK_RV row_macs_add(struct row_macs *macs, const struct object_id *id,
                   const unsigned char mac[SHA256_LEN]);
/* An unknown id is nothing. */
void row_macs_remove(struct row_macs *macs, const struct object_id *id);
