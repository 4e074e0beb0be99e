#include "tokens/hsm_wrap.h"

#include <string.h>

#include "base/alloc.h"

#define TAG_LEN 16
#define BITS_PER_BYTE 8

static const struct {
    CK_MECHANISM_TYPE type;
    CK_MECHANISM_TYPE hash;
    CK_RSA_PKCS_MGF_TYPE mgf;
} rows[] = {
    [HSM_AES_GCM] = {CKM_AES_GCM, 0, 0},
    [HSM_AES_KWP] = {CKM_AES_KEY_WRAP_KWP, 0, 0},
    [HSM_AES_KEY_WRAP_PAD] = {CKM_AES_KEY_WRAP_PAD, 0, 0},
    [HSM_RSA_OAEP_SHA256] = {CKM_RSA_PKCS_OAEP, CKM_SHA256, CKG_MGF1_SHA256},
    [HSM_RSA_OAEP_SHA1] = {CKM_RSA_PKCS_OAEP, CKM_SHA_1, CKG_MGF1_SHA1},
};

CK_OBJECT_CLASS hsm_wrap_class(enum hsm_mechanism mechanism, bool unwraps)
{
    if (rows[mechanism].hash == 0)
        return CKO_SECRET_KEY;
    return unwraps ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
}

/* With what it points to. Neither copied nor moved. */
struct parameters {
    CK_MECHANISM mechanism;
    CK_GCM_PARAMS gcm;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
};

static void make_parameters(struct hsm_wrapping *wrapping, struct parameters *ret_parameters)
{
    struct parameters *made = ret_parameters;
    *made = (struct parameters){.mechanism = {rows[wrapping->mechanism].type, NULL, 0}};
    if (wrapping->mechanism == HSM_AES_GCM) {
        made->gcm.pIv = wrapping->iv;
        made->gcm.ulIvLen = HSM_IV_LEN;
        made->gcm.ulIvBits = HSM_IV_LEN * BITS_PER_BYTE;
        made->gcm.pAAD = (CK_BYTE *) wrapping->aad.bytes;
        made->gcm.ulAADLen = wrapping->aad.len;
        made->gcm.ulTagBits = TAG_LEN * BITS_PER_BYTE;
        made->mechanism.pParameter = &made->gcm;
        made->mechanism.ulParameterLen = sizeof(made->gcm);
    } else if (rows[wrapping->mechanism].hash != 0) {
        made->oaep.hashAlg = rows[wrapping->mechanism].hash;
        made->oaep.mgf = rows[wrapping->mechanism].mgf;
        made->oaep.source = CKZ_DATA_SPECIFIED;
        made->mechanism.pParameter = &made->oaep;
        made->mechanism.ulParameterLen = sizeof(made->oaep);
    }
}

/* ---- wrapping ---- */

static CK_RV encrypt(struct hsm_wrapping *wrapping, const struct secret *value,
                     unsigned char out[HSM_VALUE_LEN_MAX], CK_ULONG *ret_len)
{
    const struct hsm_session *session = wrapping->session;
    CK_ULONG len = HSM_VALUE_LEN_MAX;
    struct parameters made;
    make_parameters(wrapping, &made);
    TRY(hsm_session_check(
        session, session->p11->C_EncryptInit(session->handle, &made.mechanism, wrapping->key)));
    TRY(hsm_session_check(
        session, session->p11->C_Encrypt(session->handle, value->bytes, value->len, out, &len)));
    if (len != value->len + TAG_LEN)
        return hsm_fault_set(session->fault, HSM_ODD_ANSWER);
    *ret_len = len;
    return CKR_OK;
}

static CK_RV make_object(const struct hsm_session *session, const struct secret *value,
                         CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, &generic, sizeof(generic)},
        {CKA_TOKEN, &no, sizeof(no)},
        /* Other sessions of the application see it until it is destroyed. */
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &yes, sizeof(yes)},
        {CKA_VALUE, value->bytes, value->len},
    };
    CK_ULONG count = sizeof(template) / sizeof(template[0]);
    return hsm_session_check(
        session, session->p11->C_CreateObject(session->handle, template, count, ret_object));
}

static CK_RV wrap_object(struct hsm_wrapping *wrapping, const struct secret *value,
                         unsigned char out[HSM_VALUE_LEN_MAX], CK_ULONG *ret_len)
{
    const struct hsm_session *session = wrapping->session;
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_ULONG len = HSM_VALUE_LEN_MAX;
    struct parameters made;
    make_parameters(wrapping, &made);
    TRY(make_object(session, value, &object));
    CK_RV rv =
        session->p11->C_WrapKey(session->handle, &made.mechanism, wrapping->key, object, out, &len);
    (void) session->p11->C_DestroyObject(session->handle, object);
    TRY(hsm_session_check(session, rv));
    if (len <= value->len || len > HSM_VALUE_LEN_MAX)
        return hsm_fault_set(session->fault, HSM_ODD_ANSWER);
    *ret_len = len;
    return CKR_OK;
}

