/*
 * CKM_AES_GCM in the message functions (PKCS #11 6.13.3, NIST SP 800-38D).
 *
 * The tag goes to and comes from pTag. An IV of the token's making is random, 96 bits at least (SP
 * 800-38D, 8.2.2), or the key's counter (8.2.1), whose fixed part or base is as the first message
 * under the key had it: with another, different counts could give equal IVs.
 *
 * Decryption in parts collects the ciphertext, and decrypts when the last part has brought the tag.
 */
#include "module/mech_aes_gcm.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/crypto.h"
#include "module/iv_counters.h"

#define RANDOM_BITS_MIN 96
#define COUNTER_BITS_MAX 64
#define GENERATED_IV_LEN_MAX IV_FORM_BASE_MAX

static bool encrypts(const struct operation *operation)
{
    return operation->kind == OPERATION_MESSAGE_ENCRYPT;
}

/* What the parameter of C_Message*Init says comes again with each message. */
static CK_RV message_start(struct operation *operation, const CK_MECHANISM *mechanism)
{
    struct gcm_state *state = NULL;

    if (mechanism->ulParameterLen != 0 &&
        (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(CK_GCM_MESSAGE_PARAMS))) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: no CK_GCM_MESSAGE_PARAMS");
    }
    return mech_aes_gcm_state(operation, &state);
}

static CK_RV params_read(struct view parameter, CK_GCM_MESSAGE_PARAMS *ret_params)
{
    if (!parameter.bytes || parameter.len != sizeof(*ret_params))
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: no CK_GCM_MESSAGE_PARAMS");
    memcpy(ret_params, parameter.bytes, sizeof(*ret_params));
    return CKR_OK;
}

/* Of the byte at `at`, the bits that the generator makes; fixed ones count from the left. */
static unsigned char free_mask(size_t at, CK_ULONG fixed_bits)
{
    if (fixed_bits >= 8 * (at + 1))
        return 0;
    return fixed_bits <= 8 * at ? 0xff : (unsigned char) (0xff >> (fixed_bits % 8));
}

static CK_RV iv_random(struct operation *operation, const CK_GCM_MESSAGE_PARAMS *params,
                       unsigned char *iv)
{
    unsigned char fresh[GENERATED_IV_LEN_MAX];

    if (8 * params->ulIvLen - params->ulIvFixedBits < RANDOM_BITS_MIN) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                      "CKM_AES_GCM: a random part of %lu bits is too short to be unique",
                      8 * params->ulIvLen - params->ulIvFixedBits);
    }
    TRY(gcm_counts_take(operation->key, &operation->share));
    TRY(crypto_random(fresh, params->ulIvLen));
    for (size_t i = 0; i < params->ulIvLen; i++) {
        unsigned char mask = free_mask(i, params->ulIvFixedBits);
        iv[i] = (unsigned char) ((iv[i] & ~mask) | (fresh[i] & mask));
    }
    return CKR_OK;
}

static struct iv_form iv_form_of(const CK_GCM_MESSAGE_PARAMS *params, const unsigned char *base)
{
    struct iv_form form = {
        .generator = params->ivGenerator,
        .iv_len = params->ulIvLen,
        .fixed_bits = params->ulIvFixedBits,
    };

    if (params->ivGenerator == CKG_GENERATE_COUNTER_XOR)
        memcpy(form.base, base, params->ulIvLen);
    return form;
}

static CK_RV iv_counted(struct operation *operation, const CK_GCM_MESSAGE_PARAMS *params,
                        struct iv_filling *filling, unsigned char *iv)
{
    CK_ULONG bits = 8 * params->ulIvLen - params->ulIvFixedBits;
    bool is_xor = params->ivGenerator == CKG_GENERATE_COUNTER_XOR;
    uint64_t count = 0;

    if (bits == 0)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: an IV without room for a counter");
    struct iv_form form = iv_form_of(params, iv);
    TRY(iv_counters_next(operation->key, &form,
                         (unsigned int) (bits < COUNTER_BITS_MAX ? bits : COUNTER_BITS_MAX),
                         filling, &count));
    for (size_t i = params->ulIvLen; i-- > 0; count >>= 8) {
        unsigned char kept =
            is_xor ? iv[i] : iv[i] & (unsigned char) ~free_mask(i, params->ulIvFixedBits);
        iv[i] = (unsigned char) (kept ^ (count & 0xff));
    }
    return CKR_OK;
}

/* Makes the IV in `iv`, which holds what the caller gave as such. */
static CK_RV iv_make(struct operation *operation, const CK_GCM_MESSAGE_PARAMS *params,
                     struct iv_filling *filling, unsigned char *iv)
{
    if (params->ivGenerator == CKG_NO_GENERATE)
        return gcm_counts_take(operation->key, &operation->share);
    if (params->ulIvLen > GENERATED_IV_LEN_MAX || params->ulIvFixedBits > 8 * params->ulIvLen) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID,
                      "CKM_AES_GCM: an IV of %lu bytes with %lu fixed bits", params->ulIvLen,
                      params->ulIvFixedBits);
    }
    switch (params->ivGenerator) {
    case CKG_GENERATE:
    case CKG_GENERATE_RANDOM:
        return iv_random(operation, params, iv);
    case CKG_GENERATE_COUNTER:
    case CKG_GENERATE_COUNTER_XOR:
        return iv_counted(operation, params, filling, iv);
    default:
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: no generator 0x%lx",
                      params->ivGenerator);
    }
}

