/*
 * One writer's chain: makes lines and appends them. The caller holds the writer's lock.
 */
#pragma once

#include "tokens/audit.h"
#include "tokens/audit_file.h"
#include "tokens/audit_keys.h"
#include "tokens/audit_send.h"

/* How a line is signed. */
enum audit_seal {
    AUDIT_SEAL_NONE,
    AUDIT_SEAL_LOGIN,      /* by the token's audit key; names the first key of the login */
    AUDIT_SEAL_CHECKPOINT, /* by the current key; names the next one */
    AUDIT_SEAL_LAST,       /* by the current key; names none */
    AUDIT_SEAL_SUCCESSION, /* by the token's audit key; names the audit key that follows it */
};

struct audit_chain {
    const char *token;
    bool has_file;
    struct audit_file file;
    struct audit_send send;
    unsigned char writer[AUDIT_WRITER_LEN];
    uint64_t seq; /* of the next line; 0: the chain has not begun */
    unsigned char prev[AUDIT_HASH_LEN];
    struct audit_keys keys;
    unsigned int unsigned_count; /* lines since the last signature */
};

struct audit_entry {
    const struct audit_event *event;
    const uint64_t *uses; /* NULL: none */
    enum audit_seal seal;
    const struct secret *signer; /* of a succession: the audit key's seed */
    const unsigned char *successor;
};

/* Appends a line, before it a line "file" where the file is another one, behind it a checkpoint
 * where one is due. Not synced. A failure leaves the chain as it was. */
CK_RV audit_chain_add(struct audit_chain *chain, const struct audit_entry *entry);
