/*
 * How often a login calls the KMS: once, on a token of 10,000 keys, and by the connection of the
 * login before. Counted at the server.
 *
 *   test_calls        started by test_calls.sh with INDEXKEY_CONF, and the commands that print the
 *                     counts in INDEXKEY_COUNT and INDEXKEY_CONNECTIONS
 *
 * The index keys have no subkey objects (`subkeys = none`): a key is an object of the store.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support/token_fixture.h"

#define KEY_COUNT 10000
#define LOGIN_COUNT 20
#define HANDLE_COUNT 1024

static void ignore_line(enum log_level level, const char *line, void *context)
{
    (void) level;
    (void) line;
    (void) context;
}

static void expect(CK_RV rv, const char *what)
{
    ck_assert_msg(rv == CKR_OK, "%s: 0x%lx %s", what, rv, fixture_log());
}
#define OK(call) expect((call), #call)

/* The first C_Initialize of a process takes what it finds for a forked parent's and leaves it
 * behind, which must not be fixture_setup's work. */
static void first_call(void)
{
    log_set_sink(ignore_line, NULL);
    (void) C_Initialize(NULL);
    (void) C_Finalize(NULL);
}

static int ask_server(const char *variable)
{
    char line[64] = "";
    const char *command = getenv(variable);
    ck_assert_msg(command != NULL, "%s is not set", variable);
    FILE *output = popen(command, "r");
    ck_assert_ptr_nonnull(output);
    char *got = fgets(line, sizeof(line), output);
    ck_assert_int_eq(pclose(output), 0);
    ck_assert_ptr_nonnull(got);
    return (int) strtol(line, NULL, 10);
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session;
    OK(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    return session;
}

static void login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
    OK(C_Login(session, user, (CK_UTF8CHAR_PTR) pin, strlen(pin)));
}

static void init_token(void)
{
    CK_UTF8CHAR label[] = "vectors                         ";
    CK_UTF8CHAR so_pin[] = FIXTURE_SO_PIN;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    OK(C_InitToken(0, so_pin, sizeof(so_pin) - 1, label));
    CK_SESSION_HANDLE session = open_session();
    login(session, CKU_SO, FIXTURE_SO_PIN);
    OK(C_InitPIN(session, pin, sizeof(pin) - 1));
    OK(C_CloseSession(session));
}

static void make_keys(CK_SESSION_HANDLE session)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
    };
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key;
    for (int i = 0; i < KEY_COUNT; i++)
        OK(C_GenerateKey(session, &mechanism, template, COUNT_OF(template), &key));
}

static CK_ULONG count_keys(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}};
    CK_OBJECT_HANDLE handles[HANDLE_COUNT];
    CK_ULONG found = 1;
    CK_ULONG total = 0;
    OK(C_FindObjectsInit(session, template, COUNT_OF(template)));
    while (found > 0) {
        OK(C_FindObjects(session, handles, HANDLE_COUNT, &found));
        total += found;
    }
    OK(C_FindObjectsFinal(session));
    return total;
}

START_TEST(a_login_is_one_call_whatever_the_token_holds)
{
    OK(C_Initialize(NULL));
    init_token();
    CK_SESSION_HANDLE session = open_session();
    login(session, CKU_USER, FIXTURE_PIN);
    make_keys(session);
    OK(C_Finalize(NULL));

    OK(C_Initialize(NULL));
    session = open_session();
    int calls = ask_server("INDEXKEY_COUNT");
    login(session, CKU_USER, FIXTURE_PIN);
    ck_assert_int_eq(ask_server("INDEXKEY_COUNT") - calls, 1);
    ck_assert_uint_eq(count_keys(session), KEY_COUNT);
    ck_assert_int_eq(ask_server("INDEXKEY_COUNT") - calls, 1);

    int connections = ask_server("INDEXKEY_CONNECTIONS");
    for (int i = 0; i < LOGIN_COUNT; i++) {
        OK(C_Logout(session));
        login(session, CKU_USER, FIXTURE_PIN);
        ck_assert_uint_eq(count_keys(session), KEY_COUNT);
    }
    int more_calls = ask_server("INDEXKEY_COUNT") - calls - 1;
    int more_connections = ask_server("INDEXKEY_CONNECTIONS") - connections;
    OK(C_Finalize(NULL));
    printf("%d keys: %d logins, %d more calls, %d more connections\n", KEY_COUNT, LOGIN_COUNT,
           more_calls, more_connections);
    ck_assert_int_eq(more_calls, LOGIN_COUNT);
    ck_assert_int_eq(more_connections, 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("calls");
    tcase_set_timeout(cases, 240);
    tcase_add_checked_fixture(cases, first_call, NULL);
    tcase_add_test(cases, a_login_is_one_call_whatever_the_token_holds);
    return fixture_run("calls to the KMS", cases);
}
