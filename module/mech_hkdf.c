/*
 * CKM_HKDF_DERIVE (RFC 5869).
 *
 * With a salt key, HMAC runs under that key: so it passes the same checks as a base key.
 */
#include "module/mech.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/crypto.h"
#include "module/key_use.h"

/* The most that OpenSSL's HKDF takes. */
#define HKDF_INFO_LEN_MAX 1024
/* RFC 5869, 2.3. */
#define HKDF_BLOCKS_MAX 255

struct hkdf_input {
    CK_HKDF_PARAMS params;
    const EVP_MD *digest;
    size_t digest_len;
    struct view salt;
    struct view info;
    struct object *salt_key; /* referenced; its value is the salt */
};

bool mech_hkdf_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type)
{
    return key_type == CKK_GENERIC_SECRET || key_type == mechanism->key_type;
}

static void hkdf_input_clear(struct hkdf_input *input)
{
    if (input->salt_key)
        object_release(&input->salt_key);
}

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_HKDF_DERIVE: %s", what);
}

static CK_RV params_read(const CK_MECHANISM *mechanism, CK_HKDF_PARAMS *ret_params)
{
    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(*ret_params))
        return invalid("no CK_HKDF_PARAMS");
    memcpy(ret_params, mechanism->pParameter, sizeof(*ret_params));
    if (ret_params->bExtract > CK_TRUE || ret_params->bExpand > CK_TRUE)
        return invalid("bExtract or bExpand is no boolean");
    if (!ret_params->bExtract && !ret_params->bExpand)
        return invalid("neither extract nor expand");
    return CKR_OK;
}

static CK_RV digest_read(struct hkdf_input *input)
{
    const struct mechanism *hash = mechanism_find(input->params.prfHashMechanism);

    if (!hash || !hash->digest)
        return invalid("prfHashMechanism is no digest");
    input->digest = crypto_digest(hash->algorithm);
    if (!input->digest)
        return mech_openssl_failed(hash->name, "fetching the digest");
    input->digest_len = (size_t) EVP_MD_get_size(input->digest);
    return CKR_OK;
}

/* The policy compares the output with the base key; this is the other key that goes into it. */
static CK_RV check_salt_key(const struct derive_call *call, const struct object *salt_key)
{
    const struct attributes *salt = &salt_key->attributes;
    const struct attributes derived = {.flags = call->flags};

    if ((attributes_has(salt, FLAG_SENSITIVE) && !attributes_has(&derived, FLAG_SENSITIVE)) ||
        (!attributes_has(salt, FLAG_EXTRACTABLE) && attributes_has(&derived, FLAG_EXTRACTABLE)))
        return REFUSE(CKR_TEMPLATE_INCONSISTENT,
                      "CKM_HKDF_DERIVE: the derived key is less sensitive than the salt key");
    return CKR_OK;
}

static CK_RV salt_read(const struct derive_call *call, struct hkdf_input *input)
{
    const CK_HKDF_PARAMS *params = &input->params;
    const struct mechanism *mechanism = mechanism_find(call->mechanism->mechanism);
    const struct secret *value = NULL;

    if (!params->bExtract)
        return CKR_OK;
    switch (params->ulSaltType) {
    case CKF_HKDF_SALT_NULL:
        return CKR_OK;
    case CKF_HKDF_SALT_DATA:
        return mech_parameter_bytes(params->pSalt, params->ulSaltLen, PARAMETER_BYTES_MAX,
                                    &input->salt);
    case CKF_HKDF_SALT_KEY:
        TRY(key_use_get(call->slot, params->hSaltKey, FLAG_DERIVE, mechanism, &input->salt_key));
        TRY(key_use_value(input->salt_key, &value));
        TRY(check_salt_key(call, input->salt_key));
        input->salt = (struct view){.bytes = value->bytes, .len = value->len};
        return CKR_OK;
    default:
        return invalid("an unknown salt type");
    }
}

/* The output's length: a bare extraction gives one block, and no choice but to cut it. */
static CK_RV len_read(const struct derive_call *call, const struct hkdf_input *input,
                      size_t *ret_len)
{
    size_t max_len = input->digest_len;

    if (input->params.bExpand) {
        max_len *= HKDF_BLOCKS_MAX;
        if (call->len == 0)
            return REFUSE(CKR_TEMPLATE_INCOMPLETE, "CKM_HKDF_DERIVE: no length");
    }
    if (call->len > max_len)
        return REFUSE(CKR_KEY_SIZE_RANGE, "CKM_HKDF_DERIVE: a key of %zu bytes", call->len);
    *ret_len = call->len ? call->len : max_len;
    return CKR_OK;
}

static CK_RV input_read(const struct derive_call *call, struct hkdf_input *input)
{
    TRY(params_read(call->mechanism, &input->params));
    TRY(digest_read(input));
    if (input->params.bExpand) {
        TRY(mech_parameter_bytes(input->params.pInfo, input->params.ulInfoLen, HKDF_INFO_LEN_MAX,
                                 &input->info));
    }
    /* RFC 5869, 2.3: a pseudorandom key has at least the hash's length. */
    if (!input->params.bExtract && call->base_value->len < input->digest_len) {
        return REFUSE(CKR_KEY_SIZE_RANGE, "CKM_HKDF_DERIVE: the key is too short to expand");
    }
    return salt_read(call, input);
}

static int hkdf_mode(const CK_HKDF_PARAMS *params)
{
    if (!params->bExpand)
        return EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    return params->bExtract ? EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND : EVP_KDF_HKDF_MODE_EXPAND_ONLY;
}

static CK_RV hkdf_run(const struct hkdf_input *input, const struct secret *base, struct secret *key)
{
    EVP_KDF *kdf = crypto_kdf("HKDF");
    if (!kdf)
        return mech_openssl_failed("CKM_HKDF_DERIVE", "fetching HKDF");
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    if (!context)
        return CKR_HOST_MEMORY;

    int mode = hkdf_mode(&input->params);
    OSSL_PARAM params[6];
    size_t count = 0;
    params[count++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                                       (char *) EVP_MD_get0_name(input->digest), 0);
    params[count++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, base->bytes, base->len);
    if (input->salt.len > 0) {
        params[count++] = OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_SALT, (void *) input->salt.bytes, input->salt.len);
    }
    if (input->info.len > 0) {
        params[count++] = OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_INFO, (void *) input->info.bytes, input->info.len);
    }
    params[count] = OSSL_PARAM_construct_end();
    int ok = EVP_KDF_derive(context, key->bytes, key->len, params);
    EVP_KDF_CTX_free(context);
    return ok ? CKR_OK : mech_openssl_failed("CKM_HKDF_DERIVE", "deriving");
}

static CK_RV hkdf_derive(const struct derive_call *call, struct secret *ret_value)
{
    _cleanup_(hkdf_input_clear) struct hkdf_input input = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    size_t len = 0;

    TRY(input_read(call, &input));
    TRY(len_read(call, &input, &len));
    /* An extraction comes whole; what the template does not want is cut off. */
    TRY(secret_new(input.params.bExpand ? len : input.digest_len, &key));
    TRY(hkdf_run(&input, call->base_value, &key));
    if (key.len == len) {
        *ret_value = secret_move(&key);
        return CKR_OK;
    }
    return secret_from(key.bytes, len, ret_value);
}

const struct derive_ops mech_hkdf = {
    .default_type = CKK_GENERIC_SECRET,
    .derive = hkdf_derive,
};
