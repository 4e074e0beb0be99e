#include "base/crypto.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/rv.h"

#define BITS_MIN 2048
#define BITS_MAX 16384
#define BASE64_CHARS 4
#define BASE64_BYTES 3

/* ---- PEM ---- */

static struct view after(struct view text, const char *mark)
{
    size_t len = strlen(mark);
    const unsigned char *at = text.len == 0 ? NULL : memmem(text.bytes, text.len, mark, len);
    if (at == NULL)
        return (struct view){0};
    return (struct view){at + len, (size_t) (text.bytes + text.len - at) - len};
}

/* What stands between the lines of a label (RFC 7468). Empty: it is not there, or does not end. */
static struct view body_of(struct view pem, const char *begin, const char *end)
{
    struct view rest = after(pem, begin);
    struct view tail = after(rest, end);
    if (tail.bytes == NULL)
        return (struct view){0};
    rest.len = (size_t) (tail.bytes - rest.bytes) - strlen(end);
    return rest;
}

/* The lines joined. OpenSSL's own reader leaves the key in freed heap. */
static CK_RV join_lines(struct view body, struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {NULL, 0};
    if (body.len == 0)
        return CKR_DATA_INVALID;
    TRY(secret_new(body.len, &text));
    size_t len = 0;
    for (size_t i = 0; i < body.len; i++) {
        unsigned char c = body.bytes[i];
        if (c != '\n' && c != '\r' && c != ' ' && c != '\t')
            text.bytes[len++] = c;
    }
    text.len = len;
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static CK_RV read_pem(struct view pem, struct secret *ret_der)
{
    _cleanup_(secret_clear) struct secret text = {NULL, 0};
    struct view body = body_of(pem, "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    if (body.len == 0)
        body = body_of(pem, "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
    TRY(join_lines(body, &text));
    if (text.len < BASE64_CHARS)
        return CKR_DATA_INVALID;
    size_t len = text.len / BASE64_CHARS * BASE64_BYTES;
    for (size_t i = 1; i <= 2 && text.bytes[text.len - i] == '='; i++)
        len--;
    return crypto_base64_secret((struct view){text.bytes, text.len}, len, ret_der);
}

/* ---- the key ---- */

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_digest(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

static CK_RV read_key(struct view pem, EVP_PKEY **ret_key)
{
    _cleanup_(secret_clear) struct secret der = {NULL, 0};
    if (pem.len > CRYPTO_PEM_LEN_MAX)
        return CKR_DATA_INVALID;
    TRY(read_pem(pem, &der));
    const unsigned char *at = der.bytes;
    _cleanup_(free_key) EVP_PKEY *key =
        d2i_AutoPrivateKey_ex(NULL, &at, (long) der.len, crypto_context(), NULL);
    if (key == NULL || !EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < BITS_MIN ||
        EVP_PKEY_get_bits(key) > BITS_MAX)
        return CKR_DATA_INVALID;
    *ret_key = TAKE(key);
    return CKR_OK;
}

CK_RV crypto_rsa_sign(struct view key_pem, bool pss, struct view message,
                      struct secret *ret_signature)
{
    CRYPTO_HIDE_ERRORS;
    char mode[] = OSSL_PKEY_RSA_PAD_MODE_PSS;
    char salt_len[] = OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST;
    OSSL_PARAM settings[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, mode, sizeof(mode) - 1),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, salt_len, sizeof(salt_len) - 1),
        OSSL_PARAM_END,
    };
    _cleanup_(free_key) EVP_PKEY *key = NULL;
    _cleanup_(secret_clear) struct secret signature = {NULL, 0};
    TRY(read_key(key_pem, &key));
    size_t len = (size_t) EVP_PKEY_get_size(key);
    TRY(secret_new(len, &signature));
    _cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
    /* PKCS #1 v1.5 is what RSA signs by unless told otherwise. */
    if (context == NULL ||
        EVP_DigestSignInit_ex(context, NULL, "SHA256", crypto_context(), NULL, key,
                              pss ? settings : NULL) != 1 ||
        EVP_DigestSign(context, signature.bytes, &len, message.bytes, message.len) != 1)
        return crypto_fail("signing with RSA");
    signature.len = len;
    *ret_signature = secret_move(&signature);
    return CKR_OK;
}
