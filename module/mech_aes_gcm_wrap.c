/*
 * Wrapping with CKM_AES_GCM: the encryption of mech_aes_gcm.c over a key's bytes, the tag behind.
 *
 * The parameter is CK_GCM_PARAMS, with an IV of the caller's, or CK_GCM_WRAP_PARAMS, which may ask
 * for one from here. A caller who chooses IVs wraps a known key and a secret one with the same one,
 * and has the secret key as the exclusive or of three things that he knows: policy decides whether
 * he may (wrap_call.callers_iv).
 */
#include "module/mech_aes_gcm.h"

#include <string.h>

#include "base/crypto.h"
#include "module/attributes_table.h"

#define GENERATED_IV_LEN 12

/* A parameter of either form, as mech_aes_gcm reads it. */
struct gcm_wrapping {
    CK_MECHANISM mechanism; /* its parameter is `params`, or the caller's own */
    CK_GCM_PARAMS params;
    CK_BYTE_PTR generated_iv; /* where the caller wants it; NULL: the caller brought one */
};

static CK_RV refuse(const char *why)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: %s", why);
}

/* Associated data is an argument of the authenticated functions and a field of the parameter: given
 * twice, it must be the same. */
static CK_RV put_associated_data(const struct wrap_call *call, const CK_GCM_WRAP_PARAMS *given,
                                 CK_GCM_PARAMS *params)
{
    struct view own = {0};

    TRY(mech_parameter_bytes(given->pAAD, given->ulAADLen, SIZE_MAX, &own));
    struct view data = call->associated_data;
    if (data.len > 0 && own.len > 0 && !view_equal(data, own))
        return refuse("associated data as an argument, and other data as a parameter");
    if (data.len == 0)
        data = own;
    params->pAAD = (CK_BYTE_PTR) (uintptr_t) data.bytes;
    params->ulAADLen = data.len;
    return CKR_OK;
}

/* CKG_GENERATE is 96 random bits here. A counter would have to be known to all wrappings under the
 * key, and without an anchor a store that was put back would repeat it. */
static CK_RV put_iv(const CK_GCM_WRAP_PARAMS *given, bool wraps, struct gcm_wrapping *wrapping)
{
    static CK_BYTE unknown_yet[GENERATED_IV_LEN];

    wrapping->params.pIv = given->pIv;
    wrapping->params.ulIvLen = given->ulIvLen;
    if (!wraps || given->ivGenerator == CKG_NO_GENERATE)
        return CKR_OK;
    if (given->ivGenerator != CKG_GENERATE && given->ivGenerator != CKG_GENERATE_RANDOM)
        return refuse("an IV generator that is not served here");
    if (given->pIv == NULL || given->ulIvLen != GENERATED_IV_LEN || given->ulIvFixedBits != 0)
        return refuse("IVs that are made here have 12 bytes, none of them fixed");
    wrapping->generated_iv = given->pIv;
    wrapping->params.pIv = unknown_yet;
    return CKR_OK;
}

static CK_RV read_parameter(const struct wrap_call *call, bool wraps, struct gcm_wrapping *wrapping)
{
    CK_GCM_WRAP_PARAMS given;

    wrapping->mechanism = *call->mechanism;
    if (call->mechanism->pParameter == NULL)
        return refuse("no parameter");
    /* Other sizes are for mech_aes_gcm to tell apart. */
    if (call->mechanism->ulParameterLen != sizeof(given))
        return call->authenticated ? refuse("not CK_GCM_WRAP_PARAMS") : CKR_OK;
    memcpy(&given, call->mechanism->pParameter, sizeof(given));
    TRY(put_associated_data(call, &given, &wrapping->params));
    TRY(put_iv(&given, wraps, wrapping));
    wrapping->params.ulTagBits = given.ulTagBits;
    wrapping->mechanism.pParameter = &wrapping->params;
    wrapping->mechanism.ulParameterLen = sizeof(wrapping->params);
    return CKR_OK;
}

