/*
 * SP 800-108 in all three modes over random sets of parameters: each derivation is computed a
 * second time here, from the fields that the parameters were made of, by the formulas of NIST SP
 * 800-108r1, 4.1 to 4.3, and one-shot MACs of OpenSSL. The inputs of the PRF calls are compared
 * too.
 */
#include "tests/unit/test_mechanisms.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/unit/mechanism_fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SETS 1200
#define FIELDS_MAX 8
#define OUTPUTS_MAX 4
#define OUTPUT_LEN_MAX 150

static const struct prf {
    CK_MECHANISM_TYPE type;
    const char *digest; /* NULL: CMAC */
    CK_KEY_TYPE key_type;
    size_t len;
} prfs[] = {
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

/* What a set of parameters is made of. */
struct field {
    CK_PRF_DATA_TYPE type;
    unsigned char bytes[40];
    size_t len;
    size_t width; /* bytes of a number */
    bool little_endian;
    bool segments;
};

struct set {
    CK_MECHANISM_TYPE mode;
    const struct prf *prf;
    struct object *key;
    struct object *second; /* behind CK_SP800_108_KEY_HANDLE */
    struct field fields[FIELDS_MAX];
    size_t count;
    unsigned char iv[80];
    size_t iv_len;
    size_t lens[OUTPUTS_MAX];
    size_t outputs;
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

static struct field random_field(CK_PRF_DATA_TYPE type)
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

static void set_make(struct set *set, CK_MECHANISM_TYPE mode, size_t number)
{
    memset(set, 0, sizeof(*set));
    set->mode = mode;
    set->prf = &prfs[number % COUNT(prfs)];
    set->key = random_key(set->prf->key_type,
                          set->prf->digest ? 1 + next_number(100) : 16 + 8 * next_number(3));
    set->second = random_key(CKK_GENERIC_SECRET, 1 + next_number(50));
    test_salt_key(set->second);
    set->fields[set->count++] = random_field(CK_SP800_108_ITERATION_VARIABLE);
    if (mode != CKM_SP800_108_COUNTER_KDF && next_number(2) == 1)
        set->fields[set->count++] = random_field(CK_SP800_108_COUNTER);
    if (next_number(3) > 0)
        set->fields[set->count++] = random_field(CK_SP800_108_DKM_LENGTH);
    while (set->count < FIELDS_MAX && next_number(3) > 0) {
        set->fields[set->count++] =
            random_field(next_number(4) == 0 ? CK_SP800_108_KEY_HANDLE : CK_SP800_108_BYTE_ARRAY);
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

static void set_free(struct set *set)
{
    test_key_free(set->key);
    test_key_free(set->second);
}

/* The parameters of Cryptoki for a set. */
struct params {
    CK_SP800_108_KDF_PARAMS common;
    CK_SP800_108_FEEDBACK_KDF_PARAMS feedback;
    CK_PRF_DATA_PARAM data[FIELDS_MAX];
    CK_SP800_108_COUNTER_FORMAT counters[FIELDS_MAX];
    CK_SP800_108_DKM_LENGTH_FORMAT length;
    CK_OBJECT_HANDLE handle;
    CK_MECHANISM mechanism;
};

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

static void params_make(struct params *params, const struct set *set)
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

/* Inputs of PRF calls, and the number of the output before each. */
struct calls {
    struct writer bytes;
};

static void calls_add(struct calls *calls, size_t output, struct view input)
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

    calls_add(calls, output, view);
    mac(set, view.len > 0 ? view : bytes_of("", 0), result);
    memcpy(out, result, set->prf->len);
    writer_clear(input);
}

/* All outputs, one behind the other with OUTPUT_LEN_MAX bytes of room each. */
static void expected_keys(const struct set *set, struct calls *calls,
                          unsigned char keys[OUTPUTS_MAX][OUTPUT_LEN_MAX])
{
    unsigned char chain_bytes[EVP_MAX_MD_SIZE];
    struct view chain = bytes_of(set->iv, set->iv_len);
    uint64_t i = 0;

    for (size_t output = 0; output < set->outputs; output++) {
        for (size_t done = 0; done < set->lens[output]; done += set->prf->len) {
            struct writer input = {0};
            unsigned char block[EVP_MAX_MD_SIZE];
            i++;
            if (set->mode == CKM_SP800_108_DOUBLE_PIPELINE_KDF) {
                if (i == 1)
                    write_input(&input, set, chain, 0);
                else
                    write_raw(&input, chain);
                prf_call(set, calls, output, &input, chain_bytes);
                chain = bytes_of(chain_bytes, set->prf->len);
            }
            write_input(&input, set, chain, i);
            prf_call(set, calls, output, &input, block);
            if (set->mode == CKM_SP800_108_FEEDBACK_KDF) {
                memcpy(chain_bytes, block, set->prf->len);
                chain = bytes_of(chain_bytes, set->prf->len);
            }
            size_t left = set->lens[output] - done;
            memcpy(keys[output] + done, block, left < set->prf->len ? left : set->prf->len);
        }
    }
}

static CK_RV keep_call(void *context, size_t output, struct view prf_input)
{
    calls_add(context, output, prf_input);
    return CKR_OK;
}

static void check_set(const struct set *set)
{
    unsigned char expected[OUTPUTS_MAX][OUTPUT_LEN_MAX];
    struct calls wanted = {0};
    struct calls seen = {0};
    struct secret values[OUTPUTS_MAX] = {{NULL, 0}};
    struct params params;
    struct test_call call;

    params_make(&params, set);
    test_call_make(&call, &params.mechanism, set->key, 0);
    call.call.output_count = set->outputs;
    call.call.allow = keep_call;
    call.call.allow_context = &seen;
    for (size_t i = 0; i < set->outputs; i++)
        call.outputs[i] = (struct derive_output){CKK_GENERIC_SECRET, set->lens[i]};
    ck_assert_uint_eq(test_call_derive(&call, values), CKR_OK);
    ck_assert_int_eq(test_salt_references(), 0);
    expected_keys(set, &wanted, expected);
    for (size_t i = 0; i < set->outputs; i++) {
        ck_assert(view_equal(bytes_of(values[i].bytes, values[i].len),
                             bytes_of(expected[i], set->lens[i])));
        secret_clear(&values[i]);
    }
    ck_assert(view_equal(writer_view(&wanted.bytes), writer_view(&seen.bytes)));
    writer_clear(&wanted.bytes);
    writer_clear(&seen.bytes);
}

static const CK_MECHANISM_TYPE modes[] = {CKM_SP800_108_COUNTER_KDF, CKM_SP800_108_FEEDBACK_KDF,
                                          CKM_SP800_108_DOUBLE_PIPELINE_KDF};

START_TEST(random_sets_equal_the_formulas)
{
    for (size_t i = 0; i < SETS; i++) {
        struct set set;
        set_make(&set, modes[_i], i);
        check_set(&set);
        set_free(&set);
    }
}
END_TEST

/* K(i-1), counter, label, zero byte, context, length in 32 bits: the form of OpenSSL's KBKDF. */
static void set_make_plain(struct set *set, size_t number)
{
    const CK_PRF_DATA_TYPE types[] = {CK_SP800_108_ITERATION_VARIABLE, CK_SP800_108_COUNTER,
                                      CK_SP800_108_BYTE_ARRAY,         CK_SP800_108_BYTE_ARRAY,
                                      CK_SP800_108_BYTE_ARRAY,         CK_SP800_108_DKM_LENGTH};

    set_make(set, CKM_SP800_108_FEEDBACK_KDF, number);
    set->outputs = 1;
    set->count = COUNT(types);
    for (size_t i = 0; i < COUNT(types); i++) {
        set->fields[i] = random_field(types[i]);
        set->fields[i].width = 4;
        set->fields[i].little_endian = false;
        set->fields[i].segments = false;
    }
    set->fields[3].bytes[0] = 0;
    set->fields[3].len = 1;
    /* K(0) is empty or of the PRF's length there. */
    set->iv_len = number % 2 == 0 ? 0 : set->prf->len;
}

static void kbkdf_feedback(const struct set *set, unsigned char *out)
{
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(crypto_kdf("KBKDF"));
    const struct secret *key = &set->key->value;
    char cipher[16];
    size_t count = 0;
    OSSL_PARAM params[8];

    (void) snprintf(cipher, sizeof(cipher), "AES-%zu-CBC", 8 * key->len);
    params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *) "FEEDBACK", 0);
    params[count++] = OSSL_PARAM_construct_utf8_string(
        OSSL_KDF_PARAM_MAC, (char *) (set->prf->digest ? "HMAC" : "CMAC"), 0);
    params[count++] =
        set->prf->digest
            ? OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) set->prf->digest, 0)
            : OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_CIPHER, cipher, 0);
    params[count++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key->bytes, key->len);
    params[count++] = OSSL_PARAM_construct_octet_string(
        OSSL_KDF_PARAM_SALT, (void *) set->fields[2].bytes, set->fields[2].len);
    params[count++] = OSSL_PARAM_construct_octet_string(
        OSSL_KDF_PARAM_INFO, (void *) set->fields[4].bytes, set->fields[4].len);
    if (set->iv_len > 0)
        params[count++] =
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *) set->iv, set->iv_len);
    params[count] = OSSL_PARAM_construct_end();
    ck_assert_ptr_nonnull(context);
    ck_assert_int_eq(EVP_KDF_derive(context, out, set->lens[0], params), 1);
    EVP_KDF_CTX_free(context);
}

