/*
 * CKM_SP800_108_COUNTER_KDF (NIST SP 800-108r1, 4.1).
 *
 * The parameters are serialised once to the bytes of the first PRF call, with the place of the
 * counter noted; each block then only changes the counter. The other modes put K(i-1) or A(i) in
 * the iteration variable's place: they differ in the loop of kdf_expand alone.
 *
 * The PRF's context is freed with the derivation and never kept: it is worth as much as the base
 * key.
 */
#include "module/mech.h"

#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>

#define DATA_PARAM_COUNT_MAX 32
#define COUNTER_BITS_MAX 32
#define LENGTH_BITS_MAX 64

/* The input of a PRF call. */
struct kdf_input {
    struct blob bytes;
    size_t counter_at;
    size_t counter_len; /* 0: no counter yet */
    bool counter_little_endian;
};

/* What the serialisation works with. */
struct kdf_layout {
    struct writer writer;
    struct kdf_input input;
    bool has_length;
    size_t key_len;
    size_t prf_len;
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

static void kdf_input_clear(struct kdf_input *input)
{
    blob_clear(&input->bytes);
}

static void kdf_layout_clear(struct kdf_layout *layout)
{
    writer_clear(&layout->writer);
}

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "SP 800-108: %s", what);
}

/* Writes the low `len` bytes of a number. */
static void put_number(unsigned char *at, size_t len, uint64_t value, bool little_endian)
{
    for (size_t i = 0; i < len; i++) {
        size_t place = little_endian ? i : len - 1 - i;
        at[place] = (unsigned char) (value >> (8 * i));
    }
}

static CK_RV width_read(CK_ULONG bits, CK_BBOOL little_endian, CK_ULONG max_bits, size_t *ret_len)
{
    if (bits == 0 || bits % 8 != 0 || bits > max_bits)
        return invalid("a width that is no whole number of bytes, or too large");
    if (little_endian != CK_FALSE && little_endian != CK_TRUE)
        return invalid("bLittleEndian is no boolean");
    *ret_len = bits / 8;
    return CKR_OK;
}

static CK_RV add_counter(struct kdf_layout *layout, struct view value)
{
    CK_SP800_108_COUNTER_FORMAT format;
    static const unsigned char room[COUNTER_BITS_MAX / 8];

    if (layout->input.counter_len != 0)
        return invalid("two iteration variables");
    if (value.len != sizeof(format))
        return invalid("the iteration variable has no counter format");
    memcpy(&format, value.bytes, sizeof(format));
    TRY(width_read(format.ulWidthInBits, format.bLittleEndian, COUNTER_BITS_MAX,
                   &layout->input.counter_len));
    layout->input.counter_at = layout->writer.len;
    layout->input.counter_little_endian = format.bLittleEndian == CK_TRUE;
    write_raw(&layout->writer, (struct view){.bytes = room, .len = layout->input.counter_len});
    return CKR_OK;
}

static CK_RV add_length(struct kdf_layout *layout, struct view value)
{
    CK_SP800_108_DKM_LENGTH_FORMAT format;
    unsigned char number[LENGTH_BITS_MAX / 8];
    size_t number_len = 0;

    if (layout->has_length)
        return invalid("two length fields");
    if (value.len != sizeof(format))
        return invalid("the length field has no format");
    memcpy(&format, value.bytes, sizeof(format));
    TRY(width_read(format.ulWidthInBits, format.bLittleEndian, LENGTH_BITS_MAX, &number_len));
    uint64_t bytes = layout->key_len;
    if (format.dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS)
        bytes = (bytes + layout->prf_len - 1) / layout->prf_len * layout->prf_len;
    else if (format.dkmLengthMethod != CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS)
        return invalid("an unknown method for the length field");
    uint64_t bits = 8 * bytes;
    if (number_len < sizeof(bits) && bits >> (8 * number_len) != 0)
        return invalid("the length does not fit its field");
    put_number(number, number_len, bits, format.bLittleEndian == CK_TRUE);
    layout->has_length = true;
    write_raw(&layout->writer, (struct view){.bytes = number, .len = number_len});
    return CKR_OK;
}

static CK_RV add_param(struct kdf_layout *layout, const CK_PRF_DATA_PARAM *param)
{
    struct view value = {0};

    TRY(mech_parameter_bytes(param->pValue, param->ulValueLen, PARAMETER_BYTES_MAX, &value));
    switch (param->type) {
    case CK_SP800_108_ITERATION_VARIABLE:
        return add_counter(layout, value);
    case CK_SP800_108_DKM_LENGTH:
        return add_length(layout, value);
    case CK_SP800_108_BYTE_ARRAY:
        write_raw(&layout->writer, value);
        if (layout->writer.len > PARAMETER_BYTES_MAX)
            return invalid("too much input");
        return CKR_OK;
    case CK_SP800_108_COUNTER: /* for the other two modes only */
    default:
        return invalid("a data parameter of a type that this mode does not take");
    }
}

