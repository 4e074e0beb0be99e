/* AES key wrap (NIST SP 800-38F; vectors of RFC 3394 and RFC 5649) and wrapping with AES-GCM. */
#include "tests/unit/test_mechanisms.h"

#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "tests/unit/mechanism_fixture.h"

#define KEK_192 "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"
#define KEK_256 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_256 "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"
#define WRAPPED_256                                                                                \
    "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"

static struct object *kek;

static void wrap_setup(void)
{
    mechanism_setup();
    kek = test_key_new(CKK_AES, hex(KEK_256));
}

static void wrap_teardown(void)
{
    test_key_free(kek);
    ck_assert_uint_eq(secrets_in_use(), 0);
    mechanism_teardown();
}

static struct wrap_call call_of(struct object *key, const CK_MECHANISM *mechanism)
{
    return (struct wrap_call){
        .mechanism = mechanism,
        .key = key,
        .key_value = &key->value,
    };
}

static const struct wrap_ops *ops_of(const struct wrap_call *call)
{
    return mechanism_find(call->mechanism->mechanism)->wrap;
}

/* As module/api_wrap.c: asks for the length, gives just that much room. */
static CK_RV wrap(const struct wrap_call *call, struct view value, struct blob *ret_wrapped)
{
    struct secret key = {0};
    size_t len = 0;

    ck_assert_uint_eq(secret_from(value.bytes, value.len, &key), CKR_OK);
    CK_RV rv = ops_of(call)->wrapped_len(call, value.len, &len);
    if (rv == CKR_OK) {
        struct blob wrapped = {.bytes = mem_calloc(1, len), .len = len};
        ck_assert_ptr_nonnull(wrapped.bytes);
        rv = ops_of(call)->wrap(call, &key, wrapped.bytes);
        if (rv == CKR_OK)
            *ret_wrapped = wrapped;
        else
            blob_clear(&wrapped);
    }
    secret_clear(&key);
    return rv;
}

static void expect_unwrapped(const struct wrap_call *call, struct view wrapped, struct view value)
{
    struct secret key = {0};

    ck_assert_uint_eq(ops_of(call)->unwrap(call, wrapped, &key), CKR_OK);
    ck_assert_uint_eq(key.len, value.len);
    ck_assert_mem_eq(key.bytes, value.bytes, value.len);
    secret_clear(&key);
}

static void expect_refused(CK_RV wanted, const struct wrap_call *call, struct view wrapped)
{
    struct secret key = {0};

    ck_assert_uint_eq(ops_of(call)->unwrap(call, wrapped, &key), wanted);
    ck_assert_ptr_null(key.bytes);
}

static const struct {
    CK_MECHANISM_TYPE type;
    const char *kek;
    const char *key;
    const char *wrapped;
} known_answers[] = {
    {CKM_AES_KEY_WRAP, "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff",
     "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"},
    {CKM_AES_KEY_WRAP, "000102030405060708090a0b0c0d0e0f1011121314151617",
     "00112233445566778899aabbccddeeff", "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"},
    {CKM_AES_KEY_WRAP, KEK_256, KEY_256, WRAPPED_256},
    {CKM_AES_KEY_WRAP_KWP, KEK_192, "c37b7e6492584340bed12207808941155068f738",
     "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
    {CKM_AES_KEY_WRAP_KWP, KEK_192, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
    {CKM_AES_KEY_WRAP_PAD, KEK_192, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
};

START_TEST(key_wrap_known_answers)
{
    struct object *key = test_key_new(CKK_AES, hex(known_answers[_i].kek));
    CK_MECHANISM mechanism = test_mechanism(known_answers[_i].type, NULL, 0);
    struct wrap_call call = call_of(key, &mechanism);
    struct view value = hex(known_answers[_i].key);
    struct view wanted = hex(known_answers[_i].wrapped);
    struct blob wrapped = {0};

    ck_assert_uint_eq(wrap(&call, value, &wrapped), CKR_OK);
    ck_assert_uint_eq(wrapped.len, wanted.len);
    ck_assert_mem_eq(wrapped.bytes, wanted.bytes, wanted.len);
    expect_unwrapped(&call, blob_view(&wrapped), value);
    blob_clear(&wrapped);
    test_key_free(key);
}
END_TEST

START_TEST(kwp_takes_every_length)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_KEY_WRAP_KWP, NULL, 0);
    struct wrap_call call = call_of(kek, &mechanism);
    unsigned char value[512];

    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (unsigned char) (i * 7);
    for (size_t len = 1; len <= sizeof(value); len++) {
        struct blob wrapped = {0};
        ck_assert_uint_eq(wrap(&call, bytes_of(value, len), &wrapped), CKR_OK);
        ck_assert_uint_eq(wrapped.len, (len + 7) / 8 * 8 + 8);
        expect_unwrapped(&call, blob_view(&wrapped), bytes_of(value, len));
        blob_clear(&wrapped);
    }
}
END_TEST

START_TEST(kw_takes_whole_semiblocks)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_KEY_WRAP, NULL, 0);
    struct wrap_call call = call_of(kek, &mechanism);
    unsigned char value[64] = {1};

    for (size_t len = 1; len <= sizeof(value); len++) {
        struct blob wrapped = {0};
        bool fits = len >= 16 && len % 8 == 0;
        ck_assert_uint_eq(wrap(&call, bytes_of(value, len), &wrapped),
                          fits ? CKR_OK : CKR_KEY_SIZE_RANGE);
        blob_clear(&wrapped);
    }
}
END_TEST

