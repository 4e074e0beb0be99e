/*
 * CKM_HKDF_DERIVE and CKM_HKDF_DATA (RFC 5869): the same bytes, as a key or in the open.
 *
 * With a salt key, HMAC runs under that key: so it passes the same checks as a base key. The info
 * string is copied before the policy sees it, so that no other thread changes what was allowed.
 */
#include "module/mech_prf.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/crypto.h"

/* As OpenSSL's HKDF. */
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

/* RFC 5869, 2.2: without a salt, as many zeros as the hash is long, which are as good as none. */
static CK_RV extract(const struct hkdf_input *input, struct view base, unsigned char *ret_prk)
{
    _cleanup_(prf_clear) struct prf prf = {0};

    TRY(prf_hmac(input->digest, input->salt, &prf));
    return prf_run(&prf, &base, 1, ret_prk);
}

/* RFC 5869, 2.3. */
static CK_RV expand(const struct hkdf_input *input, struct view prk, struct secret *key)
{
    _cleanup_(prf_clear) struct prf prf = {0};
    unsigned char block[PRF_LEN_MAX];
    unsigned char number = 0;
    struct view parts[] = {{block, 0}, input->info, {&number, 1}};

    CK_RV rv = prf_hmac(input->digest, prk, &prf);
    for (size_t done = 0; rv == CKR_OK && done < key->len; done += prf.len) {
        size_t wanted = key->len - done < prf.len ? key->len - done : prf.len;
        number++;
        rv = prf_run(&prf, parts, 3, block);
        parts[0].len = prf.len;
        if (rv == CKR_OK)
            memcpy(key->bytes + done, block, wanted);
    }
    OPENSSL_cleanse(block, prf.len);
    return rv;
}

static CK_RV hkdf_run(const struct hkdf_input *input, const struct secret *base, struct secret *key)
{
    struct view prk = {base->bytes, base->len};
    unsigned char extracted[PRF_LEN_MAX];

    if (!input->params.bExpand)
        return extract(input, prk, key->bytes);
    if (!input->params.bExtract)
        return expand(input, prk, key);
    CK_RV rv = extract(input, prk, extracted);
    if (rv == CKR_OK)
        rv = expand(input, (struct view){extracted, input->digest_len}, key);
    OPENSSL_cleanse(extracted, input->digest_len);
    return rv;
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
