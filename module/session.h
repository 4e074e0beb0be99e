/*
 * Sessions: cells of a table that is never freed, so that a handle leads to its cell without a
 * shared lock or count; the cell's own lock then tells whether the handle is alive.
 *
 * A C_* function on the data path runs between session_enter and session_leave, which hold that
 * lock, so two threads on two sessions share nothing that is written. Functions that manage
 * objects, or wait for a source or a store, take a struct session_view instead and hold no session
 * lock.
 */
#pragma once

#include <pthread.h>

#include "module/object_search.h"
#include "module/operation.h"
#include "module/saved_states.h"
#include "module/slot.h"

#define SIGNATURE_LEN_MAX 64

struct session {
    pthread_mutex_t lock;
    CK_SESSION_HANDLE handle; /* 0: the cell is free */
    struct slot *slot;
    CK_FLAGS flags;
    CK_ULONG device_error; /* the cause of the last failure (indexkey.h) */
    struct operation operations[OPERATION_KINDS];
    unsigned char signature[SIGNATURE_LEN_MAX]; /* of C_VerifySignatureInit */
    struct saved_states *saved;                 /* of C_GetOperationState; NULL: none */
    bool searching;
    struct search search;
    struct session *next; /* of the slot's list; guarded by slot->lock */
    struct session *previous;
    uint32_t serial;
    uint32_t place;
    uint32_t next_free;
};

/* The data path: checks the library and the handle, lets lease and view fall due, and takes the
 * session's lock. CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID; CKR_FUNCTION_FAILED
 * from inside a source's library while a lease is due (module.h). */
CK_RV session_enter(CK_SESSION_HANDLE handle, struct session **ret_session);
/* The same without lease and view, for what needs no key and follows a call that has looked. */
CK_RV session_enter_keyless(CK_SESSION_HANDLE handle, struct session **ret_session);
/* Lets the lock go while `wait` runs, which may take long; then lease and view fall due as on
 * entry. CKR_SESSION_HANDLE_INVALID when the session was closed meanwhile. */
CK_RV session_wait(struct session *session, CK_RV (*wait)(void *context), void *context);
/* A call has failed: its cause becomes the session's device_error. */
_long_way_ void session_note_failure_locked(struct session *session, CK_RV rv);
/* Releases it. A failure leaves its cause in the session's device_error. Returns `rv`. */
static inline CK_RV session_leave(struct session *session, CK_RV rv)
{
    if (rv != CKR_OK)
        session_note_failure_locked(session, rv);
    pthread_mutex_unlock(&session->lock);
    return rv;
}

/* What a function needs to know of a session without holding its lock. C_Finalize waits for the
 * leave. */
struct session_view {
    CK_SESSION_HANDLE handle;
    struct slot *slot;
    CK_FLAGS flags;
    enum slot_role role;
};

/* As session_enter, without the lock. */
CK_RV session_look(CK_SESSION_HANDLE handle, struct session_view *ret_view);
/* Ends it; stores the cause of a failure in the session, if it is still there. Returns `rv`. */
CK_RV session_look_end(const struct session_view *view, CK_RV rv);

/* Takes the session's lock. */
bool session_is_open(CK_SESSION_HANDLE handle);

CK_RV session_open(struct slot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *ret_handle);
/* The last session's close logs out (PKCS #11 5.6.2). */
CK_RV session_close(CK_SESSION_HANDLE handle);
void session_close_all(struct slot *slot);

/* CKS_ of C_GetSessionInfo. */
CK_STATE session_state(CK_FLAGS flags, enum slot_role role);

/* In the child of a fork: wipes what the parent's sessions have kept on the heap and empties the
 * table. */
void sessions_abandon(void);
