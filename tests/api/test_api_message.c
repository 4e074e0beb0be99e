/*
 * C_MessageEncrypt* and C_MessageDecrypt* with CKM_AES_GCM: what they give (compared with OpenSSL
 * and with C_Encrypt), the conventions for buffers, the order of calls, and that nothing of a
 * message is given out before its tag is verified.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/api/message_fixture.h"

static struct message message;

static void begin_both(void)
{
    OK(message_encrypt_init(api.session, message_aes));
    OK(message_decrypt_init(api.session, message_aes));
}

static CK_RV encrypt_begin(CK_ULONG aad_len)
{
    return api.p11->C_EncryptMessageBegin(api.session, &message.params, sizeof(message.params),
                                          message_text, aad_len);
}

static CK_RV encrypt_next(CK_ULONG at, CK_ULONG len, CK_FLAGS flags, CK_ULONG *out_len)
{
    return api.p11->C_EncryptMessageNext(api.session, &message.params, sizeof(message.params),
                                         message_text + at, len, message.out + at, out_len, flags);
}

static CK_RV decrypt_begin(CK_ULONG aad_len)
{
    return api.p11->C_DecryptMessageBegin(api.session, &message.params, sizeof(message.params),
                                          message_text, aad_len);
}

static CK_RV decrypt_next(CK_ULONG at, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len,
                          CK_FLAGS flags)
{
    return api.p11->C_DecryptMessageNext(api.session, &message.params, sizeof(message.params),
                                         message.out + at, len, out, out_len, flags);
}

static const struct {
    CK_ULONG iv_len;
    CK_ULONG tag_bits;
    CK_ULONG aad_len;
    CK_ULONG len;
} shapes[] = {
    {12, 128, 0, 0},  {12, 128, 20, 0},    {12, 128, 0, 1}, {12, 128, 13, 16}, {12, 96, 5, 100},
    {12, 104, 5, 33}, {16, 128, 100, 200}, {1, 112, 1, 31}, {32, 120, 64, 64},
};

START_TEST(gives_what_openssl_gives)
{
    CK_BYTE out[256];
    CK_ULONG out_len = sizeof(out);

    begin_both();
    message_prepare(&message, (CK_BYTE) _i, CKG_NO_GENERATE);
    message.params.ulIvLen = shapes[_i].iv_len;
    message.params.ulTagBits = shapes[_i].tag_bits;
    OK(message_encrypt(api.session, &message, shapes[_i].aad_len, shapes[_i].len));
    message_assert_as_openssl(&message, shapes[_i].aad_len, shapes[_i].len);
    OK(message_decrypt(api.session, &message, shapes[_i].aad_len, out, &out_len));
    ck_assert_uint_eq(out_len, shapes[_i].len);
    ck_assert_mem_eq(out, message_text, out_len);
    OK(api.p11->C_MessageEncryptFinal(api.session));
    OK(api.p11->C_MessageDecryptFinal(api.session));
}
END_TEST

/* The text in parts of so many bytes; a last part may be empty. */
static const CK_ULONG part_lens[] = {1, 7, 16, 50, 100};

START_TEST(parts_give_the_same)
{
    CK_ULONG part = part_lens[_i];
    CK_BYTE out[256];
    CK_ULONG len = 0;

    begin_both();
    message_prepare(&message, 9, CKG_NO_GENERATE);
    OK(encrypt_begin(30));
    for (CK_ULONG at = 0; at < 100; at += part) {
        len = sizeof(message.out) - at;
        OK(encrypt_next(at, part < 100 - at ? part : 100 - at, 0, &len));
        ck_assert_uint_eq(len, part < 100 - at ? part : 100 - at);
    }
    len = 10;
    OK(encrypt_next(100, 0, CKF_END_OF_MESSAGE, &len));
    ck_assert_uint_eq(len, 0);
    message.out_len = 100;
    message_assert_as_openssl(&message, 30, 100);

    memset(out, 0xee, sizeof(out));
    OK(decrypt_begin(30));
    for (CK_ULONG at = 0; at + part < 100; at += part) {
        len = sizeof(out);
        OK(decrypt_next(at, part, out, &len, 0));
        ck_assert_uint_eq(len, 0);
        ck_assert_uint_eq(out[0], 0xee);
    }
    CK_ULONG rest = 100 % part == 0 ? part : 100 % part;
    len = sizeof(out);
    OK(decrypt_next(100 - rest, rest, out, &len, CKF_END_OF_MESSAGE));
    ck_assert_uint_eq(len, 100);
    ck_assert_mem_eq(out, message_text, 100);
    ck_assert_uint_eq(out[100], 0xee);
}
END_TEST

