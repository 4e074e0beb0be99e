/*
 * CKM_HKDF_DERIVE and CKM_HKDF_DATA (RFC 5869): the same bytes, as a key or in the open.
 *
 * With a salt key, HMAC runs under that key: so it passes the same checks as a base key. The info
 * string is copied before the policy sees it, so that no other thread changes what was allowed.
 */
#include "module/mech.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/crypto.h"

/* The most that OpenSSL's HKDF takes. */
#define HKDF_INFO_LEN_MAX 1024
/* RFC 5869, 2.3. */
#define HKDF_BLOCKS_MAX 255

struct hkdf_input {
    CK_HKDF_PARAMS params;
    const EVP_MD *digest;
    size_t digest_len;
    struct view salt;
    struct view info; /* in info_bytes */
    unsigned char info_bytes[HKDF_INFO_LEN_MAX];
};

bool mech_hkdf_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type)
{
    return key_type == CKK_GENERIC_SECRET || key_type == mechanism->key_type;
}

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "HKDF: %s", what);
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

static CK_RV salt_read(const struct derive_call *call, struct hkdf_input *input)
{
    const CK_HKDF_PARAMS *params = &input->params;
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
        TRY(mech_further_key(call, params->hSaltKey, &value));
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
    size_t wanted = call->outputs->len;

    if (input->params.bExpand) {
        max_len *= HKDF_BLOCKS_MAX;
        if (wanted == 0)
            return REFUSE(CKR_TEMPLATE_INCOMPLETE, "HKDF: no length");
    }
    if (wanted > max_len)
        return REFUSE(CKR_KEY_SIZE_RANGE, "HKDF: an output of %zu bytes", wanted);
    *ret_len = wanted ? wanted : max_len;
    return CKR_OK;
}

static CK_RV info_read(struct hkdf_input *input)
{
    struct view info = {0};

    if (!input->params.bExpand)
        return CKR_OK;
    TRY(mech_parameter_bytes(input->params.pInfo, input->params.ulInfoLen, HKDF_INFO_LEN_MAX,
                             &info));
    if (info.len > 0)
        memcpy(input->info_bytes, info.bytes, info.len);
    input->info = (struct view){.bytes = input->info_bytes, .len = info.len};
    return CKR_OK;
}

static CK_RV input_read(const struct derive_call *call, struct hkdf_input *input)
{
    TRY(params_read(call->mechanism, &input->params));
    TRY(digest_read(input));
    TRY(info_read(input));
    /* RFC 5869, 2.3: a pseudorandom key has at least the hash's length. */
    if (!input->params.bExtract && call->base_value->len < input->digest_len) {
        return REFUSE(CKR_KEY_SIZE_RANGE, "HKDF: the key is too short to expand");
    }
    TRY(salt_read(call, input));
    return call->allow_info(call->allow_context, input->info);
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
        return mech_openssl_failed("HKDF", "fetching HKDF");
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
    return ok ? CKR_OK : mech_openssl_failed("HKDF", "deriving");
}

static CK_RV hkdf_derive(const struct derive_call *call, struct secret *ret_value)
{
    struct hkdf_input input = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    size_t len = 0;

    TRY(input_read(call, &input));
    TRY(len_read(call, &input, &len));
    /* An extraction comes whole; what the template does not want is cut off. */
    TRY(secret_new(input.params.bExpand ? len : input.digest_len, &key));
    TRY(hkdf_run(&input, call->base_value, &key));
    return mech_cut(&key, len, ret_value);
}

const struct derive_ops mech_hkdf = {
    .default_type = CKK_GENERIC_SECRET,
    .derive = hkdf_derive,
};

const struct derive_ops mech_hkdf_data = {
    .default_type = CK_UNAVAILABLE_INFORMATION,
    .makes_data = true,
    .derive = hkdf_derive,
};