CK_RV hsm_wrap(struct hsm_wrapping *wrapping, const struct secret *value, struct blob *ret_wrapped)
{
    unsigned char out[HSM_VALUE_LEN_MAX];
    CK_ULONG len = 0;
    wrapping->session->fault->step = HSM_WRAP;
    if (wrapping->mechanism == HSM_AES_GCM)
        TRY(encrypt(wrapping, value, out, &len));
    else
        TRY(wrap_object(wrapping, value, out, &len));
    if (blob_from(out, len, ret_wrapped) != CKR_OK)
        return hsm_fault_set(wrapping->session->fault, HSM_NO_MEMORY);
    return CKR_OK;
}

/* ---- unwrapping ---- */

/* CKR_GENERAL_ERROR is SoftHSM's word for a wrapped key that was changed, and other modules' for
 * anything: it is about the key only where the session goes on. */
static CK_RV check_unwrapped(const struct hsm_session *session, CK_RV rv)
{
    CK_SESSION_INFO info;
    switch (rv) {
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
    case CKR_WRAPPED_KEY_INVALID:
    case CKR_WRAPPED_KEY_LEN_RANGE:
    case CKR_AEAD_DECRYPT_FAILED:
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
        return hsm_fault_set(session->fault, HSM_CHANGED);
    case CKR_GENERAL_ERROR:
        if (session->p11->C_GetSessionInfo(session->handle, &info) == CKR_OK)
            return hsm_fault_set(session->fault, HSM_CHANGED);
        return hsm_session_check(session, rv);
    default:
        return hsm_session_check(session, rv);
    }
}

/* Until here `value` has room for the longest. */
static CK_RV take_len(const struct hsm_session *session, CK_ULONG len, struct secret *value)
{
    if (len == 0 || len > value->len)
        return hsm_fault_set(session->fault, HSM_ODD_ANSWER);
    value->len = len;
    return CKR_OK;
}

static CK_RV decrypt(struct hsm_wrapping *wrapping, struct view wrapped, struct secret *value)
{
    const struct hsm_session *session = wrapping->session;
    CK_ULONG len = value->len;
    struct parameters made;
    make_parameters(wrapping, &made);
    TRY(hsm_session_check(
        session, session->p11->C_DecryptInit(session->handle, &made.mechanism, wrapping->key)));
    TRY(check_unwrapped(session, session->p11->C_Decrypt(session->handle, (CK_BYTE *) wrapped.bytes,
                                                         wrapped.len, value->bytes, &len)));
    return take_len(session, len, value);
}

/* A session object whose value is then read. */
static CK_RV unwrap_object(struct hsm_wrapping *wrapping, struct view wrapped,
                           CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, &generic, sizeof(generic)},
        {CKA_TOKEN, &no, sizeof(no)},
        {CKA_SENSITIVE, &no, sizeof(no)},
        {CKA_EXTRACTABLE, &yes, sizeof(yes)},
    };
    CK_ULONG count = sizeof(template) / sizeof(template[0]);
    const struct hsm_session *session = wrapping->session;
    struct parameters made;
    make_parameters(wrapping, &made);
    return check_unwrapped(session,
                           session->p11->C_UnwrapKey(session->handle, &made.mechanism,
                                                     wrapping->key, (CK_BYTE *) wrapped.bytes,
                                                     wrapped.len, template, count, ret_object));
}

static CK_RV read_object(const struct hsm_session *session, CK_OBJECT_HANDLE object,
                         struct secret *value)
{
    CK_ATTRIBUTE attribute = {CKA_VALUE, value->bytes, value->len};
    CK_RV rv = session->p11->C_GetAttributeValue(session->handle, object, &attribute, 1);
    (void) session->p11->C_DestroyObject(session->handle, object);
    if (rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        return hsm_fault_set(session->fault, HSM_NOT_SHOWN);
    TRY(hsm_session_check(session, rv));
    return take_len(session, attribute.ulValueLen, value);
}

CK_RV hsm_unwrap(struct hsm_wrapping *wrapping, struct view wrapped, struct secret *ret_value)
{
    const struct hsm_session *session = wrapping->session;
    _cleanup_(secret_clear) struct secret value = {0};
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    session->fault->step = HSM_UNWRAP;
    if (secret_new(HSM_VALUE_LEN_MAX, &value) != CKR_OK)
        return hsm_fault_set(session->fault, HSM_NO_MEMORY);
    if (wrapping->mechanism == HSM_AES_GCM) {
        TRY(decrypt(wrapping, wrapped, &value));
    } else {
        TRY(unwrap_object(wrapping, wrapped, &object));
        TRY(read_object(session, object, &value));
    }
    *ret_value = secret_move(&value);
    return CKR_OK;
}
