/*
 * PKCS #11 5.14, 5.16: signing and verification of many messages under one key, which are MACs
 * here and take no parameter for a message.
 *
 * In C_SignMessageNext and C_VerifyMessageNext a NULL pulSignatureLen, or pSignature, says that
 * more of the message follows.
 */
#include "module/api.h"

#include "module/mac_compute.h"
#include "module/operation_begin.h"

/* What a call gives and wants. */
struct mac_call {
    struct view parameter;
    struct view in;
    CK_BYTE_PTR signature;
    CK_ULONG_PTR signature_len; /* signing */
    CK_ULONG given_len;         /* verification */
};

typedef CK_RV mac_step(struct operation *operation, const struct mac_call *call);

static void end_message(struct operation *operation)
{
    if (operation->mechanism->mac->end != NULL)
        operation->mechanism->mac->end(operation->state);
    operation->phase = PHASE_STARTED;
}

static CK_RV ended(struct operation *operation, CK_RV rv)
{
    end_message(operation);
    return rv;
}

static CK_RV check(const struct mac_call *call)
{
    if (api_bytes_are_bad(call->in.bytes, call->in.len))
        return CKR_ARGUMENTS_BAD;
    return call->parameter.len == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

static CK_RV begin(struct operation *operation, const struct mac_call *call)
{
    if (operation->phase == PHASE_PARTS)
        return CKR_OPERATION_ACTIVE;
    TRY(check(call));
    CK_RV rv = operation->mechanism->mac->restart(operation);
    if (rv != CKR_OK)
        return ended(operation, rv);
    operation->phase = PHASE_PARTS;
    return CKR_OK;
}

/* The message's end; the caller has seen to the phase. */
static CK_RV sign(struct operation *operation, const struct mac_call *call)
{
    *call->signature_len = operation->mechanism->mac->result_len(operation);
    return ended(operation, mac_compute(operation, &call->in, call->signature));
}

static bool wants_size(const struct operation *operation, const struct mac_call *call,
                       CK_RV *ret_rv)
{
    return api_only_size(call->signature, call->signature_len,
                         operation->mechanism->mac->result_len(operation), ret_rv);
}

static CK_RV sign_whole(struct operation *operation, const struct mac_call *call)
{
    CK_RV rv;

    if (operation->phase == PHASE_PARTS)
        return CKR_OPERATION_ACTIVE;
    if (call->signature_len == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(check(call));
    if (wants_size(operation, call, &rv))
        return rv;
    TRY(begin(operation, call));
    return sign(operation, call);
}

static CK_RV add_part(struct operation *operation, const struct mac_call *call)
{
    CK_RV rv = operation->mechanism->mac->update(operation, call->in);

    return rv == CKR_OK ? rv : ended(operation, rv);
}

static CK_RV sign_next(struct operation *operation, const struct mac_call *call)
{
    CK_RV rv;

    if (operation->phase != PHASE_PARTS)
        return CKR_OPERATION_NOT_INITIALIZED;
    rv = check(call);
    if (rv != CKR_OK)
        return ended(operation, rv);
    if (call->signature_len == NULL)
        return add_part(operation, call);
    if (wants_size(operation, call, &rv))
        return rv;
    return sign(operation, call);
}

static CK_RV verify(struct operation *operation, const struct mac_call *call)
{
    struct view signature = api_view(call->signature, call->given_len);

    return ended(operation, mac_check(operation, &call->in, signature));
}

static CK_RV verify_whole(struct operation *operation, const struct mac_call *call)
{
    if (operation->phase == PHASE_PARTS)
        return CKR_OPERATION_ACTIVE;
    if (call->signature == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(begin(operation, call));
    return verify(operation, call);
}

static CK_RV verify_next(struct operation *operation, const struct mac_call *call)
{
    if (operation->phase != PHASE_PARTS)
        return CKR_OPERATION_NOT_INITIALIZED;
    CK_RV rv = check(call);
    if (rv != CKR_OK)
        return ended(operation, rv);
    return call->signature == NULL ? add_part(operation, call) : verify(operation, call);
}

static CK_RV finish(struct operation *operation, const struct mac_call *call)
{
    (void) call;
    operation_end(operation);
    return CKR_OK;
}

static CK_RV run(CK_SESSION_HANDLE handle, enum operation_kind kind, mac_step *step,
                 const struct mac_call *call)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active_message(session, kind, &operation);
    if (rv == CKR_OK)
        rv = step(operation, call);
    return session_leave(session, rv);
}

CK_RV C_MessageSignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                        CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_MESSAGE_SIGN, pMechanism, hKey);
}

CK_RV C_SignMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                    CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                    CK_ULONG_PTR pulSignatureLen)
{
    struct mac_call call = {api_view(pParameter, ulParameterLen), api_view(pData, ulDataLen),
                            pSignature, pulSignatureLen, 0};

    return run(hSession, OPERATION_MESSAGE_SIGN, sign_whole, &call);
}

CK_RV C_SignMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                         CK_ULONG ulParameterLen)
{
    struct mac_call call = {.parameter = api_view(pParameter, ulParameterLen)};

    return run(hSession, OPERATION_MESSAGE_SIGN, begin, &call);
}

CK_RV C_SignMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                        CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                        CK_ULONG_PTR pulSignatureLen)
{
    struct mac_call call = {api_view(pParameter, ulParameterLen), api_view(pData, ulDataLen),
                            pSignature, pulSignatureLen, 0};

    return run(hSession, OPERATION_MESSAGE_SIGN, sign_next, &call);
}

CK_RV C_MessageSignFinal(CK_SESSION_HANDLE hSession)
{
    return run(hSession, OPERATION_MESSAGE_SIGN, finish, NULL);
}

CK_RV C_MessageVerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                          CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_MESSAGE_VERIFY, pMechanism, hKey);
}

CK_RV C_VerifyMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                      CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                      CK_ULONG ulSignatureLen)
{
    struct mac_call call = {api_view(pParameter, ulParameterLen), api_view(pData, ulDataLen),
                            pSignature, NULL, ulSignatureLen};

    return run(hSession, OPERATION_MESSAGE_VERIFY, verify_whole, &call);
}

CK_RV C_VerifyMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen)
{
    struct mac_call call = {.parameter = api_view(pParameter, ulParameterLen)};

    return run(hSession, OPERATION_MESSAGE_VERIFY, begin, &call);
}

CK_RV C_VerifyMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                          CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                          CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    struct mac_call call = {api_view(pParameter, ulParameterLen), api_view(pData, ulDataLen),
                            pSignature, NULL, ulSignatureLen};

    return run(hSession, OPERATION_MESSAGE_VERIFY, verify_next, &call);
}

CK_RV C_MessageVerifyFinal(CK_SESSION_HANDLE hSession)
{
    return run(hSession, OPERATION_MESSAGE_VERIFY, finish, NULL);
}
