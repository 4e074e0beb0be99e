/*
 * Sessions, login and PINs by the standard (PKCS #11 5.5, 5.6): states, who may do what when, what
 * dies with a session and with a logout, and what wrong PINs do.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/indexkey.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RO CKF_SERIAL_SESSION
#define RW (CKF_SERIAL_SESSION | CKF_RW_SESSION)

static struct api api;
static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static CK_SESSION_HANDLE open_session(CK_FLAGS flags)
{
    CK_SESSION_HANDLE session;

    OK(api.p11->C_OpenSession(api.slot, flags, NULL, NULL, &session));
    return session;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
    return api.p11->C_Login(session, user, (CK_UTF8CHAR *) pin, strlen(pin));
}

static CK_RV login_user(CK_SESSION_HANDLE session)
{
    return login(session, CKU_USER, API_USER_PIN);
}

static CK_RV login_so(CK_SESSION_HANDLE session)
{
    return login(session, CKU_SO, API_SO_PIN);
}

static CK_STATE state_of(CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info;

    OK(api.p11->C_GetSessionInfo(session, &info));
    return info.state;
}

static CK_ULONG device_error(CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info;

    OK(api.p11->C_GetSessionInfo(session, &info));
    return info.ulDeviceError;
}

static CK_FLAGS token_flags(void)
{
    CK_TOKEN_INFO info;

    OK(api.p11->C_GetTokenInfo(api.slot, &info));
    return info.flags & ~(CK_FLAGS) (CKF_RNG | CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED |
                                     CKF_USER_PIN_INITIALIZED | CKF_DUAL_CRYPTO_OPERATIONS |
                                     CKF_RESTORE_KEY_NOT_NEEDED);
}

/* A token with a user PIN, no session open. */
static void open_token(void)
{
    api_open(&api, "memory:", NULL);
    OK(api.p11->C_CloseAllSessions(api.slot));
}

static void close_token(void)
{
    api_close(&api);
}

START_TEST(states)
{
    CK_SESSION_HANDLE rw = open_session(RW);
    CK_SESSION_HANDLE ro = open_session(RO);

    ck_assert_uint_eq(state_of(ro), CKS_RO_PUBLIC_SESSION);
    ck_assert_uint_eq(state_of(rw), CKS_RW_PUBLIC_SESSION);
    OK(login_user(ro)); /* on one session, for all */
    ck_assert_uint_eq(state_of(ro), CKS_RO_USER_FUNCTIONS);
    ck_assert_uint_eq(state_of(rw), CKS_RW_USER_FUNCTIONS);
    ck_assert_uint_eq(state_of(open_session(RO)), CKS_RO_USER_FUNCTIONS);
    OK(api.p11->C_Logout(rw));
    ck_assert_uint_eq(state_of(ro), CKS_RO_PUBLIC_SESSION);
    OK(api.p11->C_CloseAllSessions(api.slot));
    rw = open_session(RW);
    OK(login_so(rw));
    ck_assert_uint_eq(state_of(rw), CKS_RW_SO_FUNCTIONS);
    ck_assert_uint_eq(state_of(open_session(RW)), CKS_RW_SO_FUNCTIONS);
}
END_TEST

