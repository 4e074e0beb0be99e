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
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/unit/kdf_reference.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SETS 1200

static CK_RV keep_call(void *context, size_t output, struct view prf_input)
{
    reference_calls_add(context, output, prf_input);
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

    reference_params_make(&params, set);
    test_call_make(&call, &params.mechanism, set->key, 0);
    call.call.output_count = set->outputs;
    call.call.allow = keep_call;
    call.call.allow_context = &seen;
    for (size_t i = 0; i < set->outputs; i++)
        call.outputs[i] = (struct derive_output){CKK_GENERIC_SECRET, set->lens[i]};
    ck_assert_uint_eq(test_call_derive(&call, values), CKR_OK);
    ck_assert_int_eq(test_salt_references(), 0);
    reference_keys(set, &wanted, expected);
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
        reference_set_random(&set, modes[_i], i);
        check_set(&set);
        reference_set_free(&set);
    }
}
END_TEST

/* Of NIST's CAVP vectors: counter mode, HMAC-SHA-256, counter of 32 bits before the fixed data;
 * double pipeline, AES-128 CMAC, counter of 32 bits after A(i). */
static const struct {
    CK_MECHANISM_TYPE mode;
    CK_MECHANISM_TYPE prf;
    CK_KEY_TYPE key_type;
    const char *key, *fixed, *output;
} published[] = {
    {CKM_SP800_108_COUNTER_KDF, CKM_SHA256_HMAC, CKK_GENERIC_SECRET,
     "dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0",
     "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b8"
     "64a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac",
     "10621342bfb0fd40046c0e29f2cfdbf0"},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, CKM_AES_CMAC, CKK_AES, "34f0c2542bfe13c7149b68c8a1ef636b",
     "daefcc52d6e32e1614109268933087fce3d64a5a6f111ba1a8d343a1e388a175"
     "2aaea93853be52864997a81c84b04c4f3ff3bd",
     "fc0eae673e7db3c4660668e187bcd81d5ca9b89213d8d741e71c9bab89bb4fb3"
     "c4df541d89a8117f0f56b0f15111ae28abf81fb7d7349fbbcaf01137e4d73527"},
};

START_TEST(published_vectors)
{
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, 32};
    bool counts = published[_i].mode == CKM_SP800_108_COUNTER_KDF;
    struct view fixed = hex(published[_i].fixed);
    struct view output = hex(published[_i].output);
    CK_PRF_DATA_PARAM data[] = {{CK_SP800_108_ITERATION_VARIABLE, NULL, 0},
                                {counts ? CK_SP800_108_ITERATION_VARIABLE : CK_SP800_108_COUNTER,
                                 &counter, sizeof(counter)},
                                {CK_SP800_108_BYTE_ARRAY, (void *) fixed.bytes, fixed.len}};
    CK_SP800_108_KDF_PARAMS params = {published[_i].prf, counts ? 2 : 3, counts ? data + 1 : data,
                                      0, NULL};
    CK_MECHANISM mechanism = test_mechanism(published[_i].mode, &params, sizeof(params));
    struct object *key = test_key_new(published[_i].key_type, hex(published[_i].key));
    struct secret value = {0};

    ck_assert_uint_eq(test_derive(&mechanism, key, output.len, &value), CKR_OK);
    ck_assert(view_equal(bytes_of(value.bytes, value.len), output));
    secret_clear(&value);
    test_key_free(key);
}
END_TEST

/* K(i-1), counter, label, zero byte, context, length in 32 bits: the form of OpenSSL's KBKDF. */
static void set_make_plain(struct set *set, size_t number)
{
    const CK_PRF_DATA_TYPE types[] = {CK_SP800_108_ITERATION_VARIABLE, CK_SP800_108_COUNTER,
                                      CK_SP800_108_BYTE_ARRAY,         CK_SP800_108_BYTE_ARRAY,
                                      CK_SP800_108_BYTE_ARRAY,         CK_SP800_108_DKM_LENGTH};

    reference_set_random(set, CKM_SP800_108_FEEDBACK_KDF, number);
    set->outputs = 1;
    set->count = COUNT(types);
    for (size_t i = 0; i < COUNT(types); i++) {
        set->fields[i] = reference_field_random(types[i]);
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
        reference_params_make(&params, &set);
        kbkdf_feedback(&set, expected);
        ck_assert_uint_eq(test_derive(&params.mechanism, set.key, set.lens[0], &value), CKR_OK);
        ck_assert(view_equal(bytes_of(value.bytes, value.len), bytes_of(expected, set.lens[0])));
        secret_clear(&value);
        reference_set_free(&set);
    }
}
END_TEST

