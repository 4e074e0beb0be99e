// The token layer of examples/vector-index on OpenSSL's EVP alone, for a measure: what the same
// program would cost without Cryptoki, its index key in a file and its subkeys in its own memory.
//
// It is the best that a careful caller would write: algorithms fetched once, a keyed context kept
// for each key and direction, only the IV set again. --module names a file with the 32 bytes of the
// index key; --token and the PIN are not looked at. The five subkeys are those of the module (SP
// 800-108 in counter mode), so each program opens the other's index.

#include "examples/vector-index/crypt.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "examples/vector-index/profile.h"
#include "include/indexkey.h"

#define KEY_LEN 32

struct evp_token {
    struct token base;
    EVP_CIPHER_CTX *seal[TOKEN_KEY_COUNT];
    EVP_CIPHER_CTX *open[TOKEN_KEY_COUNT];
    EVP_MAC_CTX *mac[TOKEN_KEY_COUNT];
};

static const char *const labels[TOKEN_KEY_COUNT] = {
    [TOKEN_KEY_TOKEN] = INDEXKEY_LABEL_TOKEN,     [TOKEN_KEY_CENTROID] = INDEXKEY_LABEL_CENTROID,
    [TOKEN_KEY_PAYLOAD] = INDEXKEY_LABEL_PAYLOAD, [TOKEN_KEY_ITEM] = INDEXKEY_LABEL_ITEM,
    [TOKEN_KEY_QUERY] = INDEXKEY_LABEL_QUERY,
};

static struct evp_token *evp_of(struct token *token)
{
    return (struct evp_token *) token;
}

static bool evp_read_key(const char *path, unsigned char ret_key[KEY_LEN])
{
    _cleanup_(util_fclosep) FILE *file = fopen(path, "rbe");

    if (file == NULL || fread(ret_key, KEY_LEN, 1, file) != 1) {
        return fail("%s: the index key's %d bytes cannot be read", path, KEY_LEN);
    }
    return true;
}

static bool evp_derive(const unsigned char *index_key, const char *label, unsigned char *ret_key)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "KBKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MAC, (char *) "HMAC", 0),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA256", 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *) index_key, KEY_LEN),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, (void *) label, strlen(label)),
        OSSL_PARAM_END,
    };
    bool ok = EVP_KDF_derive(context, ret_key, KEY_LEN, params) == 1;

    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return ok;
}

static EVP_CIPHER_CTX *evp_cipher(const unsigned char *key, int encrypt)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    if (EVP_CipherInit_ex2(context, cipher, key, NULL, encrypt, NULL) != 1) {
        EVP_CIPHER_CTX_free(context);
        context = NULL;
    }
    EVP_CIPHER_free(cipher);
    return context;
}

static EVP_MAC_CTX *evp_mac(const unsigned char *key)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *) "SHA256", 0),
        OSSL_PARAM_END,
    };

    if (EVP_MAC_init(context, key, KEY_LEN, params) != 1) {
        EVP_MAC_CTX_free(context);
        context = NULL;
    }
    EVP_MAC_free(mac);
    return context;
}

static bool evp_set_key(struct evp_token *evp, enum token_key purpose, const unsigned char *index)
{
    unsigned char key[KEY_LEN];
    bool ok = evp_derive(index, labels[purpose], key);

    if (ok && (purpose == TOKEN_KEY_PAYLOAD || purpose == TOKEN_KEY_ITEM)) {
        evp->seal[purpose] = evp_cipher(key, 1);
        evp->open[purpose] = evp_cipher(key, 0);
        ok = evp->seal[purpose] != NULL && evp->open[purpose] != NULL;
    } else if (ok) {
        evp->mac[purpose] = evp_mac(key);
        ok = evp->mac[purpose] != NULL;
    }
    explicit_bzero(key, sizeof key);
    return ok || fail("OpenSSL could not set up the key %s", labels[purpose]);
}

bool token_open(const struct token_options *options, struct token **ret_token)
{
    _cleanup_(token_closep) struct token *token = NULL;
    struct evp_token *evp = util_alloc(1, sizeof *evp);
    unsigned char index_key[KEY_LEN];
    bool ok;

    if (evp == NULL) {
        return false;
    }
    token = &evp->base;
    ok = evp_read_key(options->module, index_key);
    for (enum token_key purpose = 0; ok && purpose < TOKEN_KEY_COUNT; purpose++) {
        ok = evp_set_key(evp, purpose, index_key);
    }
    explicit_bzero(index_key, sizeof index_key);
    if (!ok) {
        return false;
    }
    *ret_token = token;
    token = NULL;
    return true;
}

