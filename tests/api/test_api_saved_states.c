/*
 * C_GetOperationState and C_SetOperationState: digests are saved and restored, in the session and
 * in others, as often as wanted; everything else is refused, and made-up states too. Also the
 * functions of 3.2 that answer for what the token does not have.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define STATE_ROOM 64
#define KEPT 16 /* states that a session keeps */

static struct api api;
static CK_BYTE text[300];
static CK_BYTE iv[16] = "initialisation.";
static CK_GCM_PARAMS gcm_params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
static CK_MECHANISM gcm = {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)};
static CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
static CK_OBJECT_HANDLE aes_key;
static CK_OBJECT_HANDLE mac_key;

struct state {
    CK_BYTE bytes[STATE_ROOM];
    CK_ULONG len;
};

static void open_token(void)
{
    static const CK_ATTRIBUTE_TYPE crypt_usages[2] = {CKA_ENCRYPT, CKA_DECRYPT};
    static const CK_ATTRIBUTE_TYPE mac_usages[2] = {CKA_SIGN, CKA_VERIFY};
    CK_BYTE value[32] = {7};

    api_open(&api, "memory:", NULL);
    aes_key = api_import_key(&api, CKK_AES, value, crypt_usages);
    mac_key = api_import_key(&api, CKK_GENERIC_SECRET, value, mac_usages);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (CK_BYTE) i;
}

static void close_token(void)
{
    api_close(&api);
}

static CK_SESSION_HANDLE another_session(CK_FLAGS flags)
{
    CK_SESSION_HANDLE session;

    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &session));
    return session;
}

static CK_RV begin(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type)
{
    CK_MECHANISM mechanism = {type, NULL, 0};

    return api.p11->C_DigestInit(session, &mechanism);
}

static struct state save(CK_SESSION_HANDLE session)
{
    struct state state = {.len = STATE_ROOM};

    OK(api.p11->C_GetOperationState(session, state.bytes, &state.len));
    return state;
}

static CK_RV restore(CK_SESSION_HANDLE session, const struct state *state)
{
    return api.p11->C_SetOperationState(session, (CK_BYTE_PTR) state->bytes, state->len, 0, 0);
}

/* The digest that the session is at becomes that of the first `len` bytes of the text. */
static void assert_ends_as(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_ULONG len)
{
    CK_BYTE result[64];
    CK_BYTE expected[64];
    CK_ULONG result_len = sizeof(result);
    CK_ULONG expected_len = sizeof(expected);

    OK(api.p11->C_DigestFinal(session, result, &result_len));
    OK(begin(session, type));
    OK(api.p11->C_Digest(session, text, len, expected, &expected_len));
    ck_assert_uint_eq(result_len, expected_len);
    ck_assert_mem_eq(result, expected, expected_len);
}

static const CK_MECHANISM_TYPE digests[] = {CKM_SHA_1, CKM_SHA256, CKM_SHA512, CKM_SHA512_224,
                                            CKM_SHA3_256};

/* At every place of the text; the source goes on undisturbed. */
START_TEST(clones)
{
    CK_MECHANISM_TYPE type = digests[_i];
    CK_SESSION_HANDLE other = another_session(CKF_RW_SESSION);

    for (CK_ULONG at = 0; at <= 200; at++) {
        OK(begin(api.session, type));
        OK(api.p11->C_DigestUpdate(api.session, text, at));
        struct state state = save(api.session);
        for (int round = 0; round < 2; round++) {
            OK(restore(other, &state));
            OK(api.p11->C_DigestUpdate(other, text + at, 50));
            assert_ends_as(other, type, at + 50);
        }
        OK(api.p11->C_DigestUpdate(api.session, text + at, 7));
        assert_ends_as(api.session, type, at + 7);
    }
}
END_TEST