START_TEST(works_in_place_and_shifted)
{
    static const size_t shifts[][2] = {{0, 0}, {0, 1}, {1, 0}, {0, 16}, {40, 3}};
    CK_BYTE buffer[256];

    begin_both();
    for (size_t i = 0; i < COUNT(shifts); i++) {
        CK_ULONG len = 150;
        message_prepare(&message, (CK_BYTE) i, CKG_NO_GENERATE);
        memcpy(buffer + shifts[i][0], message_text, 150);
        OK(api.p11->C_EncryptMessage(api.session, &message.params, sizeof(message.params), NULL, 0,
                                     buffer + shifts[i][0], 150, buffer + shifts[i][1], &len));
        memcpy(message.out, buffer + shifts[i][1], 150);
        message.out_len = len;
        message_assert_as_openssl(&message, 0, 150);
        OK(api.p11->C_DecryptMessage(api.session, &message.params, sizeof(message.params), NULL, 0,
                                     buffer + shifts[i][1], 150, buffer + shifts[i][0], &len));
        ck_assert_mem_eq(buffer + shifts[i][0], message_text, 150);
    }
}
END_TEST

/* The same bytes as C_Encrypt and C_Decrypt, which carry the tag behind the ciphertext. */
START_TEST(agrees_with_the_classic_functions)
{
    CK_BYTE sealed[256];
    CK_BYTE out[256];
    CK_ULONG len = sizeof(sealed);
    CK_GCM_PARAMS params = {.pIv = message.iv,
                            .ulIvLen = 12,
                            .pAAD = message_text,
                            .ulAADLen = 11,
                            .ulTagBits = 8UL * MESSAGE_TAG};
    CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof(params)};

    begin_both();
    message_prepare(&message, 3, CKG_GENERATE_RANDOM);
    OK(message_encrypt(api.session, &message, 11, 60));
    memcpy(sealed, message.out, 60);
    memcpy(sealed + 60, message.tag, MESSAGE_TAG);
    OK(api.p11->C_DecryptInit(api.session, &gcm, message_aes));
    OK(api.p11->C_Decrypt(api.session, sealed, 60 + MESSAGE_TAG, out, &len));
    ck_assert_uint_eq(len, 60);
    ck_assert_mem_eq(out, message_text, 60);

    len = sizeof(sealed);
    OK(api.p11->C_EncryptInit(api.session, &gcm, message_aes));
    OK(api.p11->C_Encrypt(api.session, message_text, 70, sealed, &len));
    memcpy(message.out, sealed, 70);
    memcpy(message.tag, sealed + 70, MESSAGE_TAG);
    message.out_len = 70;
    len = sizeof(out);
    OK(message_decrypt(api.session, &message, 11, out, &len));
    ck_assert_mem_eq(out, message_text, 70);
}
END_TEST