START_TEST(login_refusals)
{
    CK_SESSION_HANDLE rw = open_session(RW);
    CK_SESSION_HANDLE ro = open_session(RO);
    CK_SESSION_HANDLE out = 0;

    EXPECT(CKR_SESSION_READ_ONLY_EXISTS, login_so(rw));
    EXPECT(CKR_SESSION_READ_ONLY_EXISTS, login_so(ro));
    EXPECT(CKR_USER_TYPE_INVALID, login(rw, 7, API_USER_PIN));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, login(rw, CKU_CONTEXT_SPECIFIC, API_USER_PIN));
    EXPECT(CKR_USER_NOT_LOGGED_IN, api.p11->C_Logout(rw));
    OK(login_user(rw));
    EXPECT(CKR_USER_ALREADY_LOGGED_IN, login_user(ro));
    EXPECT(CKR_USER_ALREADY_LOGGED_IN, login(rw, CKU_USER, "wrong pin"));
    EXPECT(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, login_so(rw));
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, login(rw, CKU_CONTEXT_SPECIFIC, API_USER_PIN));
    OK(api.p11->C_Logout(ro));
    OK(api.p11->C_CloseSession(ro));
    OK(login_so(rw));
    EXPECT(CKR_USER_ALREADY_LOGGED_IN, login_so(rw));
    EXPECT(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, login_user(rw));
    EXPECT(CKR_SESSION_READ_WRITE_SO_EXISTS,
           api.p11->C_OpenSession(api.slot, RO, NULL, NULL, &out));
    ck_assert_uint_eq(out, 0);
    EXPECT(CKR_SESSION_PARALLEL_NOT_SUPPORTED,
           api.p11->C_OpenSession(api.slot, CKF_RW_SESSION, NULL, NULL, &out));
    EXPECT(CKR_SESSION_ASYNC_NOT_SUPPORTED,
           api.p11->C_OpenSession(api.slot, RW | CKF_ASYNC_SESSION, NULL, NULL, &out));
    EXPECT(CKR_SLOT_ID_INVALID, api.p11->C_OpenSession(5, RW, NULL, NULL, &out));
    /* Refusals that are not about the PIN count nothing. */
    ck_assert_uint_eq(token_flags(), 0);
}
END_TEST

/* C_LoginUser without a name is C_Login. */
START_TEST(login_with_a_name)
{
    CK_SESSION_HANDLE rw = open_session(RW);
    CK_UTF8CHAR *pin = (CK_UTF8CHAR *) API_USER_PIN;

    EXPECT(CKR_ARGUMENTS_BAD,
           api.p11->C_LoginUser(rw, CKU_USER, pin, strlen(API_USER_PIN), pin, 4));
    OK(api.p11->C_LoginUser(rw, CKU_USER, pin, strlen(API_USER_PIN), NULL, 0));
    ck_assert_uint_eq(state_of(rw), CKS_RW_USER_FUNCTIONS);
}
END_TEST

static CK_RV make_key(CK_SESSION_HANDLE session, CK_BBOOL token, CK_BBOOL private,
                      CK_OBJECT_HANDLE *out)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = 20;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len, sizeof(len)},
                               {CKA_TOKEN, &token, 1},
                               {CKA_PRIVATE, &private, 1},
                               {CKA_SIGN, &yes, 1}};

    return api.p11->C_GenerateKey(session, &mechanism, template, 4, out);
}

static CK_RV look_at(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_ULONG class;
    CK_ATTRIBUTE attribute = {CKA_CLASS, &class, sizeof(class)};

    return api.p11->C_GetAttributeValue(session, key, &attribute, 1);
}

/* Who may make what: by state, CKA_TOKEN and CKA_PRIVATE. */
static const struct {
    CK_FLAGS flags;
    int user; /* -1: nobody */
    CK_RV session_public, session_private, token;
} makers[] = {
    {RO, -1, CKR_OK, CKR_USER_NOT_LOGGED_IN, CKR_SESSION_READ_ONLY},
    {RW, -1, CKR_OK, CKR_USER_NOT_LOGGED_IN, CKR_USER_NOT_LOGGED_IN},
    {RO, CKU_USER, CKR_OK, CKR_OK, CKR_SESSION_READ_ONLY},
    {RW, CKU_USER, CKR_OK, CKR_OK, CKR_OK},
    {RW, CKU_SO, CKR_OK, CKR_USER_NOT_LOGGED_IN, CKR_USER_NOT_LOGGED_IN},
};

START_TEST(who_may_make_objects)
{
    for (size_t i = 0; i < COUNT(makers); i++) {
        CK_SESSION_HANDLE session = open_session(makers[i].flags);
        CK_OBJECT_HANDLE out;
        char name[32];
        snprintf(name, sizeof(name), "row %zu", i);
        if (makers[i].user >= 0)
            OK(makers[i].user == CKU_SO ? login_so(session) : login_user(session));
        api_expect(make_key(session, CK_FALSE, CK_FALSE, &out), makers[i].session_public, name);
        api_expect(make_key(session, CK_FALSE, CK_TRUE, &out), makers[i].session_private, name);
        api_expect(make_key(session, CK_TRUE, CK_TRUE, &out), makers[i].token, name);
        OK(api.p11->C_CloseSession(session));
    }
}
END_TEST

