/*
 * The anchor: a token's generation kept outside its store (`anchor = file:PATH`), so that a store
 * that was put back to an older copy is noticed.
 *
 * The store commits first, then the anchor follows: an honest store is never older than its
 * anchor. Who compares them reads the anchor first. The file has an entry or several, each with a
 * MAC under a key below the token key; only the one that verifies counts, and it never goes back
 * but by anchor_accept. docs/formats.md has every byte.
 *
 * Any thread, any number of processes of one host: the file is locked while it is replaced.
 * Failures are logged once and carry a cause.
 */
#pragma once

#include <stdbool.h>

#include "base/crypto.h"
#include "tokens/derive.h"

struct anchor;

/* What `anchor =` may be: NULL, or what is wanted instead. */
const char *anchor_check_location(const char *location);
/* `store` is the store's location, which must be another file. No look at the disk.
 * INDEXKEY_CAUSE_CONFIG. Freed with anchor_free. */
CK_RV anchor_new(const char *token, const char *location, const char *store,
                 struct anchor **ret_anchor);
void anchor_free(struct anchor **anchor);
/* For messages. */
const char *anchor_path(const struct anchor *anchor);

/* A copy of its own: the file is waited for, and no keyring is held meanwhile. */
struct anchor_key {
    unsigned char serial[SERIAL_LEN];
    struct secret key;
};

/* Freed with anchor_key_clear. */
CK_RV anchor_key_make(const struct secret *token_key, const unsigned char serial[SERIAL_LEN],
                      struct anchor_key *ret_key);
void anchor_key_clear(struct anchor_key *key);

#define ANCHOR_ID_LEN 16

/* Of the entry that verifies. The id is a new one with each anchor_admit and anchor_accept: what
 * was counted under another one may have been counted in a store that is no more. */
struct anchor_state {
    uint64_t generation;
    unsigned char id[ANCHOR_ID_LEN];
    bool is_first; /* as found: else superseded ones stand before it */
};

/* What anchor_read, anchor_advance and anchor_settle return, not logged: STORE_ABSENT when there is
 * no file, CKR_ENCRYPTED_DATA_INVALID when no entry in it verifies. With the token key of the store
 * that is an alarm, which this logs: CKR_DEVICE_ERROR (TAMPERED). */
CK_RV anchor_fail_unproved(const struct anchor *anchor, CK_RV rv);

/* To be read before the store is. */
CK_RV anchor_read(const struct anchor *anchor, const struct anchor_key *key,
                  struct anchor_state *ret_state);

/* After a commit: the first entry is this one, or a newer one of that key. What stood before it
 * goes (it is superseded), what was admitted after it stays. The file must be there. */
CK_RV anchor_advance(struct anchor *anchor, const struct anchor_key *key, uint64_t generation);
/* True when the last anchor_advance failed: then nothing is to be committed before one succeeds. */
bool anchor_is_behind(const struct anchor *anchor);

/* Before a commit that changes the token key (the first of a serial included): an entry beside
 * those that are there, so that a kill on either side of the commit leaves one that counts. A full
 * file keeps its first: the present token key's is to stand there (anchor_settle). */
CK_RV anchor_admit(const struct anchor *anchor, const struct anchor_key *key, uint64_t generation);
/* After that commit: what stood before its entry goes. CKR_ENCRYPTED_DATA_INVALID when a newer
 * token key has taken its place by now, to which it is left. */
CK_RV anchor_settle(struct anchor *anchor, const struct anchor_key *key, uint64_t generation);
/* The only entry, whatever was there: on an administrator's word. */
CK_RV anchor_accept(struct anchor *anchor, const struct anchor_key *key, uint64_t generation);