START_TEST(asking_for_sizes_changes_nothing)
{
    CK_BYTE out[256];
    CK_ULONG len = 0;

    begin_both();
    message_prepare(&message, 0, CKG_GENERATE_COUNTER);
    for (int i = 0; i < 5; i++) {
        len = 49;
        OK(api.p11->C_EncryptMessage(api.session, &message.params, sizeof(message.params), NULL, 0,
                                     message_text, 50, NULL, &len));
        ck_assert_uint_eq(len, 50);
        len = 49;
        EXPECT(CKR_BUFFER_TOO_SMALL,
               api.p11->C_EncryptMessage(api.session, &message.params, sizeof(message.params), NULL,
                                         0, message_text, 50, out, &len));
        ck_assert_uint_eq(len, 50);
    }
    /* The first IV of the key is still to come. */
    OK(message_encrypt(api.session, &message, 0, 50));
    ck_assert_mem_eq(message.iv, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    OK(encrypt_begin(0));
    ck_assert_uint_eq(message.iv[11], 1);
    len = 5;
    EXPECT(CKR_BUFFER_TOO_SMALL, encrypt_next(0, 50, CKF_END_OF_MESSAGE, &len));
    ck_assert_uint_eq(len, 50);
    OK(encrypt_next(0, 50, CKF_END_OF_MESSAGE, &len));
    message.out_len = len;
    message_assert_as_openssl(&message, 0, 50);

    OK(api.p11->C_DecryptMessage(api.session, &message.params, sizeof(message.params), NULL, 0,
                                 message.out, 50, NULL, &len));
    ck_assert_uint_eq(len, 50);
    OK(decrypt_begin(0));
    len = sizeof(out);
    OK(decrypt_next(0, 30, out, &len, 0));
    OK(decrypt_next(30, 20, NULL, &len, CKF_END_OF_MESSAGE));
    ck_assert_uint_eq(len, 50);
    len = 49;
    EXPECT(CKR_BUFFER_TOO_SMALL, decrypt_next(30, 20, out, &len, CKF_END_OF_MESSAGE));
    ck_assert_uint_eq(len, 50);
    OK(decrypt_next(30, 20, out, &len, CKF_END_OF_MESSAGE));
    ck_assert_mem_eq(out, message_text, 50);
}
END_TEST

/* What differs from the message as it was made: tag, text, associated data, IV. */
START_TEST(a_wrong_tag_ends_the_message_only)
{
    static const CK_BYTE zeros[60];
    CK_BYTE *changed[] = {&message.tag[0], &message.tag[15], &message.out[0], &message.out[59],
                          &message.iv[11]};
    CK_BYTE out[256];

    begin_both();
    message_prepare(&message, 77, CKG_NO_GENERATE);
    OK(message_encrypt(api.session, &message, 9, 60));
    for (size_t i = 0; i <= COUNT(changed); i++) {
        CK_ULONG len = sizeof(out);
        CK_ULONG aad_len = i == COUNT(changed) ? 10 : 9;
        if (i < COUNT(changed))
            *changed[i] ^= 1;
        memset(out, 0xee, sizeof(out));
        EXPECT(CKR_AEAD_DECRYPT_FAILED, message_decrypt(api.session, &message, aad_len, out, &len));
        ck_assert_mem_eq(out, zeros, 60);
        ck_assert_uint_eq(out[60], 0xee);

        OK(decrypt_begin(aad_len));
        len = sizeof(out);
        OK(decrypt_next(0, 40, out, &len, 0));
        len = sizeof(out);
        EXPECT(CKR_AEAD_DECRYPT_FAILED, decrypt_next(40, 20, out, &len, CKF_END_OF_MESSAGE));
        ck_assert_mem_eq(out, zeros, 60);
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_next(0, 40, out, &len, 0));
        if (i < COUNT(changed))
            *changed[i] ^= 1;
        len = sizeof(out);
        OK(message_decrypt(api.session, &message, 9, out, &len));
        ck_assert_mem_eq(out, message_text, 60);
    }
}
END_TEST

