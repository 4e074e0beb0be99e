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

/* A value that no other call gets for this key. May ask the store, which reads all of its rows.
 * CKR_MECHANISM_PARAM_INVALID for another form than the key's first, and for a key that cannot have
 * a counter; CKR_KEY_EXHAUSTED when `bits` bits cannot hold it. */
CK_RV iv_counters_next(struct object *key, const struct iv_form *form, unsigned int bits,
                       uint64_t *ret_value);