START_TEST(feedback_equals_kbkdf)
{
    for (size_t i = 0; i < SETS; i++) {
        struct set set;
        struct params params;
        struct secret value = {0};
        unsigned char expected[OUTPUT_LEN_MAX];
        set_make_plain(&set, i);
        params_make(&params, &set);
        kbkdf_feedback(&set, expected);
        ck_assert_uint_eq(test_derive(&params.mechanism, set.key, set.lens[0], &value), CKR_OK);
        ck_assert(view_equal(bytes_of(value.bytes, value.len), bytes_of(expected, set.lens[0])));
        secret_clear(&value);
        set_free(&set);
    }
}
END_TEST

/* A set of one iteration variable and a byte array; each test spoils it. */
static void set_make_small(struct set *set, CK_MECHANISM_TYPE mode)
{
    set_make(set, mode, 2);
    set->fields[0] = random_field(CK_SP800_108_ITERATION_VARIABLE);
    set->fields[0].width = 1;
    set->fields[1] = random_field(CK_SP800_108_BYTE_ARRAY);
    set->count = 2;
    set->iv_len = 4;
    set->outputs = 1;
}

static CK_RV derive_rv(const struct set *set, struct params *params, size_t len, size_t outputs)
{
    struct secret values[DERIVE_FURTHER_MAX + 1] = {{NULL, 0}};
    struct test_call call;

    test_call_make(&call, &params->mechanism, set->key, len);
    call.call.output_count = outputs;
    for (size_t i = 1; i < outputs; i++)
        call.outputs[i] = call.outputs[0];
    CK_RV rv = test_call_derive(&call, values);
    for (size_t i = 0; i < outputs; i++) {
        ck_assert_int_eq(values[i].bytes != NULL, rv == CKR_OK);
        secret_clear(&values[i]);
    }
    ck_assert_int_eq(test_salt_references(), 0);
    return rv;
}