/* A caller with nothing to decrypt may well give no buffer: CKR_OK must mean a right tag. */
START_TEST(an_empty_message_is_verified_without_a_buffer)
{
    CK_ULONG len = 0;

    begin_both();
    message_prepare(&message, 8, CKG_NO_GENERATE);
    OK(message_encrypt(api.session, &message, 21, 0));
    message_assert_as_openssl(&message, 21, 0);
    for (int bad = 0; bad < 2; bad++) {
        CK_RV wanted = bad ? CKR_AEAD_DECRYPT_FAILED : CKR_OK;
        message.tag[3] ^= (CK_BYTE) bad;
        EXPECT(wanted, message_decrypt(api.session, &message, 21, NULL, &len));
        OK(decrypt_begin(21));
        EXPECT(wanted, decrypt_next(0, 0, NULL, &len, CKF_END_OF_MESSAGE));
        EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_next(0, 0, NULL, &len, CKF_END_OF_MESSAGE));
    }
}
END_TEST

START_TEST(the_order_of_calls)
{
    CK_BYTE out[256];
    CK_ULONG len = sizeof(out);

    message_prepare(&message, 1, CKG_NO_GENERATE);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, message_encrypt(api.session, &message, 0, 1));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_begin(0));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 1, 0, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_MessageEncryptFinal(api.session));
    begin_both();
    EXPECT(CKR_OPERATION_ACTIVE, message_encrypt_init(api.session, message_aes));
    EXPECT(CKR_OPERATION_ACTIVE, message_decrypt_init(api.session, message_aes));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 1, 0, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_next(0, 1, out, &len, 0));
    OK(encrypt_begin(0));
    EXPECT(CKR_OPERATION_ACTIVE, encrypt_begin(0));
    EXPECT(CKR_OPERATION_ACTIVE, message_encrypt(api.session, &message, 0, 1));
    EXPECT(CKR_OPERATION_ACTIVE, message_encrypt_init(api.session, message_aes));
    /* The other direction, and the classic functions, know nothing of it. */
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_next(0, 1, out, &len, 0));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_EncryptUpdate(api.session, message_text, 1, out, &len));
    len = sizeof(out);
    OK(encrypt_next(0, 50, CKF_END_OF_MESSAGE, &len));
    message.out_len = len;
    message_assert_as_openssl(&message, 0, 50);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 1, 0, &len));
    /* A message that is left unfinished goes with the operation. */
    OK(encrypt_begin(0));
    OK(api.p11->C_MessageEncryptFinal(api.session));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 1, 0, &len));
    OK(message_encrypt_init(api.session, message_aes));
    OK(message_encrypt(api.session, &message, 0, 50));
    message_assert_as_openssl(&message, 0, 50);
    /* A NULL mechanism cancels. */
    OK(api.p11->C_MessageEncryptInit(api.session, NULL, 0));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, message_encrypt(api.session, &message, 0, 1));
}
END_TEST

START_TEST(what_ends_the_operation_from_outside)
{
    CK_BYTE out[256];
    CK_ULONG len = sizeof(out);

    message_prepare(&message, 1, CKG_NO_GENERATE);
    begin_both();
    OK(api.p11->C_SessionCancel(api.session, CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_SIGN));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_begin(0));
    OK(decrypt_begin(0));
    OK(api.p11->C_SessionCancel(api.session, CKF_MESSAGE_DECRYPT));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_next(0, 1, out, &len, 0));

    begin_both();
    OK(encrypt_begin(0));
    OK(api.p11->C_DestroyObject(api.session, message_aes));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 1, 0, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_begin(0));

    CK_OBJECT_HANDLE key = api_make_aes_key(&api, true, "stays");
    OK(message_encrypt_init(api.session, key));
    OK(encrypt_begin(0));
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 1, 0, &len));
    EXPECT(CKR_KEY_HANDLE_INVALID, message_encrypt_init(api.session, key));
}
END_TEST

