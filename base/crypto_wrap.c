#include "base/crypto.h"

#include "base/rv.h"

#define SEMIBLOCK_LEN 8
#define WRAPPED_LEN_MIN (3 * SEMIBLOCK_LEN)
#define WRAPPED_LEN_MAX 1024

static void context_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

CK_RV crypto_key_unwrap(const struct secret *wrapping_key, struct view wrapped,
                        struct secret *ret_key)
{
    const EVP_CIPHER *cipher = crypto_cipher("AES-256-WRAP");
    int len = 0;
    if (wrapped.len < WRAPPED_LEN_MIN || wrapped.len > WRAPPED_LEN_MAX ||
        wrapped.len % SEMIBLOCK_LEN != 0)
        return CKR_ENCRYPTED_DATA_INVALID;
    CRYPTO_HIDE_ERRORS;
    _cleanup_(secret_clear) struct secret key = {0};
    _cleanup_(context_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL || cipher == NULL || wrapping_key->len != AEAD_KEY_LEN)
        return crypto_fail("AES-256-WRAP");
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex2(context, cipher, wrapping_key->bytes, NULL, 0, NULL) != 1)
        return crypto_fail("AES-256-WRAP");
    /* OpenSSL wipes as many bytes of the output as the input has. */
    TRY(secret_new(wrapped.len, &key));
    if (EVP_CipherUpdate(context, key.bytes, &len, wrapped.bytes, (int) wrapped.len) != 1)
        return CKR_ENCRYPTED_DATA_INVALID;
    return secret_from(key.bytes, (size_t) len, ret_key);
}