START_TEST(each_mode_refuses_what_is_not_its_own)
{
    static const struct {
        CK_MECHANISM_TYPE mode;
        CK_PRF_DATA_TYPE type; /* of a third field */
        CK_RV wanted;
    } rows[] = {
        {CKM_SP800_108_COUNTER_KDF, CK_SP800_108_COUNTER, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SP800_108_FEEDBACK_KDF, CK_SP800_108_COUNTER, CKR_OK},
        {CKM_SP800_108_DOUBLE_PIPELINE_KDF, CK_SP800_108_COUNTER, CKR_OK},
        {CKM_SP800_108_FEEDBACK_KDF, CK_SP800_108_ITERATION_VARIABLE, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SP800_108_DOUBLE_PIPELINE_KDF, CK_SP800_108_ITERATION_VARIABLE,
         CKR_MECHANISM_PARAM_INVALID},
        {CKM_SP800_108_FEEDBACK_KDF, 6, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SP800_108_FEEDBACK_KDF, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SP800_108_COUNTER_KDF, CK_SP800_108_KEY_HANDLE, CKR_OK},
        {CKM_SP800_108_DOUBLE_PIPELINE_KDF, CK_SP800_108_KEY_HANDLE, CKR_OK},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct set set;
        struct params params;
        set_make_small(&set, rows[i].mode);
        set.fields[set.count++] = random_field(rows[i].type);
        params_make(&params, &set);
        ck_assert_msg(derive_rv(&set, &params, 32, 1) == rows[i].wanted, "row %zu", i);
        set_free(&set);
    }
}
END_TEST

START_TEST(iteration_variable_of_other_modes_has_no_format)
{
    CK_SP800_108_COUNTER_FORMAT format = {CK_FALSE, 16};

    for (size_t mode = 1; mode < COUNT(modes); mode++) {
        struct set set;
        struct params params;
        set_make_small(&set, modes[mode]);
        params_make(&params, &set);
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_OK);
        params.data[0].pValue = &format;
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
        params.data[0].ulValueLen = sizeof(format);
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
        params.data[0] = params.data[1];
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
        set_free(&set);
    }
}
END_TEST

