/*
 * CKM_PKCS5_PBKD2 (RFC 8018, PBKDF2) in C_GenerateKey.
 *
 * The parameter is CK_PKCS5_PBKD2_PARAMS2. Cryptoki 2.40's CK_PKCS5_PBKD2_PARAMS has the same size,
 * with a pointer where the password's length stands: as a number it is over the bound, and refused.
 */
#include "module/mech.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/crypto.h"

#define PASSWORD_LEN_MAX 16384
/* Some ten seconds of work for a key of one block. */
#define ITERATIONS_MAX 10000000

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_PKCS5_PBKD2: %s", what);
}

/* NULL for one that we do not have. */
static const char *prf_digest(CK_PKCS5_PBKD2_PSEUDO_RANDOM_FUNCTION_TYPE prf)
{
    switch (prf) {
    case CKP_PKCS5_PBKD2_HMAC_SHA1:
        return "SHA1";
    case CKP_PKCS5_PBKD2_HMAC_SHA224:
        return "SHA2-224";
    case CKP_PKCS5_PBKD2_HMAC_SHA256:
        return "SHA2-256";
    case CKP_PKCS5_PBKD2_HMAC_SHA384:
        return "SHA2-384";
    case CKP_PKCS5_PBKD2_HMAC_SHA512:
        return "SHA2-512";
    case CKP_PKCS5_PBKD2_HMAC_SHA512_224:
        return "SHA2-512/224";
    case CKP_PKCS5_PBKD2_HMAC_SHA512_256:
        return "SHA2-512/256";
    default:
        return NULL;
    }
}

static CK_RV params_read(const CK_MECHANISM *mechanism, CK_PKCS5_PBKD2_PARAMS2 *ret_params)
{
    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(*ret_params))
        return invalid("no CK_PKCS5_PBKD2_PARAMS2");
    memcpy(ret_params, mechanism->pParameter, sizeof(*ret_params));
    if (ret_params->saltSource != CKZ_SALT_SPECIFIED)
        return invalid("the salt's source is not CKZ_SALT_SPECIFIED");
    if (ret_params->iterations == 0 || ret_params->iterations > ITERATIONS_MAX)
        return invalid("no iterations, or more than 10,000,000");
    if (!prf_digest(ret_params->prf))
        return invalid("an unknown PRF");
    if (ret_params->ulPrfDataLen != 0)
        return invalid("an HMAC takes no PRF data");
    return CKR_OK;
}

/* OpenSSL refuses a NULL address even of no bytes. */
static OSSL_PARAM octets(const char *name, struct view bytes)
{
    static unsigned char none;

    return OSSL_PARAM_construct_octet_string(name, bytes.len > 0 ? (void *) bytes.bytes : &none,
                                             bytes.len);
}

static CK_RV pbkdf2_generate(const CK_MECHANISM *mechanism, size_t len, struct secret *ret_value)
{
    CK_PKCS5_PBKD2_PARAMS2 given;
    struct view password = {0};
    struct view salt = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    int any_length = 1; /* of salts and keys: SP 800-132's floors are the caller's affair */

    TRY(params_read(mechanism, &given));
    TRY(mech_parameter_bytes(given.pPassword, given.ulPasswordLen, PASSWORD_LEN_MAX, &password));
    TRY(mech_parameter_bytes(given.pSaltSourceData, given.ulSaltSourceDataLen, PARAMETER_BYTES_MAX,
                             &salt));
    EVP_KDF *kdf = crypto_kdf("PBKDF2");
    if (!kdf)
        return mech_openssl_failed("CKM_PKCS5_PBKD2", "fetching PBKDF2");
    TRY(secret_new(len, &key));
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    if (!context)
        return CKR_HOST_MEMORY;
    uint64_t iterations = given.iterations;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) prf_digest(given.prf), 0),
        octets(OSSL_KDF_PARAM_PASSWORD, password),
        octets(OSSL_KDF_PARAM_SALT, salt),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &iterations),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &any_length),
        OSSL_PARAM_construct_end(),
    };
    int ok = EVP_KDF_derive(context, key.bytes, len, params);
    EVP_KDF_CTX_free(context);
    if (!ok)
        return mech_openssl_failed("CKM_PKCS5_PBKD2", "deriving");
    *ret_value = secret_move(&key);
    return CKR_OK;
}

const struct generate_ops mech_pbkdf2 = {
    .key_type = CK_UNAVAILABLE_INFORMATION,
    .generate = pbkdf2_generate,
};
