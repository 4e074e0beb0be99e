/*
 * How an operation begins and how its callers find it: what C_EncryptInit, C_DecryptInit,
 * C_SignInit, C_VerifyInit and the four C_Message*Init have in common.
 */
#pragma once

#include "module/iv_counters.h"
#include "module/session.h"

/* What an operation of this kind does with its key. Not for digests. */
enum attribute_flag operation_usage(enum operation_kind kind);

/* Sets mechanism and key of the operation: kept ones when they are the same, else looked up and
 * checked (key_use.h). `start` then begins the message. CKR_OPERATION_ACTIVE; a NULL mechanism
 * cancels (PKCS #11 5.8.1) and gives CKR_OK with the operation idle. */
CK_RV operation_begin(struct session *session, enum operation_kind kind,
                      const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);

/* The same from the outside: the whole of C_EncryptInit and its like. */
CK_RV operation_init(CK_SESSION_HANDLE handle, enum operation_kind kind,
                     const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);

/* The active operation of this kind: CKR_OPERATION_NOT_INITIALIZED when there is none, and when
 * `single` and parts have been given already (which ends it). */
static inline CK_RV operation_active(struct session *session, enum operation_kind kind, bool single,
                                     struct operation **ret_operation)
{
    struct operation *operation = &session->operations[kind];

    if (operation->phase == PHASE_IDLE)
        return CKR_OPERATION_NOT_INITIALIZED;
    if (single && operation->phase == PHASE_PARTS) {
        operation_end(operation);
        return CKR_OPERATION_NOT_INITIALIZED;
    }
    *ret_operation = operation;
    return CKR_OK;
}

/* The active operation of a message kind. It may go on for long: between messages, a key that was
 * changed since or has times is looked up and checked again; one that is gone, or may no longer be
 * used so, ends the operation (CKR_OPERATION_NOT_INITIALIZED). */
CK_RV operation_active_message(struct session *session, enum operation_kind kind,
                               struct operation **ret_operation);

/* Fills it without the session's lock, then the message is begun anew. A failure leaves the
 * operation alone, which is no longer the caller's: CKR_OPERATION_NOT_INITIALIZED when it is
 * another one by now, or its key has gone. */
_long_way_ CK_RV operation_await_ivs(struct session *session, struct operation *operation,
                                     struct iv_filling *filling);

/* Any result but success of a part, a size query or CKR_BUFFER_TOO_SMALL ends the operation. */
static inline CK_RV operation_result(struct operation *operation, CK_RV rv, bool finished)
{
    if (finished || (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL))
        operation_end(operation);
    return rv;
}
