/* AES-GCM and AES-CBC. */
#include "tests/unit/test_mechanisms.h"

#include <openssl/err.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/unit/mechanism_fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TAG_LEN 16

/* The fourth test case of the GCM specification (McGrew and Viega). */
static const char gcm_key[] = "feffe9928665731c6d6a8f9467308308";
static const char gcm_iv[] = "cafebabefacedbaddecaf888";
static const char gcm_aad[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
static const char gcm_text[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                               "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
static const char gcm_sealed[] =
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47";

static CK_GCM_PARAMS gcm_params(void)
{
    struct view iv = hex(gcm_iv);
    struct view aad = hex(gcm_aad);

    return (CK_GCM_PARAMS){
        .pIv = (CK_BYTE_PTR) iv.bytes,
        .ulIvLen = iv.len,
        .ulIvBits = 12345, /* not looked at */
        .pAAD = (CK_BYTE_PTR) aad.bytes,
        .ulAADLen = aad.len,
        .ulTagBits = 8UL * TAG_LEN,
    };
}

static CK_RV gcm_run(struct object *key, enum operation_kind kind, CK_GCM_PARAMS *params,
                     struct view in, struct blob *ret_out)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, params, sizeof(*params));
    struct operation operation = test_operation(kind, CKM_AES_GCM, key);
    CK_RV rv = test_cipher(&operation, &mechanism, in, 0, ret_out);

    operation_forget(&operation);
    return rv;
}

START_TEST(gcm_known_answer_in_all_parts)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    struct operation sealing = test_operation(OPERATION_ENCRYPT, CKM_AES_GCM, key);
    struct operation opening = test_operation(OPERATION_DECRYPT, CKM_AES_GCM, key);

    for (size_t part = 0; part < 80; part++) {
        CK_GCM_PARAMS params = gcm_params();
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
        test_cipher_gives(&sealing, &mechanism, gcm_text, part, gcm_sealed);
        test_cipher_gives(&opening, &mechanism, gcm_sealed, part, gcm_text);
    }
    operation_forget(&sealing);
    operation_forget(&opening);
    test_key_free(key);
}
END_TEST

START_TEST(gcm_takes_the_40_byte_parameter)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_GCM, key);
    CK_GCM_PARAMS params = gcm_params();
    struct {
        CK_BYTE_PTR iv;
        CK_ULONG iv_len;
        CK_BYTE_PTR aad;
        CK_ULONG aad_len;
        CK_ULONG tag_bits;
    } legacy = {params.pIv, params.ulIvLen, params.pAAD, params.ulAADLen, params.ulTagBits};
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &legacy, sizeof(legacy));

    ck_assert_uint_eq(sizeof(legacy), 40);
    test_cipher_gives(&operation, &mechanism, gcm_text, 0, gcm_sealed);
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(gcm_refuses_wrong_parameters)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    CK_GCM_PARAMS good = gcm_params();
    CK_GCM_PARAMS bad[9];
    struct blob out = {0};

    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].ulIvLen = 0;
    bad[1].ulIvLen = 129;
    bad[2].pIv = NULL;
    bad[3].pAAD = NULL;
    bad[4].ulAADLen = ((CK_ULONG) 16 << 20) + 1;
    bad[5].ulTagBits = 88;
    bad[6].ulTagBits = 136;
    bad[7].ulTagBits = 100;
    bad[8].ulTagBits = 16; /* bytes for bits */
    for (size_t i = 0; i < COUNT(bad); i++) {
        ck_assert_uint_eq(gcm_run(key, OPERATION_ENCRYPT, &bad[i], hex(gcm_text), &out),
                          CKR_MECHANISM_PARAM_INVALID);
    }
    for (size_t len = 0; len <= 64; len++) {
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, len == 7 ? NULL : &good, len);
        struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_GCM, key);
        if (len != 40 && len != 48) {
            ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism),
                              CKR_MECHANISM_PARAM_INVALID);
        }
        operation_forget(&operation);
    }
    test_key_free(key);
}
END_TEST