START_TEST(read_only_sessions_change_nothing)
{
    CK_SESSION_HANDLE rw = open_session(RW);
    CK_SESSION_HANDLE ro = open_session(RO);
    CK_ATTRIBUTE label = {CKA_LABEL, "x", 1};
    CK_ATTRIBUTE to_token = {CKA_TOKEN, &yes, 1};
    CK_ATTRIBUTE to_session = {CKA_TOKEN, &no, 1};
    CK_OBJECT_HANDLE token_key;
    CK_OBJECT_HANDLE session_key;
    CK_OBJECT_HANDLE copy;

    OK(login_user(rw));
    OK(make_key(rw, CK_TRUE, CK_TRUE, &token_key));
    OK(make_key(ro, CK_FALSE, CK_TRUE, &session_key));
    EXPECT(CKR_SESSION_READ_ONLY, api.p11->C_SetAttributeValue(ro, token_key, &label, 1));
    EXPECT(CKR_SESSION_READ_ONLY, api.p11->C_DestroyObject(ro, token_key));
    EXPECT(CKR_SESSION_READ_ONLY, api.p11->C_CopyObject(ro, token_key, NULL, 0, &copy));
    EXPECT(CKR_SESSION_READ_ONLY, api.p11->C_CopyObject(ro, session_key, &to_token, 1, &copy));
    EXPECT(CKR_SESSION_READ_ONLY,
           api.p11->C_SetPIN(ro, (CK_UTF8CHAR *) "1234", 4, (CK_UTF8CHAR *) "1234", 4));
    OK(api.p11->C_CopyObject(ro, token_key, &to_session, 1, &copy));
    OK(api.p11->C_SetAttributeValue(ro, session_key, &label, 1));
    OK(api.p11->C_DestroyObject(ro, session_key));
}
END_TEST

START_TEST(private_handles_die_at_logout)
{
    CK_SESSION_HANDLE rw = open_session(RW);
    CK_OBJECT_HANDLE token_key;
    CK_OBJECT_HANDLE private_key;
    CK_OBJECT_HANDLE public_key;
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};

    OK(login_user(rw));
    OK(make_key(rw, CK_TRUE, CK_TRUE, &token_key));
    OK(make_key(rw, CK_FALSE, CK_TRUE, &private_key));
    OK(make_key(rw, CK_FALSE, CK_FALSE, &public_key));
    OK(api.p11->C_SignInit(rw, &mechanism, token_key));
    for (int round = 0; round < 3; round++) {
        OK(round % 2 == 0 ? api.p11->C_Logout(rw) : login_user(rw));
        EXPECT(CKR_OBJECT_HANDLE_INVALID, look_at(rw, token_key));
        EXPECT(CKR_OBJECT_HANDLE_INVALID, look_at(rw, private_key));
        EXPECT(CKR_KEY_HANDLE_INVALID, api.p11->C_SignInit(rw, &mechanism, token_key));
        OK(look_at(rw, public_key));
    }
    EXPECT(CKR_OPERATION_NOT_INITIALIZED, api.p11->C_SignUpdate(rw, (CK_BYTE *) "x", 1));
    OK(login_user(rw));
    api.session = rw;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE keys = {CKA_CLASS, &class, sizeof(class)};
    ck_assert_uint_eq(api_count(&api, &keys, 1), 2); /* the private session key is gone for good */
}
END_TEST

