#include "module/mech_sp800_108_input.h"

#include <string.h>

#define COUNTER_BITS_MAX 32
#define LENGTH_BITS_MAX 64

static CK_RV invalid(const char *what)
{
    return REFUSE(CKR_MECHANISM_PARAM_INVALID, "SP 800-108: %s", what);
}

void kdf_input_clear(struct kdf_input *input)
{
    secret_clear(&input->room);
}

size_t kdf_blocks(const struct derive_call *call, size_t prf_len)
{
    size_t blocks = 0;

    for (size_t i = 0; i < call->output_count; i++)
        blocks += (call->outputs[i].len + prf_len - 1) / prf_len;
    return blocks;
}

static size_t sum_of_keys(const struct derive_call *call)
{
    size_t len = 0;

    for (size_t i = 0; i < call->output_count; i++)
        len += call->outputs[i].len;
    return len;
}

static bool has_kind(const struct kdf_input *input, enum kdf_part_kind kind)
{
    for (size_t i = 0; i < input->count; i++)
        if (input->parts[i].kind == kind)
            return true;
    return false;
}

static CK_RV width_read(CK_ULONG bits, CK_BBOOL little_endian, CK_ULONG max_bits,
                        struct kdf_part *part)
{
    if (bits == 0 || bits % 8 != 0 || bits > max_bits)
        return invalid("a width that is no whole number of bytes, or too large");
    if (little_endian != CK_FALSE && little_endian != CK_TRUE)
        return invalid("bLittleEndian is no boolean");
    part->width = bits / 8;
    part->little_endian = little_endian == CK_TRUE;
    return CKR_OK;
}

static CK_RV counter_read(struct view value, struct kdf_part *part)
{
    CK_SP800_108_COUNTER_FORMAT format;

    if (value.len != sizeof(format))
        return invalid("a counter has no format");
    memcpy(&format, value.bytes, sizeof(format));
    part->kind = KDF_COUNTER;
    return width_read(format.ulWidthInBits, format.bLittleEndian, COUNTER_BITS_MAX, part);
}

/* PKCS #11 6: a counter format in the counter mode, NULL in the other two. */
static CK_RV iteration_read(const struct kdf_mode *mode, struct view value, struct kdf_part *part)
{
    if (mode->counts)
        return counter_read(value, part);
    if (value.bytes != NULL || value.len != 0)
        return invalid("the iteration variable of this mode has no format");
    part->kind = KDF_CHAIN;
    return CKR_OK;
}

static CK_RV length_read(const struct derive_call *call, const struct kdf_mode *mode,
                         struct view value, struct kdf_part *part)
{
    CK_SP800_108_DKM_LENGTH_FORMAT format;
    uint64_t bytes = sum_of_keys(call);

    if (value.len != sizeof(format))
        return invalid("the length field has no format");
    memcpy(&format, value.bytes, sizeof(format));
    TRY(width_read(format.ulWidthInBits, format.bLittleEndian, LENGTH_BITS_MAX, part));
    if (format.dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS)
        bytes = kdf_blocks(call, mode->prf_len) * mode->prf_len;
    else if (format.dkmLengthMethod != CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS)
        return invalid("an unknown method for the length field");
    part->kind = KDF_NUMBER;
    part->number = 8 * bytes;
    if (part->width < sizeof(part->number) && part->number >> (8 * part->width) != 0)
        return invalid("the length does not fit its field");
    return CKR_OK;
}

static CK_RV key_read(const struct derive_call *call, struct view value, struct kdf_part *part)
{
    CK_OBJECT_HANDLE handle;
    const struct secret *key = NULL;

    if (value.len != sizeof(handle))
        return invalid("a key handle of another size");
    memcpy(&handle, value.bytes, sizeof(handle));
    TRY(mech_further_key(call, handle, &key));
    part->bytes = (struct view){.bytes = key->bytes, .len = key->len};
    return CKR_OK;
}