void token_close(struct token *token)
{
    if (token == NULL) {
        return;
    }
    for (size_t i = 0; i < TOKEN_KEY_COUNT; i++) {
        EVP_CIPHER_CTX_free(evp_of(token)->seal[i]);
        EVP_CIPHER_CTX_free(evp_of(token)->open[i]);
        EVP_MAC_CTX_free(evp_of(token)->mac[i]);
    }
    free(evp_of(token));
}

void token_closep(struct token **token)
{
    token_close(*token);
}

bool crypt_random(struct token *token, void *to, size_t len)
{
    PROFILE_SPAN(PROFILE_RANDOM);

    (void) token;
    return RAND_bytes(to, (int) len) == 1 || fail("RAND_bytes failed");
}

bool crypt_mac(struct token *token, enum token_key key, struct bytes data,
               uint8_t ret_mac[CRYPT_MAC_LEN])
{
    PROFILE_SPAN(PROFILE_MAC);
    EVP_MAC_CTX *context = evp_of(token)->mac[key];
    size_t len;

    return (EVP_MAC_init(context, NULL, 0, NULL) == 1 &&
            EVP_MAC_update(context, data.data, data.len) == 1 &&
            EVP_MAC_final(context, ret_mac, &len, CRYPT_MAC_LEN) == 1) ||
           fail("HMAC-SHA-256 failed");
}

static bool evp_encrypt(EVP_CIPHER_CTX *cipher, const struct crypt_context *context,
                        const struct crypt_plain *plain, struct crypt_sealed *sealed)
{
    PROFILE_SPAN(PROFILE_SEAL);
    uint8_t *tag = sealed->data + plain->len;
    int len;

    return (EVP_EncryptInit_ex2(cipher, NULL, NULL, sealed->nonce, NULL) == 1 &&
            EVP_EncryptUpdate(cipher, NULL, &len, context->aad, (int) context->aad_len) == 1 &&
            EVP_EncryptUpdate(cipher, sealed->data, &len, plain->data, (int) plain->len) == 1 &&
            EVP_EncryptFinal_ex(cipher, tag, &len) == 1 &&
            EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, CRYPT_TAG_LEN, tag) == 1) ||
           fail("AES-GCM failed for %s", context->name);
}

bool crypt_seal(struct token *token, const struct crypt_context *context,
                const struct crypt_plain *plain, struct crypt_sealed *ret_sealed)
{
    ret_sealed->nonce_len = CRYPT_NONCE_LEN;
    ret_sealed->len = plain->len + CRYPT_TAG_LEN;
    return crypt_random(token, ret_sealed->nonce, CRYPT_NONCE_LEN) &&
           evp_encrypt(evp_of(token)->seal[context->key], context, plain, ret_sealed);
}

bool crypt_open(struct token *token, const struct crypt_context *context,
                const struct crypt_sealed *sealed, struct crypt_plain *ret_plain)
{
    PROFILE_SPAN(PROFILE_OPEN);
    EVP_CIPHER_CTX *cipher = evp_of(token)->open[context->key];
    size_t plain_len = sealed->len - CRYPT_TAG_LEN;
    int len;

    if (sealed->nonce_len != CRYPT_NONCE_LEN ||
        EVP_DecryptInit_ex2(cipher, NULL, NULL, sealed->nonce, NULL) != 1 ||
        EVP_DecryptUpdate(cipher, NULL, &len, context->aad, (int) context->aad_len) != 1 ||
        EVP_DecryptUpdate(cipher, ret_plain->data, &len, sealed->data, (int) plain_len) != 1 ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, CRYPT_TAG_LEN,
                            (void *) (sealed->data + plain_len)) != 1 ||
        EVP_DecryptFinal_ex(cipher, ret_plain->data + plain_len, &len) != 1) {
        return fail("%s does not open: the database was altered, or is another index's",
                    context->name);
    }
    ret_plain->len = plain_len;
    return true;
}
