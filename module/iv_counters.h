/*
 * Counters for the IVs that AES-GCM's message functions make (CKG_GENERATE_COUNTER, _XOR).
 *
 * A counter belongs to the key's value and keeps the form of its first IV. For session keys it is
 * in memory (key_ledger.h). For token keys, subkeys and what C_DeriveKey makes for a purpose it is
 * a row in the store (docs/formats.md), where a process takes values in blocks, ahead of their use:
 * what a killed process had taken is never given out again. That needs an anchor: the row is bound
 * to the anchor's id, and before each block the whole store is held against its summary and its
 * anchor. Without one, and once the anchor was accepted anew, a token key has no counter.
 */
#pragma once

#include "module/key_ledger.h"

/* Internal to module/: the store is to be asked for a block first. */
#define IV_COUNTERS_EMPTY ((CK_RV) (CKR_VENDOR_DEFINED | 0x1D0010UL))

/* The block that is to be asked for. Begins as zeros, ends with iv_filling_clear. */
struct iv_filling {
    const struct slot *slot;
    struct gcm_count *count; /* referenced */
    struct iv_form form;
    uint64_t least; /* what this process has given out in memory */
    uint64_t limit;
};

void iv_filling_clear(struct iv_filling *filling);

/* A value that no other call gets for this key. Never asks the store: IV_COUNTERS_EMPTY, not
 * logged, with what iv_counters_fill needs unless `filling` is NULL; after that the caller tries
 * again.
 * CKR_MECHANISM_PARAM_INVALID for another form than the key's first, and for a key that cannot have
 * a counter; CKR_KEY_EXHAUSTED when `bits` bits cannot hold it. */
CK_RV iv_counters_next(struct object *key, const struct iv_form *form, unsigned int bits,
                       struct iv_filling *filling, uint64_t *ret_value);

/* Asks the store, which reads all of its rows, and waits for other processes; under no lock. While
 * another thread asks, CKR_OK after a short while with nothing new. The same failures, and
 * CKR_DEVICE_ERROR when the store cannot take note. */
CK_RV iv_counters_fill(const struct iv_filling *filling);
