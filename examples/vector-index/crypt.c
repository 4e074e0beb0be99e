#include "crypt.h"

#include <string.h>

#include "ckr.h"
#include "profile.h"

bool crypt_random(struct token *token, void *to, size_t len)
{
    PROFILE_SPAN(PROFILE_RANDOM);

    return ckr_check(token->calls->C_GenerateRandom(token->sessions[0], to, (CK_ULONG)len),
                     "C_GenerateRandom", "the token");
}

bool crypt_mac(struct token *token, enum token_key key, struct bytes data,
               uint8_t ret_mac[CRYPT_MAC_LEN])
{
    PROFILE_SPAN(PROFILE_MAC);
    const char *label = token->key_labels[key];
    CK_SESSION_HANDLE session = token->sessions[key];
    CK_MECHANISM mechanism = { CKM_SHA256_HMAC, NULL, 0 };
    uint8_t mac[CRYPT_MAC_LEN];
    CK_ULONG len = sizeof mac;

    if (!ckr_check(token->calls->C_SignInit(session, &mechanism, token->keys[key]),
                   "C_SignInit(CKM_SHA256_HMAC)", label) ||
        !ckr_check(token->calls->C_Sign(session, (CK_BYTE_PTR)data.data, (CK_ULONG)data.len, mac,
                                        &len),
                   "C_Sign(CKM_SHA256_HMAC)", label)) {
        return false;
    }
    if (len != sizeof mac) {
        return fail("C_Sign with %s gave %lu bytes, not %u", label, (unsigned long)len,
                    CRYPT_MAC_LEN);
    }
    memcpy(ret_mac, mac, sizeof mac);
    return true;
}

static CK_GCM_PARAMS crypt_gcm(const struct crypt_context *context, void *nonce, size_t nonce_len)
{
    return (CK_GCM_PARAMS){
        .pIv = nonce,
        .ulIvLen = (CK_ULONG)nonce_len,
        .ulIvBits = (CK_ULONG)nonce_len * 8,
        .pAAD = (CK_BYTE_PTR)context->aad,
        .ulAADLen = (CK_ULONG)context->aad_len,
        .ulTagBits = (CK_ULONG)CRYPT_TAG_LEN * 8,
    };
}

static bool crypt_encrypt(struct token *token, const struct crypt_context *context,
                          const struct crypt_plain *plain, CK_GCM_PARAMS *gcm,
                          struct crypt_sealed *ret_sealed)
{
    PROFILE_SPAN(PROFILE_SEAL);
    CK_MECHANISM mechanism = { CKM_AES_GCM, gcm, sizeof *gcm };
    CK_SESSION_HANDLE session = token->sessions[context->key];
    CK_ULONG len = plain->len + CRYPT_TAG_LEN;

    if (!ckr_check(token->calls->C_EncryptInit(session, &mechanism, token->keys[context->key]),
                   "C_EncryptInit(CKM_AES_GCM)", token->key_labels[context->key]) ||
        !ckr_check(token->calls->C_Encrypt(session, (CK_BYTE_PTR)plain->data,
                                           (CK_ULONG)plain->len, ret_sealed->data, &len),
                   "C_Encrypt(CKM_AES_GCM)", context->name)) {
        return false;
    }
    ret_sealed->len = len;
    return true;
}

bool crypt_seal(struct token *token, const struct crypt_context *context,
                const struct crypt_plain *plain, struct crypt_sealed *ret_sealed)
{
    uint8_t nonce[CRYPT_NONCE_MAX_LEN] = { 0 };
    CK_GCM_PARAMS gcm = crypt_gcm(context, nonce, CRYPT_NONCE_LEN);

    if (!crypt_random(token, nonce, CRYPT_NONCE_LEN) ||
        !crypt_encrypt(token, context, plain, &gcm, ret_sealed)) {
        return false;
    }
    // Some HSMs write a nonce of their own to pIv: what is stored is what stands there now.
    if (ret_sealed->len != plain->len + CRYPT_TAG_LEN || gcm.ulIvLen == 0 ||
        gcm.ulIvLen > sizeof nonce) {
        return fail("C_Encrypt gave %zu bytes and a nonce of %lu for %s", ret_sealed->len,
                    (unsigned long)gcm.ulIvLen, context->name);
    }
    memcpy(ret_sealed->nonce, nonce, sizeof nonce);
    ret_sealed->nonce_len = gcm.ulIvLen;
    return true;
}

// Modules differ in how they say that a tag is wrong; SoftHSM says CKR_GENERAL_ERROR.
static bool crypt_is_tag_error(CK_RV rv)
{
    return rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE ||
           rv == CKR_AEAD_DECRYPT_FAILED || rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED;
}

bool crypt_open(struct token *token, const struct crypt_context *context,
                const struct crypt_sealed *sealed, struct crypt_plain *ret_plain)
{
    PROFILE_SPAN(PROFILE_OPEN);
    uint8_t nonce[CRYPT_NONCE_MAX_LEN];
    CK_GCM_PARAMS gcm = crypt_gcm(context, nonce, sealed->nonce_len);
    CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof gcm };
    CK_SESSION_HANDLE session = token->sessions[context->key];
    CK_ULONG len = sizeof ret_plain->data;
    CK_RV rv;

    memcpy(nonce, sealed->nonce, sizeof nonce);
    if (!ckr_check(token->calls->C_DecryptInit(session, &mechanism, token->keys[context->key]),
                   "C_DecryptInit(CKM_AES_GCM)", token->key_labels[context->key])) {
        return false;
    }
    rv = token->calls->C_Decrypt(session, (CK_BYTE_PTR)sealed->data, (CK_ULONG)sealed->len,
                                 ret_plain->data, &len);
    if (crypt_is_tag_error(rv)) {
        return fail("%s does not open with the key %s (C_Decrypt: %s): the database was altered, "
                    "or is another index's; restore it or build it again",
                    context->name, token->key_labels[context->key], ckr_name(rv));
    }
    if (!ckr_check(rv, "C_Decrypt(CKM_AES_GCM)", context->name)) {
        return false;
    }
    if (len != sealed->len - CRYPT_TAG_LEN) {
        return fail("C_Decrypt gave %lu bytes for %s, not %zu", (unsigned long)len, context->name,
                    sealed->len - CRYPT_TAG_LEN);
    }
    ret_plain->len = len;
    return true;
}
