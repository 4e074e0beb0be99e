/* AES-ECB, AES-CTR and AES-GMAC in a session: one mode for a key, streams, kept contexts. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const CK_BYTE value[32] = "the known key of these tests...";

static struct api api;
static CK_BYTE text[200];
static CK_BYTE iv[12] = "twelve bytes";

static void open_token(void)
{
    api_open(&api, "memory:", NULL);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (CK_BYTE) (i * 3);
}

static void close_token(void)
{
    api_close(&api);
}

static const CK_ATTRIBUTE_TYPE crypt_usages[2] = {CKA_ENCRYPT, CKA_DECRYPT};
static CK_AES_CTR_PARAMS ctr_params = {.ulCounterBits = 64, .cb = "nonce..."};
static CK_GCM_PARAMS gcm_params = {.pIv = iv, .ulIvLen = sizeof(iv), .ulTagBits = 128};
static CK_BYTE cbc_iv[16];

/* The first mode that a session key is used in is its mode for good. */
static const CK_MECHANISM modes[] = {
    {CKM_AES_ECB, NULL, 0},
    {CKM_AES_CTR, &ctr_params, sizeof(ctr_params)},
    {CKM_AES_CBC, cbc_iv, sizeof(cbc_iv)},
    {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)},
    {CKM_AES_GMAC, iv, sizeof(iv)},
    {CKM_AES_CMAC, NULL, 0},
};
#define CIPHER_MODES 4

static CK_RV use(size_t mode, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = modes[mode];
    CK_RV rv = mode < CIPHER_MODES ? api.p11->C_EncryptInit(api.session, &mechanism, key)
                                   : api.p11->C_SignInit(api.session, &mechanism, key);

    if (rv == CKR_OK)
        OK(api.p11->C_SessionCancel(api.session, CKF_ENCRYPT | CKF_SIGN));
    return rv;
}

START_TEST(one_mode_for_a_key)
{
    static const CK_ATTRIBUTE_TYPE usages[2] = {CKA_ENCRYPT, CKA_SIGN};

    for (size_t first = 0; first < COUNT(modes); first++) {
        CK_OBJECT_HANDLE key = api_import_key(&api, CKK_AES, value, usages);
        OK(use(first, key));
        for (size_t second = 0; second < COUNT(modes); second++)
            EXPECT(second == first ? CKR_OK : CKR_KEY_FUNCTION_NOT_PERMITTED, use(second, key));
    }
}
END_TEST

/* What OpenSSL makes of the text. */
static void reference(const EVP_CIPHER *cipher, const CK_BYTE *block, CK_BYTE *out, int len)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0;

    ck_assert(EVP_EncryptInit_ex(context, cipher, NULL, value, block) == 1 &&
              EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
              EVP_EncryptUpdate(context, out, &written, text, len) == 1);
    ck_assert_int_eq(written, len);
    EVP_CIPHER_CTX_free(context);
}

/* Messages follow one another in one session, some left unfinished. */
static void stream(CK_MECHANISM *mechanism, const CK_BYTE *expected, CK_ULONG len)
{
    CK_OBJECT_HANDLE key = api_import_key(&api, CKK_AES, value, crypt_usages);
    CK_BYTE out[sizeof(text) + 16];

    for (CK_ULONG part = 1; part <= len; part += 3) {
        CK_ULONG written = sizeof(out);
        CK_ULONG total = 0;
        OK(api.p11->C_EncryptInit(api.session, mechanism, key));
        OK(api.p11->C_EncryptUpdate(api.session, text, part, out, &written));
        OK(api.p11->C_EncryptInit(api.session, NULL, 0));
        OK(api.p11->C_EncryptInit(api.session, mechanism, key));
        for (CK_ULONG at = 0; at < len; at += part) {
            written = sizeof(out) - total;
            OK(api.p11->C_EncryptUpdate(api.session, text + at, len - at < part ? len - at : part,
                                        out + total, &written));
            total += written;
        }
        written = sizeof(out) - total;
        OK(api.p11->C_EncryptFinal(api.session, out + total, &written));
        ck_assert_uint_eq(total + written, len);
        ck_assert_mem_eq(out, expected, len);
        written = sizeof(out);
        OK(api.p11->C_DecryptInit(api.session, mechanism, key));
        OK(api.p11->C_Decrypt(api.session, out, len, out, &written));
        ck_assert_uint_eq(written, len);
        ck_assert_mem_eq(out, text, len);
    }
}

START_TEST(streams_equal_openssl)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    CK_MECHANISM ctr = {CKM_AES_CTR, &ctr_params, sizeof(ctr_params)};
    CK_BYTE expected[sizeof(text)];

    reference(EVP_aes_256_ecb(), NULL, expected, 192);
    stream(&ecb, expected, 192);
    reference(EVP_aes_256_ctr(), ctr_params.cb, expected, sizeof(text));
    stream(&ctr, expected, sizeof(text));
}
END_TEST

/* Whichever call brings the counter to its end, it is refused whole and ends the operation. */
START_TEST(ctr_refuses_to_wrap)
{
    CK_AES_CTR_PARAMS params = {.ulCounterBits = 2}; /* four blocks from zero */
    CK_MECHANISM mechanism = {CKM_AES_CTR, &params, sizeof(params)};
    CK_OBJECT_HANDLE key = api_import_key(&api, CKK_AES, value, crypt_usages);
    CK_BYTE out[100];
    CK_ULONG len = sizeof(out);

    OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
    OK(api.p11->C_Encrypt(api.session, text, 64, out, &len));
    OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
    EXPECT(CKR_DATA_LEN_RANGE, api.p11->C_Encrypt(api.session, text, 65, out, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_EncryptFinal(api.session, out, &len));
    OK(api.p11->C_EncryptInit(api.session, &mechanism, key));
    for (CK_ULONG done = 0; done < 63; done += 9) {
        len = sizeof(out);
        OK(api.p11->C_EncryptUpdate(api.session, text, 9, out, &len));
    }
    EXPECT(CKR_DATA_LEN_RANGE, api.p11->C_EncryptUpdate(api.session, text, 2, out, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_EncryptFinal(api.session, out, &len));
    OK(api.p11->C_DecryptInit(api.session, &mechanism, key));
    EXPECT(CKR_ENCRYPTED_DATA_LEN_RANGE, api.p11->C_Decrypt(api.session, text, 65, out, &len));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api AES modes");
    TCase *tests = tcase_create("AES modes");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_test(tests, one_mode_for_a_key);
    tcase_add_test(tests, streams_equal_openssl);
    tcase_add_test(tests, ctr_refuses_to_wrap);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
