/* C_VerifySignatureInit and what follows it: verification with the signature first. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const CK_ATTRIBUTE_TYPE crypt_usages[2] = {CKA_ENCRYPT, CKA_DECRYPT};
static const CK_ATTRIBUTE_TYPE mac_usages[2] = {CKA_SIGN, CKA_VERIFY};
static const CK_BYTE value[32] = "the known key of these tests...";

static struct api api;
static CK_BYTE text[200];
static CK_BYTE iv[12] = "twelve bytes";
static CK_GCM_PARAMS gmac_params = {.pIv = iv, .ulIvLen = sizeof(iv), .ulTagBits = 104};
static CK_MAC_GENERAL_PARAMS ten = 10;

static const struct {
    CK_MECHANISM mechanism;
    CK_KEY_TYPE key_type;
    CK_ULONG len;
} macs[] = {
    {{CKM_SHA256_HMAC, NULL, 0}, CKK_GENERIC_SECRET, 32},
    {{CKM_SHA512_HMAC, NULL, 0}, CKK_GENERIC_SECRET, 64},
    {{CKM_SHA3_384_HMAC, NULL, 0}, CKK_GENERIC_SECRET, 48},
    {{CKM_SHA256_HMAC_GENERAL, &ten, sizeof(ten)}, CKK_GENERIC_SECRET, 10},
    {{CKM_AES_CMAC, NULL, 0}, CKK_AES, 16},
    {{CKM_AES_CMAC_GENERAL, &ten, sizeof(ten)}, CKK_AES, 10},
    {{CKM_AES_GMAC, iv, sizeof(iv)}, CKK_AES, 16},
    {{CKM_AES_GMAC, &gmac_params, sizeof(gmac_params)}, CKK_AES, 13},
};

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

static CK_RV begin(size_t mac, CK_OBJECT_HANDLE key, CK_BYTE *signature, CK_ULONG len)
{
    CK_MECHANISM mechanism = macs[mac].mechanism;

    return api.p11->C_VerifySignatureInit(api.session, &mechanism, key, signature, len);
}

/* A key and the MAC of the text under it. */
static CK_OBJECT_HANDLE sign(size_t mac, CK_BYTE signature[64])
{
    CK_MECHANISM mechanism = macs[mac].mechanism;
    CK_OBJECT_HANDLE key = api_import_key(&api, macs[mac].key_type, value, mac_usages);
    CK_ULONG len = 64;

    OK(api.p11->C_SignInit(api.session, &mechanism, key));
    OK(api.p11->C_Sign(api.session, text, sizeof(text), signature, &len));
    ck_assert_uint_eq(len, macs[mac].len);
    return key;
}

static CK_RV verify_parts(CK_ULONG part)
{
    for (CK_ULONG at = 0; at < sizeof(text); at += part) {
        CK_ULONG len = sizeof(text) - at < part ? sizeof(text) - at : part;
        OK(api.p11->C_VerifySignatureUpdate(api.session, text + at, len));
    }
    return api.p11->C_VerifySignatureFinal(api.session);
}

START_TEST(verifies)
{
    CK_BYTE signature[64];
    CK_OBJECT_HANDLE key = sign((size_t) _i, signature);

    for (int tampered = 0; tampered < 2; tampered++) {
        CK_RV wanted = tampered ? CKR_SIGNATURE_INVALID : CKR_OK;
        CK_BYTE given[64];
        for (CK_ULONG part = 0; part <= sizeof(text); part += 37) {
            memcpy(given, signature, sizeof(given));
            given[macs[_i].len - 1] ^= (CK_BYTE) tampered;
            OK(begin((size_t) _i, key, given, macs[_i].len));
            memset(given, 0xee, sizeof(given)); /* the caller's buffer is his own again */
            EXPECT(wanted, part == 0 ? api.p11->C_VerifySignature(api.session, text, sizeof(text))
                                     : verify_parts(part));
            EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
        }
    }
    OK(begin((size_t) _i, key, signature, macs[_i].len));
    EXPECT(CKR_SIGNATURE_INVALID, api.p11->C_VerifySignature(api.session, text, sizeof(text) - 1));
}
END_TEST

START_TEST(wrong_lengths_begin_nothing)
{
    CK_BYTE signature[65] = {0};
    CK_OBJECT_HANDLE key = sign((size_t) _i, signature);

    for (CK_ULONG len = 0; len <= sizeof(signature); len++) {
        if (len == macs[_i].len)
            continue;
        EXPECT(CKR_SIGNATURE_LEN_RANGE, begin((size_t) _i, key, signature, len));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignature(api.session, text, 1));
    }
    EXPECT(CKR_SIGNATURE_LEN_RANGE, begin((size_t) _i, key, signature, ~0UL));
    EXPECT(CKR_ARGUMENTS_BAD, begin((size_t) _i, key, NULL, macs[_i].len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
    OK(begin((size_t) _i, key, signature, macs[_i].len));
}
END_TEST

START_TEST(order_of_calls)
{
    CK_BYTE signature[64];
    CK_OBJECT_HANDLE key = sign(0, signature);

    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignature(api.session, text, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureUpdate(api.session, text, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
    OK(begin(0, key, signature, 32));
    EXPECT(CKR_OPERATION_ACTIVE, begin(0, key, signature, 32));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifyUpdate(api.session, text, 1));
    OK(api.p11->C_VerifySignatureUpdate(api.session, text, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignature(api.session, text, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureUpdate(api.session, text, 1));
    OK(begin(0, key, signature, 32));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_VerifySignatureUpdate(api.session, NULL, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
    OK(begin(0, key, signature, 32));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_VerifySignature(api.session, NULL, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
}
END_TEST

START_TEST(cancelling)
{
    CK_BYTE signature[64];
    CK_OBJECT_HANDLE key = sign(0, signature);

    OK(begin(0, key, signature, 32));
    OK(api.p11->C_VerifySignatureInit(api.session, NULL, 0, NULL, 0));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
    OK(begin(0, key, signature, 32));
    OK(api.p11->C_SessionCancel(api.session, CKF_SIGN | CKF_MESSAGE_VERIFY));
    OK(api.p11->C_VerifySignatureUpdate(api.session, text, 1));
    OK(api.p11->C_SessionCancel(api.session, CKF_VERIFY));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
    OK(begin(0, key, signature, 32));
    OK(api.p11->C_DestroyObject(api.session, key));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_VerifySignatureFinal(api.session));
}
END_TEST

START_TEST(the_key_must_allow_it)
{
    CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};
    CK_OBJECT_HANDLE cipher_key = api_import_key(&api, CKK_AES, value, crypt_usages);
    CK_BYTE signature[64] = {0};

    EXPECT(CKR_KEY_TYPE_INCONSISTENT, begin(0, cipher_key, signature, 32));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, begin(4, cipher_key, signature, 16));
    EXPECT(CKR_KEY_HANDLE_INVALID, begin(0, 0, signature, 32));
    EXPECT(CKR_MECHANISM_INVALID,
           api.p11->C_VerifySignatureInit(api.session, &gcm, cipher_key, signature, 16));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api verify signature");
    TCase *tests = tcase_create("signature first");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, verifies, 0, COUNT(macs));
    tcase_add_loop_test(tests, wrong_lengths_begin_nothing, 0, COUNT(macs));
    tcase_add_test(tests, order_of_calls);
    tcase_add_test(tests, cancelling);
    tcase_add_test(tests, the_key_must_allow_it);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
