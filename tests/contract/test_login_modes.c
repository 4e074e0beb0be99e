/*
 * `login = pin | credential | ambient` with each source, as applications see it; and calls that
 * come back into the module from inside libcurl.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "include/indexkey.h"
#include "tests/contract/behaviour_fixture.h"

#define WRONG_COUNT 12 /* more than PIN_TRIES */

static const CK_FLAGS try_flags =
    CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;

static CK_FLAGS token_flags(void)
{
    CK_TOKEN_INFO info;
    ck_assert_uint_eq(C_GetTokenInfo(0, &info), CKR_OK);
    return info.flags;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
    return C_Login(session, user, (CK_UTF8CHAR *) pin, pin == NULL ? 0 : strlen(pin));
}

static CK_RV init_pin(CK_SESSION_HANDLE session)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    return C_InitPIN(session, pin, sizeof(pin) - 1);
}

static CK_RV set_pin(CK_SESSION_HANDLE session, const char *old)
{
    CK_UTF8CHAR pin[] = "another-pin";
    return C_SetPIN(session, (CK_UTF8CHAR *) old, strlen(old), pin, sizeof(pin) - 1);
}

/* Initialised, and logged out; with a credential in the environment, or none. */
static CK_SESSION_HANDLE begin(const char *more, bool is_ambient)
{
    struct kms_settings settings = {.more = more};
    behaviour_token(&settings);
    if (!is_ambient) {
        settings.token = settings.access = settings.secret = "";
        behaviour_configure(&settings);
    }
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_ne(token_flags() & CKF_USER_PIN_INITIALIZED, 0);
    return behaviour_session();
}

static void check_user(CK_SESSION_HANDLE session)
{
    ck_assert(behaviour_is_logged_in(session));
    ck_assert_uint_eq(token_flags() & try_flags, 0);
    ck_assert_uint_eq(C_Logout(session), CKR_OK);
}

