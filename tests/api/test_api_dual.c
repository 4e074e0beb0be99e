/*
 * C_DigestEncryptUpdate, C_DecryptDigestUpdate, C_SignEncryptUpdate and C_DecryptVerifyUpdate: the
 * same results as the single functions give, and what size queries, short buffers, errors and
 * cancelling leave of the two operations.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_LEN 96
#define ROOM 200

static struct api api;
static CK_BYTE text[TEXT_LEN];
static CK_BYTE iv[16] = "initialisation.";
static CK_GCM_PARAMS gcm_params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
static CK_AES_CTR_PARAMS ctr_params = {.ulCounterBits = 32};
static CK_AES_CTR_PARAMS short_ctr_params = {.ulCounterBits = 1};
static CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
static CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
static CK_OBJECT_HANDLE mac_key;

static const struct {
    CK_MECHANISM mechanism;
    CK_ULONG sealed_len; /* of the whole text */
} ciphers[] = {
    {{CKM_AES_ECB, NULL, 0}, TEXT_LEN},
    {{CKM_AES_CBC, iv, sizeof(iv)}, TEXT_LEN},
    {{CKM_AES_CBC_PAD, iv, sizeof(iv)}, TEXT_LEN + 16},
    {{CKM_AES_CTR, &ctr_params, sizeof(ctr_params)}, TEXT_LEN},
    {{CKM_AES_GCM, &gcm_params, sizeof(gcm_params)}, TEXT_LEN + 16},
};
static CK_OBJECT_HANDLE keys[COUNT(ciphers)];
#define CTR 3
#define GCM 4

static void open_token(void)
{
    static const CK_ATTRIBUTE_TYPE crypt_usages[2] = {CKA_ENCRYPT, CKA_DECRYPT};
    static const CK_ATTRIBUTE_TYPE mac_usages[2] = {CKA_SIGN, CKA_VERIFY};
    CK_BYTE value[32] = {7};

    api_open(&api, "memory:", NULL);
    for (size_t i = 0; i < COUNT(ciphers); i++)
        keys[i] = api_import_key(&api, CKK_AES, value, crypt_usages);
    mac_key = api_import_key(&api, CKK_GENERIC_SECRET, value, mac_usages);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (CK_BYTE) (i * 7);
}

static void close_token(void)
{
    api_close(&api);
}

/* The two pairs of functions: with a digest, and with a MAC. */
static const struct pair {
    bool is_mac;
    CK_RV other_flag[2]; /* CKF_ of the other operation: at encryption, at decryption */
} pairs[] = {{false, {CKF_DIGEST, CKF_DIGEST}}, {true, {CKF_SIGN, CKF_VERIFY}}};

/* The four functions take the same arguments. */
static CK_C_DigestEncryptUpdate dual(const struct pair *pair, bool encrypt)
{
    if (encrypt)
        return pair->is_mac ? api.p11->C_SignEncryptUpdate : api.p11->C_DigestEncryptUpdate;
    return pair->is_mac ? api.p11->C_DecryptVerifyUpdate : api.p11->C_DecryptDigestUpdate;
}

static CK_RV begin_cipher(size_t cipher, bool encrypt)
{
    CK_MECHANISM mechanism = ciphers[cipher].mechanism;

    return encrypt ? api.p11->C_EncryptInit(api.session, &mechanism, keys[cipher])
                   : api.p11->C_DecryptInit(api.session, &mechanism, keys[cipher]);
}

static CK_RV begin_other(const struct pair *pair, bool encrypt)
{
    if (!pair->is_mac)
        return api.p11->C_DigestInit(api.session, &sha256);
    return encrypt ? api.p11->C_SignInit(api.session, &hmac, mac_key)
                   : api.p11->C_VerifyInit(api.session, &hmac, mac_key);
}

