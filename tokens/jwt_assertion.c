#include "tokens/jwt_assertion.h"

#include <string.h>

#include <openssl/decoder.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "tokens/json.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 16384
#define GROUP_CHARS 4
#define GROUP_BYTES 3

/* ---- texts ---- */

CK_RV jwt_assertion_base64url(struct view bytes, struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {0};
    if (bytes.len > SECRET_MAX / 2)
        return FAIL(CKR_DATA_LEN_RANGE, "base64url: %zu bytes are too many", bytes.len);
    /* EVP_EncodeBlock ends its text with a NUL. */
    size_t groups = (bytes.len + GROUP_BYTES - 1) / GROUP_BYTES;
    TRY(secret_new(groups * GROUP_CHARS + 1, &text));
    (void) EVP_EncodeBlock(text.bytes, bytes.bytes, (int) bytes.len);
    text.len = (bytes.len * GROUP_CHARS + GROUP_BYTES - 1) / GROUP_BYTES;
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] == '+')
            text.bytes[i] = '-';
        else if (text.bytes[i] == '/')
            text.bytes[i] = '_';
    }
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static CK_RV make_header(const struct jwt_assertion *assertion, struct secret *ret_header)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, "alg", assertion->algorithm == JWT_PS256 ? "PS256" : "RS256");
    json_write_text(&writer, "typ", "JWT");
    for (size_t i = 0; i < assertion->field_count; i++)
        json_write_text(&writer, assertion->fields[i].name, assertion->fields[i].value);
    json_write_end_object(&writer);
    return json_write_finish(&writer, ret_header);
}

/* "A.B": for the signing input, and for that with its signature. */
static CK_RV join(struct view first, struct view second, struct secret *ret_joined)
{
    _cleanup_(secret_clear) struct secret coded = {0};
    TRY(jwt_assertion_base64url(second, &coded));
    _cleanup_(secret_clear) struct secret joined = {0};
    TRY(secret_new(first.len + 1 + coded.len, &joined));
    memcpy(joined.bytes, first.bytes, first.len);
    joined.bytes[first.len] = '.';
    if (coded.len > 0)
        memcpy(joined.bytes + first.len + 1, coded.bytes, coded.len);
    *ret_joined = secret_move(&joined);
    return CKR_OK;
}

static struct view secret_view(const struct secret *secret)
{
    return (struct view){secret->bytes, secret->len};
}

/* ---- the key ---- */

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_decoder(OSSL_DECODER_CTX **decoder)
{
    OSSL_DECODER_CTX_free(*decoder);
}

static void free_digest(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

/* OpenSSL would ask the terminal for the password of an encrypted key. */
static int no_password(char *password, size_t size, size_t *len, const OSSL_PARAM *params,
                       void *argument)
{
    (void) password;
    (void) size;
    (void) params;
    (void) argument;
    *len = 0;
    return 0;
}

static CK_RV read_key(struct view pem, EVP_PKEY **ret_key)
{
    _cleanup_(free_key) EVP_PKEY *key = NULL;
    const unsigned char *at = pem.bytes;
    size_t left = pem.len;
    if (pem.len == 0 || pem.len > JWT_PEM_LEN_MAX)
        return CKR_DATA_INVALID;
    _cleanup_(free_decoder) OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
        &key, "PEM", NULL, "RSA", EVP_PKEY_KEYPAIR, crypto_context(), NULL);
    if (decoder == NULL)
        return crypto_fail("a decoder for the key of a JWT");
    if (OSSL_DECODER_CTX_set_passphrase_cb(decoder, no_password, NULL) != 1 ||
        OSSL_DECODER_from_data(decoder, &at, &left) != 1 || key == NULL)
        return CKR_DATA_INVALID;
    int bits = EVP_PKEY_get_bits(key);
    if (!EVP_PKEY_is_a(key, "RSA") || bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return CKR_DATA_INVALID;
    *ret_key = TAKE(key);
    return CKR_OK;
}

static bool set_padding(EVP_PKEY_CTX *context, enum jwt_algorithm algorithm)
{
    if (algorithm == JWT_RS256)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static CK_RV sign(const struct jwt_assertion *assertion, EVP_PKEY *key, struct view input,
                  struct secret *ret_signature)
{
    _cleanup_(secret_clear) struct secret signature = {0};
    _cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;
    size_t len = (size_t) EVP_PKEY_get_size(key);
    TRY(secret_new(len, &signature));
    if (context == NULL ||
        EVP_DigestSignInit_ex(context, &settings, "SHA256", crypto_context(), NULL, key, NULL) !=
            1 ||
        !set_padding(settings, assertion->algorithm) ||
        EVP_DigestSign(context, signature.bytes, &len, input.bytes, input.len) != 1)
        return crypto_fail("signing a JWT");
    signature.len = len;
    *ret_signature = secret_move(&signature);
    return CKR_OK;
}

CK_RV jwt_assertion_sign(const struct jwt_assertion *assertion, struct secret *ret_jwt)
{
    CRYPTO_HIDE_ERRORS;
    _cleanup_(free_key) EVP_PKEY *key = NULL;
    _cleanup_(secret_clear) struct secret header = {0};
    _cleanup_(secret_clear) struct secret coded = {0};
    _cleanup_(secret_clear) struct secret input = {0};
    _cleanup_(secret_clear) struct secret signature = {0};
    TRY(read_key(assertion->key_pem, &key));
    TRY(make_header(assertion, &header));
    TRY(jwt_assertion_base64url(secret_view(&header), &coded));
    TRY(join(secret_view(&coded), assertion->claims, &input));
    TRY(sign(assertion, key, secret_view(&input), &signature));
    return join(secret_view(&input), secret_view(&signature), ret_jwt);
}
