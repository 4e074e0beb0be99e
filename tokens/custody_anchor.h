/*
 * A token's generation: one more with every change of its objects and its roles, kept in the
 * summary, followed by the anchor, and remembered while somebody is logged in. What the custody_*.c
 * and sealed_*.c files share of it.
 *
 * Whoever commits such a change, within the turn of an `update`: custody_read_summary, then the new
 * summary in the same commit; custody_anchor_ready before the update, custody_generation_follow
 * after it. A commit that changes the token key or makes a token: custody_anchor_admit before it,
 * custody_anchor_settle after it.
 */
#pragma once

#include "tokens/anchor.h"
#include "tokens/sealed_internal.h"

/* A keyring for work without a login; freed with keyring_destroy, initialised by the caller.
 * CKR_ENCRYPTED_DATA_INVALID, not logged, when the keys record does not open. */
CK_RV custody_open_keyring(struct custody *custody, const unsigned char serial[SERIAL_LEN],
                           const struct secret *token_key, struct keyring *keyring);

/* The summary of a store that is not older than its anchor; CKR_DEVICE_ERROR, logged, when it is
 * or when the anchor cannot tell. CKR_ENCRYPTED_DATA_INVALID, not logged, when the record is
 * missing or does not open. */
CK_RV custody_read_summary(struct custody *custody, struct keyring *keyring,
                           struct stored_summary *ret_summary);

/* For a commit that leaves the objects alone: the summary with the next generation. */
struct generation_step {
    struct keyring *keyring;
    struct blob bytes; /* freed with blob_clear */
    uint64_t generation;
};

/* Within the turn. */
CK_RV custody_plan_generation(struct custody *custody, struct generation_step *step,
                              struct store_change *ret_change);

/* At login: the store is not older than its anchor, which then follows. STORE_CONFLICT, not logged,
 * when the token that was opened is no longer the store's. */
CK_RV custody_anchor_login(struct custody *custody);
/* An anchor that could not be written catches up first: at most one commit goes without it. */
CK_RV custody_anchor_ready(struct custody *custody, struct keyring *keyring);
/* After a commit, and when another's is seen. An anchor that cannot be written is logged. */
void custody_generation_follow(struct custody *custody, struct keyring *keyring,
                               uint64_t generation);

/* Around a commit that makes this token key the store's. */
CK_RV custody_anchor_admit(struct custody *custody, const unsigned char serial[SERIAL_LEN],
                           const struct secret *token_key, uint64_t generation);
void custody_anchor_settle(struct custody *custody, const unsigned char serial[SERIAL_LEN],
                           const struct secret *token_key, uint64_t generation);