static CK_RV update_other(const struct pair *pair, bool encrypt, CK_BYTE *in, CK_ULONG len)
{
    if (!pair->is_mac)
        return api.p11->C_DigestUpdate(api.session, in, len);
    return encrypt ? api.p11->C_SignUpdate(api.session, in, len)
                   : api.p11->C_VerifyUpdate(api.session, in, len);
}

/* Digest or MAC of the first `len` bytes of the text, by the single functions. */
static void expected_of(const struct pair *pair, CK_ULONG len, CK_BYTE result[32])
{
    CK_ULONG result_len = 32;

    OK(begin_other(pair, true));
    if (pair->is_mac)
        OK(api.p11->C_Sign(api.session, text, len, result, &result_len));
    else
        OK(api.p11->C_Digest(api.session, text, len, result, &result_len));
}

/* Ends the other operation, which must have seen the first `len` bytes of the text. */
static void assert_other_saw(const struct pair *pair, bool encrypt, CK_ULONG len)
{
    CK_BYTE result[32];
    CK_BYTE expected[32];
    CK_ULONG result_len = sizeof(result);

    if (pair->is_mac && !encrypt) {
        expected_of(pair, len, expected);
        OK(api.p11->C_VerifyFinal(api.session, expected, sizeof(expected)));
        return;
    }
    if (pair->is_mac)
        OK(api.p11->C_SignFinal(api.session, result, &result_len));
    else
        OK(api.p11->C_DigestFinal(api.session, result, &result_len));
    expected_of(pair, len, expected);
    ck_assert_mem_eq(result, expected, sizeof(expected));
}

static void seal(size_t cipher, CK_BYTE sealed[ROOM])
{
    CK_ULONG len = ROOM;

    OK(begin_cipher(cipher, true));
    OK(api.p11->C_Encrypt(api.session, text, sizeof(text), sealed, &len));
    ck_assert_uint_eq(len, ciphers[cipher].sealed_len);
}

/* In parts of `part` bytes, in the caller's own buffer where `in_place`. */
static void encrypt_with(const struct pair *pair, size_t cipher, CK_ULONG part, bool in_place)
{
    CK_BYTE expected[ROOM];
    CK_BYTE out[ROOM];
    CK_BYTE buffer[TEXT_LEN];
    CK_ULONG written = 0;

    seal(cipher, expected);
    OK(begin_cipher(cipher, true));
    OK(begin_other(pair, true));
    for (CK_ULONG at = 0; at < sizeof(text); at += part) {
        CK_ULONG in_len = sizeof(text) - at < part ? sizeof(text) - at : part;
        CK_ULONG len = sizeof(out) - written;
        memcpy(buffer, text + at, in_len);
        OK(dual(pair, true)(api.session, buffer, in_len, in_place ? buffer : out + written, &len));
        if (in_place)
            memcpy(out + written, buffer, len);
        written += len;
    }
    CK_ULONG tail = sizeof(out) - written;
    OK(api.p11->C_EncryptFinal(api.session, out + written, &tail));
    ck_assert_uint_eq(written + tail, ciphers[cipher].sealed_len);
    ck_assert_mem_eq(out, expected, written + tail);
    assert_other_saw(pair, true, sizeof(text));
}

START_TEST(encrypts_as_the_single_functions)
{
    for (size_t i = 0; i < COUNT(pairs); i++) {
        for (CK_ULONG part = 1; part <= TEXT_LEN; part += 5)
            encrypt_with(&pairs[i], (size_t) _i, part, false);
        encrypt_with(&pairs[i], (size_t) _i, 32, true);
    }
}
END_TEST

