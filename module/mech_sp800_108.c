/*
 * CKM_SP800_108_COUNTER_KDF, _FEEDBACK_KDF and _DOUBLE_PIPELINE_KDF (NIST SP 800-108r1, 4.1 to
 * 4.3).
 *
 * The three differ in what their iteration variable is: the counter, K(i-1), or A(i). A call may
 * make several keys; each begins with a PRF call of its own, so that no two share a block.
 *
 * Nothing that was keyed outlives the derivation: it is worth as much as the base key.
 */
#include "module/mech_sp800_108_input.h"

#include <openssl/crypto.h>
#include <stddef.h>
#include <string.h>

#include "module/mech_prf.h"

enum mode { MODE_COUNTER, MODE_FEEDBACK, MODE_DOUBLE_PIPELINE };

/* The two parameter structures as one. */
struct kdf_params {
    CK_SP800_108_KDF_PARAMS common;
    struct view iv; /* MODE_FEEDBACK: K(0) */
};

/* The derivation as it runs. */
struct kdf_run {
    const struct derive_call *call;
    enum mode mode;
    struct kdf_input input;
    struct prf prf;
    unsigned char block[PRF_LEN_MAX];
    unsigned char chain_bytes[PRF_LEN_MAX];
    struct view chain; /* K(i-1) or A(i) */
    uint32_t counter;
};

bool mech_sp800_108_accepts_key(const struct mechanism *mechanism, CK_KEY_TYPE key_type)
{
    (void) mechanism;
    switch (key_type) {
    case CKK_GENERIC_SECRET:
    case CKK_AES:
    case CKK_SHA_1_HMAC:
    case CKK_SHA224_HMAC:
    case CKK_SHA256_HMAC:
    case CKK_SHA384_HMAC:
    case CKK_SHA512_HMAC:
    case CKK_SHA512_224_HMAC:
    case CKK_SHA512_256_HMAC:
    case CKK_SHA3_224_HMAC:
    case CKK_SHA3_256_HMAC:
    case CKK_SHA3_384_HMAC:
    case CKK_SHA3_512_HMAC:
        return true;
    default:
        return false;
    }
}

static void kdf_run_clear(struct kdf_run *run)
{
    kdf_input_clear(&run->input);
    prf_clear(&run->prf);
    OPENSSL_cleanse(run->block, run->prf.len);
    OPENSSL_cleanse(run->chain_bytes, run->prf.len);
}

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "SP 800-108: %s", what);
}

static CK_RV feedback_params_read(const CK_MECHANISM *mechanism, struct kdf_params *ret_params)
{
    CK_SP800_108_FEEDBACK_KDF_PARAMS given;

    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(given))
        return invalid("no CK_SP800_108_FEEDBACK_KDF_PARAMS");
    memcpy(&given, mechanism->pParameter, sizeof(given));
    ret_params->common = (CK_SP800_108_KDF_PARAMS){
        .prfType = given.prfType,
        .ulNumberOfDataParams = given.ulNumberOfDataParams,
        .pDataParams = given.pDataParams,
        .ulAdditionalDerivedKeys = given.ulAdditionalDerivedKeys,
        .pAdditionalDerivedKeys = given.pAdditionalDerivedKeys,
    };
    return mech_parameter_bytes(given.pIV, given.ulIVLen, PARAMETER_BYTES_MAX, &ret_params->iv);
}

static CK_RV params_read(const CK_MECHANISM *mechanism, struct kdf_params *ret_params)
{
    *ret_params = (struct kdf_params){.iv = {NULL, 0}};
    if (mechanism->mechanism == CKM_SP800_108_FEEDBACK_KDF)
        return feedback_params_read(mechanism, ret_params);
    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(ret_params->common))
        return invalid("no CK_SP800_108_KDF_PARAMS");
    memcpy(&ret_params->common, mechanism->pParameter, sizeof(ret_params->common));
    return CKR_OK;
}

static CK_RV additional_keys(const CK_MECHANISM *mechanism, const CK_DERIVED_KEY **ret_keys,
                             size_t *ret_count)
{
    struct kdf_params params;

    TRY(params_read(mechanism, &params));
    CK_ULONG count = params.common.ulAdditionalDerivedKeys;
    if (count > DERIVE_FURTHER_MAX || (count > 0 && !params.common.pAdditionalDerivedKeys))
        return invalid("additional keys without an address, or too many");
    *ret_keys = params.common.pAdditionalDerivedKeys;
    *ret_count = count;
    return CKR_OK;
}

/* The PRF's key type is the base key's: AES for CMAC, generic or the HMAC's own for HMAC. */
static CK_RV prf_check(const struct derive_call *call, CK_SP800_108_PRF_TYPE type,
                       const struct mechanism **ret_prf)
{
    const struct mechanism *prf = mechanism_find(type);
    CK_KEY_TYPE key_type = call->base->attributes.key_type;

    if (!prf || prf->mac != &mech_mac)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "SP 800-108: 0x%lx is no PRF", type);
    if (prf->accepts_key ? !prf->accepts_key(prf, key_type) : prf->key_type != key_type) {
        return REFUSE(CKR_KEY_TYPE_INCONSISTENT, "SP 800-108: a base key of another type than %s",
                      prf->name);
    }
    *ret_prf = prf;
    return CKR_OK;
}