START_TEST(gcm_tags_and_ivs_of_every_length)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    unsigned char iv[128] = {1, 2, 3};

    for (size_t iv_len = 1; iv_len <= sizeof(iv); iv_len++) {
        CK_GCM_PARAMS params = gcm_params();
        struct blob sealed = {0};
        struct blob text = {0};
        params.pIv = iv;
        params.ulIvLen = iv_len;
        params.ulTagBits = 96 + 8 * (iv_len % 5);
        ck_assert_uint_eq(gcm_run(key, OPERATION_ENCRYPT, &params, hex(gcm_text), &sealed), CKR_OK);
        ck_assert_uint_eq(sealed.len, hex(gcm_text).len + params.ulTagBits / 8);
        ck_assert_uint_eq(gcm_run(key, OPERATION_DECRYPT, &params, blob_view(&sealed), &text),
                          CKR_OK);
        ck_assert(view_equal(blob_view(&text), hex(gcm_text)));
        blob_clear(&sealed);
        blob_clear(&text);
    }
    test_key_free(key);
}
END_TEST

/* Every bit of ciphertext and tag flipped in turn: refused, and no byte of plaintext remains. */
START_TEST(gcm_gives_nothing_for_a_wrong_tag)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    CK_GCM_PARAMS params = gcm_params();
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    struct operation operation = test_operation(OPERATION_DECRYPT, CKM_AES_GCM, key);
    struct view sealed = hex(gcm_sealed);
    unsigned char forged[76];
    unsigned char out[76];
    static const unsigned char zero[60];
    size_t len = 0;

    ck_assert_uint_eq(sealed.len, sizeof(forged));
    ERR_raise(ERR_LIB_USER, 42); /* the host's, in its thread's queue */
    for (size_t bit = 0; bit < 8 * sizeof(forged); bit++) {
        memcpy(forged, sealed.bytes, sizeof(forged));
        forged[bit / 8] ^= (unsigned char) (1 << bit % 8);
        memset(out, 0xee, sizeof(out));
        ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism), CKR_OK);
        ck_assert_uint_eq(operation.mechanism->cipher->one_shot(
                              &operation, bytes_of(forged, sizeof(forged)), out, &len),
                          CKR_ENCRYPTED_DATA_INVALID);
        operation_end(&operation);
        ck_assert_mem_eq(out, zero, sizeof(zero));
        struct blob parts = {0};
        ck_assert_uint_eq(
            test_cipher(&operation, &mechanism, bytes_of(forged, sizeof(forged)), 13, &parts),
            CKR_ENCRYPTED_DATA_INVALID);
    }
    ck_assert_int_eq(ERR_GET_REASON(ERR_get_error()), 42);
    ck_assert_uint_eq(ERR_get_error(), 0);
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(gcm_refuses_other_aad_and_short_input)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    CK_GCM_PARAMS params = gcm_params();
    struct blob out = {0};

    params.ulAADLen--;
    ck_assert_uint_eq(gcm_run(key, OPERATION_DECRYPT, &params, hex(gcm_sealed), &out),
                      CKR_ENCRYPTED_DATA_INVALID);
    for (size_t len = 0; len < TAG_LEN; len++) {
        ck_assert_uint_eq(
            gcm_run(key, OPERATION_DECRYPT, &params, bytes_of(hex(gcm_sealed).bytes, len), &out),
            CKR_ENCRYPTED_DATA_LEN_RANGE);
    }
    test_key_free(key);
}
END_TEST