/* By its length alone, or with one answer for whatever is wrong with it. */
START_TEST(a_damaged_blob_has_one_answer)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD,
                                              CKM_AES_KEY_WRAP_KWP};
    CK_MECHANISM mechanism = test_mechanism(types[_i], NULL, 0);
    struct wrap_call call = call_of(kek, &mechanism);
    struct blob wrapped = {0};
    unsigned char long_one[600] = {0};

    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_OK);
    for (size_t bit = 0; bit < wrapped.len * 8; bit++) {
        wrapped.bytes[bit / 8] ^= (unsigned char) (1U << bit % 8);
        expect_refused(CKR_WRAPPED_KEY_INVALID, &call, blob_view(&wrapped));
        wrapped.bytes[bit / 8] ^= (unsigned char) (1U << bit % 8);
    }
    size_t min = types[_i] == CKM_AES_KEY_WRAP ? 24 : 16;
    for (size_t len = 0; len < sizeof(long_one); len++) {
        bool possible = len >= min && len <= 520 && len % 8 == 0;
        expect_refused(possible ? CKR_WRAPPED_KEY_INVALID : CKR_WRAPPED_KEY_LEN_RANGE, &call,
                       bytes_of(long_one, len));
    }
    blob_clear(&wrapped);
}
END_TEST

START_TEST(the_iv_is_the_check_value)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        CK_ULONG len;
    } rows[] = {{CKM_AES_KEY_WRAP, 8}, {CKM_AES_KEY_WRAP_PAD, 4}, {CKM_AES_KEY_WRAP_KWP, 4}};
    unsigned char iv[16] = {1, 2, 3, 4, 5, 6, 7, 8};
    CK_MECHANISM plain = test_mechanism(rows[_i].type, NULL, 0);
    CK_MECHANISM with_iv = test_mechanism(rows[_i].type, iv, rows[_i].len);
    struct wrap_call plain_call = call_of(kek, &plain);
    struct wrap_call iv_call = call_of(kek, &with_iv);
    struct blob wrapped = {0};

    ck_assert_uint_eq(wrap(&iv_call, hex(KEY_256), &wrapped), CKR_OK);
    expect_unwrapped(&iv_call, blob_view(&wrapped), hex(KEY_256));
    expect_refused(CKR_WRAPPED_KEY_INVALID, &plain_call, blob_view(&wrapped));
    iv[0] ^= 1;
    expect_refused(CKR_WRAPPED_KEY_INVALID, &iv_call, blob_view(&wrapped));
    for (CK_ULONG len = 1; len <= sizeof(iv); len++) {
        with_iv.ulParameterLen = len;
        if (len != rows[_i].len)
            expect_refused(CKR_MECHANISM_PARAM_INVALID, &iv_call, blob_view(&wrapped));
    }
    with_iv = test_mechanism(rows[_i].type, NULL, rows[_i].len);
    expect_refused(CKR_MECHANISM_PARAM_INVALID, &iv_call, blob_view(&wrapped));
    blob_clear(&wrapped);
}
END_TEST

/* KWP's check value as KW's IV: the same bytes come back, padded; nothing shorter does. */
START_TEST(kw_and_kwp_do_not_cut_each_others_keys)
{
    unsigned char aiv[8] = {0xa6, 0x59, 0x59, 0xa6, 0, 0, 0, 31};
    CK_MECHANISM kw = test_mechanism(CKM_AES_KEY_WRAP, aiv, sizeof(aiv));
    CK_MECHANISM kwp = test_mechanism(CKM_AES_KEY_WRAP_KWP, NULL, 0);
    struct wrap_call kw_call = call_of(kek, &kw);
    struct wrap_call kwp_call = call_of(kek, &kwp);
    struct blob wrapped = {0};

    ck_assert_uint_eq(wrap(&kw_call, hex(KEY_256), &wrapped), CKR_OK);
    expect_refused(CKR_WRAPPED_KEY_INVALID, &kwp_call, blob_view(&wrapped));
    blob_clear(&wrapped);
}
END_TEST