START_TEST(session_objects_die_with_their_session)
{
    CK_SESSION_HANDLE first = open_session(RW);
    CK_SESSION_HANDLE second = open_session(RW);
    CK_OBJECT_HANDLE of_first;
    CK_OBJECT_HANDLE of_second;
    CK_OBJECT_HANDLE token_key;
    CK_BYTE mac[32];
    CK_ULONG len = sizeof(mac);
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};

    OK(login_user(first));
    OK(make_key(first, CK_FALSE, CK_TRUE, &of_first));
    OK(make_key(second, CK_FALSE, CK_FALSE, &of_second));
    OK(make_key(first, CK_TRUE, CK_TRUE, &token_key));
    OK(look_at(second, of_first)); /* shared while they live */
    OK(api.p11->C_SignInit(second, &mechanism, of_first));
    OK(api.p11->C_CloseSession(first));
    EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_CloseSession(first));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, look_at(second, of_first));
    EXPECT(CKR_KEY_HANDLE_INVALID, api.p11->C_VerifyInit(second, &mechanism, of_first));
    api.p11->C_Sign(second, (CK_BYTE *) "x", 1, mac, &len); /* either way: no crash */
    OK(look_at(second, of_second));
    OK(look_at(second, token_key));
    ck_assert_uint_eq(state_of(second), CKS_RW_USER_FUNCTIONS);
    OK(api.p11->C_CloseSession(second)); /* the last one logs out */
    second = open_session(RW);
    ck_assert_uint_eq(state_of(second), CKS_RW_PUBLIC_SESSION);
    EXPECT(CKR_OBJECT_HANDLE_INVALID, look_at(second, token_key));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, look_at(second, of_second));
    OK(login_user(second));
    OK(api.p11->C_CloseAllSessions(api.slot));
    EXPECT(CKR_SESSION_HANDLE_INVALID, api.p11->C_Logout(second));
    ck_assert_uint_eq(state_of(open_session(RW)), CKS_RW_PUBLIC_SESSION);
}
END_TEST

static CK_RV init_token(const char *pin)
{
    CK_UTF8CHAR label[] = "again                           ";

    return api.p11->C_InitToken(api.slot, (CK_UTF8CHAR *) pin, strlen(pin), label);
}

START_TEST(init_token_again)
{
    CK_SESSION_HANDLE session = open_session(RW);
    CK_OBJECT_HANDLE key;
    CK_TOKEN_INFO before;
    CK_TOKEN_INFO after;

    OK(login_user(session));
    OK(make_key(session, CK_TRUE, CK_TRUE, &key));
    EXPECT(CKR_SESSION_EXISTS, init_token(API_SO_PIN));
    OK(api.p11->C_CloseSession(session));
    OK(api.p11->C_GetTokenInfo(api.slot, &before));
    EXPECT(CKR_PIN_INCORRECT, init_token("another so pin"));
    EXPECT(CKR_PIN_INCORRECT, init_token(API_USER_PIN));
    ck_assert_uint_eq(token_flags(), CKF_SO_PIN_COUNT_LOW);
    EXPECT(CKR_SLOT_ID_INVALID,
           api.p11->C_InitToken(9, (CK_UTF8CHAR *) "12345678", 8, before.label));
    session = open_session(RW);
    OK(login_user(session)); /* nothing happened to the token */
    api.session = session;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE keys = {CKA_CLASS, &class, sizeof(class)};
    ck_assert_uint_eq(api_count(&api, &keys, 1), 1);
    OK(api.p11->C_CloseSession(session));
    OK(init_token(API_SO_PIN));
    OK(api.p11->C_GetTokenInfo(api.slot, &after));
    ck_assert_mem_eq(after.label, "again   ", 8);
    ck_assert_mem_eq(after.serialNumber, before.serialNumber, sizeof(before.serialNumber));
    ck_assert_uint_eq(after.flags & CKF_USER_PIN_INITIALIZED, 0);
    ck_assert_uint_eq(token_flags(), 0);
    session = open_session(RW);
    EXPECT(CKR_USER_PIN_NOT_INITIALIZED, login_user(session));
    OK(login_so(session));
    OK(api.p11->C_InitPIN(session, (CK_UTF8CHAR *) API_USER_PIN, strlen(API_USER_PIN)));
    OK(api.p11->C_Logout(session));
    OK(login_user(session));
    api.session = session;
    ck_assert_uint_eq(api_count(&api, &keys, 1), 0);
}
END_TEST

static const struct {
    CK_ULONG len;
    CK_RV wanted;
} pin_lens[] = {{0, CKR_PIN_LEN_RANGE}, {3, CKR_PIN_LEN_RANGE},   {4, CKR_OK},
                {255, CKR_OK},          {256, CKR_PIN_LEN_RANGE}, {100000, CKR_PIN_LEN_RANGE}};