START_TEST(gcm_collects_up_to_its_cap)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    CK_GCM_PARAMS params = gcm_params();
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    struct operation operation = test_operation(OPERATION_DECRYPT, CKM_AES_GCM, key);
    const struct cipher_ops *ops = operation.mechanism->cipher;
    static unsigned char part[4 << 20];
    size_t written = 1;

    ck_assert_uint_eq(ops->start(&operation, &mechanism), CKR_OK);
    for (size_t i = 0; i < 16; i++) {
        ck_assert_uint_eq(ops->update(&operation, bytes_of(part, sizeof(part)), NULL, &written),
                          CKR_OK);
        ck_assert_uint_eq(written, 0);
    }
    ck_assert_uint_eq(ops->update(&operation, bytes_of(part, 1), NULL, &written),
                      CKR_ENCRYPTED_DATA_LEN_RANGE);
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(gcm_output_lengths_do_not_overflow)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    CK_GCM_PARAMS params = gcm_params();
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_GCM, key);
    const struct cipher_ops *ops = operation.mechanism->cipher;
    size_t len = 0;

    ck_assert_uint_eq(ops->start(&operation, &mechanism), CKR_OK);
    ck_assert_uint_eq(ops->output_len(&operation, SIZE_MAX - 3, true, &len), CKR_DATA_LEN_RANGE);
    /* 64 GiB - 32 is the longest message; the length is refused before a byte is read. */
    ck_assert_uint_eq(ops->update(&operation, bytes_of("", ((size_t) 1 << 36) - 31), NULL, &len),
                      CKR_DATA_LEN_RANGE);
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(gcm_overlaps)
{
    struct object *key = test_key_new(CKK_AES, hex(gcm_key));
    unsigned char iv[12];
    unsigned char aad[20];
    CK_GCM_PARAMS params = gcm_params();

    memcpy(iv, params.pIv, sizeof(iv));
    memcpy(aad, params.pAAD, sizeof(aad));
    params.pIv = iv;
    params.pAAD = aad;
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GCM, &params, sizeof(params));
    test_overlaps_one_shot(&mechanism, key, gcm_text, gcm_sealed);
    test_overlaps_parts(&mechanism, key, gcm_text, gcm_sealed);
    test_key_free(key);
}
END_TEST

TCase *mechanism_gcm_tests(void)
{
    TCase *tests = tcase_create("AES-GCM");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_test(tests, gcm_known_answer_in_all_parts);
    tcase_add_test(tests, gcm_takes_the_40_byte_parameter);
    tcase_add_test(tests, gcm_refuses_wrong_parameters);
    tcase_add_test(tests, gcm_tags_and_ivs_of_every_length);
    tcase_add_test(tests, gcm_gives_nothing_for_a_wrong_tag);
    tcase_add_test(tests, gcm_refuses_other_aad_and_short_input);
    tcase_add_test(tests, gcm_collects_up_to_its_cap);
    tcase_add_test(tests, gcm_output_lengths_do_not_overflow);
    tcase_add_test(tests, gcm_overlaps);
    return tests;
}

/* NIST SP 800-38A, F.2.1, the first two blocks. */
static const char cbc_key[] = "2b7e151628aed2a6abf7158809cf4f3c";
static const char cbc_text[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
static const char cbc_sealed[] = "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2";
static CK_BYTE cbc_iv[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

START_TEST(cbc_known_answer_in_all_parts)
{
    struct object *key = test_key_new(CKK_AES, hex(cbc_key));
    struct operation sealing = test_operation(OPERATION_ENCRYPT, CKM_AES_CBC, key);
    struct operation opening = test_operation(OPERATION_DECRYPT, CKM_AES_CBC, key);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CBC, cbc_iv, sizeof(cbc_iv));

    for (size_t part = 0; part < 40; part++) {
        test_cipher_gives(&sealing, &mechanism, cbc_text, part, cbc_sealed);
        test_cipher_gives(&opening, &mechanism, cbc_sealed, part, cbc_text);
    }
    operation_forget(&sealing);
    operation_forget(&opening);
    test_key_free(key);
}
END_TEST

START_TEST(cbc_pad_round_trip_of_every_length)
{
    struct object *key = test_key_new(CKK_AES, hex(cbc_key));
    struct operation sealing = test_operation(OPERATION_ENCRYPT, CKM_AES_CBC_PAD, key);
    struct operation opening = test_operation(OPERATION_DECRYPT, CKM_AES_CBC_PAD, key);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CBC_PAD, cbc_iv, sizeof(cbc_iv));
    unsigned char text[70];

    memset(text, 0x5a, sizeof(text));
    for (size_t len = 0; len <= sizeof(text); len++) {
        struct view in = bytes_of(text, len);
        struct blob whole = {0};
        ck_assert_uint_eq(test_cipher(&sealing, &mechanism, in, 0, &whole), CKR_OK);
        ck_assert_uint_eq(whole.len, len / 16 * 16 + 16);
        for (size_t part = 0; part < 34; part++) {
            struct blob parts = {0};
            struct blob back = {0};
            ck_assert_uint_eq(test_cipher(&sealing, &mechanism, in, part, &parts), CKR_OK);
            ck_assert(view_equal(blob_view(&parts), blob_view(&whole)));
            ck_assert_uint_eq(test_cipher(&opening, &mechanism, blob_view(&whole), part, &back),
                              CKR_OK);
            ck_assert(view_equal(blob_view(&back), in));
            blob_clear(&parts);
            blob_clear(&back);
        }
        blob_clear(&whole);
    }
    operation_forget(&sealing);
    operation_forget(&opening);
    test_key_free(key);
}
END_TEST

