#include "tests/unit/kdf_reference.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct prf prfs[] = {
    {CKM_SHA_1_HMAC, "SHA1", CKK_GENERIC_SECRET, 20},
    {CKM_SHA224_HMAC, "SHA2-224", CKK_SHA224_HMAC, 28},
    {CKM_SHA256_HMAC, "SHA2-256", CKK_GENERIC_SECRET, 32},
    {CKM_SHA384_HMAC, "SHA2-384", CKK_SHA384_HMAC, 48},
    {CKM_SHA512_HMAC, "SHA2-512", CKK_GENERIC_SECRET, 64},
    {CKM_SHA512_224_HMAC, "SHA2-512/224", CKK_GENERIC_SECRET, 28},
    {CKM_SHA512_256_HMAC, "SHA2-512/256", CKK_SHA512_256_HMAC, 32},
    {CKM_SHA3_224_HMAC, "SHA3-224", CKK_GENERIC_SECRET, 28},
    {CKM_SHA3_256_HMAC, "SHA3-256", CKK_GENERIC_SECRET, 32},
    {CKM_SHA3_384_HMAC, "SHA3-384", CKK_SHA3_384_HMAC, 48},
    {CKM_SHA3_512_HMAC, "SHA3-512", CKK_GENERIC_SECRET, 64},
    {CKM_AES_CMAC, NULL, CKK_AES, 16},
};

/* Numbers that look random and are the same at every run (Marsaglia's xorshift). */
static size_t next_number(size_t below)
{
    static uint32_t state = 800108;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

static void fill(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char) next_number(256);
}

static struct object *random_key(CK_KEY_TYPE type, size_t len)
{
    unsigned char bytes[100];

    fill(bytes, len);
    return test_key_new(type, bytes_of(bytes, len));
}

struct field reference_field_random(CK_PRF_DATA_TYPE type)
{
    struct field field = {
        .type = type,
        .len = 1 + next_number(sizeof(field.bytes)),
        .width = 2 + next_number(3),
        .little_endian = next_number(2) == 1,
        .segments = next_number(2) == 1,
    };

    if (type == CK_SP800_108_DKM_LENGTH)
        field.width += next_number(5);
    fill(field.bytes, field.len);
    return field;
}

void reference_set_random(struct set *set, CK_MECHANISM_TYPE mode, size_t number)
{
    memset(set, 0, sizeof(*set));
    set->mode = mode;
    set->prf = &prfs[number % COUNT(prfs)];
    set->key = random_key(set->prf->key_type,
                          set->prf->digest ? 1 + next_number(100) : 16 + 8 * next_number(3));
    set->second = random_key(CKK_GENERIC_SECRET, 1 + next_number(50));
    test_salt_key(set->second);
    set->fields[set->count++] = reference_field_random(CK_SP800_108_ITERATION_VARIABLE);
    if (mode != CKM_SP800_108_COUNTER_KDF && next_number(2) == 1)
        set->fields[set->count++] = reference_field_random(CK_SP800_108_COUNTER);
    if (next_number(3) > 0)
        set->fields[set->count++] = reference_field_random(CK_SP800_108_DKM_LENGTH);
    while (set->count < FIELDS_MAX && next_number(3) > 0) {
        set->fields[set->count++] = reference_field_random(
            next_number(4) == 0 ? CK_SP800_108_KEY_HANDLE : CK_SP800_108_BYTE_ARRAY);
    }
    /* Any order (Fisher and Yates). */
    for (size_t i = set->count; i > 1; i--) {
        size_t other = next_number(i);
        struct field field = set->fields[i - 1];
        set->fields[i - 1] = set->fields[other];
        set->fields[other] = field;
    }
    set->iv_len = next_number(sizeof(set->iv) + 1);
    fill(set->iv, set->iv_len);
    set->outputs = 1 + next_number(OUTPUTS_MAX);
    for (size_t i = 0; i < set->outputs; i++)
        set->lens[i] = 1 + next_number(OUTPUT_LEN_MAX);
}

void reference_set_free(struct set *set)
{
    test_key_free(set->key);
    test_key_free(set->second);
}

static CK_PRF_DATA_PARAM param_of(struct params *params, const struct set *set, size_t i)
{
    const struct field *field = &set->fields[i];

    switch (field->type) {
    case CK_SP800_108_ITERATION_VARIABLE:
        if (set->mode != CKM_SP800_108_COUNTER_KDF)
            return (CK_PRF_DATA_PARAM){field->type, NULL, 0};
        /* fall through */
    case CK_SP800_108_COUNTER:
        params->counters[i].bLittleEndian = field->little_endian;
        params->counters[i].ulWidthInBits = 8 * field->width;
        return (CK_PRF_DATA_PARAM){field->type, &params->counters[i], sizeof(params->counters[i])};
    case CK_SP800_108_DKM_LENGTH:
        params->length.dkmLengthMethod = field->segments ? CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS
                                                         : CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS;
        params->length.bLittleEndian = field->little_endian;
        params->length.ulWidthInBits = 8 * field->width;
        return (CK_PRF_DATA_PARAM){field->type, &params->length, sizeof(params->length)};
    case CK_SP800_108_KEY_HANDLE:
        params->handle = SALT_KEY_HANDLE;
        return (CK_PRF_DATA_PARAM){field->type, &params->handle, sizeof(params->handle)};
    default:
        return (CK_PRF_DATA_PARAM){field->type, (void *) field->bytes, field->len};
    }
}