/* What C_DecryptFinal gives, the application passes on itself. */
static void decrypt_with(const struct pair *pair, size_t cipher, CK_ULONG part)
{
    CK_BYTE sealed[ROOM];
    CK_BYTE out[ROOM];
    CK_ULONG sealed_len = ciphers[cipher].sealed_len;
    CK_ULONG written = 0;

    seal(cipher, sealed);
    OK(begin_cipher(cipher, false));
    OK(begin_other(pair, false));
    for (CK_ULONG at = 0; at < sealed_len; at += part) {
        CK_ULONG in_len = sealed_len - at < part ? sealed_len - at : part;
        CK_ULONG len = sizeof(out) - written;
        OK(dual(pair, false)(api.session, sealed + at, in_len, out + written, &len));
        written += len;
    }
    ck_assert_uint_eq(written, cipher == GCM ? 0 : TEXT_LEN);
    CK_ULONG tail = sizeof(out) - written;
    OK(api.p11->C_DecryptFinal(api.session, out + written, &tail));
    ck_assert_uint_eq(written + tail, TEXT_LEN);
    ck_assert_mem_eq(out, text, TEXT_LEN);
    OK(update_other(pair, false, out + written, tail));
    assert_other_saw(pair, false, TEXT_LEN);
}

START_TEST(decrypts_as_the_single_functions)
{
    for (size_t i = 0; i < COUNT(pairs); i++)
        for (CK_ULONG part = 1; part <= TEXT_LEN + 16; part += 5)
            decrypt_with(&pairs[i], (size_t) _i, part);
}
END_TEST

/* The standard's example: the last bytes of a padded mode come with C_DecryptFinal alone. */
START_TEST(held_back_bytes_are_not_digested)
{
    CK_MECHANISM pad = {CKM_AES_CBC_PAD, iv, sizeof(iv)};
    CK_BYTE sealed[32];
    CK_BYTE out[32];
    CK_ULONG sealed_len = sizeof(sealed);
    CK_ULONG len = sizeof(out);
    CK_ULONG tail = 16;

    OK(api.p11->C_EncryptInit(api.session, &pad, keys[2]));
    OK(api.p11->C_Encrypt(api.session, text, 18, sealed, &sealed_len));
    OK(api.p11->C_DecryptInit(api.session, &pad, keys[2]));
    OK(api.p11->C_DigestInit(api.session, &sha256));
    OK(api.p11->C_DecryptDigestUpdate(api.session, sealed, sealed_len, out, &len));
    ck_assert_uint_eq(len, 16);
    OK(api.p11->C_DecryptFinal(api.session, out + len, &tail));
    ck_assert_uint_eq(tail, 2);
    assert_other_saw(&pairs[0], false, 16);
}
END_TEST

/* Neither operation sees the data of a call that gave no output. */
START_TEST(size_queries_feed_neither)
{
    const struct pair *pair = &pairs[_i];
    CK_BYTE expected[ROOM];
    CK_BYTE out[ROOM];
    CK_ULONG len = 0;

    seal(CTR, expected);
    for (int encrypt = 0; encrypt < 2; encrypt++) {
        CK_BYTE *in = encrypt ? text : expected;
        OK(begin_cipher(CTR, encrypt));
        OK(begin_other(pair, encrypt));
        for (int round = 0; round < 3; round++) {
            len = 0;
            OK(dual(pair, encrypt)(api.session, in, 40, NULL, &len));
            ck_assert_uint_eq(len, 40);
            len = 39;
            EXPECT(CKR_BUFFER_TOO_SMALL, dual(pair, encrypt)(api.session, in, 40, out, &len));
            ck_assert_uint_eq(len, 40);
        }
        OK(dual(pair, encrypt)(api.session, in, 40, out, &len));
        ck_assert_mem_eq(out, encrypt ? expected : text, 40);
        assert_other_saw(pair, encrypt, 40);
        OK(api.p11->C_SessionCancel(api.session, CKF_ENCRYPT | CKF_DECRYPT));
    }
}
END_TEST