static CK_RV check_outputs(const struct derive_call *call)
{
    for (size_t i = 0; i < call->output_count; i++) {
        size_t len = call->outputs[i].len;
        if (len == 0)
            return REFUSE(CKR_TEMPLATE_INCOMPLETE, "SP 800-108: a key's length is not given");
        if (len > DERIVED_LEN_MAX)
            return REFUSE(CKR_KEY_SIZE_RANGE, "SP 800-108: a key of %zu bytes", len);
    }
    return CKR_OK;
}

/* One PRF call, over input that the policy has seen as it is. */
static CK_RV run_prf(struct kdf_run *run, size_t output, struct view input,
                     unsigned char *ret_block)
{
    const struct derive_call *call = run->call;

    TRY(call->allow(call->allow_context, output, input));
    return prf_run(&run->prf, &input, 1, ret_block);
}

/* A(i) = PRF(A(i-1)), A(0) the fixed input (4.3). */
static CK_RV next_pipeline(struct kdf_run *run, size_t output)
{
    struct view input = run->counter == 1 ? kdf_input_fixed(&run->input) : run->chain;

    TRY(run_prf(run, output, input, run->chain_bytes));
    run->chain = (struct view){.bytes = run->chain_bytes, .len = run->prf.len};
    return CKR_OK;
}

/* K(i), in run->block. */
static CK_RV next_block(struct kdf_run *run, size_t output)
{
    run->counter++;
    if (run->mode == MODE_DOUBLE_PIPELINE)
        TRY(next_pipeline(run, output));
    struct view input = kdf_input_build(&run->input, run->chain, run->counter);
    TRY(run_prf(run, output, input, run->block));
    if (run->mode == MODE_FEEDBACK) {
        memcpy(run->chain_bytes, run->block, run->prf.len);
        run->chain = (struct view){.bytes = run->chain_bytes, .len = run->prf.len};
    }
    return CKR_OK;
}

static CK_RV expand_key(struct kdf_run *run, size_t output, struct secret *ret_key)
{
    _cleanup_(secret_clear) struct secret key = {0};

    TRY(secret_new(run->call->outputs[output].len, &key));
    for (size_t done = 0; done < key.len; done += run->prf.len) {
        size_t wanted = key.len - done < run->prf.len ? key.len - done : run->prf.len;
        TRY(next_block(run, output));
        memcpy(key.bytes + done, run->block, wanted);
    }
    *ret_key = secret_move(&key);
    return CKR_OK;
}

static CK_RV expand(struct kdf_run *run, struct secret *ret_values)
{
    CK_RV rv = CKR_OK;

    for (size_t i = 0; rv == CKR_OK && i < run->call->output_count; i++)
        rv = expand_key(run, i, &ret_values[i]);
    for (size_t i = 0; rv != CKR_OK && i < run->call->output_count; i++)
        secret_clear(&ret_values[i]);
    return rv;
}

static CK_RV run_begin(struct kdf_run *run)
{
    struct kdf_params params;
    const struct mechanism *prf = NULL;

    TRY(params_read(run->call->mechanism, &params));
    TRY(check_outputs(run->call));
    TRY(prf_check(run->call, params.common.prfType, &prf));
    TRY(prf_of(prf, run->call->base_value, &run->prf));
    const struct kdf_mode mode = {
        .counts = run->mode == MODE_COUNTER,
        .prf_len = run->prf.len,
        .chain_len_max = params.iv.len > run->prf.len ? params.iv.len : run->prf.len,
    };
    TRY(kdf_input_read(run->call, &params.common, &mode, &run->input));
    run->chain = params.iv;
    return CKR_OK;
}

static CK_RV derive_in(enum mode mode, const struct derive_call *call, struct secret *ret_values)
{
    _cleanup_(kdf_run_clear) struct kdf_run run = {.call = call, .mode = mode};

    TRY(run_begin(&run));
    return expand(&run, ret_values);
}

static CK_RV counter_derive(const struct derive_call *call, struct secret *ret_values)
{
    return derive_in(MODE_COUNTER, call, ret_values);
}

static CK_RV feedback_derive(const struct derive_call *call, struct secret *ret_values)
{
    return derive_in(MODE_FEEDBACK, call, ret_values);
}

static CK_RV double_pipeline_derive(const struct derive_call *call, struct secret *ret_values)
{
    return derive_in(MODE_DOUBLE_PIPELINE, call, ret_values);
}

#define KDF(derivation)                                                                            \
    {                                                                                              \
        .default_type = CK_UNAVAILABLE_INFORMATION, .history = HISTORY_OF_ANY_KEY,                 \
        .inherits_omitted = true, .additional = additional_keys, .derive = derivation,             \
    }

const struct derive_ops mech_sp800_108_counter = KDF(counter_derive);
const struct derive_ops mech_sp800_108_feedback = KDF(feedback_derive);
const struct derive_ops mech_sp800_108_double_pipeline = KDF(double_pipeline_derive);