/* Between messages; a message that is begun goes on. */
START_TEST(a_changed_key_is_checked_again)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE label = {CKA_LABEL, "new", 3};
    CK_ATTRIBUTE change = {CKA_ENCRYPT, &no, 1};
    CK_BYTE out[256];
    CK_ULONG len = sizeof(out);

    message_prepare(&message, 1, CKG_NO_GENERATE);
    begin_both();
    OK(api.p11->C_SetAttributeValue(api.session, message_aes, &label, 1));
    OK(encrypt_begin(0));
    OK(api.p11->C_SetAttributeValue(api.session, message_aes, &change, 1));
    OK(encrypt_next(0, 50, CKF_END_OF_MESSAGE, &message.out_len));
    message_assert_as_openssl(&message, 0, 50);
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_begin(0));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, message_encrypt_init(api.session, message_aes));
    OK(message_decrypt(api.session, &message, 0, out, &len));
    ck_assert_mem_eq(out, message_text, 50);
}
END_TEST

START_TEST(bad_parameters_end_the_message_only)
{
    CK_BYTE iv[200] = {0};
    const CK_GCM_MESSAGE_PARAMS bad[] = {
        {NULL, 12, 0, CKG_NO_GENERATE, message.tag, 128},
        {iv, 0, 0, CKG_NO_GENERATE, message.tag, 128},
        {iv, 129, 0, CKG_NO_GENERATE, message.tag, 128},
        {iv, ~0UL, 0, CKG_NO_GENERATE, message.tag, 128},
        {iv, 12, 0, CKG_NO_GENERATE, NULL, 128},
        {iv, 12, 0, CKG_NO_GENERATE, message.tag, 88},
        {iv, 12, 0, CKG_NO_GENERATE, message.tag, 136},
        {iv, 12, 0, CKG_NO_GENERATE, message.tag, 100},
        {iv, 12, 0, CKG_NO_GENERATE, message.tag, 1UL << 61},
        {iv, 12, 0, 5, message.tag, 128},
        {iv, 12, 0, ~0UL, message.tag, 128},
        {iv, 17, 0, CKG_GENERATE_RANDOM, message.tag, 128},
        {iv, 12, 97, CKG_GENERATE_RANDOM, message.tag, 128},
        {iv, 12, 1, CKG_GENERATE_RANDOM, message.tag, 128},
        {iv, 12, 8, CKG_GENERATE, message.tag, 128},
        {iv, 12, ~0UL, CKG_GENERATE, message.tag, 128},
        {iv, 12, 96, CKG_GENERATE_COUNTER, message.tag, 128},
        {iv, 17, 0, CKG_GENERATE_COUNTER, message.tag, 128},
        {iv, 12, 97, CKG_GENERATE_COUNTER_XOR, message.tag, 128},
    };
    CK_GCM_MESSAGE_PARAMS good;

    begin_both();
    message_prepare(&message, 5, CKG_NO_GENERATE);
    good = message.params;
    for (size_t i = 0; i < COUNT(bad); i++) {
        message.params = bad[i];
        api_expect(message_encrypt(api.session, &message, 0, 40), CKR_MECHANISM_PARAM_INVALID,
                   "a bad parameter");
        ck_assert_mem_eq(iv, (CK_BYTE[200]){0}, sizeof(iv));
        message.params = good;
        OK(message_encrypt(api.session, &message, 0, 40));
        message_assert_as_openssl(&message, 0, 40);
    }
    for (CK_ULONG len = 0; len < 100; len++) {
        if (len == sizeof(good))
            continue;
        EXPECT(CKR_MECHANISM_PARAM_INVALID,
               api.p11->C_EncryptMessageBegin(api.session, &message.params, len, NULL, 0));
    }
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_EncryptMessageBegin(api.session, NULL, 0, NULL, 0));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_EncryptMessageBegin(api.session, NULL, sizeof(good), NULL, 0));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_EncryptMessageBegin(api.session, &message.params, sizeof(good), NULL, 1));
    OK(encrypt_begin(0));
    OK(encrypt_next(0, 10, 0, &message.out_len));
    message.params.ulTagBits = 96;
    EXPECT(CKR_MECHANISM_PARAM_INVALID, encrypt_next(10, 10, CKF_END_OF_MESSAGE, &message.out_len));
    message.params.ulTagBits = 128;
    OK(encrypt_begin(0));
    EXPECT(CKR_ARGUMENTS_BAD, encrypt_next(0, 10, 2, &message.out_len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, encrypt_next(0, 10, 0, &message.out_len));
}
END_TEST

