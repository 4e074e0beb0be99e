/*
 * How often a key has encrypted with AES-GCM. 2^32 is the end of it: beyond, random IVs begin to
 * meet (NIST SP 800-38D, 8.3).
 *
 * The count belongs to the key's value. For token keys, subkeys and what C_DeriveKey makes for a
 * purpose it is kept in the store, where all processes and all objects with that value share one
 * row (docs/formats.md); other session keys count in memory, together with their copies. A process
 * takes invocations out of the store in blocks, ahead of their use: the first block is small and
 * each further one doubles, so that a process that is killed has counted at most twice what it used
 * and never less. A session takes its share out of the block, so that two sessions touch nothing in
 * common per call.
 */
#pragma once

#include "base/rv.h"
#include "module/gcm_registry.h"
#include "module/object.h"

/* What an operation has taken for itself. Begins as zeros, ends with gcm_counts_give_back. */
struct gcm_share {
    struct gcm_count *count; /* referenced; NULL: nothing was taken yet */
    uint32_t left;
};

/* Finds the key's count, if the share has none yet: after that the key itself is not needed. */
CK_RV gcm_counts_bind(struct object *key, struct gcm_share *share);

/* Fills an empty share of a key of this slot, from the process's block or from the store, which may
 * take long: 5 s where other processes keep it busy. While another thread asks the store, CKR_OK
 * with the share still empty after 50 ms, so that the caller can look at his lease.
 * CKR_KEY_EXHAUSTED; CKR_DEVICE_ERROR when the store cannot take note. */
CK_RV gcm_counts_fill(const struct slot *slot, struct gcm_share *share);

/* The slow part of gcm_counts_take: waits until the share is filled. */
_long_way_ CK_RV gcm_counts_await(struct object *key, struct gcm_share *share);

/* One invocation of encryption under this key, before it happens. An empty share is filled on the
 * spot; who holds a session's lock has filled it before (operation_begin.c). */
static inline CK_RV gcm_counts_take(struct object *key, struct gcm_share *share)
{
    CK_RV rv = share->left > 0 ? CKR_OK : gcm_counts_await(key, share);

    if (rv == CKR_OK)
        share->left--;
    return rv;
}

/* What is left of it goes back to the process's block. */
void gcm_counts_give_back(struct gcm_share *share);

/* The key's, borrowed from its lineage; NULL for a key whose count is in memory. */
CK_RV gcm_counts_durable(struct object *key, struct gcm_count **ret_count);

/* In memory: a value for CKG_GENERATE_COUNTER and _XOR that no other call gets for this key, from 0
 * on. CKR_MECHANISM_PARAM_INVALID for a key whose counter would have to outlive the process:
 * without an anchor a restored store would give the same values again. CKR_KEY_EXHAUSTED when
 * `bits` bits cannot hold it. */
CK_RV gcm_counts_next(struct object *key, unsigned int bits, uint64_t *ret_value);
/* What such a key gets, and why in the log. */
CK_RV gcm_counts_refuse_counter(const struct slot *slot);

/* A token object that copies `source` is about to be made. */
CK_RV gcm_counts_copied(struct object *source);
/* A token object has gone from the store: so does the count that nobody shares. Best effort: a row
 * that stays does no harm. */
void gcm_counts_destroyed(struct object *object);

#ifdef INDEXKEY_TEST_HOOKS
/* In place of 2^32; 0 for that again. */
void gcm_counts_test_limit(uint64_t limit);
#endif
