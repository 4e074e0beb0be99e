/*
 * Verification of audit logs by whoever holds the token's audit public key: no token, no store and
 * no secret is needed. docs/audit.md says what is proved by what.
 *
 * Nothing here takes a lock or keeps state.
 */
#pragma once

#include <stdbool.h>

#include "base/crypto.h"

enum audit_found {
    /* The log is not as it was written. */
    AUDIT_DROPPED,
    AUDIT_INSERTED,
    AUDIT_REORDERED,
    AUDIT_TRUNCATED,
    AUDIT_EDITED,
    AUDIT_RESEALED, /* a signature or a MAC is wrong where the hashes fit */
    AUDIT_FORKED,
    /* Nothing wrong is proved. */
    AUDIT_TORN,     /* a line without its end, as a killed process leaves one */
    AUDIT_UNPROVED, /* could have been changed without a trace */
};

struct audit_finding {
    enum audit_found kind;
    const char *file;
    size_t line; /* from 1 */
    const char *text;
};

typedef void audit_finding_fn(void *context, const struct audit_finding *finding);

/* A file's name and its bytes. */
struct audit_input {
    const char *name;
    struct view text;
};

struct audit_verification {
    const struct audit_input *files; /* oldest first */
    size_t file_count;
    const unsigned char (*public_keys)[ED25519_PUBLIC_LEN]; /* of the token, older ones too */
    size_t public_key_count;
    /* Signed lines that were kept elsewhere; no text: none were. */
    struct audit_input head;
    /* audit_mac_key of the token key that public_keys[0] belongs to; NULL: no MAC is checked */
    const struct secret *mac_key;
    audit_finding_fn *found;
    void *context;
};

struct audit_verdict {
    size_t lines;
    size_t writers;
    size_t good_signatures;
    size_t wrong;    /* findings before AUDIT_TORN */
    size_t unproved; /* lines under no good signature */
};

/* "dropped", "unproved", … */
const char *audit_found_name(enum audit_found kind);

/* Tells each finding. CKR_HOST_MEMORY, or a failure of OpenSSL; what is wrong with the log is in
 * the verdict. */
CK_RV audit_verify(const struct audit_verification *verification,
                   struct audit_verdict *ret_verdict);
