/*
 * The summary of a token's objects: how many there are and a sum over them, so that a row that was
 * dropped, added or put back to an older version is noticed.
 *
 * The sum (mod 2^256, of seal_set_mac) changes by the rows that change, never by what is found in
 * the store: what was lost once stays visible.
 */
#pragma once

#include <stdbool.h>

#include "tokens/keyring.h"

struct summary {
    uint64_t generation; /* of the set of objects: one more with each change */
    uint64_t count;
    unsigned char sum[SHA256_LEN];
};

void summary_add(struct summary *summary, const unsigned char mac[SHA256_LEN]);
void summary_remove(struct summary *summary, const unsigned char mac[SHA256_LEN]);
/* Same count and sum; the generation is not compared. */
bool summary_same_set(const struct summary *a, const struct summary *b);
/* The number of the attribute key for a row that is sealed now: a new key every 2^30 changes, well
 * before 2^32 random IVs. */
uint32_t summary_attribute_key(const struct summary *summary);

/* The record's bytes. */
CK_RV summary_seal(struct keyring *held, const struct summary *summary, struct blob *ret_bytes);
/* CKR_ENCRYPTED_DATA_INVALID, not logged. */
CK_RV summary_open(struct keyring *held, struct view bytes, struct summary *ret_summary);