/* The SO has a PIN in every mode, and sets none for the user where there is none. */
static void check_so(CK_SESSION_HANDLE session)
{
    ck_assert_uint_eq(log_in(session, CKU_SO, NULL), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(log_in(session, CKU_SO, FIXTURE_PIN), CKR_PIN_INCORRECT);
    ck_assert_uint_ne(token_flags() & CKF_SO_PIN_COUNT_LOW, 0);
    ck_assert_uint_eq(log_in(session, CKU_SO, FIXTURE_SO_PIN), CKR_OK);
    ck_assert_uint_eq(init_pin(session), CKR_FUNCTION_NOT_SUPPORTED);
    ck_assert_uint_eq(C_Logout(session), CKR_OK);
}

START_TEST(a_pin_guards_the_token)
{
    CK_SESSION_HANDLE session = begin("login = pin", true);
    ck_assert_uint_eq(token_flags() & CKF_PROTECTED_AUTHENTICATION_PATH, 0);
    ck_assert_uint_eq(log_in(session, CKU_USER, NULL), CKR_ARGUMENTS_BAD);
    /* The KMS's credential is no PIN. */
    ck_assert_uint_eq(log_in(session, CKU_USER, behaviour_kms->credential), CKR_PIN_INCORRECT);
    ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_PIN);
    ck_assert_uint_eq(token_flags() & try_flags, CKF_USER_PIN_COUNT_LOW);
    ck_assert_uint_eq(log_in(session, CKU_USER, FIXTURE_PIN), CKR_OK);
    check_user(session);
    /* The identity is ambient: its refusal is nothing that the user's PIN did. */
    fake_service_command(&behaviour_fake, "%s", behaviour_kms->revoke);
    for (int i = 0; i < WRONG_COUNT; i++)
        ck_assert_uint_eq(log_in(session, CKU_USER, "wrong-pin"), CKR_FUNCTION_FAILED);
    ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_uint_eq(token_flags() & try_flags, 0);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

START_TEST(a_credential_is_the_pin)
{
    CK_SESSION_HANDLE session = begin("login = credential", true);
    ck_assert_uint_eq(token_flags() & CKF_PROTECTED_AUTHENTICATION_PATH, 0);
    ck_assert_uint_eq(log_in(session, CKU_USER, NULL), CKR_ARGUMENTS_BAD);
    for (int i = 0; i < WRONG_COUNT; i++) {
        ck_assert_uint_eq(log_in(session, CKU_USER, behaviour_kms->wrong_credential),
                          CKR_PIN_INCORRECT);
        ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_CREDENTIAL);
        ck_assert_uint_eq(token_flags() & try_flags, 0);
    }
    ck_assert_uint_eq(set_pin(session, behaviour_kms->credential), CKR_FUNCTION_NOT_SUPPORTED);
    check_so(session);
    ck_assert_uint_eq(log_in(session, CKU_USER, behaviour_kms->credential), CKR_OK);
    check_user(session);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

START_TEST(nothing_is_typed_with_an_ambient_login)
{
    CK_SESSION_HANDLE session = begin("login = ambient", true);
    ck_assert_uint_ne(token_flags() & CKF_PROTECTED_AUTHENTICATION_PATH, 0);
    ck_assert_uint_eq(C_Login(session, CKU_USER, NULL, 4), CKR_ARGUMENTS_BAD);
    ck_assert_uint_eq(log_in(session, CKU_USER, NULL), CKR_OK);
    check_user(session);
    ck_assert_uint_eq(set_pin(session, FIXTURE_PIN), CKR_FUNCTION_NOT_SUPPORTED);
    check_so(session);
    fake_service_command(&behaviour_fake, "%s", behaviour_kms->revoke);
    for (int i = 0; i < WRONG_COUNT; i++)
        ck_assert_uint_eq(log_in(session, CKU_USER, NULL), CKR_PIN_INCORRECT);
    ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_uint_eq(token_flags() & try_flags, 0);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* A renewal needs the credential again, which the keyring keeps. */
START_TEST(a_credential_renews_the_lease)
{
    CK_SESSION_HANDLE session = begin("login = credential\nlease = 60s\ngrace = 0s", false);
    ck_assert_uint_eq(log_in(session, CKU_USER, behaviour_kms->credential), CKR_OK);
    for (int i = 1; i <= 5; i++) {
        clock_shift(i * INT64_C(61000));
        ck_assert(behaviour_is_logged_in(session));
    }
    fake_service_command(&behaviour_fake, "%s", behaviour_kms->revoke);
    clock_shift(6 * INT64_C(61000));
    ck_assert(!behaviour_is_logged_in(session));
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- calls from inside libcurl ---- */

static CK_SESSION_HANDLE inner_session;
static CK_OBJECT_HANDLE inner_key;
static atomic_int inner_calls;
static atomic_int inner_wrong; /* answers other than CKR_FUNCTION_FAILED */
static CK_RV inner_use;

static void expect_refusal(CK_RV rv)
{
    atomic_fetch_add(&inner_calls, 1);
    atomic_fetch_add(&inner_wrong, rv != CKR_FUNCTION_FAILED);
}

/* As an OpenSSL provider over this module would, while libcurl connects. */
static void call_back(void)
{
    CK_SESSION_HANDLE session;
    CK_SESSION_INFO info;
    CK_TOKEN_INFO token;
    CK_SLOT_INFO slot;
    CK_SLOT_ID id;
    CK_ULONG count;
    const char *call;
    expect_refusal(C_Initialize(NULL));
    expect_refusal(C_Finalize(NULL));
    expect_refusal(C_GetSlotList(CK_TRUE, NULL, &count));
    expect_refusal(C_GetSlotInfo(0, &slot));
    expect_refusal(C_GetTokenInfo(0, &token));
    expect_refusal(C_WaitForSlotEvent(0, &id, NULL));
    expect_refusal(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session));
    expect_refusal(C_CloseSession(inner_session));
    expect_refusal(C_CloseAllSessions(0));
    expect_refusal(behaviour_login(inner_session));
    expect_refusal(C_Logout(inner_session));
    expect_refusal(init_pin(inner_session));
    expect_refusal(set_pin(inner_session, FIXTURE_PIN));
    /* None of these waits for anything: what counts is that they return. */
    (void) C_GetSessionInfo(inner_session, &info);
    (void) C_FindObjectsInit(inner_session, NULL, 0);
    (void) C_FindObjectsFinal(inner_session);
    inner_use = behaviour_encrypt(inner_session, inner_key, &call);
}

START_TEST(a_call_from_inside_libcurl_is_refused)
{
    CK_BYTE value[32] = "an index key that all may see";
    const char *call;
    inner_session = begin("lease = 60s", true);
    behaviour_on_connect(call_back);
    ck_assert_uint_eq(behaviour_login(inner_session), CKR_OK);
    behaviour_on_connect(NULL);
    ck_assert_int_ge(atomic_load(&inner_calls), 13);
    ck_assert_int_eq(atomic_load(&inner_wrong), 0);
    (void) behaviour_import(inner_session, value);
    inner_key = behaviour_find(inner_session, "shared/payload");
    ck_assert_uint_eq(behaviour_encrypt(inner_session, inner_key, &call), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* A renewal in a call of the data path: a call that comes back must not go on with a key whose
 * lease this very thread is asking for. */
START_TEST(a_renewal_lets_no_call_back_in)
{
    CK_BYTE value[32] = "an index key that all may see";
    const char *call;
    inner_session = begin("lease = 60s", true);
    ck_assert_uint_eq(behaviour_login(inner_session), CKR_OK);
    (void) behaviour_import(inner_session, value);
    inner_key = behaviour_find(inner_session, "shared/payload");
    /* The kept connection ends, so that libcurl connects. */
    fake_service_fault(&behaviour_fake, "\"kind\": \"close\"");
    behaviour_on_connect(call_back);
    clock_shift(61000);
    ck_assert_uint_eq(behaviour_encrypt(inner_session, inner_key, &call), CKR_OK);
    behaviour_on_connect(NULL);
    ck_assert_int_ge(atomic_load(&inner_calls), 13);
    ck_assert_int_eq(atomic_load(&inner_wrong), 0);
    ck_assert_uint_eq(inner_use, CKR_FUNCTION_FAILED);
    ck_assert(behaviour_is_logged_in(inner_session));
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

static TCase *make_cases(void)
{
    TCase *cases = tcase_create("login modes");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, behaviour_start, behaviour_stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, a_pin_guards_the_token);
    tcase_add_test(cases, a_credential_is_the_pin);
    tcase_add_test(cases, nothing_is_typed_with_an_ambient_login);
    tcase_add_test(cases, a_credential_renews_the_lease);
    tcase_add_test(cases, a_call_from_inside_libcurl_is_refused);
    tcase_add_test(cases, a_renewal_lets_no_call_back_in);
    return cases;
}

int main(int argc, char **argv)
{
    return behaviour_run("login modes", make_cases, argc > 1 ? argv[1] : NULL);
}
