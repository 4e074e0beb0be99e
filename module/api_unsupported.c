/*
 * Functions that this token does not serve: they check the library and the session, as the standard
 * orders errors, and answer CKR_FUNCTION_NOT_SUPPORTED. Every slot of every table points somewhere.
 */
#include "module/api.h"

#include "module/module.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

static CK_RV unsupported(CK_SESSION_HANDLE handle)
{
    struct session *session;

    TRY(session_enter(handle, &session));
    return session_leave(session, CKR_FUNCTION_NOT_SUPPORTED);
}

#define UNSUPPORTED(name, ...)                                                                     \
    CK_RV name(CK_SESSION_HANDLE hSession, ##__VA_ARGS__)                                          \
    {                                                                                              \
        return unsupported(hSession);                                                              \
    }

UNSUPPORTED(C_SignRecoverInit, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
UNSUPPORTED(C_SignRecover, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
            CK_ULONG_PTR pulSignatureLen)
UNSUPPORTED(C_VerifyRecoverInit, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
UNSUPPORTED(C_VerifyRecover, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen, CK_BYTE_PTR pData,
            CK_ULONG_PTR pulDataLen)
UNSUPPORTED(C_GenerateKeyPair, CK_MECHANISM_PTR pMechanism, CK_ATTRIBUTE_PTR pPublicKeyTemplate,
            CK_ULONG ulPublicKeyAttributeCount, CK_ATTRIBUTE_PTR pPrivateKeyTemplate,
            CK_ULONG ulPrivateKeyAttributeCount, CK_OBJECT_HANDLE_PTR phPublicKey,
            CK_OBJECT_HANDLE_PTR phPrivateKey)
UNSUPPORTED(C_EncapsulateKey, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hPublicKey,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
            CK_ULONG_PTR pulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey)
UNSUPPORTED(C_DecapsulateKey, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hPrivateKey,
            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
            CK_ULONG ulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey)

/* PKCS #11 5.21: functions of parallel sessions, which no longer exist. */
CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE hSession)
{
    TRY(module_check());
    return CKR_FUNCTION_NOT_PARALLEL;
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE hSession)
{
    TRY(module_check());
    return CKR_FUNCTION_NOT_PARALLEL;
}
