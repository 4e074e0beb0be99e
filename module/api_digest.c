/* PKCS #11 5.12: message digesting. */
#include "module/api.h"

#include "module/key_policy.h"
#include "module/lifecycle.h"
#include "module/operation_begin.h"
#include "module/policy.h"
#include "module/policy_rules.h"

static CK_RV begin(struct session *session, const CK_MECHANISM *mechanism)
{
    struct operation *operation = &session->operations[OPERATION_DIGEST];

    if (mechanism == NULL) {
        operation_end(operation);
        return CKR_OK;
    }
    if (operation->phase != PHASE_IDLE)
        return CKR_OPERATION_ACTIVE;
    if (operation->mechanism == NULL || operation->mechanism->type != mechanism->mechanism) {
        const struct mechanism *found = mechanism_find(mechanism->mechanism);
        if (found == NULL || found->digest == NULL || !policy_offers(session->slot, found))
            return CKR_MECHANISM_INVALID;
        operation_forget(operation);
        operation->mechanism = found;
    }
    CK_RV rv = operation->mechanism->digest->start(operation, mechanism);
    if (rv != CKR_OK) {
        operation_forget(operation);
        return rv;
    }
    operation->phase = PHASE_STARTED;
    return CKR_OK;
}

CK_RV C_DigestInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    return session_leave(session, begin(session, pMechanism));
}

/* C_Digest and, without input, C_DigestFinal. */
static CK_RV result(struct operation *operation, const struct view *in, CK_BYTE_PTR out,
                    CK_ULONG_PTR out_len)
{
    const struct digest_ops *digest = operation->mechanism->digest;
    size_t len = digest->result_len(operation);
    CK_RV rv;

    if (out_len == NULL || (in != NULL && api_bytes_are_bad(in->bytes, in->len)))
        return operation_result(operation, CKR_ARGUMENTS_BAD, true);
    if (api_only_size(out, out_len, len, &rv))
        return rv;
    *out_len = len;
    rv = in != NULL ? digest->one_shot(operation, *in, out) : digest->finish(operation, out);
    return operation_result(operation, rv, true);
}

CK_RV C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
               CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
    struct view in = api_view(pData, ulDataLen);
    struct session *session;
    struct operation *operation;

    TRY(session_enter_keyless(hSession, &session));
    CK_RV rv = operation_active(session, OPERATION_DIGEST, true, &operation);
    if (rv == CKR_OK)
        rv = result(operation, &in, pDigest, pulDigestLen);
    return session_leave(session, rv);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(hSession, &session));
    CK_RV rv = operation_active(session, OPERATION_DIGEST, false, &operation);
    if (rv != CKR_OK)
        return session_leave(session, rv);
    operation->phase = PHASE_PARTS;
    rv = api_bytes_are_bad(pPart, ulPartLen)
             ? CKR_ARGUMENTS_BAD
             : operation->mechanism->digest->update(operation, api_view(pPart, ulPartLen));
    return session_leave(session, operation_result(operation, rv, false));
}

/* A digest of a sensitive key would let a guess be checked: only readable keys are digested. */
static CK_RV digest_key(struct session *session, struct operation *operation,
                        CK_OBJECT_HANDLE handle)
{
    _cleanup_(object_release) struct object *key = NULL;
    const struct secret *value;

    if (object_table_get(session->slot->objects, handle, &key) != CKR_OK ||
        key->attributes.object_class != CKO_SECRET_KEY ||
        (object_has(key, FLAG_PRIVATE) && slot_role(session->slot) != ROLE_USER))
        return CKR_KEY_HANDLE_INVALID;
    if ((attributes_stay_inside(&key->attributes) || object_has(key, FLAG_TOKEN)) &&
        !policy_allows_breach("sensitive-keys-are-not-digested"))
        return CKR_KEY_INDIGESTIBLE;
    if (!lifecycle_is_active(key) ||
        (key->attributes.policy != NULL && key_policy_check_time(key) != CKR_OK))
        return CKR_KEY_INDIGESTIBLE;
    TRY(object_value(key, &value));
    return operation->mechanism->digest->update(operation, (struct view){value->bytes, value->len});
}

CK_RV C_DigestKey(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(hSession, &session));
    CK_RV rv = operation_active(session, OPERATION_DIGEST, false, &operation);
    if (rv != CKR_OK)
        return session_leave(session, rv);
    operation->phase = PHASE_PARTS;
    rv = digest_key(session, operation, hKey);
    return session_leave(session, operation_result(operation, rv, false));
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
    struct session *session;
    struct operation *operation;

    TRY(session_enter(hSession, &session));
    CK_RV rv = operation_active(session, OPERATION_DIGEST, false, &operation);
    if (rv == CKR_OK)
        rv = result(operation, NULL, pDigest, pulDigestLen);
    return session_leave(session, rv);
}
