/*
 * A process that creates keys in many sessions is killed at any moment: every key that was
 * acknowledged is there afterwards and works.
 */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/support/vfs_faults.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

#define SESSIONS 8
#define KILLS 10
#define KEYS_MAX 20000
/* The first encryption of each key is a commit of its own. */
#define USED_MAX 200
#define PATIENCE_MS 30000

/* What makes a key: it is its CKA_ID, and the beginning of its value. */
struct key {
    unsigned int life; /* of the creating process */
    unsigned int session;
    unsigned int number;
};

static struct api api;
static CK_BBOOL yes = CK_TRUE;

static void value_of(const struct key *key, CK_BYTE value[32])
{
    memset(value, 0x5a, 32);
    memcpy(value, key, sizeof(*key));
}

static CK_RV create_key(CK_SESSION_HANDLE session, struct key *key)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BYTE value[32];
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &yes, sizeof(yes)},     {CKA_VALUE, value, sizeof(value)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_ID, key, sizeof(*key)},
    };
    CK_OBJECT_HANDLE handle;

    value_of(key, value);
    return api.p11->C_CreateObject(session, template, 7, &handle);
}

struct life {
    unsigned int number;
    int acknowledge;
};

static void create_for_ever(struct crew_member *member, void *context)
{
    const struct life *life = context;
    struct key key = {life->number, (unsigned int) member->number, 0};
    CK_SESSION_HANDLE session;

    if (api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                               &session) != CKR_OK)
        _exit(1);
    for (;; key.number++) {
        /* A write as short as this is whole or is not. */
        if (create_key(session, &key) != CKR_OK ||
            write(life->acknowledge, &key, sizeof(key)) != (ssize_t) sizeof(key))
            _exit(1);
    }
}

static void live(struct life *life)
{
    static struct crew crew;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (api.p11->C_Initialize(NULL) != CKR_OK)
        _exit(1);
    api_login(&api);
    crew_start(&crew, SESSIONS, create_for_ever, life);
    crew_join(&crew);
}

/* Adds the keys that were acknowledged to the list. */
static size_t read_keys(int acknowledged, struct key *keys, size_t count)
{
    while (count < KEYS_MAX &&
           read(acknowledged, &keys[count], sizeof(keys[count])) == (ssize_t) sizeof(keys[count]))
        count++;
    return count;
}

/* One process's life, which ends some time after its first key. */
static size_t kill_one(unsigned int number, struct key *keys, size_t count)
{
    struct life life = {.number = number};
    int ends[2];
    int status = 0;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void) close(ends[0]);
        life.acknowledge = ends[1];
        live(&life);
    }
    (void) close(ends[1]);
    struct pollfd first = {.fd = ends[0], .events = POLLIN};
    ck_assert_int_eq(poll(&first, 1, PATIENCE_MS), 1);
    crew_sleep_ms(rand() % 60);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status), "ended by itself");
    size_t new_count = read_keys(ends[0], keys, count);
    ck_assert_uint_gt(new_count, count);
    (void) close(ends[0]);
    return new_count;
}

static CK_OBJECT_HANDLE find_key(const struct key *key)
{
    CK_ATTRIBUTE template = {CKA_ID, (void *) key, sizeof(*key)};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;

    OK(api.p11->C_FindObjectsInit(api.session, &template, 1));
    OK(api.p11->C_FindObjects(api.session, found, 2, &count));
    OK(api.p11->C_FindObjectsFinal(api.session));
    ck_assert_msg(count == 1, "life %u, session %u, key %u: %lu objects", key->life, key->session,
                  key->number, count);
    return found[0];
}

static void check_keys(const struct key *keys, size_t count)
{
    struct work work = {.p11 = api.p11, .slot = api.slot, .session = api.session, .call = "none"};
    size_t step = 1 + count / USED_MAX;
    CK_BYTE value[32];

    for (size_t i = 0; i < count; i++) {
        CK_OBJECT_HANDLE handle = find_key(&keys[i]);
        if (i % step != 0)
            continue;
        value_of(&keys[i], value);
        api_expect(work_encrypt(&work, handle, value), CKR_OK, work.call);
    }
}

/* Run 0: as fast as the disk is. Run 1: slow syncs, so that a commit is shared by all sessions. */
START_TEST(acknowledged_keys_survive_a_kill)
{
    static struct key keys[KEYS_MAX];
    size_t count = 0;

    vfs_faults_install();
    api_open(&api, NULL, NULL);
    OK(api.p11->C_Finalize(NULL));
    vfs_faults_delay_syncs(_i == 0 ? 0 : 5);
    for (unsigned int life = 0; life < KILLS; life++)
        count = kill_one(life, keys, count);
    vfs_faults_delay_syncs(0);
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    check_keys(keys, count);
    char *log = api_log(&api);
    ck_assert_msg(strstr(log, "behind the token's back") == NULL, "%s", log);
    free(log);
    printf("%d processes killed: all of %zu keys are there\n", KILLS, count);
    api_close(&api);
}
END_TEST

/* Two processes at once on one store; neither is killed before both have created. */
START_TEST(two_processes_create_side_by_side)
{
    enum { PROCESSES = 2 };
    static struct key keys[KEYS_MAX];
    struct life lives[PROCESSES];
    pid_t children[PROCESSES];
    int readers[PROCESSES];
    size_t count = 0;

    api_open(&api, NULL, NULL);
    OK(api.p11->C_Finalize(NULL));
    for (unsigned int i = 0; i < PROCESSES; i++) {
        int ends[2];
        ck_assert_int_eq(pipe(ends), 0);
        lives[i] = (struct life){i, ends[1]};
        readers[i] = ends[0];
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0)
            live(&lives[i]);
        (void) close(ends[1]);
    }
    for (unsigned int i = 0; i < PROCESSES; i++)
        ck_assert_int_eq(poll(&(struct pollfd){.fd = readers[i], .events = POLLIN}, 1, PATIENCE_MS),
                         1);
    crew_sleep_ms(100);
    for (unsigned int i = 0; i < PROCESSES; i++) {
        int status = 0;
        ck_assert_int_eq(kill(children[i], SIGKILL), 0);
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_msg(WIFSIGNALED(status), "ended by itself");
        size_t new_count = read_keys(readers[i], keys, count);
        printf("process %u: %zu keys\n", i, new_count - count);
        ck_assert_uint_gt(new_count, count);
        count = new_count;
        (void) close(readers[i]);
    }
    OK(api.p11->C_Initialize(NULL));
    api_login(&api);
    check_keys(keys, count);
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_kill");
    TCase *cases = tcase_create("store_kill");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_add_loop_test(cases, acknowledged_keys_survive_a_kill, 0, 2);
    tcase_add_test(cases, two_processes_create_side_by_side);
    tcase_set_timeout(cases, 120);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