/* The standard's own example. */
START_TEST(goes_back_in_one_session)
{
    CK_BYTE out[32];
    CK_ULONG len = sizeof(out);

    OK(begin(api.session, CKM_SHA256));
    struct state fresh = save(api.session);
    OK(api.p11->C_DigestUpdate(api.session, text, 70));
    struct state state = save(api.session);
    OK(api.p11->C_DigestUpdate(api.session, iv, sizeof(iv)));
    OK(restore(api.session, &state));
    OK(api.p11->C_DigestUpdate(api.session, text + 70, 30));
    assert_ends_as(api.session, CKM_SHA256, 100);
    /* Parts had not begun when it was saved: the single-part call is still allowed. */
    OK(restore(api.session, &fresh));
    OK(api.p11->C_Digest(api.session, text, 5, out, &len));
    OK(restore(api.session, &state));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_Digest(api.session, text, 5, out, &len));
}
END_TEST

START_TEST(output_convention)
{
    CK_BYTE out[STATE_ROOM];
    CK_ULONG len = 0;

    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_GetOperationState(api.session, out, &len));
    OK(begin(api.session, CKM_SHA256));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_GetOperationState(api.session, out, NULL));
    OK(api.p11->C_GetOperationState(api.session, NULL, &len));
    CK_ULONG needed = len;
    ck_assert(needed > 0 && needed <= sizeof(out));
    len = needed - 1;
    EXPECT(CKR_BUFFER_TOO_SMALL, api.p11->C_GetOperationState(api.session, out, &len));
    ck_assert_uint_eq(len, needed);
    OK(api.p11->C_GetOperationState(api.session, out, &len));
    OK(api.p11->C_DigestUpdate(api.session, text, 5)); /* none of it ended the digest */
}
END_TEST

START_TEST(ciphers_and_macs_are_unsaveable)
{
    CK_BYTE out[STATE_ROOM];
    CK_BYTE mac[32] = {0};
    CK_ULONG len = sizeof(out);

    for (int with_digest = 0; with_digest < 2; with_digest++) {
        if (with_digest)
            OK(begin(api.session, CKM_SHA256));
        for (int kind = 0; kind < 5; kind++) {
            const CK_RV begun[] = {
                kind == 0 ? api.p11->C_EncryptInit(api.session, &gcm, aes_key) : CKR_OK,
                kind == 1 ? api.p11->C_DecryptInit(api.session, &gcm, aes_key) : CKR_OK,
                kind == 2 ? api.p11->C_SignInit(api.session, &hmac, mac_key) : CKR_OK,
                kind == 3 ? api.p11->C_VerifyInit(api.session, &hmac, mac_key) : CKR_OK,
                kind == 4 ? api.p11->C_VerifySignatureInit(api.session, &hmac, mac_key, mac, 32)
                          : CKR_OK,
            };
            for (size_t i = 0; i < COUNT(begun); i++)
                ck_assert_uint_eq(begun[i], CKR_OK);
            EXPECT(CKR_STATE_UNSAVEABLE, api.p11->C_GetOperationState(api.session, out, &len));
            EXPECT(CKR_STATE_UNSAVEABLE, api.p11->C_GetOperationState(api.session, NULL, &len));
            OK(api.p11->C_SessionCancel(api.session,
                                        CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY));
        }
    }
    OK(api.p11->C_GetOperationState(api.session, out, &len));
}
END_TEST

START_TEST(made_up_states_are_refused)
{
    CK_SESSION_HANDLE other = another_session(CKF_RW_SESSION);
    CK_BYTE out[32];
    CK_ULONG len = sizeof(out);

    OK(begin(other, CKM_SHA256));
    struct state state = save(other);
    for (CK_ULONG i = 0; i < state.len; i++) {
        struct state forged = state;
        forged.bytes[i] ^= 1;
        EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &forged));
        forged = state;
        forged.len = i;
        EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &forged));
    }
    struct state longer = state;
    longer.len++;
    EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &longer));
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_SetOperationState(api.session, NULL, state.len, 0, 0));
    EXPECT(CKR_KEY_NOT_NEEDED,
           api.p11->C_SetOperationState(api.session, state.bytes, state.len, aes_key, 0));
    EXPECT(CKR_KEY_NOT_NEEDED,
           api.p11->C_SetOperationState(api.session, state.bytes, state.len, 0, mac_key));
    EXPECT(CKR_SESSION_HANDLE_INVALID, restore(0, &state));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_DigestFinal(api.session, out, &len));
    /* A session of another state, and the end of the session that saved. */
    EXPECT(CKR_SAVED_STATE_INVALID, restore(another_session(0), &state));
    OK(restore(api.session, &state));
    OK(api.p11->C_CloseSession(other));
    EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &state));
    OK(begin(another_session(CKF_RW_SESSION), CKM_SHA256)); /* in the same cell */
    EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &state));
    OK(api.p11->C_DigestUpdate(api.session, text, 5)); /* what was restored before goes on */
}
END_TEST