START_TEST(pin_lengths)
{
    static CK_UTF8CHAR pin[100000];
    CK_SESSION_HANDLE session = open_session(RW);
    CK_ULONG current = strlen(API_USER_PIN);

    memset(pin, 'p', sizeof(pin));
    memcpy(pin, API_USER_PIN, current);
    for (size_t i = 0; i < COUNT(pin_lens); i++) {
        CK_ULONG len = pin_lens[i].len;
        OK(login_so(session));
        EXPECT(pin_lens[i].wanted, api.p11->C_InitPIN(session, pin, len));
        OK(api.p11->C_Logout(session));
        current = pin_lens[i].wanted == CKR_OK ? len : current;
        OK(api.p11->C_Login(session, CKU_USER, pin, current));
        EXPECT(pin_lens[i].wanted, api.p11->C_SetPIN(session, pin, current, pin, len));
        OK(api.p11->C_Logout(session));
        OK(api.p11->C_Login(session, CKU_USER, pin, current));
        OK(api.p11->C_Logout(session));
    }
    EXPECT(CKR_PIN_INCORRECT, api.p11->C_Login(session, CKU_USER, pin, 3));
    EXPECT(CKR_PIN_INCORRECT, api.p11->C_Login(session, CKU_USER, pin, 256));
    OK(api.p11->C_Login(session, CKU_USER, pin, current));
}
END_TEST

START_TEST(init_token_pin_lengths)
{
    static CK_UTF8CHAR pin[256];
    CK_UTF8CHAR label[] = "lengths                         ";

    memset(pin, 's', sizeof(pin));
    OK(api.p11->C_Finalize(NULL)); /* a memory store begins anew */
    OK(api.p11->C_Initialize(NULL));
    EXPECT(CKR_PIN_LEN_RANGE, api.p11->C_InitToken(api.slot, pin, 3, label));
    EXPECT(CKR_PIN_LEN_RANGE, api.p11->C_InitToken(api.slot, pin, 256, label));
    CK_SESSION_HANDLE session = open_session(RW);
    EXPECT(CKR_USER_PIN_NOT_INITIALIZED, login_user(session));
    EXPECT(CKR_USER_NOT_LOGGED_IN, api.p11->C_InitPIN(session, pin, 8));
    OK(api.p11->C_CloseSession(session));
    OK(api.p11->C_InitToken(api.slot, pin, 255, label));
    OK(api.p11->C_InitToken(api.slot, pin, 255, label));
}
END_TEST

START_TEST(set_pin)
{
    CK_SESSION_HANDLE session = open_session(RW);
    CK_UTF8CHAR *user = (CK_UTF8CHAR *) API_USER_PIN;
    CK_UTF8CHAR *so = (CK_UTF8CHAR *) API_SO_PIN;
    CK_UTF8CHAR *new_pin = (CK_UTF8CHAR *) "a new pin";

    /* In a public session it is the user's PIN. */
    EXPECT(CKR_PIN_INCORRECT, api.p11->C_SetPIN(session, new_pin, 9, new_pin, 9));
    ck_assert_uint_eq(device_error(session), INDEXKEY_CAUSE_PIN);
    ck_assert_uint_eq(token_flags(), CKF_USER_PIN_COUNT_LOW);
    OK(api.p11->C_SetPIN(session, user, strlen(API_USER_PIN), new_pin, 9));
    ck_assert_uint_eq(token_flags(), 0);
    EXPECT(CKR_PIN_INCORRECT, login_user(session));
    OK(login(session, CKU_USER, "a new pin"));
    OK(api.p11->C_SetPIN(session, new_pin, 9, user, strlen(API_USER_PIN)));
    OK(api.p11->C_Logout(session));
    OK(login_user(session));
    OK(api.p11->C_Logout(session));
    OK(login_so(session));
    EXPECT(CKR_PIN_INCORRECT, api.p11->C_SetPIN(session, user, strlen(API_USER_PIN), new_pin, 9));
    OK(api.p11->C_SetPIN(session, so, strlen(API_SO_PIN), new_pin, 9));
    OK(api.p11->C_Logout(session));
    EXPECT(CKR_PIN_INCORRECT, login_so(session));
    OK(login(session, CKU_SO, "a new pin"));
    OK(api.p11->C_Logout(session));
    OK(login_user(session));
}
END_TEST

