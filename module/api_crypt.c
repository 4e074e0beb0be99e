/* PKCS #11 5.8, 5.10: encryption and decryption. */
#include "module/api.h"

#include "module/operation_begin.h"

/* What a call gives and wants. */
struct crypt_call {
    struct view in;
    CK_BYTE_PTR out;
    CK_ULONG_PTR out_len;
};

enum crypt_step { STEP_ONCE, STEP_UPDATE, STEP_FINISH };

static inline CK_RV transform(struct operation *operation, enum crypt_step step,
                              const struct crypt_call *call, size_t *ret_len)
{
    const struct cipher_ops *cipher = operation->mechanism->cipher;

    switch (step) {
    case STEP_ONCE:
        return cipher->one_shot(operation, call->in, call->out, ret_len);
    case STEP_UPDATE:
        return cipher->update(operation, call->in, call->out, ret_len);
    default:
        return cipher->finish(operation, call->out, ret_len);
    }
}

static inline CK_RV run(struct operation *operation, enum crypt_step step,
                        const struct crypt_call *call)
{
    size_t len;
    CK_RV rv;

    if (call->out_len == NULL || api_bytes_are_bad(call->in.bytes, call->in.len))
        return operation_result(operation, CKR_ARGUMENTS_BAD, true);
    rv = operation->mechanism->cipher->output_len(operation, call->in.len, step != STEP_UPDATE,
                                                  &len);
    if (rv != CKR_OK)
        return operation_result(operation, rv, true);
    if (api_only_size(call->out, call->out_len, len, &rv))
        return rv;
    if (step == STEP_UPDATE)
        operation->phase = PHASE_PARTS;
    rv = transform(operation, step, call, &len);
    if (rv == CKR_OK)
        *call->out_len = len;
    return operation_result(operation, rv, step != STEP_UPDATE && rv != CKR_BUFFER_TOO_SMALL);
}

static inline CK_RV crypt(CK_SESSION_HANDLE handle, enum operation_kind kind, enum crypt_step step,
                          const struct crypt_call *call)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active(session, kind, step == STEP_ONCE, &operation);
    if (rv == CKR_OK)
        rv = run(operation, step, call);
    return session_leave(session, rv);
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_ENCRYPT, pMechanism, hKey);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                CK_BYTE_PTR pEncryptedData, CK_ULONG_PTR pulEncryptedDataLen)
{
    struct crypt_call call = {api_view(pData, ulDataLen), pEncryptedData, pulEncryptedDataLen};

    return crypt(hSession, OPERATION_ENCRYPT, STEP_ONCE, &call);
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                      CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
    struct crypt_call call = {api_view(pPart, ulPartLen), pEncryptedPart, pulEncryptedPartLen};

    return crypt(hSession, OPERATION_ENCRYPT, STEP_UPDATE, &call);
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart,
                     CK_ULONG_PTR pulLastEncryptedPartLen)
{
    struct crypt_call call = {api_view(NULL, 0), pLastEncryptedPart, pulLastEncryptedPartLen};

    return crypt(hSession, OPERATION_ENCRYPT, STEP_FINISH, &call);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
    return operation_init(hSession, OPERATION_DECRYPT, pMechanism, hKey);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen,
                CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen)
{
    struct crypt_call call = {api_view(pEncryptedData, ulEncryptedDataLen), pData, pulDataLen};

    return crypt(hSession, OPERATION_DECRYPT, STEP_ONCE, &call);
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                      CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    struct crypt_call call = {api_view(pEncryptedPart, ulEncryptedPartLen), pPart, pulPartLen};

    return crypt(hSession, OPERATION_DECRYPT, STEP_UPDATE, &call);
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart, CK_ULONG_PTR pulLastPartLen)
{
    struct crypt_call call = {api_view(NULL, 0), pLastPart, pulLastPartLen};

    return crypt(hSession, OPERATION_DECRYPT, STEP_FINISH, &call);
}