START_TEST(cbc_lengths_and_padding)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        enum operation_kind kind;
        size_t len;
        CK_RV rv;
    } rows[] = {
        {CKM_AES_CBC, OPERATION_ENCRYPT, 15, CKR_DATA_LEN_RANGE},
        {CKM_AES_CBC, OPERATION_DECRYPT, 17, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_CBC, OPERATION_ENCRYPT, 0, CKR_OK},
        {CKM_AES_CBC, OPERATION_DECRYPT, 32, CKR_OK},
        {CKM_AES_CBC_PAD, OPERATION_DECRYPT, 0, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_CBC_PAD, OPERATION_DECRYPT, 15, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_CBC_PAD, OPERATION_DECRYPT, 32, CKR_ENCRYPTED_DATA_INVALID},
        {CKM_AES_CBC_PAD, OPERATION_ENCRYPT, 15, CKR_OK},
    };
    struct object *key = test_key_new(CKK_AES, hex(cbc_key));

    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        size_t row = i / 2;
        CK_MECHANISM mechanism = test_mechanism(rows[row].type, cbc_iv, sizeof(cbc_iv));
        struct operation operation = test_operation(rows[row].kind, rows[row].type, key);
        struct blob out = {0};
        /* One-shot, and in parts. */
        ck_assert_uint_eq(test_cipher(&operation, &mechanism,
                                      bytes_of(hex(cbc_sealed).bytes, rows[row].len), i % 2 * 5,
                                      &out),
                          rows[row].rv);
        blob_clear(&out);
        operation_forget(&operation);
    }
    test_key_free(key);
}
END_TEST

START_TEST(cbc_refuses_wrong_parameters)
{
    struct object *key = test_key_new(CKK_AES, hex(cbc_key));
    struct operation operation = test_operation(OPERATION_ENCRYPT, CKM_AES_CBC, key);

    for (size_t len = 0; len <= 17; len++) {
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_CBC, len == 16 ? NULL : cbc_iv, len);
        ck_assert_uint_eq(operation.mechanism->cipher->start(&operation, &mechanism),
                          CKR_MECHANISM_PARAM_INVALID);
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(cbc_overlaps)
{
    struct object *key = test_key_new(CKK_AES, hex(cbc_key));
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CBC, cbc_iv, sizeof(cbc_iv));

    test_overlaps_one_shot(&mechanism, key, cbc_text, cbc_sealed);
    test_overlaps_parts(&mechanism, key, cbc_text, cbc_sealed);
    test_key_free(key);
}
END_TEST

TCase *mechanism_cbc_tests(void)
{
    TCase *tests = tcase_create("AES-CBC");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_test(tests, cbc_known_answer_in_all_parts);
    tcase_add_test(tests, cbc_pad_round_trip_of_every_length);
    tcase_add_test(tests, cbc_lengths_and_padding);
    tcase_add_test(tests, cbc_refuses_wrong_parameters);
    tcase_add_test(tests, cbc_overlaps);
    return tests;
}
