/*
 * What each row of a token adds to the sum of its summary, by the row's id: so that the sum follows
 * the rows that change, and no other is read for it.
 *
 * Of each MAC, as of the sum, the last 64 bits: 16 bytes a row. They are for telling whether what a
 * store says of changes can be true, not for finding out what is in it; whoever does not have the
 * key meets them by chance alone. Nothing here is secret.
 */
#pragma once

#include "tokens/store.h"
#include "tokens/summary.h"

struct row_mac {
    uint64_t id; /* of the row, folded; 0: the slot is free */
    uint64_t mac;
};

/* Begins with zeros; freed with row_macs_clear. One owner at a time. */
struct row_macs {
    struct row_mac *slots;
    size_t slot_count; /* a power of two, or 0 */
    uint64_t count;    /* of the rows */
    uint64_t sum;
};

void row_macs_clear(struct row_macs *macs);

/* In place of what the row had, if it is there. CKR_HOST_MEMORY: nothing has changed. */
CK_RV row_macs_put(struct row_macs *macs, const struct object_id *id,
                   const unsigned char mac[SHA256_LEN]);
/* An unknown id is nothing. */
void row_macs_remove(struct row_macs *macs, const struct object_id *id);
/* The rows can be those of the summary. */
bool row_macs_match(const struct row_macs *macs, const struct summary *summary);
