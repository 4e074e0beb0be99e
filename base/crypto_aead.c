#include "base/crypto.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

/* EVP takes its lengths as int; longer inputs go in pieces. */
#define PIECE_LEN ((size_t) 1 << 20)

struct aead {
    EVP_CIPHER_CTX *context;
};

enum { OPEN = 0, SEAL = 1 };

CK_RV aead_new(const struct secret *key, struct aead **ret_aead)
{
    if (key->len != AEAD_KEY_LEN)
        return FAIL(CKR_KEY_SIZE_RANGE, "a sealing key has %zu bytes instead of %d", key->len,
                    AEAD_KEY_LEN);
    CRYPTO_HIDE_ERRORS;
    _cleanup_(aead_free) struct aead *aead = mem_calloc(1, sizeof *aead);
    if (aead == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for a sealing context");
    const EVP_CIPHER *cipher = crypto_cipher("AES-256-GCM");
    aead->context = EVP_CIPHER_CTX_new();
    if (aead->context == NULL || cipher == NULL ||
        EVP_CipherInit_ex2(aead->context, cipher, key->bytes, NULL, SEAL, NULL) != 1)
        return crypto_fail("AES-256-GCM");
    *ret_aead = TAKE(aead);
    return CKR_OK;
}

void aead_free(struct aead **aead)
{
    if (*aead == NULL)
        return;
    /* Wipes the key schedule. */
    EVP_CIPHER_CTX_free((*aead)->context);
    mem_free(*aead);
    *aead = NULL;
}

/* `out` is NULL for associated data. */
static bool update(struct aead *aead, struct view input, unsigned char *out)
{
    while (input.len > 0) {
        size_t len = input.len < PIECE_LEN ? input.len : PIECE_LEN;
        int out_len;
        if (EVP_CipherUpdate(aead->context, out, &out_len, input.bytes, (int) len) != 1)
            return false;
        input.bytes += len;
        input.len -= len;
        if (out != NULL)
            out += len;
    }
    return true;
}

/* The key schedule stays; only the IV and the direction are new. */
static bool start(struct aead *aead, int direction, const unsigned char *iv, struct view aad)
{
    return EVP_CipherInit_ex2(aead->context, NULL, NULL, iv, direction, NULL) == 1 &&
           update(aead, aad, NULL);
}

CK_RV aead_seal(struct aead *aead, struct view aad, struct view plaintext, unsigned char *sealed)
{
    CRYPTO_HIDE_ERRORS;
    unsigned char *ciphertext = sealed + AEAD_IV_LEN;
    unsigned char *tag = ciphertext + plaintext.len;
    int none;
    TRY(crypto_random(sealed, AEAD_IV_LEN));
    if (!start(aead, SEAL, sealed, aad) || !update(aead, plaintext, ciphertext) ||
        EVP_CipherFinal_ex(aead->context, tag, &none) != 1 ||
        EVP_CIPHER_CTX_ctrl(aead->context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, tag) != 1)
        return crypto_fail("sealing");
    return CKR_OK;
}

CK_RV aead_open(struct aead *aead, struct view aad, struct view sealed, unsigned char *plaintext)
{
    if (sealed.len < AEAD_OVERHEAD)
        return CKR_ENCRYPTED_DATA_INVALID;
    CRYPTO_HIDE_ERRORS;
    struct view ciphertext = {sealed.bytes + AEAD_IV_LEN, sealed.len - AEAD_OVERHEAD};
    unsigned char tag[AEAD_TAG_LEN];
    memcpy(tag, ciphertext.bytes + ciphertext.len, sizeof tag);
    if (!start(aead, OPEN, sealed.bytes, aad) || !update(aead, ciphertext, plaintext) ||
        EVP_CIPHER_CTX_ctrl(aead->context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) != 1) {
        OPENSSL_cleanse(plaintext, ciphertext.len);
        return crypto_fail("opening a seal");
    }
    unsigned char nothing[AEAD_TAG_LEN];
    int none;
    if (EVP_CipherFinal_ex(aead->context, nothing, &none) != 1) {
        OPENSSL_cleanse(plaintext, ciphertext.len);
        return CKR_ENCRYPTED_DATA_INVALID;
    }
    return CKR_OK;
}

CK_RV crypto_seal(const struct secret *key, struct view aad, struct view plaintext,
                  struct blob *ret_sealed)
{
    _cleanup_(aead_free) struct aead *aead = NULL;
    _cleanup_(blob_clear) struct blob sealed = {NULL, 0};
    if (plaintext.len > SECRET_MAX)
        return FAIL(CKR_HOST_MEMORY, "%zu bytes are too many to seal", plaintext.len);
    TRY(aead_new(key, &aead));
    sealed.len = plaintext.len + AEAD_OVERHEAD;
    sealed.bytes = mem_alloc(sealed.len);
    if (sealed.bytes == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for %zu sealed bytes", sealed.len);
    TRY(aead_seal(aead, aad, plaintext, sealed.bytes));
    *ret_sealed = blob_move(&sealed);
    return CKR_OK;
}

CK_RV crypto_open(const struct secret *key, struct view aad, struct view sealed,
                  struct secret *ret_plaintext)
{
    _cleanup_(aead_free) struct aead *aead = NULL;
    _cleanup_(secret_clear) struct secret plaintext = {NULL, 0};
    if (sealed.len < AEAD_OVERHEAD)
        return CKR_ENCRYPTED_DATA_INVALID;
    TRY(aead_new(key, &aead));
    TRY(secret_new(sealed.len - AEAD_OVERHEAD, &plaintext));
    TRY(aead_open(aead, aad, sealed, plaintext.bytes));
    *ret_plaintext = secret_move(&plaintext);
    return CKR_OK;
}