static void assert_both_are_over(const struct pair *pair, bool encrypt)
{
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof(out);

    EXPECT(CKR_OPERATION_NOT_INITIALIZED, update_other(pair, encrypt, text, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           encrypt ? api.p11->C_EncryptUpdate(api.session, text, 1, out, &len)
                   : api.p11->C_DecryptUpdate(api.session, text, 1, out, &len));
}

START_TEST(errors_end_both)
{
    const struct pair *pair = &pairs[_i];
    CK_MECHANISM short_ctr = {CKM_AES_CTR, &short_ctr_params, sizeof(short_ctr_params)};
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof(out);

    for (int encrypt = 0; encrypt < 2; encrypt++) {
        OK(begin_cipher(CTR, encrypt));
        OK(begin_other(pair, encrypt));
        EXPECT(CKR_ARGUMENTS_BAD, dual(pair, encrypt)(api.session, NULL, 5, out, &len));
        assert_both_are_over(pair, encrypt);
        OK(begin_cipher(CTR, encrypt));
        OK(begin_other(pair, encrypt));
        EXPECT(CKR_ARGUMENTS_BAD, dual(pair, encrypt)(api.session, text, 5, out, NULL));
        assert_both_are_over(pair, encrypt);
        /* Two blocks are the counter's last. */
        OK(encrypt ? api.p11->C_EncryptInit(api.session, &short_ctr, keys[CTR])
                   : api.p11->C_DecryptInit(api.session, &short_ctr, keys[CTR]));
        OK(begin_other(pair, encrypt));
        OK(dual(pair, encrypt)(api.session, text, 20, out, &len));
        len = sizeof(out);
        EXPECT(encrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE,
               dual(pair, encrypt)(api.session, text, 13, out, &len));
        assert_both_are_over(pair, encrypt);
    }
}
END_TEST

START_TEST(both_must_be_active)
{
    const struct pair *pair = &pairs[_i];
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof(out);

    for (int encrypt = 0; encrypt < 2; encrypt++) {
        EXPECT(CKR_OPERATION_NOT_INITIALIZED,
               dual(pair, encrypt)(api.session, text, 16, out, &len));
        OK(begin_cipher(CTR, encrypt));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED,
               dual(pair, encrypt)(api.session, text, 16, out, &len));
        OK(begin_other(pair, encrypt)); /* the cipher is still there */
        len = sizeof(out);
        OK(dual(pair, encrypt)(api.session, text, 16, out, &len));
        OK(api.p11->C_SessionCancel(api.session, CKF_ENCRYPT | CKF_DECRYPT));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED,
               dual(pair, encrypt)(api.session, text, 16, out, &len));
        OK(update_other(pair, encrypt, text, 1)); /* one half cancelled leaves the other */
        OK(api.p11->C_SessionCancel(api.session, pair->other_flag[!encrypt]));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, update_other(pair, encrypt, text, 1));
    }
}
END_TEST

/* Single-part calls are over after a dual one, and single updates may come between. */
START_TEST(mixes_with_single_updates)
{
    const struct pair *pair = &pairs[_i];
    CK_BYTE expected[ROOM];
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof(out);

    seal(CTR, expected);
    OK(begin_cipher(CTR, true));
    OK(begin_other(pair, true));
    OK(dual(pair, true)(api.session, text, 10, out, &len));
    len = 20;
    OK(api.p11->C_EncryptUpdate(api.session, text + 10, 20, out + 10, &len));
    OK(update_other(pair, true, text + 10, 20));
    len = 6;
    OK(dual(pair, true)(api.session, text + 30, 6, out + 30, &len));
    ck_assert_mem_eq(out, expected, 36);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_Encrypt(api.session, text, 1, out, &len));
    assert_other_saw(pair, true, 36);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api dual functions");
    TCase *tests = tcase_create("dual functions");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, encrypts_as_the_single_functions, 0, COUNT(ciphers));
    tcase_add_loop_test(tests, decrypts_as_the_single_functions, 0, COUNT(ciphers));
    tcase_add_test(tests, held_back_bytes_are_not_digested);
    tcase_add_loop_test(tests, size_queries_feed_neither, 0, COUNT(pairs));
    tcase_add_loop_test(tests, errors_end_both, 0, COUNT(pairs));
    tcase_add_loop_test(tests, both_must_be_active, 0, COUNT(pairs));
    tcase_add_loop_test(tests, mixes_with_single_updates, 0, COUNT(pairs));
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