START_TEST(keys_are_checked_as_ever)
{
    CK_BYTE params[sizeof(CK_GCM_MESSAGE_PARAMS)] = {0};
    CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};
    CK_MECHANISM cbc = {CKM_AES_CBC, message.iv, 16};
    CK_OBJECT_HANDLE one_way =
        message_import(CKK_AES, message_key, CKA_ENCRYPT, CKA_WRAP_WITH_TRUSTED);

    EXPECT(CKR_MECHANISM_INVALID, api.p11->C_MessageEncryptInit(api.session, &cbc, message_aes));
    EXPECT(CKR_KEY_TYPE_INCONSISTENT, message_encrypt_init(api.session, message_hmac));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, message_decrypt_init(api.session, one_way));
    EXPECT(CKR_KEY_HANDLE_INVALID, message_encrypt_init(api.session, 0));
    gcm.ulParameterLen = 40;
    gcm.pParameter = params;
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_MessageEncryptInit(api.session, &gcm, message_aes));
    gcm.ulParameterLen = sizeof(params);
    gcm.pParameter = NULL;
    EXPECT(CKR_MECHANISM_PARAM_INVALID,
           api.p11->C_MessageEncryptInit(api.session, &gcm, message_aes));
    gcm.pParameter = params;
    OK(api.p11->C_MessageEncryptInit(api.session, &gcm, message_aes));
    /* A key of another family of mechanisms. */
    OK(api.p11->C_EncryptInit(api.session, &cbc, one_way));
    OK(api.p11->C_MessageEncryptFinal(api.session));
    EXPECT(CKR_KEY_FUNCTION_NOT_PERMITTED, message_encrypt_init(api.session, one_way));
}
END_TEST

/* Decryption in parts keeps no more than 64 MiB back. */
START_TEST(collecting_has_its_limit)
{
    size_t part = (size_t) 16 << 20;
    CK_BYTE *big = calloc(1, part);
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    REQUIRE(big != NULL);
    begin_both();
    message_prepare(&message, 5, CKG_NO_GENERATE);
    OK(decrypt_begin(0));
    for (int i = 0; i < 4; i++)
        OK(api.p11->C_DecryptMessageNext(api.session, &message.params, sizeof(message.params), big,
                                         part, out, &len, 0));
    len = sizeof(out);
    EXPECT(CKR_ENCRYPTED_DATA_LEN_RANGE, decrypt_next(0, 1, out, &len, 0));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, decrypt_next(0, 1, out, &len, 0));
    OK(message_encrypt(api.session, &message, 0, 60));
    OK(message_decrypt(api.session, &message, 0, out, &len));
    ck_assert_mem_eq(out, message_text, 60);
    free(big);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api message encryption");
    TCase *tests = tcase_create("messages");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, message_setup, message_teardown);
    tcase_add_loop_test(tests, gives_what_openssl_gives, 0, COUNT(shapes));
    tcase_add_loop_test(tests, parts_give_the_same, 0, COUNT(part_lens));
    tcase_add_test(tests, works_in_place_and_shifted);
    tcase_add_test(tests, agrees_with_the_classic_functions);
    tcase_add_test(tests, asking_for_sizes_changes_nothing);
    tcase_add_test(tests, a_wrong_tag_ends_the_message_only);
    tcase_add_test(tests, an_empty_message_is_verified_without_a_buffer);
    tcase_add_test(tests, the_order_of_calls);
    tcase_add_test(tests, what_ends_the_operation_from_outside);
    tcase_add_test(tests, a_changed_key_is_checked_again);
    tcase_add_test(tests, bad_parameters_end_the_message_only);
    tcase_add_test(tests, keys_are_checked_as_ever);
    tcase_add_test(tests, collecting_has_its_limit);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