static CK_BYTE gcm_iv[12];
static CK_GCM_WRAP_PARAMS gcm_params(CK_GENERATOR_FUNCTION generator)
{
    memset(gcm_iv, 0xaa, sizeof(gcm_iv));
    return (CK_GCM_WRAP_PARAMS){
        .pIv = gcm_iv,
        .ulIvLen = sizeof(gcm_iv),
        .ivGenerator = generator,
        .ulTagBits = 128,
    };
}

START_TEST(gcm_makes_a_fresh_iv)
{
    CK_GCM_WRAP_PARAMS params = gcm_params(_i == 0 ? CKG_GENERATE : CKG_GENERATE_RANDOM);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    struct wrap_call call = call_of(kek, &mechanism);
    CK_BYTE first[sizeof(gcm_iv)];
    struct blob wrapped = {0};
    struct blob again = {0};
    size_t len = 0;

    ck_assert_uint_eq(ops_of(&call)->wrapped_len(&call, 32, &len), CKR_OK);
    ck_assert_uint_eq(len, 48);
    ck_assert_uint_eq(gcm_iv[0] & gcm_iv[5] & gcm_iv[11], 0xaa);
    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_OK);
    memcpy(first, gcm_iv, sizeof(first));
    expect_unwrapped(&call, blob_view(&wrapped), hex(KEY_256));
    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &again), CKR_OK);
    ck_assert_mem_ne(first, gcm_iv, sizeof(first));
    ck_assert_mem_ne(wrapped.bytes, again.bytes, wrapped.len);
    expect_refused(CKR_WRAPPED_KEY_INVALID, &call, blob_view(&wrapped));
    blob_clear(&wrapped);
    blob_clear(&again);
}
END_TEST

START_TEST(gcm_takes_an_iv_only_where_policy_lets_it)
{
    CK_GCM_WRAP_PARAMS params = gcm_params(CKG_NO_GENERATE);
    CK_GCM_PARAMS plain = {.pIv = gcm_iv, .ulIvLen = sizeof(gcm_iv), .ulTagBits = 128};
    CK_MECHANISM with_wrap_params = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    CK_MECHANISM with_plain = test_mechanism(CKM_AES_GCM, &plain, sizeof(plain));
    struct wrap_call call = call_of(kek, &with_wrap_params);
    struct wrap_call plain_call = call_of(kek, &with_plain);
    struct blob wrapped = {0};

    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(wrap(&plain_call, hex(KEY_256), &wrapped), CKR_MECHANISM_PARAM_INVALID);
    call.callers_iv = true;
    plain_call.callers_iv = true;
    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_OK);
    expect_unwrapped(&plain_call, blob_view(&wrapped), hex(KEY_256));
    plain_call.authenticated = true;
    expect_refused(CKR_MECHANISM_PARAM_INVALID, &plain_call, blob_view(&wrapped));
    blob_clear(&wrapped);
}
END_TEST

START_TEST(gcm_associated_data_has_two_places)
{
    CK_BYTE data[5] = "bound";
    CK_GCM_WRAP_PARAMS params = gcm_params(CKG_GENERATE);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    struct wrap_call call = call_of(kek, &mechanism);
    struct blob wrapped = {0};

    call.authenticated = true;
    call.associated_data = bytes_of(data, sizeof(data));
    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_OK);
    expect_unwrapped(&call, blob_view(&wrapped), hex(KEY_256));
    params.pAAD = (CK_BYTE_PTR) "bound";
    params.ulAADLen = 5;
    expect_unwrapped(&call, blob_view(&wrapped), hex(KEY_256));
    call.associated_data = (struct view){0};
    expect_unwrapped(&call, blob_view(&wrapped), hex(KEY_256));
    call.associated_data = bytes_of("other", 5);
    expect_refused(CKR_MECHANISM_PARAM_INVALID, &call, blob_view(&wrapped));
    params.ulAADLen = 0;
    expect_refused(CKR_WRAPPED_KEY_INVALID, &call, blob_view(&wrapped));
    call.associated_data = (struct view){0};
    expect_refused(CKR_WRAPPED_KEY_INVALID, &call, blob_view(&wrapped));
    blob_clear(&wrapped);
}
END_TEST

