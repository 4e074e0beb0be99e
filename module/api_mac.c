/* PKCS #11 5.13, 5.15: signing and verification, which are MACs here. */
#include "module/api.h"

#include <string.h>

#include "module/mac_compute.h"
#include "module/operation_begin.h"

static CK_RV sign(struct operation *operation, const struct view *in, CK_BYTE_PTR out,
                  CK_ULONG_PTR out_len)
{
    size_t len = operation->mechanism->mac->result_len(operation);
    CK_RV rv;

    if (out_len == NULL || (in != NULL && api_bytes_are_bad(in->bytes, in->len)))
        return operation_result(operation, CKR_ARGUMENTS_BAD, true);
    if (api_only_size(out, out_len, len, &rv))
        return rv;
    *out_len = len;
    return operation_result(operation, mac_compute(operation, in, out), true);
}

static CK_RV verify(struct operation *operation, const struct view *in, struct view signature)
{
    if (signature.bytes == NULL || (in != NULL && api_bytes_are_bad(in->bytes, in->len)))
        return operation_result(operation, CKR_ARGUMENTS_BAD, true);
    return operation_result(operation, mac_check(operation, in, signature), true);
}

static CK_RV update(CK_SESSION_HANDLE handle, enum operation_kind kind, struct view part)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active(session, kind, false, &operation);
    if (rv != CKR_OK)
        return session_leave(session, rv);
    operation->phase = PHASE_PARTS;
    rv = api_bytes_are_bad(part.bytes, part.len)
             ? CKR_ARGUMENTS_BAD
             : operation->mechanism->mac->update(operation, part);
    return session_leave(session, operation_result(operation, rv, false));
}

static CK_RV sign_in(CK_SESSION_HANDLE handle, const struct view *in, CK_BYTE_PTR out,
                     CK_ULONG_PTR out_len)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active(session, OPERATION_SIGN, in != NULL, &operation);
    if (rv == CKR_OK)
        rv = sign(operation, in, out, out_len);
    return session_leave(session, rv);
}

static CK_RV verify_in(CK_SESSION_HANDLE handle, const struct view *in, struct view signature)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active(session, OPERATION_VERIFY, in != NULL, &operation);
    if (rv == CKR_OK)
        rv = verify(operation, in, signature);
    return session_leave(session, rv);
}

CK_RV C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_SIGN, pMechanism, hKey);
}

CK_RV C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
             CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
    struct view in = api_view(pData, ulDataLen);

    return sign_in(hSession, &in, pSignature, pulSignatureLen);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    return update(hSession, OPERATION_SIGN, api_view(pPart, ulPartLen));
}

CK_RV C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
    return sign_in(hSession, NULL, pSignature, pulSignatureLen);
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_VERIFY, pMechanism, hKey);
}

CK_RV C_Verify(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
               CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    struct view in = api_view(pData, ulDataLen);

    return verify_in(hSession, &in, api_view(pSignature, ulSignatureLen));
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    return update(hSession, OPERATION_VERIFY, api_view(pPart, ulPartLen));
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    return verify_in(hSession, NULL, api_view(pSignature, ulSignatureLen));
}

/* A length that cannot fit is told at once, and begins nothing (PKCS #11 5.15,
 * C_VerifySignatureInit lets us). */
static CK_RV begin_with(struct session *session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key,
                        struct view signature)
{
    struct operation *operation = &session->operations[OPERATION_VERIFY_SIGNATURE];

    if (mechanism != NULL && signature.bytes == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(operation_begin(session, OPERATION_VERIFY_SIGNATURE, mechanism, key));
    if (mechanism == NULL)
        return CKR_OK;
    if (signature.len != operation->mechanism->mac->result_len(operation) ||
        signature.len > sizeof(session->signature))
        return operation_result(operation, CKR_SIGNATURE_LEN_RANGE, true);
    memcpy(session->signature, signature.bytes, signature.len);
    return CKR_OK;
}

static CK_RV verify_kept_in(CK_SESSION_HANDLE handle, const struct view *in)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active(session, OPERATION_VERIFY_SIGNATURE, in != NULL, &operation);
    if (rv == CKR_OK)
        rv = verify(
            operation, in,
            (struct view){session->signature, operation->mechanism->mac->result_len(operation)});
    return session_leave(session, rv);
}

CK_RV C_VerifySignatureInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                            CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    return session_leave(
        session, begin_with(session, pMechanism, hKey, api_view(pSignature, ulSignatureLen)));
}

CK_RV C_VerifySignature(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen)
{
    struct view in = api_view(pData, ulDataLen);

    return verify_kept_in(hSession, &in);
}

CK_RV C_VerifySignatureUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    return update(hSession, OPERATION_VERIFY_SIGNATURE, api_view(pPart, ulPartLen));
}

CK_RV C_VerifySignatureFinal(CK_SESSION_HANDLE hSession)
{
    return verify_kept_in(hSession, NULL);
}
