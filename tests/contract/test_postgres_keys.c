/*
 * Sessions of two processes create and destroy keys on one token in PostgreSQL while its
 * connections are ended at random: every key that was acknowledged decrypts afterwards, and none
 * that was destroyed is there.
 */
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/support/postgres_fixture.h"
#include "tests/threads/crew.h"

#define SESSIONS 4
#define PROCESSES 2
#define KEYS 25
#define KILL_MS 25

/* What makes a key: it is its CKA_ID, and the beginning of its value. */
struct key {
    unsigned int process;
    unsigned int session;
    unsigned int number;
};

static struct api api;
static CK_BBOOL yes = CK_TRUE;

static CK_RV create_key(CK_SESSION_HANDLE session, struct key *key, CK_OBJECT_HANDLE *ret_handle)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BYTE value[32] = {0x5a};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},     {CKA_VALUE, value, sizeof(value)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_ID, key, sizeof(*key)},
    };
    memcpy(value, key, sizeof(*key));
    return api.p11->C_CreateObject(session, template, 7, ret_handle);
}

/* Every other one is destroyed again. */
static void create_keys(struct crew_member *member, void *context)
{
    struct key key = {*(unsigned int *) context, (unsigned int) member->number, 0};
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE handle;
    if (api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                               &session) != CKR_OK)
        _exit(1);
    for (; key.number < KEYS; key.number++) {
        if (create_key(session, &key, &handle) != CKR_OK)
            _exit(2);
        if (key.number % 2 == 1 && api.p11->C_DestroyObject(session, handle) != CKR_OK)
            _exit(3);
    }
}

static pid_t start_process(unsigned int number)
{
    static struct crew crew;
    pid_t child = fork();
    if (child == 0) {
        alarm(100);
        if (api.p11->C_Initialize(NULL) != CKR_OK)
            _exit(4);
        api_login(&api);
        crew_start(&crew, SESSIONS, create_keys, &number);
        crew_join(&crew);
        _exit(api.p11->C_Finalize(NULL) == CKR_OK ? 0 : 5);
    }
    return child;
}

static unsigned int kill_until_ended(const pid_t *processes)
{
    unsigned int kills = 0;
    for (size_t ended = 0; ended < PROCESSES;) {
        int status = 0;
        kills += (unsigned int) postgres_fixture_number(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE"
            " application_name = 'indexkey' ORDER BY random() LIMIT 1) one");
        crew_sleep_ms(KILL_MS);
        while (ended < PROCESSES && waitpid(processes[ended], &status, WNOHANG) != 0) {
            ck_assert_int_eq(status, 0);
            ended++;
        }
    }
    return kills;
}

static void check_key(struct key *key)
{
    CK_ATTRIBUTE template = {CKA_ID, key, sizeof(*key)};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    OK(api.p11->C_FindObjectsInit(api.session, &template, 1));
    OK(api.p11->C_FindObjects(api.session, found, 2, &count));
    OK(api.p11->C_FindObjectsFinal(api.session));
    ck_assert_msg(count == (key->number % 2 == 0 ? 1 : 0), "process %u, session %u, key %u: %lu",
                  key->process, key->session, key->number, count);
    if (count == 0)
        return;
    CK_BYTE iv[12] = {1};
    CK_BYTE text[8] = "content";
    CK_BYTE sealed[sizeof(text) + 16];
    CK_BYTE opened[sizeof(text)];
    CK_ULONG sealed_len = sizeof(sealed);
    CK_ULONG opened_len = sizeof(opened);
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    OK(api.p11->C_EncryptInit(api.session, &mechanism, found[0]));
    OK(api.p11->C_Encrypt(api.session, text, sizeof(text), sealed, &sealed_len));
    OK(api.p11->C_DecryptInit(api.session, &mechanism, found[0]));
    OK(api.p11->C_Decrypt(api.session, sealed, sealed_len, opened, &opened_len));
    ck_assert_mem_eq(opened, text, sizeof(text));
}

START_TEST(acknowledged_keys_stay)
{
    char location[POSTGRES_LOCATION_MAX];
    pid_t processes[PROCESSES];
    postgres_fixture_setup();
    postgres_fixture_location(location, "");
    api_open(&api, location, NULL);
    OK(api.p11->C_Finalize(NULL));
    for (unsigned int i = 0; i < PROCESSES; i++)
        processes[i] = start_process(i);
    ck_assert_uint_gt(kill_until_ended(processes), 5);
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    for (struct key key = {0}; key.process < PROCESSES; key.process++) {
        for (key.session = 0; key.session < SESSIONS; key.session++) {
            for (key.number = 0; key.number < KEYS; key.number++)
                check_key(&key);
        }
    }
    api_close(&api);
    postgres_fixture_teardown();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("postgres keys");
    TCase *cases = tcase_create("keys");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, acknowledged_keys_stay);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
