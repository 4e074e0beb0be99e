#include "base/crypto.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/rv.h"

#define SCRYPT_MEMORY_MAX ((uint64_t) 512 << 20)
#define SCRYPT_P_MAX 16
#define SCRYPT_KEY_LEN 32
#define SCRYPT_BLOCK_LEN 128
#define HKDF_LEN_MAX ((size_t) 255 * SHA256_LEN)

static void kdf_context_clear(EVP_KDF_CTX **context)
{
    EVP_KDF_CTX_free(*context);
}

static char digest_name[] = "SHA256";

static char empty_octets[1];

/* OpenSSL reads parameters through pointers that are not const, and refuses a NULL one even when it
 * has no bytes. */
static OSSL_PARAM octets(const char *name, struct view bytes)
{
    void *start = bytes.len > 0 ? (void *) bytes.bytes : empty_octets;
    return OSSL_PARAM_construct_octet_string(name, start, bytes.len);
}

static OSSL_PARAM sha256(const char *name)
{
    return OSSL_PARAM_construct_utf8_string(name, digest_name, sizeof digest_name - 1);
}

static CK_RV derive(const char *kdf_name, const OSSL_PARAM *params, size_t len,
                    struct secret *ret_key)
{
    CRYPTO_HIDE_ERRORS;
    _cleanup_(secret_clear) struct secret key = {NULL, 0};
    TRY(secret_new(len, &key));
    EVP_KDF *kdf = crypto_kdf(kdf_name);
    if (kdf == NULL)
        return FAIL(CKR_FUNCTION_FAILED, "OpenSSL has no %s", kdf_name);
    _cleanup_(kdf_context_clear) EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    if (context == NULL || EVP_KDF_derive(context, key.bytes, len, params) != 1)
        return crypto_fail(kdf_name);
    *ret_key = secret_move(&key);
    return CKR_OK;
}

CK_RV crypto_hkdf(const struct secret *ikm, struct view salt, struct view info, size_t len,
                  struct secret *ret_key)
{
    if (ikm->len == 0 || len == 0 || len > HKDF_LEN_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "HKDF of %zu bytes from %zu", len, ikm->len);
    const OSSL_PARAM params[] = {
        sha256(OSSL_KDF_PARAM_DIGEST),
        octets(OSSL_KDF_PARAM_KEY, (struct view){ikm->bytes, ikm->len}),
        octets(OSSL_KDF_PARAM_SALT, salt),
        octets(OSSL_KDF_PARAM_INFO, info),
        OSSL_PARAM_construct_end(),
    };
    return derive("HKDF", params, len, ret_key);
}

CK_RV crypto_sha256(struct view message, unsigned char ret_digest[SHA256_LEN])
{
    CRYPTO_HIDE_ERRORS;
    const EVP_MD *digest = crypto_digest("SHA256");
    if (digest == NULL ||
        EVP_Digest(message.bytes, message.len, ret_digest, NULL, digest, NULL) != 1)
        return crypto_fail("SHA-256");
    return CKR_OK;
}

static bool scrypt_is_bounded(uint64_t n, uint32_t r, uint32_t p)
{
    return n >= 2 && (n & (n - 1)) == 0 && r >= 1 && p >= 1 && p <= SCRYPT_P_MAX &&
           n <= SCRYPT_MEMORY_MAX / SCRYPT_BLOCK_LEN / r;
}

CK_RV crypto_scrypt(struct view password, struct view salt, const struct scrypt_cost *cost,
                    struct secret *ret_key)
{
    uint64_t n = cost->n;
    uint32_t r = cost->r;
    uint32_t p = cost->p;

    if (!scrypt_is_bounded(n, r, p))
        return FAIL(CKR_DATA_INVALID, "scrypt parameters out of range");
    /* OpenSSL's own limit, 32 MiB by default: the vector (n blocks), its work space and p more. */
    uint64_t memory_max = SCRYPT_BLOCK_LEN * (uint64_t) r * (n + 2 + p);
    const OSSL_PARAM params[] = {
        octets(OSSL_KDF_PARAM_PASSWORD, password),
        octets(OSSL_KDF_PARAM_SALT, salt),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_max),
        OSSL_PARAM_construct_end(),
    };
    return derive("SCRYPT", params, SCRYPT_KEY_LEN, ret_key);
}