START_TEST(hostile_iv_and_key_handle)
{
    struct set set;
    struct params params;

    set_make_small(&set, CKM_SP800_108_FEEDBACK_KDF);
    set.fields[set.count++] = random_field(CK_SP800_108_KEY_HANDLE);
    params_make(&params, &set);
    params.feedback.pIV = NULL;
    ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
    params.feedback.ulIVLen = 0;
    ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_OK);
    params.feedback.pIV = set.iv;
    params.feedback.ulIVLen = ~0UL;
    ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
    params.feedback.ulIVLen = 1;
    params.handle++;
    ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_KEY_HANDLE_INVALID);
    params.handle--;
    params.data[2].ulValueLen = 4;
    ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
    params.mechanism.ulParameterLen = sizeof(params.common);
    ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
    set_free(&set);
}
END_TEST

/* The counter counts the blocks of all keys. */
START_TEST(counter_spans_all_keys)
{
    struct set set;
    struct params params;

    set_make_small(&set, CKM_SP800_108_COUNTER_KDF);
    params_make(&params, &set);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 85, 3), CKR_OK);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 86, 3), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 7 + 1, 31), CKR_OK);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 7 + 1, 32), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(derive_rv(&set, &params, 0, 2), CKR_TEMPLATE_INCOMPLETE);
    set_free(&set);
}
END_TEST

START_TEST(additional_keys_are_bounded)
{
    struct set set;
    struct params params;
    CK_DERIVED_KEY keys[1] = {{NULL, 0, NULL}};
    const CK_DERIVED_KEY *seen = NULL;
    size_t count = 99;

    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        const struct derive_ops *ops = mechanism_find(modes[mode])->derive;
        bool is_feedback = modes[mode] == CKM_SP800_108_FEEDBACK_KDF;
        set_make_small(&set, modes[mode]);
        params_make(&params, &set);
        CK_ULONG *number = is_feedback ? &params.feedback.ulAdditionalDerivedKeys
                                       : &params.common.ulAdditionalDerivedKeys;
        CK_DERIVED_KEY_PTR *at = is_feedback ? &params.feedback.pAdditionalDerivedKeys
                                             : &params.common.pAdditionalDerivedKeys;
        ck_assert_uint_eq(ops->additional(&params.mechanism, &seen, &count), CKR_OK);
        ck_assert_uint_eq(count, 0);
        *number = 1;
        ck_assert_uint_eq(ops->additional(&params.mechanism, &seen, &count),
                          CKR_MECHANISM_PARAM_INVALID);
        *at = keys;
        ck_assert_uint_eq(ops->additional(&params.mechanism, &seen, &count), CKR_OK);
        ck_assert_uint_eq(count, 1);
        ck_assert_ptr_eq(seen, keys);
        *number = DERIVE_FURTHER_MAX + 1;
        ck_assert_uint_eq(ops->additional(&params.mechanism, &seen, &count),
                          CKR_MECHANISM_PARAM_INVALID);
        params.mechanism.pParameter = NULL;
        ck_assert_uint_eq(ops->additional(&params.mechanism, &seen, &count),
                          CKR_MECHANISM_PARAM_INVALID);
        set_free(&set);
    }
}
END_TEST

static CK_RV refuse_second_output(void *context, size_t output, struct view prf_input)
{
    (void) context;
    (void) prf_input;
    return output == 1 ? CKR_MECHANISM_PARAM_INVALID : CKR_OK;
}

/* No key is left of a call whose second key the policy refuses. */
START_TEST(all_keys_or_none)
{
    struct set set;
    struct params params;
    struct test_call call;
    struct secret values[3] = {{NULL, 0}};

    set_make_small(&set, modes[_i]);
    params_make(&params, &set);
    test_call_make(&call, &params.mechanism, set.key, 32);
    call.outputs[1] = call.outputs[2] = call.outputs[0];
    call.call.output_count = 3;
    call.call.allow = refuse_second_output;
    size_t in_use = secrets_in_use();
    ck_assert_uint_eq(test_call_derive(&call, values), CKR_MECHANISM_PARAM_INVALID);
    for (size_t i = 0; i < 3; i++)
        ck_assert_ptr_null(values[i].bytes);
    ck_assert_uint_eq(secrets_in_use(), in_use);
    set_free(&set);
}
END_TEST

TCase *mechanism_kdf_modes_tests(void)
{
    TCase *tests = tcase_create("SP 800-108, all modes");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, random_sets_equal_the_formulas, 0, COUNT(modes));
    tcase_add_test(tests, feedback_equals_kbkdf);
    tcase_add_test(tests, each_mode_refuses_what_is_not_its_own);
    tcase_add_test(tests, iteration_variable_of_other_modes_has_no_format);
    tcase_add_test(tests, hostile_iv_and_key_handle);
    tcase_add_test(tests, counter_spans_all_keys);
    tcase_add_test(tests, additional_keys_are_bounded);
    tcase_add_loop_test(tests, all_keys_or_none, 0, COUNT(modes));
    return tests;
}