/* Ten wrong ones; the flags on the way. */
static void lock(CK_SESSION_HANDLE session, CK_USER_TYPE user, const CK_FLAGS flags[3])
{
    for (int wrong = 1; wrong <= 10; wrong++) {
        EXPECT(CKR_PIN_INCORRECT, login(session, user, wrong % 2 ? "wrong pin" : "x"));
        CK_FLAGS wanted = wrong < 9 ? flags[0] : wrong == 9 ? flags[0] | flags[1] : flags[2];
        CK_FLAGS got = token_flags();
        /* COUNT_LOW may stay with LOCKED. */
        if (wrong == 10)
            got &= ~flags[0];
        ck_assert_msg(got == wanted, "%d wrong: flags 0x%lx, wanted 0x%lx", wrong, got, wanted);
    }
}

START_TEST(locked_user_pin)
{
    static const CK_FLAGS flags[] = {CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
                                     CKF_USER_PIN_LOCKED};
    CK_SESSION_HANDLE session = open_session(RW);
    CK_UTF8CHAR *pin = (CK_UTF8CHAR *) API_USER_PIN;

    EXPECT(CKR_PIN_INCORRECT, login(session, CKU_USER, "wrong pin"));
    ck_assert_uint_eq(device_error(session), INDEXKEY_CAUSE_PIN);
    OK(login_user(session)); /* a right one forgets the wrong ones */
    OK(api.p11->C_Logout(session));
    ck_assert_uint_eq(token_flags(), 0);
    lock(session, CKU_USER, flags);
    EXPECT(CKR_PIN_LOCKED, login_user(session));
    EXPECT(CKR_PIN_LOCKED, login(session, CKU_USER, "wrong pin"));
    ck_assert_uint_eq(device_error(session), INDEXKEY_CAUSE_PIN);
    OK(login_so(session));
    OK(api.p11->C_InitPIN(session, pin, strlen(API_USER_PIN)));
    ck_assert_uint_eq(token_flags(), 0);
    OK(api.p11->C_Logout(session));
    OK(login_user(session));
}
END_TEST

/* The old PIN of C_SetPIN is then the SO's (pkcs11-tool --unlock-pin), and counts as that. */
START_TEST(locked_user_pin_and_set_pin)
{
    static const CK_FLAGS flags[] = {CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
                                     CKF_USER_PIN_LOCKED};
    CK_SESSION_HANDLE session = open_session(RW);
    CK_UTF8CHAR *pin = (CK_UTF8CHAR *) API_USER_PIN;
    CK_UTF8CHAR *so = (CK_UTF8CHAR *) API_SO_PIN;

    lock(session, CKU_USER, flags);
    EXPECT(CKR_PIN_INCORRECT, api.p11->C_SetPIN(session, pin, strlen(API_USER_PIN), pin, 8));
    ck_assert_uint_eq(token_flags() & ~(CK_FLAGS) CKF_USER_PIN_COUNT_LOW,
                      CKF_USER_PIN_LOCKED | CKF_SO_PIN_COUNT_LOW);
    EXPECT(CKR_PIN_LOCKED, login_user(session));
    OK(api.p11->C_SetPIN(session, so, strlen(API_SO_PIN), (CK_UTF8CHAR *) "unlocked", 8));
    EXPECT(CKR_PIN_INCORRECT, login_user(session));
    OK(login(session, CKU_USER, "unlocked"));
    OK(api.p11->C_Logout(session));
    OK(login_so(session));
    OK(api.p11->C_Logout(session));
    ck_assert_uint_eq(token_flags(), 0);
    /* While it is not locked, the SO's PIN changes nothing of the user's. */
    EXPECT(CKR_PIN_INCORRECT, api.p11->C_SetPIN(session, so, strlen(API_SO_PIN), pin, 8));
    ck_assert_uint_eq(token_flags(), CKF_USER_PIN_COUNT_LOW);
}
END_TEST

START_TEST(locked_so_pin)
{
    static const CK_FLAGS flags[] = {CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED};
    CK_SESSION_HANDLE session = open_session(RW);

    lock(session, CKU_SO, flags);
    EXPECT(CKR_PIN_LOCKED, login_so(session));
    OK(login_user(session)); /* the user is not concerned */
    OK(api.p11->C_CloseSession(session));
    EXPECT(CKR_PIN_LOCKED, init_token(API_SO_PIN));
}
END_TEST

