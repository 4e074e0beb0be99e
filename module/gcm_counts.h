/*
 * How often a key has encrypted with GCM, and its counter for IVs made by the token.
 *
 * Both belong to the key's value, not to an object or a session: copies of an object share them
 * (NIST SP 800-38D, 8 and 8.3).
 */
#pragma once

#include "module/object.h"

/* An operation's own share of invocations, taken in blocks, so that no shared atomic is touched at
 * each call. A fresh one is {0}; what is left of it when its owner goes counts as used. */
struct gcm_share {
    uint32_t left;
};

/* One invocation of GCM encryption with a random or caller-given IV under this key.
 * CKR_KEY_EXHAUSTED at 2^32. Called under the session's lock, before any output. */
CK_RV gcm_counts_take(struct object *key, struct gcm_share *share);

/* The next value of the key's invocation counter for CKG_GENERATE_COUNTER(_XOR), never given twice.
 * CKR_MECHANISM_PARAM_INVALID for keys without an anchored counter. CKR_KEY_EXHAUSTED when `bits`
 * bits are used up. */
CK_RV gcm_counts_next(struct object *key, unsigned int bits, uint64_t *ret_value);
