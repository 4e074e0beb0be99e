/*
 * C_MessageSign* and C_MessageVerify* with the MACs: the same bytes as C_Sign gives, any number of
 * messages after one C_MessageSignInit, and what each wrong call does.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/api/message_fixture.h"

static CK_MAC_GENERAL_PARAMS ten = 10;
static CK_OBJECT_HANDLE cmac_key;

static struct {
    CK_MECHANISM mechanism;
    CK_OBJECT_HANDLE *key;
    CK_ULONG len;
} macs[] = {
    {{CKM_SHA256_HMAC, NULL, 0}, &message_hmac, 32},
    {{CKM_SHA3_512_HMAC, NULL, 0}, &message_hmac, 64},
    {{CKM_SHA256_HMAC_GENERAL, &ten, sizeof(ten)}, &message_hmac, 10},
    {{CKM_AES_CMAC, NULL, 0}, &cmac_key, 16},
    {{CKM_AES_CMAC_GENERAL, &ten, sizeof(ten)}, &cmac_key, 10},
};

static void setup(void)
{
    message_setup();
    cmac_key = message_import(CKK_AES, message_key, CKA_SIGN, CKA_VERIFY);
}

static void begin_both(int which)
{
    OK(api.p11->C_MessageSignInit(api.session, &macs[which].mechanism, *macs[which].key));
    OK(api.p11->C_MessageVerifyInit(api.session, &macs[which].mechanism, *macs[which].key));
}

static void sign_classic(int which, CK_ULONG len, CK_BYTE *out)
{
    CK_ULONG out_len = 64;

    OK(api.p11->C_SignInit(api.session, &macs[which].mechanism, *macs[which].key));
    OK(api.p11->C_Sign(api.session, message_text, len, out, &out_len));
    ck_assert_uint_eq(out_len, macs[which].len);
}

static CK_RV sign(CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    return api.p11->C_SignMessage(api.session, NULL, 0, message_text, len, out, out_len);
}

static CK_RV sign_next(CK_ULONG at, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    return api.p11->C_SignMessageNext(api.session, NULL, 0, message_text + at, len, out, out_len);
}

static CK_RV verify(CK_ULONG len, const CK_BYTE *mac, CK_ULONG mac_len)
{
    return api.p11->C_VerifyMessage(api.session, NULL, 0, message_text, len, (CK_BYTE *) mac,
                                    mac_len);
}

static CK_RV verify_next(CK_ULONG at, CK_ULONG len, const CK_BYTE *mac, CK_ULONG mac_len)
{
    return api.p11->C_VerifyMessageNext(api.session, NULL, 0, message_text + at, len,
                                        (CK_BYTE *) mac, mac_len);
}

START_TEST(many_messages_after_one_init)
{
    CK_BYTE wanted[64];
    CK_BYTE out[64];

    begin_both(_i);
    for (CK_ULONG len = 0; len < sizeof(message_text); len += 13) {
        CK_ULONG out_len = sizeof(out);
        CK_ULONG half = len / 2;
        sign_classic(_i, len, wanted);
        OK(sign(len, out, &out_len));
        ck_assert_uint_eq(out_len, macs[_i].len);
        ck_assert_mem_eq(out, wanted, out_len);

        memset(out, 0, sizeof(out));
        OK(api.p11->C_SignMessageBegin(api.session, NULL, 0));
        OK(sign_next(0, half, NULL, NULL));
        OK(sign_next(half, len - half, out, &out_len));
        ck_assert_mem_eq(out, wanted, macs[_i].len);

        OK(verify(len, wanted, macs[_i].len));
        OK(api.p11->C_VerifyMessageBegin(api.session, NULL, 0));
        OK(verify_next(0, half, NULL, 0));
        OK(verify_next(half, len - half, wanted, macs[_i].len));
    }
    OK(api.p11->C_MessageSignFinal(api.session));
    OK(api.p11->C_MessageVerifyFinal(api.session));
}
END_TEST

START_TEST(sizes)
{
    CK_BYTE wanted[64];
    CK_BYTE out[64];
    CK_ULONG out_len = 0;

    begin_both(_i);
    sign_classic(_i, 90, wanted);
    OK(sign(90, NULL, &out_len));
    ck_assert_uint_eq(out_len, macs[_i].len);
    out_len = macs[_i].len - 1;
    EXPECT(CKR_BUFFER_TOO_SMALL, sign(90, out, &out_len));
    ck_assert_uint_eq(out_len, macs[_i].len);
    OK(api.p11->C_SignMessageBegin(api.session, NULL, 0));
    OK(sign_next(0, 40, NULL, NULL));
    /* The last part is not taken until the signature has room. */
    OK(sign_next(40, 50, NULL, &out_len));
    out_len = 1;
    EXPECT(CKR_BUFFER_TOO_SMALL, sign_next(40, 50, out, &out_len));
    OK(sign_next(40, 50, out, &out_len));
    ck_assert_mem_eq(out, wanted, macs[_i].len);
}
END_TEST