START_TEST(a_login_is_another_state)
{
    OK(begin(api.session, CKM_SHA256));
    struct state state = save(api.session);
    OK(api.p11->C_Logout(api.session));
    EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &state));
}
END_TEST

START_TEST(the_oldest_goes_first)
{
    struct state states[KEPT + 3];

    OK(begin(api.session, CKM_SHA256));
    for (size_t i = 0; i < COUNT(states); i++) {
        states[i] = save(api.session);
        OK(api.p11->C_DigestUpdate(api.session, text + i, 1));
    }
    for (size_t i = 0; i < COUNT(states); i++) {
        if (i < COUNT(states) - KEPT) {
            EXPECT(CKR_SAVED_STATE_INVALID, restore(api.session, &states[i]));
            continue;
        }
        OK(restore(api.session, &states[i]));
        assert_ends_as(api.session, CKM_SHA256, i);
    }
}
END_TEST

/* Operations and a search that were active end. */
START_TEST(restoring_ends_the_rest)
{
    CK_OBJECT_HANDLE found;
    CK_BYTE out[32];
    CK_ULONG len = sizeof(out);

    OK(begin(api.session, CKM_SHA256));
    struct state state = save(api.session);
    OK(api.p11->C_EncryptInit(api.session, &gcm, aes_key));
    OK(api.p11->C_SignInit(api.session, &hmac, mac_key));
    OK(api.p11->C_FindObjectsInit(api.session, NULL, 0));
    OK(restore(api.session, &state));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED,
           api.p11->C_EncryptUpdate(api.session, text, 5, out, &len));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_SignUpdate(api.session, text, 5));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_FindObjects(api.session, &found, 1, &len));
    OK(api.p11->C_DigestUpdate(api.session, text, 5));
}
END_TEST

START_TEST(no_validations_and_nothing_asynchronous)
{
    CK_UTF8CHAR name[] = "C_SignFinal";
    CK_ASYNC_DATA data = {0};
    CK_FLAGS flags = ~0UL;
    CK_ULONG id = 0;

    OK(api.p11->C_GetSessionValidationFlags(api.session, CKS_LAST_VALIDATION_OK, &flags));
    ck_assert_uint_eq(flags, 0);
    EXPECT(CKR_ARGUMENTS_BAD, api.p11->C_GetSessionValidationFlags(api.session, 2, &flags));
    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_GetSessionValidationFlags(api.session, CKS_LAST_VALIDATION_OK, NULL));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_AsyncComplete(api.session, name, &data));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_AsyncComplete(api.session, name, NULL));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_AsyncGetID(api.session, name, &id));
    EXPECT(CKR_SAVED_STATE_INVALID, api.p11->C_AsyncJoin(api.session, name, 1, text, 1));
    EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_AsyncComplete(0, name, &data));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api saved states");
    TCase *tests = tcase_create("saved states");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, clones, 0, COUNT(digests));
    tcase_add_test(tests, goes_back_in_one_session);
    tcase_add_test(tests, output_convention);
    tcase_add_test(tests, ciphers_and_macs_are_unsaveable);
    tcase_add_test(tests, made_up_states_are_refused);
    tcase_add_test(tests, a_login_is_another_state);
    tcase_add_test(tests, the_oldest_goes_first);
    tcase_add_test(tests, restoring_ends_the_rest);
    tcase_add_test(tests, no_validations_and_nothing_asynchronous);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
