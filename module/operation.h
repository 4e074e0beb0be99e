/*
 * An active operation of a session, and what its mechanism left behind for the next one.
 *
 * A session has one struct operation for each kind. It keeps the mechanism's state (a keyed cipher
 * or MAC context) and its reference to the key after the operation ends: a C_EncryptInit with the
 * same key and mechanism only sets the IV. operation_forget wipes both: at logout, lease end,
 * destroy, close, and for keys whose contexts must never be kept.
 *
 * Everything here runs under the session's lock.
 */
#pragma once

#include <stdbool.h>

#include "module/gcm_counts.h"
#include "module/mechanism.h"
#include "module/object.h"
#include "tokens/audit.h"

enum operation_kind {
    OPERATION_ENCRYPT,
    OPERATION_DECRYPT,
    OPERATION_DIGEST,
    OPERATION_SIGN,
    OPERATION_VERIFY,
    OPERATION_MESSAGE_ENCRYPT,
    OPERATION_MESSAGE_DECRYPT,
    OPERATION_MESSAGE_SIGN,
    OPERATION_MESSAGE_VERIFY,
    OPERATION_VERIFY_SIGNATURE, /* the signature came with the init */
    OPERATION_KINDS
};

enum operation_phase {
    PHASE_IDLE,    /* no operation; state and key may be kept for the next */
    PHASE_STARTED, /* C_*Init has happened */
    PHASE_PARTS,   /* and at least one C_*Update: single-part calls are over; for a message
                    * operation a message is begun (C_*MessageBegin) */
};

struct operation {
    enum operation_kind kind;
    enum operation_phase phase;
    const struct mechanism *mechanism; /* of the active or the kept operation; NULL: none */
    struct object *key;                /* referenced; NULL for digests */
    void *state;                       /* the mechanism's own, freed by its free_state */
    struct gcm_share share;            /* of the key's AES-GCM invocations */
    struct audit_share uses;           /* of the key's counted uses */
};

/* Ends the operation but keeps key and context (after success or failure alike). */
void operation_end(struct operation *operation);
/* Ends it and wipes everything. */
void operation_forget(struct operation *operation);