START_TEST(wrong_signatures_end_the_message_only)
{
    CK_BYTE mac[64];
    CK_ULONG len = macs[_i].len;

    begin_both(_i);
    sign_classic(_i, 90, mac);
    for (CK_ULONG at = 0; at < len; at++) {
        mac[at] ^= 0x80;
        EXPECT(CKR_SIGNATURE_INVALID, verify(90, mac, len));
        OK(api.p11->C_VerifyMessageBegin(api.session, NULL, 0));
        EXPECT(CKR_SIGNATURE_INVALID, verify_next(0, 90, mac, len));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, verify_next(0, 90, mac, len));
        mac[at] ^= 0x80;
    }
    EXPECT(CKR_SIGNATURE_LEN_RANGE, verify(90, mac, len - 1));
    EXPECT(CKR_SIGNATURE_LEN_RANGE, verify(90, mac, len + 1));
    EXPECT(CKR_SIGNATURE_LEN_RANGE, verify(90, mac, 0));
    EXPECT(CKR_SIGNATURE_INVALID, verify(89, mac, len));
    OK(verify(90, mac, len));
}
END_TEST

START_TEST(the_order_of_calls)
{
    CK_BYTE mac[64];
    CK_ULONG len = sizeof(mac);

    EXPECT(CKR_OPERATION_NOT_INITIALIZED, sign(1, mac, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, verify(1, mac, len));
    begin_both(0);
    EXPECT(CKR_OPERATION_ACTIVE,
           api.p11->C_MessageSignInit(api.session, &macs[0].mechanism, message_hmac));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, sign_next(0, 1, mac, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, verify_next(0, 1, mac, len));
    OK(api.p11->C_SignMessageBegin(api.session, NULL, 0));
    EXPECT(CKR_OPERATION_ACTIVE, api.p11->C_SignMessageBegin(api.session, NULL, 0));
    EXPECT(CKR_OPERATION_ACTIVE, sign(1, mac, &len));
    OK(api.p11->C_VerifyMessageBegin(api.session, NULL, 0));
    EXPECT(CKR_OPERATION_ACTIVE, verify(1, mac, len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_SignUpdate(api.session, message_text, 1));
    /* Bad arguments end the message. */
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_SignMessageNext(api.session, NULL, 0, NULL, 1, mac, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, sign_next(0, 1, mac, &len));
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_VerifyMessageNext(api.session, mac, 1, message_text, 1, mac, len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, verify_next(0, 1, mac, len));
    EXPECT(CKR_MECHANISM_PARAM_INVALID, api.p11->C_SignMessageBegin(api.session, mac, 8));
    EXPECT(CKR_ARGUMENTS_BAD, sign(1, mac, NULL));
    EXPECT(CKR_ARGUMENTS_BAD, verify(1, NULL, 32));
    OK(sign(1, mac, &len));
    OK(verify(1, mac, len));
    OK(api.p11->C_SignMessageBegin(api.session, NULL, 0));
    OK(sign_next(0, 17, NULL, NULL));
    OK(api.p11->C_SessionCancel(api.session, CKF_MESSAGE_SIGN));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, sign_next(0, 1, mac, &len));
    OK(verify(1, mac, len));
    OK(api.p11->C_DestroyObject(api.session, message_hmac));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, verify(1, mac, len));
}
END_TEST

START_TEST(keys_are_checked_as_ever)
{
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};
    CK_MAC_GENERAL_PARAMS short_mac = 9;
    CK_MECHANISM general = {CKM_SHA256_HMAC_GENERAL, &short_mac, sizeof(short_mac)};
    CK_OBJECT_HANDLE verifier =
        message_import(CKK_GENERIC_SECRET, message_key, CKA_VERIFY, CKA_WRAP_WITH_TRUSTED);

    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_MessageSignInit(api.session, &sha256, message_hmac));
    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_MessageSignInit(api.session, &gcm, message_aes));
    EXPECT(CKR_KEY_TYPE_INCONSISTENT,
           api.p11->C_MessageSignInit(api.session, &macs[0].mechanism, message_aes));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED,
           api.p11->C_MessageSignInit(api.session, &macs[0].mechanism, verifier));
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_MessageVerifyInit(api.session, &general, message_hmac));
    OK(api.p11->C_MessageVerifyInit(api.session, &macs[0].mechanism, verifier));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api message MACs");
    TCase *tests = tcase_create("macs");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, message_teardown);
    tcase_add_loop_test(tests, many_messages_after_one_init, 0, COUNT(macs));
    tcase_add_loop_test(tests, sizes, 0, COUNT(macs));
    tcase_add_loop_test(tests, wrong_signatures_end_the_message_only, 0, COUNT(macs));
    tcase_add_test(tests, the_order_of_calls);
    tcase_add_test(tests, keys_are_checked_as_ever);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
