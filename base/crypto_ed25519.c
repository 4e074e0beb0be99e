#include "base/crypto.h"

#include "base/rv.h"

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_digest(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

CK_RV crypto_ed25519_verify(const unsigned char key[ED25519_KEY_LEN], struct view message,
                            const unsigned char signature[ED25519_SIGNATURE_LEN])
{
    CRYPTO_HIDE_ERRORS;
    _cleanup_(free_key) EVP_PKEY *public_key =
        EVP_PKEY_new_raw_public_key_ex(crypto_context(), "ED25519", NULL, key, ED25519_KEY_LEN);
    _cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (public_key == NULL || context == NULL ||
        EVP_DigestVerifyInit_ex(context, NULL, NULL, crypto_context(), NULL, public_key, NULL) != 1)
        return crypto_fail("verifying with Ed25519");
    return EVP_DigestVerify(context, signature, ED25519_SIGNATURE_LEN, message.bytes,
                            message.len) == 1
               ? CKR_OK
               : CKR_SIGNATURE_INVALID;
}