static void operation_clear(struct operation *operation)
{
    if (operation->state != NULL)
        mech_aes_gcm.free_state(operation->state);
}

static struct operation operation_of(const struct wrap_call *call, enum operation_kind kind)
{
    return (struct operation){
        .kind = kind,
        .phase = PHASE_STARTED,
        .mechanism = mechanism_find(CKM_AES_GCM),
        .key = call->key,
    };
}

static CK_RV read_for_wrapping(const struct wrap_call *call, struct gcm_wrapping *wrapping)
{
    TRY(read_parameter(call, true, wrapping));
    if (wrapping->generated_iv != NULL || call->callers_iv)
        return CKR_OK;
    log_line(LOG_LEVEL_WARNING,
             "refused by policy rule wrapping-ivs-are-fresh: C_WrapKey with CKM_AES_GCM takes "
             "CK_GCM_WRAP_PARAMS with CKG_GENERATE_RANDOM");
    return CKR_MECHANISM_PARAM_INVALID;
}

static CK_RV gcm_wrapped_len(const struct wrap_call *call, size_t key_len, size_t *ret_len)
{
    struct gcm_wrapping wrapping = {0};
    CK_GCM_PARAMS params;
    size_t tag_len = 0;

    TRY(read_for_wrapping(call, &wrapping));
    TRY(mech_gcm_params(&wrapping.mechanism, &params));
    TRY(mech_aes_gcm_tag_len(params.ulTagBits, &tag_len));
    *ret_len = key_len + tag_len;
    return CKR_OK;
}

static CK_RV gcm_wrap(const struct wrap_call *call, const struct secret *key, unsigned char *out)
{
    _cleanup_(operation_clear) struct operation operation = operation_of(call, OPERATION_ENCRYPT);
    struct gcm_wrapping wrapping = {0};
    unsigned char iv[GENERATED_IV_LEN];
    struct view in = {key->bytes, key->len};
    size_t len = 0;

    TRY(read_for_wrapping(call, &wrapping));
    if (wrapping.generated_iv != NULL) {
        TRY(crypto_random(iv, sizeof(iv)));
        wrapping.params.pIv = iv;
    }
    TRY(mech_aes_gcm.start(&operation, &wrapping.mechanism));
    TRY(mech_aes_gcm.one_shot(&operation, in, out, &len));
    if (wrapping.generated_iv != NULL)
        memcpy(wrapping.generated_iv, iv, sizeof(iv));
    return CKR_OK;
}

static CK_RV as_wrapped(CK_RV rv)
{
    switch (rv) {
    case CKR_ENCRYPTED_DATA_INVALID:
        return CKR_WRAPPED_KEY_INVALID;
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
        return CKR_WRAPPED_KEY_LEN_RANGE;
    default:
        return rv;
    }
}

static CK_RV gcm_unwrap(const struct wrap_call *call, struct view wrapped, struct secret *ret_key)
{
    _cleanup_(operation_clear) struct operation operation = operation_of(call, OPERATION_DECRYPT);
    _cleanup_(secret_clear) struct secret key = {0};
    struct gcm_wrapping wrapping = {0};
    size_t len = 0;

    TRY(read_parameter(call, false, &wrapping));
    TRY(mech_aes_gcm.start(&operation, &wrapping.mechanism));
    TRY(as_wrapped(mech_aes_gcm.output_len(&operation, wrapped.len, true, &len)));
    if (len == 0 || len > KEY_VALUE_MAX) {
        return REFUSE(CKR_WRAPPED_KEY_LEN_RANGE, "CKM_AES_GCM: no wrapped key has %zu bytes",
                      wrapped.len);
    }
    TRY(secret_new(len, &key));
    TRY(as_wrapped(mech_aes_gcm.one_shot(&operation, wrapped, key.bytes, &len)));
    *ret_key = secret_move(&key);
    return CKR_OK;
}

const struct wrap_ops mech_aes_gcm_wrap = {
    .authenticates = true,
    .wrapped_len = gcm_wrapped_len,
    .wrap = gcm_wrap,
    .unwrap = gcm_unwrap,
};
