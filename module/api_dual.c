/*
 * PKCS #11 5.17: two operations at once. One call passes a part through the session's cipher
 * operation and its plaintext through the digest, signing or verifying operation.
 *
 * Both must be active, else CKR_OPERATION_NOT_INITIALIZED, which leaves the one that is as it was.
 * A size query and CKR_BUFFER_TOO_SMALL feed neither. Any other error ends both: they would have
 * seen different data.
 *
 * What is digested or verified after decryption is what the call gave out, no more: the bytes that
 * a padded mode holds back come with C_DecryptFinal, and the application passes them on itself, as
 * the standard tells it to. AES-GCM is the extreme of this: it gives nothing before the tag is
 * verified, so that all its plaintext comes with C_DecryptFinal, and the other operation has seen
 * none of it.
 */
#include "module/api.h"

#include "module/operation_begin.h"

struct dual_call {
    enum operation_kind cipher_kind;
    enum operation_kind other_kind;
    struct view in;
    CK_BYTE_PTR out;
    CK_ULONG_PTR out_len;
};

static CK_RV feed(struct operation *operation, struct view in)
{
    const struct digest_ops *ops = operation->kind == OPERATION_DIGEST
                                       ? operation->mechanism->digest
                                       : operation->mechanism->mac;

    return ops->update(operation, in);
}

/* Plaintext is fed before an encryption in place overwrites it. */
static CK_RV transform(struct operation *cipher, struct operation *other,
                       const struct dual_call *call, size_t *ret_len)
{
    const struct cipher_ops *ops = cipher->mechanism->cipher;

    if (cipher->kind == OPERATION_ENCRYPT) {
        TRY(feed(other, call->in));
        return ops->update(cipher, call->in, call->out, ret_len);
    }
    TRY(ops->update(cipher, call->in, call->out, ret_len));
    return feed(other, (struct view){call->out, *ret_len});
}

static CK_RV end_both(struct operation *cipher, struct operation *other, CK_RV rv)
{
    operation_end(cipher);
    operation_end(other);
    return rv;
}

static CK_RV run(struct operation *cipher, struct operation *other, const struct dual_call *call)
{
    size_t len;
    CK_RV rv;

    if (call->out_len == NULL || api_bytes_are_bad(call->in.bytes, call->in.len))
        return end_both(cipher, other, CKR_ARGUMENTS_BAD);
    rv = cipher->mechanism->cipher->output_len(cipher, call->in.len, false, &len);
    if (rv != CKR_OK)
        return end_both(cipher, other, rv);
    if (api_only_size(call->out, call->out_len, len, &rv))
        return rv;
    cipher->phase = PHASE_PARTS;
    other->phase = PHASE_PARTS;
    rv = transform(cipher, other, call, &len);
    if (rv != CKR_OK)
        return end_both(cipher, other, rv);
    *call->out_len = len;
    return CKR_OK;
}

static CK_RV dual(CK_SESSION_HANDLE handle, const struct dual_call *call)
{
    struct session *session;
    struct operation *cipher;
    struct operation *other;

    TRY(session_enter(handle, &session));
    CK_RV rv = operation_active(session, call->cipher_kind, false, &cipher);
    if (rv == CKR_OK)
        rv = operation_active(session, call->other_kind, false, &other);
    if (rv == CKR_OK)
        rv = run(cipher, other, call);
    return session_leave(session, rv);
}

CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                            CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
    return dual(hSession,
                &(struct dual_call){OPERATION_ENCRYPT, OPERATION_DIGEST, api_view(pPart, ulPartLen),
                                    pEncryptedPart, pulEncryptedPartLen});
}

CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    return dual(hSession, &(struct dual_call){OPERATION_DECRYPT, OPERATION_DIGEST,
                                              api_view(pEncryptedPart, ulEncryptedPartLen), pPart,
                                              pulPartLen});
}

CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                          CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
    return dual(hSession,
                &(struct dual_call){OPERATION_ENCRYPT, OPERATION_SIGN, api_view(pPart, ulPartLen),
                                    pEncryptedPart, pulEncryptedPartLen});
}

CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                            CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    return dual(hSession, &(struct dual_call){OPERATION_DECRYPT, OPERATION_VERIFY,
                                              api_view(pEncryptedPart, ulEncryptedPartLen), pPart,
                                              pulPartLen});
}