static CK_RV part_read(const struct derive_call *call, const struct kdf_mode *mode,
                       const CK_PRF_DATA_PARAM *param, struct kdf_part *part)
{
    struct view value = {0};

    *part = (struct kdf_part){.kind = KDF_BYTES};
    TRY(mech_parameter_bytes(param->pValue, param->ulValueLen, PARAMETER_BYTES_MAX, &value));
    switch (param->type) {
    case CK_SP800_108_ITERATION_VARIABLE:
        return iteration_read(mode, value, part);
    case CK_SP800_108_COUNTER:
        return mode->counts ? invalid("a second counter") : counter_read(value, part);
    case CK_SP800_108_DKM_LENGTH:
        return length_read(call, mode, value, part);
    case CK_SP800_108_BYTE_ARRAY:
        part->bytes = value;
        return CKR_OK;
    case CK_SP800_108_KEY_HANDLE:
        return key_read(call, value, part);
    default:
        return invalid("a data parameter of an unknown type");
    }
}

/* Iteration variable, counter and length come once at most. */
static CK_RV add_part(struct kdf_input *input, const struct kdf_part *part)
{
    if (part->kind != KDF_BYTES && has_kind(input, part->kind))
        return invalid("an iteration variable, counter or length that stands there twice");
    input->parts[input->count++] = *part;
    return CKR_OK;
}

static CK_RV check_counter(const struct kdf_input *input, size_t blocks)
{
    for (size_t i = 0; i < input->count; i++) {
        const struct kdf_part *part = &input->parts[i];
        if (part->kind == KDF_COUNTER && blocks >> (8 * part->width) != 0)
            return REFUSE(CKR_KEY_SIZE_RANGE, "SP 800-108: the counter would overflow");
    }
    return CKR_OK;
}

static size_t input_len_max(const struct kdf_input *input, const struct kdf_mode *mode)
{
    size_t len = 0;

    for (size_t i = 0; i < input->count; i++) {
        const struct kdf_part *part = &input->parts[i];
        len += part->bytes.len + part->width;
        len += part->kind == KDF_CHAIN ? mode->chain_len_max : 0;
    }
    return len;
}

CK_RV kdf_input_read(const struct derive_call *call, const CK_SP800_108_KDF_PARAMS *params,
                     const struct kdf_mode *mode, struct kdf_input *input)
{
    input->count = 0;
    if (!params->pDataParams || params->ulNumberOfDataParams == 0 ||
        params->ulNumberOfDataParams > KDF_PARTS_MAX)
        return invalid("no data parameters, or too many");
    for (CK_ULONG i = 0; i < params->ulNumberOfDataParams; i++) {
        /* A copy: the caller's other threads may change it between check and use. */
        CK_PRF_DATA_PARAM param = params->pDataParams[i];
        struct kdf_part part;
        TRY(part_read(call, mode, &param, &part));
        TRY(add_part(input, &part));
    }
    if (!has_kind(input, mode->counts ? KDF_COUNTER : KDF_CHAIN))
        return invalid("no iteration variable");
    TRY(check_counter(input, kdf_blocks(call, mode->prf_len)));
    size_t len = input_len_max(input, mode);
    if (len > PARAMETER_BYTES_MAX)
        return invalid("too much input");
    /* One byte more: a first input of nothing is no failure. */
    return secret_new(len + 1, &input->room);
}

/* Writes the low `len` bytes of a number. */
static void put_number(unsigned char *at, size_t len, uint64_t value, bool little_endian)
{
    for (size_t i = 0; i < len; i++) {
        size_t place = little_endian ? i : len - 1 - i;
        at[place] = (unsigned char) (value >> (8 * i));
    }
}

static size_t put_bytes(unsigned char *at, struct view bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.bytes, bytes.len);
    return bytes.len;
}

static struct view build(struct kdf_input *input, bool fixed, struct view chain, uint32_t counter)
{
    size_t len = 0;

    for (size_t i = 0; i < input->count; i++) {
        const struct kdf_part *part = &input->parts[i];
        unsigned char *at = input->room.bytes + len;
        if (part->kind == KDF_BYTES) {
            len += put_bytes(at, part->bytes);
        } else if (part->kind == KDF_NUMBER) {
            put_number(at, part->width, part->number, part->little_endian);
            len += part->width;
        } else if (part->kind == KDF_COUNTER && !fixed) {
            put_number(at, part->width, counter, part->little_endian);
            len += part->width;
        } else if (part->kind == KDF_CHAIN && !fixed) {
            len += put_bytes(at, chain);
        }
    }
    return (struct view){.bytes = input->room.bytes, .len = len};
}

struct view kdf_input_build(struct kdf_input *input, struct view chain, uint32_t counter)
{
    return build(input, false, chain, counter);
}

struct view kdf_input_fixed(struct kdf_input *input)
{
    return build(input, true, (struct view){NULL, 0}, 0);
}