/* A set of one iteration variable and a byte array; each test spoils it. */
static void set_make_small(struct set *set, CK_MECHANISM_TYPE mode)
{
    reference_set_random(set, mode, 2);
    set->fields[0] = reference_field_random(CK_SP800_108_ITERATION_VARIABLE);
    set->fields[0].width = 1;
    set->fields[1] = reference_field_random(CK_SP800_108_BYTE_ARRAY);
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
        set.fields[set.count++] = reference_field_random(rows[i].type);
        reference_params_make(&params, &set);
        ck_assert_msg(derive_rv(&set, &params, 32, 1) == rows[i].wanted, "row %zu", i);
        reference_set_free(&set);
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
        reference_params_make(&params, &set);
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_OK);
        params.data[0].pValue = &format;
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
        params.data[0].ulValueLen = sizeof(format);
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
        params.data[0] = params.data[1];
        ck_assert_uint_eq(derive_rv(&set, &params, 32, 1), CKR_MECHANISM_PARAM_INVALID);
        reference_set_free(&set);
    }
}
END_TEST

START_TEST(hostile_iv_and_key_handle)
{
    struct set set;
    struct params params;

    set_make_small(&set, CKM_SP800_108_FEEDBACK_KDF);
    set.fields[set.count++] = reference_field_random(CK_SP800_108_KEY_HANDLE);
    reference_params_make(&params, &set);
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
    reference_set_free(&set);
}
END_TEST

/* The counter counts the blocks of all keys. */
START_TEST(counter_spans_all_keys)
{
    struct set set;
    struct params params;

    set_make_small(&set, CKM_SP800_108_COUNTER_KDF);
    reference_params_make(&params, &set);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 85, 3), CKR_OK);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 86, 3), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 7 + 1, 31), CKR_OK);
    ck_assert_uint_eq(derive_rv(&set, &params, 32UL * 7 + 1, 32), CKR_KEY_SIZE_RANGE);
    ck_assert_uint_eq(derive_rv(&set, &params, 0, 2), CKR_TEMPLATE_INCOMPLETE);
    reference_set_free(&set);
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
        reference_params_make(&params, &set);
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
        reference_set_free(&set);
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
    reference_params_make(&params, &set);
    test_call_make(&call, &params.mechanism, set.key, 32);
    call.outputs[1] = call.outputs[2] = call.outputs[0];
    call.call.output_count = 3;
    call.call.allow = refuse_second_output;
    size_t in_use = secrets_in_use();
    ck_assert_uint_eq(test_call_derive(&call, values), CKR_MECHANISM_PARAM_INVALID);
    for (size_t i = 0; i < 3; i++)
        ck_assert_ptr_null(values[i].bytes);
    ck_assert_uint_eq(secrets_in_use(), in_use);
    reference_set_free(&set);
}
END_TEST

TCase *mechanism_kdf_modes_tests(void)
{
    TCase *tests = tcase_create("SP 800-108, all modes");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, random_sets_equal_the_formulas, 0, COUNT(modes));
    tcase_add_loop_test(tests, published_vectors, 0, COUNT(published));
    tcase_add_test(tests, feedback_equals_kbkdf);
    tcase_add_test(tests, each_mode_refuses_what_is_not_its_own);
    tcase_add_test(tests, iteration_variable_of_other_modes_has_no_format);
    tcase_add_test(tests, hostile_iv_and_key_handle);
    tcase_add_test(tests, counter_spans_all_keys);
    tcase_add_test(tests, additional_keys_are_bounded);
    tcase_add_loop_test(tests, all_keys_or_none, 0, COUNT(modes));
    return tests;
}