/* The counter is in the store. */
START_TEST(wrong_pins_survive_a_restart)
{
    api_open(&api, NULL, NULL);
    OK(api.p11->C_Logout(api.session));
    for (int wrong = 0; wrong < 10; wrong++) {
        EXPECT(CKR_PIN_INCORRECT, login(api.session, CKU_USER, "wrong pin"));
        if (wrong % 4 == 0) {
            OK(api.p11->C_Finalize(NULL));
            OK(api.p11->C_Initialize(NULL));
            api.session = open_session(RW);
        }
    }
    EXPECT(CKR_PIN_LOCKED, login_user(api.session));
    OK(api.p11->C_Finalize(NULL));
    OK(api.p11->C_Initialize(NULL));
    EXPECT(CKR_PIN_LOCKED, login_user(open_session(RW)));
    api_close(&api);
}
END_TEST

/* The SO sees no private objects and makes none. */
START_TEST(so_sees_no_private_objects)
{
    CK_SESSION_HANDLE session = open_session(RW);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE keys = {CKA_CLASS, &class, sizeof(class)};
    CK_OBJECT_HANDLE key;

    OK(login_user(session));
    OK(make_key(session, CK_TRUE, CK_TRUE, &key));
    OK(api.p11->C_Logout(session));
    OK(login_so(session));
    api.session = session;
    ck_assert_uint_eq(api_count(&api, &keys, 1), 0);
    EXPECT(CKR_OBJECT_HANDLE_INVALID, look_at(session, key));
    EXPECT(CKR_OBJECT_HANDLE_INVALID, api.p11->C_DestroyObject(session, key));
}
END_TEST

/* Handles are not used again soon, and many sessions work. */
START_TEST(many_sessions)
{
    enum { MANY = 300 };
    CK_SESSION_HANDLE sessions[MANY];
    CK_TOKEN_INFO info;

    for (size_t i = 0; i < MANY; i++)
        sessions[i] = open_session(i % 3 == 0 ? RO : RW);
    OK(api.p11->C_GetTokenInfo(api.slot, &info));
    ck_assert_uint_eq(info.ulSessionCount, MANY);
    ck_assert_uint_eq(info.ulRwSessionCount, MANY - MANY / 3);
    for (size_t i = 0; i < MANY; i += 2)
        OK(api.p11->C_CloseSession(sessions[i]));
    CK_SESSION_HANDLE fresh = open_session(RW);
    for (size_t i = 0; i < MANY; i++) {
        ck_assert_uint_ne(fresh, sessions[i]);
        CK_SESSION_INFO session;
        EXPECT(i % 2 == 0 ? CKR_SESSION_HANDLE_INVALID : CKR_OK,
               api.p11->C_GetSessionInfo(sessions[i], &session));
    }
    OK(api.p11->C_CloseAllSessions(api.slot));
    OK(api.p11->C_GetTokenInfo(api.slot, &info));
    ck_assert_uint_eq(info.ulSessionCount, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api sessions");
    TCase *tests = tcase_create("sessions");
    TCase *restarts = tcase_create("restarts");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, restarts);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_test(tests, states);
    tcase_add_test(tests, login_refusals);
    tcase_add_test(tests, login_with_a_name);
    tcase_add_test(tests, who_may_make_objects);
    tcase_add_test(tests, read_only_sessions_change_nothing);
    tcase_add_test(tests, private_handles_die_at_logout);
    tcase_add_test(tests, session_objects_die_with_their_session);
    tcase_add_test(tests, init_token_again);
    tcase_add_test(tests, pin_lengths);
    tcase_add_test(tests, init_token_pin_lengths);
    tcase_add_test(tests, set_pin);
    tcase_add_test(tests, locked_user_pin);
    tcase_add_test(tests, locked_user_pin_and_set_pin);
    tcase_add_test(tests, locked_so_pin);
    tcase_add_test(tests, so_sees_no_private_objects);
    tcase_add_test(tests, many_sessions);
    tcase_add_test(restarts, wrong_pins_survive_a_restart);
    tcase_set_timeout(tests, 120);
    tcase_set_timeout(restarts, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
