/*
 * The keys of one writer's audit chain (docs/audit.md, "Keys").
 *
 * Under the token key: the audit MAC key A, and the token's audit key, Ed25519. A login takes from
 * them the MAC key of its own line and lets the token's audit key sign it; then both are wiped, and
 * what stays is the next line's MAC key and the next checkpoint's private key, each replaced once
 * it was used. Whoever reads this memory later cannot write what was written before. One user at a
 * time: the writer's lock is held.
 */
#pragma once

#include "base/crypto.h"
#include "tokens/audit_line.h"

struct audit_keys {
    /* From audit_keys_prepare to the login's line. */
    struct secret mac_base;
    struct secret root_seed;
    /* From the login's line to the login's end. */
    struct secret mac_key;
    struct secret seed;
};

CK_RV audit_keys_prepare(struct audit_keys *keys, const unsigned char *serial,
                         const struct secret *token_key);
/* Wipes everything. */
void audit_keys_wipe(struct audit_keys *keys);

static inline bool audit_keys_are_prepared(const struct audit_keys *keys)
{
    return keys->root_seed.len > 0;
}

static inline bool audit_keys_are_open(const struct audit_keys *keys)
{
    return keys->mac_key.len > 0;
}

/* The MAC key of the line `seq` that begins a login. */
CK_RV audit_keys_first_mac(const struct secret *mac_base,
                           const unsigned char writer[AUDIT_WRITER_LEN], uint64_t seq,
                           struct secret *ret_key);
/* The key after this one. */
CK_RV audit_keys_next_mac(const struct secret *key, struct secret *ret_key);
