/*
 * PKCS #11 5.6: C_GetOperationState and C_SetOperationState, for digests alone.
 *
 * A digest's state is saved inside the session (saved_states.h); the bytes that the application
 * gets name it, so they are good in this process, for as long as that session is open, and only in
 * a session of the same token and the same session state. This is what clone() of a Java
 * MessageDigest needs. All else is CKR_STATE_UNSAVEABLE: restoring a state of AES-CTR or AES-GCM
 * would use its key stream twice, and those of the other ciphers and the MACs cannot leave OpenSSL
 * nor be copied without their key.
 */
#include "module/api.h"

#include <string.h>

#include "module/saved_states.h"

/* What the application holds. */
struct saved_reference {
    CK_SESSION_HANDLE session;
    unsigned char name[SAVED_STATE_NAME_LEN];
};

/* CKR_OK: a digest is active, and nothing else. */
static CK_RV check_saveable(const struct session *session)
{
    bool is_digest_active = false;
    bool is_other_active = false;

    for (int kind = 0; kind < OPERATION_KINDS; kind++) {
        if (session->operations[kind].phase == PHASE_IDLE)
            continue;
        if (kind == OPERATION_DIGEST)
            is_digest_active = true;
        else
            is_other_active = true;
    }
    if (is_other_active)
        return CKR_STATE_UNSAVEABLE;
    return is_digest_active ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED;
}

static CK_RV save(struct session *session, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
    struct saved_reference reference = {.session = session->handle};
    CK_STATE state = session_state(session->flags, slot_role(session->slot));
    CK_RV rv;

    TRY(check_saveable(session));
    if (out_len == NULL)
        return CKR_ARGUMENTS_BAD;
    if (api_only_size(out, out_len, sizeof(reference), &rv))
        return rv;
    TRY(saved_states_add(&session->saved, &session->operations[OPERATION_DIGEST], state,
                         reference.name));
    memcpy(out, &reference, sizeof(reference));
    *out_len = sizeof(reference);
    return CKR_OK;
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
                          CK_ULONG_PTR pulOperationStateLen)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    return session_leave(session, save(session, pOperationState, pulOperationStateLen));
}

/* The saved operation, out of the session that has it; the caller holds no session's lock. */
static CK_RV fetch(const struct saved_reference *reference, const struct slot *slot, CK_STATE state,
                   struct operation *ret_operation)
{
    struct session *source;

    CK_RV rv = session_enter(reference->session, &source);
    if (rv != CKR_OK)
        return rv == CKR_SESSION_HANDLE_INVALID ? CKR_SAVED_STATE_INVALID : rv;
    rv = source->slot == slot
             ? saved_states_get(source->saved, state, reference->name, ret_operation)
             : CKR_SAVED_STATE_INVALID;
    (void) session_leave(source, CKR_OK); /* its ulDeviceError is not concerned */
    return rv;
}

/* Other operations end, as the standard has it. */
static void install(struct session *session, const struct operation *digest)
{
    for (int kind = 0; kind < OPERATION_KINDS; kind++)
        operation_end(&session->operations[kind]);
    search_end(&session->search);
    session->searching = false;
    operation_forget(&session->operations[OPERATION_DIGEST]);
    session->operations[OPERATION_DIGEST] = *digest;
}

static CK_RV restore(CK_SESSION_HANDLE handle, const struct saved_reference *reference,
                     bool key_given)
{
    struct session *session;
    struct operation digest;

    TRY(session_enter(handle, &session));
    const struct slot *slot = session->slot;
    CK_STATE state = session_state(session->flags, slot_role(slot));
    TRY(session_leave(session, CKR_OK));
    TRY(fetch(reference, slot, state, &digest));
    CK_RV rv = key_given ? CKR_KEY_NOT_NEEDED : session_enter(handle, &session);
    if (rv != CKR_OK) {
        operation_forget(&digest);
        return rv;
    }
    install(session, &digest);
    return session_leave(session, CKR_OK);
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
                          CK_ULONG ulOperationStateLen, CK_OBJECT_HANDLE hEncryptionKey,
                          CK_OBJECT_HANDLE hAuthenticationKey)
{
    /* No session has this handle. */
    struct saved_reference reference = {.session = CK_INVALID_HANDLE};
    struct session *session;

    if (pOperationState == NULL) {
        TRY(session_enter(hSession, &session));
        return session_leave(session, CKR_ARGUMENTS_BAD);
    }
    if (ulOperationStateLen == sizeof(reference))
        memcpy(&reference, pOperationState, sizeof(reference));
    return restore(hSession, &reference,
                   hEncryptionKey != CK_INVALID_HANDLE || hAuthenticationKey != CK_INVALID_HANDLE);
}
