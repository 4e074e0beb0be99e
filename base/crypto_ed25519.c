#include "base/crypto.h"

#include <string.h>

#include "base/rv.h"

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

static EVP_PKEY *key_of(const struct secret *seed)
{
    return EVP_PKEY_new_raw_private_key_ex(crypto_context(), "ED25519", NULL, seed->bytes,
                                           seed->len);
}

CK_RV crypto_ed25519_public(const struct secret *seed, unsigned char ret_public[ED25519_PUBLIC_LEN])
{
    CRYPTO_HIDE_ERRORS;
    unsigned char bytes[ED25519_PUBLIC_LEN];
    size_t len = sizeof(bytes);
    _cleanup_(free_key) EVP_PKEY *key = key_of(seed);
    if (key == NULL || EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1 || len != sizeof(bytes))
        return crypto_fail("the public key of Ed25519");
    memcpy(ret_public, bytes, sizeof(bytes));
    return CKR_OK;
}

CK_RV crypto_ed25519_sign(const struct secret *seed, struct view message,
                          unsigned char ret_signature[ED25519_SIGNATURE_LEN])
{
    CRYPTO_HIDE_ERRORS;
    unsigned char bytes[ED25519_SIGNATURE_LEN];
    size_t len = sizeof(bytes);
    _cleanup_(free_key) EVP_PKEY *key = key_of(seed);
    _cleanup_(free_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (key == NULL || context == NULL ||
        EVP_DigestSignInit_ex(context, NULL, NULL, crypto_context(), NULL, key, NULL) != 1 ||
        EVP_DigestSign(context, bytes, &len, message.bytes, message.len) != 1 ||
        len != sizeof(bytes))
        return crypto_fail("signing with Ed25519");
    memcpy(ret_signature, bytes, sizeof(bytes));
    return CKR_OK;
}

bool crypto_ed25519_verify(const unsigned char public_key[ED25519_PUBLIC_LEN], struct view message,
                           const unsigned char signature[ED25519_SIGNATURE_LEN])
{
    CRYPTO_HIDE_ERRORS;
    _cleanup_(free_key) EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(
        crypto_context(), "ED25519", NULL, public_key, ED25519_PUBLIC_LEN);
    _cleanup_(free_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    return key != NULL && context != NULL &&
           EVP_DigestVerifyInit_ex(context, NULL, NULL, crypto_context(), NULL, key, NULL) == 1 &&
           EVP_DigestVerify(context, signature, ED25519_SIGNATURE_LEN, message.bytes,
                            message.len) == 1;
}