_short_way_ static CK_RV message_begin(struct operation *operation, struct view parameter,
                                       struct view aad, struct iv_filling *filling)
{
    unsigned char iv[GCM_IV_LEN_MAX];
    struct gcm_input input = {.aad = aad};
    CK_GCM_MESSAGE_PARAMS params;

    TRY(params_read(parameter, &params));
    TRY(mech_aes_gcm_tag_len(params.ulTagBits, &input.tag_len));
    TRY(mech_parameter_bytes(params.pIv, params.ulIvLen, GCM_IV_LEN_MAX, &input.iv));
    if (input.iv.len == 0)
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: an empty IV");
    if (aad.len > GCM_AAD_LEN_MAX)
        return REFUSE(CKR_ARGUMENTS_BAD, "CKM_AES_GCM: %zu bytes of associated data", aad.len);
    memcpy(iv, input.iv.bytes, input.iv.len);
    input.iv.bytes = iv;
    if (encrypts(operation))
        TRY(iv_make(operation, &params, filling, iv));
    TRY(mech_aes_gcm_begin(operation, &input));
    if (encrypts(operation) && params.ivGenerator != CKG_NO_GENERATE)
        memcpy(params.pIv, iv, input.iv.len);
    return CKR_OK;
}

static CK_RV message_output_len(struct operation *operation, size_t in_len, bool last,
                                size_t *ret_len)
{
    const struct gcm_state *state = operation->state;

    if (encrypts(operation)) {
        *ret_len = in_len;
        return CKR_OK;
    }
    if (in_len > SIZE_MAX - state->collected.len)
        return REFUSE(CKR_ENCRYPTED_DATA_LEN_RANGE, "CKM_AES_GCM: the message is too long");
    *ret_len = last ? state->collected.len + in_len : 0;
    return CKR_OK;
}

/* Where the tag of a last part goes to or comes from: tag_len bytes. */
static CK_RV tag_place(const struct operation *operation, struct view parameter,
                       unsigned char **ret_tag)
{
    const struct gcm_state *state = operation->state;
    CK_GCM_MESSAGE_PARAMS params;

    TRY(params_read(parameter, &params));
    if (!params.pTag || params.ulTagBits != 8 * state->tag_len) {
        return REFUSE(CKR_MECHANISM_PARAM_INVALID, "CKM_AES_GCM: a tag of %lu bits at %s",
                      params.ulTagBits, params.pTag ? "an address" : "NULL");
    }
    *ret_tag = params.pTag;
    return CKR_OK;
}

static CK_RV encrypt_next(struct operation *operation, const struct message_part *part,
                          unsigned char *out)
{
    unsigned char *tag = NULL;

    if (part->last)
        TRY(tag_place(operation, part->parameter, &tag));
    TRY(mech_aes_gcm_encrypt(operation, part->in, out));
    return part->last ? mech_aes_gcm_tag_write(operation, tag) : CKR_OK;
}

static CK_RV decrypt_last(struct operation *operation, const struct message_part *part,
                          unsigned char *out)
{
    struct gcm_state *state = operation->state;
    unsigned char tag[GCM_TAG_LEN_MAX];
    unsigned char *given = NULL;
    struct view text = part->in;

    TRY(tag_place(operation, part->parameter, &given));
    memcpy(tag, given, state->tag_len);
    if (state->collected.len > 0) {
        TRY(mech_aes_gcm_collect(operation, part->in));
        text = blob_view(&state->collected);
    }
    CK_RV rv = mech_aes_gcm_open(operation, text, tag, out);
    return rv == CKR_ENCRYPTED_DATA_INVALID ? CKR_AEAD_DECRYPT_FAILED : rv;
}

_short_way_ static CK_RV message_next(struct operation *operation, const struct message_part *part,
                                      unsigned char *out, size_t *ret_len)
{
    size_t len = 0;

    TRY(message_output_len(operation, part->in.len, part->last, &len));
    if (encrypts(operation))
        TRY(encrypt_next(operation, part, out));
    else if (part->last)
        TRY(decrypt_last(operation, part, out));
    else
        TRY(mech_aes_gcm_collect(operation, part->in));
    *ret_len = len;
    return CKR_OK;
}

const struct message_ops mech_aes_gcm_message = {
    .start = message_start,
    .begin = message_begin,
    .output_len = message_output_len,
    .next = message_next,
    .end = mech_aes_gcm_end,
    .free_state = mech_aes_gcm_free,
};