static CK_RV params_read(const struct derive_call *call, CK_SP800_108_KDF_PARAMS *ret_params)
{
    const CK_MECHANISM *mechanism = call->mechanism;

    if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof(*ret_params))
        return invalid("no CK_SP800_108_KDF_PARAMS");
    memcpy(ret_params, mechanism->pParameter, sizeof(*ret_params));
    if (!ret_params->pDataParams || ret_params->ulNumberOfDataParams == 0 ||
        ret_params->ulNumberOfDataParams > DATA_PARAM_COUNT_MAX) {
        return invalid("no data parameters, or too many");
    }
    if (ret_params->ulAdditionalDerivedKeys != 0)
        return invalid("additional derived keys are not supported");
    if (call->len == 0)
        return REFUSE(CKR_TEMPLATE_INCOMPLETE, "SP 800-108: the key's length is not given");
    if (call->len > DERIVED_LEN_MAX)
        return REFUSE(CKR_KEY_SIZE_RANGE, "SP 800-108: a key of %zu bytes", call->len);
    return CKR_OK;
}

/* Serialises the input of the first call, the counter at 1. */
static CK_RV kdf_input_read(const struct derive_call *call, const CK_SP800_108_KDF_PARAMS *params,
                            size_t prf_len, struct kdf_input *ret_input)
{
    _cleanup_(kdf_layout_clear) struct kdf_layout layout = {
        .key_len = call->len,
        .prf_len = prf_len,
    };

    for (CK_ULONG i = 0; i < params->ulNumberOfDataParams; i++) {
        /* A copy: the caller's other threads may change it between check and use. */
        CK_PRF_DATA_PARAM param = params->pDataParams[i];
        TRY(add_param(&layout, &param));
    }
    if (layout.input.counter_len == 0)
        return invalid("no iteration variable");
    TRY(writer_finish(&layout.writer, &layout.input.bytes));
    put_number(layout.input.bytes.bytes + layout.input.counter_at, layout.input.counter_len, 1,
               layout.input.counter_little_endian);
    *ret_input = layout.input;
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

/* One PRF call, over input that the policy has seen as it is. */
static CK_RV kdf_block(const struct derive_call *call, EVP_MAC_CTX *prf, struct view input,
                       unsigned char block[EVP_MAX_MD_SIZE])
{
    size_t block_len = 0;

    if (call->allow)
        TRY(call->allow(call->allow_context, input));
    if (!EVP_MAC_init(prf, NULL, 0, NULL) || !EVP_MAC_update(prf, input.bytes, input.len) ||
        !EVP_MAC_final(prf, block, &block_len, EVP_MAX_MD_SIZE))
        return mech_openssl_failed("SP 800-108", "computing the PRF");
    return CKR_OK;
}

static CK_RV kdf_expand(const struct derive_call *call, EVP_MAC_CTX *prf,
                        const struct kdf_input *input, struct secret *key)
{
    size_t prf_len = EVP_MAC_CTX_get_mac_size(prf);
    unsigned char block[EVP_MAX_MD_SIZE];
    uint32_t counter = 0;
    CK_RV rv = CKR_OK;

    for (size_t done = 0; rv == CKR_OK && done < key->len; done += prf_len) {
        size_t wanted = key->len - done < prf_len ? key->len - done : prf_len;
        counter++;
        put_number(input->bytes.bytes + input->counter_at, input->counter_len, counter,
                   input->counter_little_endian);
        rv = kdf_block(call, prf, blob_view(&input->bytes), block);
        if (rv == CKR_OK)
            memcpy(key->bytes + done, block, wanted);
    }
    OPENSSL_cleanse(block, sizeof(block));
    return rv;
}

static CK_RV counter_derive(const struct derive_call *call, struct secret *ret_value)
{
    CK_SP800_108_KDF_PARAMS params;
    const struct mechanism *prf = NULL;
    _cleanup_(mech_mac_context_free) EVP_MAC_CTX *context = NULL;
    _cleanup_(kdf_input_clear) struct kdf_input input = {0};
    _cleanup_(secret_clear) struct secret key = {0};

    TRY(params_read(call, &params));
    TRY(prf_check(call, params.prfType, &prf));
    TRY(mech_mac_context(prf, call->base_value, &context));
    size_t prf_len = EVP_MAC_CTX_get_mac_size(context);
    TRY(kdf_input_read(call, &params, prf_len, &input));
    size_t blocks = (call->len + prf_len - 1) / prf_len;
    if (blocks >> (8 * input.counter_len) != 0)
        return REFUSE(CKR_KEY_SIZE_RANGE, "SP 800-108: the counter would overflow");
    TRY(secret_new(call->len, &key));
    TRY(kdf_expand(call, context, &input, &key));
    *ret_value = secret_move(&key);
    return CKR_OK;
}

const struct derive_ops mech_sp800_108_counter = {
    .default_type = CK_UNAVAILABLE_INFORMATION,
    .derive = counter_derive,
};