START_TEST(gcm_refuses_what_it_does_not_serve)
{
    CK_GCM_WRAP_PARAMS good = gcm_params(CKG_GENERATE);
    CK_GCM_WRAP_PARAMS rows[9];
    struct blob wrapped = {0};

    for (size_t i = 0; i < 9; i++)
        rows[i] = good;
    rows[0].ivGenerator = CKG_GENERATE_COUNTER;
    rows[1].ivGenerator = CKG_GENERATE_COUNTER_XOR;
    rows[2].ivGenerator = 99;
    rows[3].pIv = NULL;
    rows[4].ulIvLen = 16;
    rows[5].ulIvFixedBits = 32;
    rows[6].ulTagBits = 64;
    rows[7].ulTagBits = 129;
    rows[8].ulAADLen = 3; /* and no pAAD */
    for (size_t i = 0; i < 9; i++) {
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &rows[i], sizeof(rows[i]));
        struct wrap_call call = call_of(kek, &mechanism);
        ck_assert_msg(wrap(&call, hex(KEY_256), &wrapped) == CKR_MECHANISM_PARAM_INVALID, "row %zu",
                      i);
    }
    CK_MECHANISM none = test_mechanism(CKM_AES_GCM, NULL, sizeof(good));
    struct wrap_call call = call_of(kek, &none);
    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_MECHANISM_PARAM_INVALID);
}
END_TEST

START_TEST(gcm_unwraps_lengths_of_keys)
{
    CK_GCM_WRAP_PARAMS params = gcm_params(CKG_GENERATE);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    struct wrap_call call = call_of(kek, &mechanism);
    unsigned char blob[600] = {0};

    for (size_t len = 0; len < sizeof(blob); len++) {
        bool possible = len > 16 && len <= 512 + 16;
        expect_refused(possible ? CKR_WRAPPED_KEY_INVALID : CKR_WRAPPED_KEY_LEN_RANGE, &call,
                       bytes_of(blob, len));
    }
}
END_TEST

/* Every allocation fails in turn; nothing leaks. */
START_TEST(wrapping_survives_want_of_memory)
{
    CK_GCM_WRAP_PARAMS params = gcm_params(CKG_GENERATE);
    CK_MECHANISM mechanisms[] = {
        test_mechanism(CKM_AES_KEY_WRAP_KWP, NULL, 0),
        test_mechanism(CKM_AES_GCM, &params, sizeof(params)),
    };
    struct wrap_call call = call_of(kek, &mechanisms[_i]);
    struct blob wrapped = {0};

    ck_assert_uint_eq(wrap(&call, hex(KEY_256), &wrapped), CKR_OK);
    /* One empty slab stays after the first time. */
    expect_unwrapped(&call, blob_view(&wrapped), hex(KEY_256));
    for (unsigned long at = 1;; at++) {
        struct secret key = {0};
        long live = mem_live();
        mem_fail_at(at, false);
        CK_RV rv = ops_of(&call)->unwrap(&call, blob_view(&wrapped), &key);
        mem_fail_at(0, false);
        secret_clear(&key);
        ck_assert_int_eq(mem_live(), live);
        if (rv == CKR_OK)
            break;
        ck_assert_uint_eq(rv, CKR_HOST_MEMORY);
    }
    blob_clear(&wrapped);
}
END_TEST

TCase *mechanism_wrap_tests(void)
{
    TCase *tests = tcase_create("wrap");

    tcase_add_checked_fixture(tests, wrap_setup, wrap_teardown);
    tcase_add_loop_test(tests, key_wrap_known_answers, 0,
                        sizeof(known_answers) / sizeof(known_answers[0]));
    tcase_add_test(tests, kwp_takes_every_length);
    tcase_add_test(tests, kw_takes_whole_semiblocks);
    tcase_add_loop_test(tests, a_damaged_blob_has_one_answer, 0, 3);
    tcase_add_loop_test(tests, the_iv_is_the_check_value, 0, 3);
    tcase_add_test(tests, kw_and_kwp_do_not_cut_each_others_keys);
    tcase_add_loop_test(tests, gcm_makes_a_fresh_iv, 0, 2);
    tcase_add_test(tests, gcm_takes_an_iv_only_where_policy_lets_it);
    tcase_add_test(tests, gcm_associated_data_has_two_places);
    tcase_add_test(tests, gcm_refuses_what_it_does_not_serve);
    tcase_add_test(tests, gcm_unwraps_lengths_of_keys);
    tcase_add_loop_test(tests, wrapping_survives_want_of_memory, 0, 2);
    return tests;
}