void reference_params_make(struct params *params, const struct set *set)
{
    memset(params, 0, sizeof(*params));
    for (size_t i = 0; i < set->count; i++)
        params->data[i] = param_of(params, set, i);
    params->common = (CK_SP800_108_KDF_PARAMS){
        .prfType = set->prf->type,
        .ulNumberOfDataParams = set->count,
        .pDataParams = params->data,
    };
    params->feedback = (CK_SP800_108_FEEDBACK_KDF_PARAMS){
        .prfType = set->prf->type,
        .ulNumberOfDataParams = set->count,
        .pDataParams = params->data,
        .ulIVLen = set->iv_len,
        .pIV = set->iv_len > 0 ? (CK_BYTE_PTR) set->iv : NULL,
    };
    params->mechanism = set->mode == CKM_SP800_108_FEEDBACK_KDF
                            ? test_mechanism(set->mode, &params->feedback, sizeof(params->feedback))
                            : test_mechanism(set->mode, &params->common, sizeof(params->common));
}

void reference_calls_add(struct calls *calls, size_t output, struct view input)
{
    write_u32(&calls->bytes, (uint32_t) output);
    write_string(&calls->bytes, input);
}

static void write_number(struct writer *writer, const struct field *field, uint64_t number)
{
    for (size_t i = 0; i < field->width; i++) {
        size_t place = field->little_endian ? i : field->width - 1 - i;
        write_u8(writer, (uint8_t) (number >> (8 * place)));
    }
}

static uint64_t length_bits(const struct set *set, bool segments)
{
    uint64_t len = 0;

    for (size_t i = 0; i < set->outputs; i++) {
        size_t blocks = set->lens[i] / set->prf->len + (set->lens[i] % set->prf->len != 0);
        len += segments ? blocks * set->prf->len : set->lens[i];
    }
    return 8 * len;
}

/* 4.1 to 4.3: what the PRF gets; counter 0: the fixed input alone. */
static void write_input(struct writer *writer, const struct set *set, struct view chain,
                        uint64_t counter)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct field *field = &set->fields[i];
        if (field->type == CK_SP800_108_BYTE_ARRAY)
            write_raw(writer, bytes_of(field->bytes, field->len));
        else if (field->type == CK_SP800_108_KEY_HANDLE)
            write_raw(writer, bytes_of(set->second->value.bytes, set->second->value.len));
        else if (field->type == CK_SP800_108_DKM_LENGTH)
            write_number(writer, field, length_bits(set, field->segments));
        else if (counter == 0)
            continue;
        else if (field->type == CK_SP800_108_COUNTER || set->mode == CKM_SP800_108_COUNTER_KDF)
            write_number(writer, field, counter);
        else
            write_raw(writer, chain);
    }
}

static void mac(const struct set *set, struct view input, unsigned char *out)
{
    const struct secret *key = &set->key->value;
    char cipher[16];
    size_t len = 0;

    (void) snprintf(cipher, sizeof(cipher), "AES-%zu-CBC", 8 * key->len);
    ck_assert_ptr_nonnull(EVP_Q_mac(NULL, set->prf->digest ? "HMAC" : "CMAC", NULL,
                                    set->prf->digest ? set->prf->digest : cipher, NULL, key->bytes,
                                    key->len, input.bytes, input.len, out, EVP_MAX_MD_SIZE, &len));
    ck_assert_uint_eq(len, set->prf->len);
}

/* PRF(input), which is kept. */
static void prf_call(const struct set *set, struct calls *calls, size_t output,
                     struct writer *input, unsigned char *out)
{
    unsigned char result[EVP_MAX_MD_SIZE];
    struct view view = writer_view(input);

    reference_calls_add(calls, output, view);
    mac(set, view.len > 0 ? view : bytes_of("", 0), result);
    memcpy(out, result, set->prf->len);
    writer_clear(input);
}

/* A(i) for block i, from A(i-1) (4.3). */
static void next_chain(const struct set *set, struct calls *calls, size_t output, uint64_t i,
                       unsigned char chain[EVP_MAX_MD_SIZE])
{
    struct writer input = {0};

    if (i == 1)
        write_input(&input, set, bytes_of(NULL, 0), 0);
    else
        write_raw(&input, bytes_of(chain, set->prf->len));
    prf_call(set, calls, output, &input, chain);
}

void reference_keys(const struct set *set, struct calls *calls,
                    unsigned char keys[OUTPUTS_MAX][OUTPUT_LEN_MAX])
{
    unsigned char chain_bytes[EVP_MAX_MD_SIZE] = {0};
    uint64_t i = 0;

    for (size_t output = 0; output < set->outputs; output++) {
        for (size_t done = 0; done < set->lens[output]; done += set->prf->len) {
            struct writer input = {0};
            unsigned char block[EVP_MAX_MD_SIZE];
            i++;
            if (set->mode == CKM_SP800_108_DOUBLE_PIPELINE_KDF)
                next_chain(set, calls, output, i, chain_bytes);
            bool is_first = i == 1 && set->mode == CKM_SP800_108_FEEDBACK_KDF;
            write_input(&input, set,
                        is_first ? bytes_of(set->iv, set->iv_len)
                                 : bytes_of(chain_bytes, set->prf->len),
                        i);
            prf_call(set, calls, output, &input, block);
            if (set->mode == CKM_SP800_108_FEEDBACK_KDF)
                memcpy(chain_bytes, block, set->prf->len);
            size_t left = set->lens[output] - done;
            memcpy(keys[output] + done, block, left < set->prf->len ? left : set->prf->len);
        }
    }
}
