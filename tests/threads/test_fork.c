/*
 * Forks: the child is uninitialised until its own C_Initialize, and does the parent no harm (PKCS
 * #11 5.4, "child of a fork"; the parent's locks, sessions and store connection are not the
 * child's).
 *
 * A child tells how far it came by its exit status; it must not use Check.
 */
#include <check.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

extern char **environ;

/* For builds with ThreadSanitizer: children of busy threads are what this is about. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

#define ROUNDS 100
#define CHILD_SECONDS 60

struct shared {
    struct api api;
    CK_OBJECT_HANDLE index_key;
    atomic_ulong done;
};

enum child_end {
    CHILD_WELL = 0,
    CHILD_ALIVE = 10,
    CHILD_INIT,
    CHILD_OPEN,
    CHILD_LOGIN,
    CHILD_WORK,
    CHILD_OBJECT,
    CHILD_FINALIZE,
    CHILD_GRANDCHILD
};

static void expect_end(pid_t child, const char *what)
{
    int status;

    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "%s: ended by signal %d", what, WTERMSIG(status));
    ck_assert_msg(WEXITSTATUS(status) == CHILD_WELL, "%s: ended with %d", what,
                  WEXITSTATUS(status));
}

/* Nothing works, C_Finalize included; no call changes that. */
static enum child_end check_down(struct api *api)
{
    return work_first_alive(api->p11) == NULL ? CHILD_WELL : CHILD_ALIVE;
}

/* The whole of a life of the child's own. */
static enum child_end live(struct api *api)
{
    struct work work = {.p11 = api->p11, .slot = api->slot, .call = "none", .unchecked = true};

    if (check_down(api) != CHILD_WELL)
        return CHILD_ALIVE;
    if (api->p11->C_Initialize(NULL) != CKR_OK)
        return CHILD_INIT;
    if (work_open(&work, CKF_RW_SESSION) != CKR_OK)
        return CHILD_OPEN;
    if (work_login(&work) != CKR_OK)
        return CHILD_LOGIN;
    if (work_subkeys(&work) != CKR_OK)
        return CHILD_WORK;
    if (work_own_object(&work, CK_TRUE, "the child's") != CKR_OK)
        return CHILD_OBJECT;
    if (api->p11->C_Finalize(NULL) != CKR_OK || check_down(api) != CHILD_WELL)
        return CHILD_FINALIZE;
    return CHILD_WELL;
}

static pid_t fork_child(enum child_end (*run)(struct api *api), struct api *api)
{
    pid_t child = fork();

    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit((int) run(api));
    }
    return child;
}

static void check_parent(struct api *api)
{
    struct work work = {
        .p11 = api->p11, .slot = api->slot, .session = api->session, .call = "none"};

    api_expect(work_subkeys(&work), CKR_OK, work.call);
    api_expect(work_own_object(&work, CK_TRUE, "the parent's"), CKR_OK, work.call);
}

static void begin(struct shared *shared)
{
    memset(shared, 0, sizeof(*shared));
    api_open(&shared->api, NULL, NULL);
    shared->index_key = api_import_index_key(&shared->api, WORK_LABEL, work_index_key);
}

START_TEST(child_lives_its_own_life)
{
    static struct shared shared;

    begin(&shared);
    for (int round = 0; round < 5; round++) {
        expect_end(fork_child(check_down, &shared.api), "a child that does nothing");
        expect_end(fork_child(live, &shared.api), "a child");
        check_parent(&shared.api);
    }
    api_close(&shared.api);
}
END_TEST

static enum child_end have_child(struct api *api)
{
    int status;

    if (check_down(api) != CHILD_WELL || api->p11->C_Initialize(NULL) != CKR_OK)
        return CHILD_INIT;
    struct work work = {.p11 = api->p11, .slot = api->slot, .call = "none"};
    if (work_open(&work, CKF_RW_SESSION) != CKR_OK || work_login(&work) != CKR_OK)
        return CHILD_LOGIN;
    pid_t child = fork_child(live, api);
    if (waitpid(child, &status, 0) != child || status != 0)
        return CHILD_GRANDCHILD;
    return work_subkeys(&work) == CKR_OK ? CHILD_WELL : CHILD_WORK;
}

/* Also from a child that never asked: the page is wiped twice. */
static enum child_end have_child_unasked(struct api *api)
{
    int status;
    pid_t child = fork_child(live, api);

    return waitpid(child, &status, 0) == child && status == 0 ? live(api) : CHILD_GRANDCHILD;
}

START_TEST(grandchildren)
{
    static struct shared shared;

    begin(&shared);
    expect_end(fork_child(have_child, &shared.api), "a child with a child");
    expect_end(fork_child(have_child_unasked, &shared.api), "an idle child with a child");
    check_parent(&shared.api);
    api_close(&shared.api);
}
END_TEST

START_TEST(fork_in_each_phase)
{
    static struct shared shared;
    struct api *api = &shared.api;
    CK_BYTE iv[12] = {1};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE out[64];
    CK_ULONG len = sizeof(out);

    begin(&shared);
    OK(api->p11->C_EncryptInit(api->session, &gcm, api_find(api, WORK_LABEL "/payload")));
    OK(api->p11->C_EncryptUpdate(api->session, (CK_BYTE *) "part", 4, out, &len));
    OK(api->p11->C_FindObjectsInit(api->session, NULL, 0));
    expect_end(fork_child(live, api), "a child amid operations");
    len = sizeof(out);
    OK(api->p11->C_EncryptFinal(api->session, out, &len));
    OK(api->p11->C_FindObjectsFinal(api->session));
    OK(api->p11->C_Logout(api->session));
    expect_end(fork_child(live, api), "a child after logout");
    OK(api->p11->C_Finalize(NULL));
    expect_end(fork_child(live, api), "a child after C_Finalize");
    OK(api->p11->C_Initialize(NULL));
    expect_end(fork_child(live, api), "a child after C_Initialize");
    api_login(api);
    check_parent(api);
    api_close(api);
}
END_TEST

/* Past the C library, which learns nothing of it. */
START_TEST(raw_clone)
{
    static struct shared shared;

    begin(&shared);
    long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit((int) live(&shared.api));
    expect_end((pid_t) child, "a child of clone");
    check_parent(&shared.api);
    api_close(&shared.api);
}
END_TEST

START_TEST(programs_are_started)
{
    static struct shared shared;
    char *const arguments[] = {"true", NULL};
    pid_t child;

    begin(&shared);
    ck_assert_int_eq(posix_spawnp(&child, "true", NULL, NULL, arguments, environ), 0);
    expect_end(child, "posix_spawn");
    check_parent(&shared.api);
    child = vfork();
    if (child == 0) {
        execvp("true", arguments);
        _exit(127);
    }
    expect_end(child, "vfork");
    check_parent(&shared.api);
    api_close(&shared.api);
}
END_TEST

/* gcc 12's address sanitizer takes its allocator's locks into the child, where malloc then waits
 * for ever: forks amid busy threads are for the other builds. */
#ifndef __SANITIZE_ADDRESS__
static void keep_busy(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    struct work work = {.p11 = shared->api.p11,
                        .slot = shared->api.slot,
                        .seed = (unsigned int) member->number + 1,
                        .call = "none",
                        .unchecked = true};

    api_expect(work_open(&work, CKF_RW_SESSION), CKR_OK, "C_OpenSession");
    while (crew_goes_on(member)) {
        api_expect(work_subkeys(&work), CKR_OK, work.call);
        api_expect(work_derive(&work, shared->index_key), CKR_OK, work.call);
        atomic_fetch_add(&shared->done, 1);
    }
}

/* A child of a fork that caught the store at work does without it, and says so in C_Login. */
static enum child_end live_or_refuse(struct api *api)
{
    enum child_end end = live(api);

    return end == CHILD_LOGIN ? CHILD_WELL : end;
}

START_TEST(fork_amid_busy_threads)
{
    static struct shared shared;
    static struct crew crew;

    begin(&shared);
    crew_start(&crew, 4, keep_busy, &shared);
    for (int round = 0; round < ROUNDS; round++) {
        expect_end(fork_child(check_down, &shared.api), "a child of busy threads");
        if (round % 10 == 0)
            expect_end(fork_child(live_or_refuse, &shared.api), "a living child of busy threads");
    }
    crew_run(&crew, 0);
    ck_assert_uint_gt(atomic_load(&shared.done), ROUNDS);
    check_parent(&shared.api);
    api_close(&shared.api);
}
END_TEST

static void keep_writing(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    struct work work = {.p11 = shared->api.p11, .slot = shared->api.slot, .call = "none"};
    char label[32];

    snprintf(label, sizeof(label), "written-%zu", member->number);
    api_expect(work_open(&work, CKF_RW_SESSION), CKR_OK, "C_OpenSession");
    while (crew_goes_on(member)) {
        api_expect(work_own_object(&work, CK_TRUE, label), CKR_OK, work.call);
        atomic_fetch_add(&shared->done, 1);
        crew_sleep_ms(10); /* SQLite gives no turns: writers without a pause keep the child out */
    }
}

START_TEST(fork_amid_writers)
{
    static struct shared shared;
    static struct crew crew;

    begin(&shared);
    crew_start(&crew, 2, keep_writing, &shared);
    for (int round = 0; round < ROUNDS / 4; round++)
        expect_end(fork_child(live_or_refuse, &shared.api), "a child of writers");
    crew_run(&crew, 0);
    ck_assert_uint_gt(atomic_load(&shared.done), 1);
    check_parent(&shared.api);
    api_restart(&shared.api);
    shared.index_key = api_find(&shared.api, WORK_LABEL);
    check_parent(&shared.api);
    api_close(&shared.api);
}
END_TEST
#endif

/* The parent's end must not take the child's file away: each holds locks of its own on it. */
START_TEST(child_outlives_the_parent_s_store)
{
    static struct shared shared;
    struct api *api = &shared.api;
    int ready[2];
    int go[2];
    char byte = 0;

    begin(&shared);
    ck_assert_int_eq(pipe(ready) | pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        struct work work = {.p11 = api->p11, .slot = api->slot, .call = "none"};
        if (api->p11->C_Initialize(NULL) != CKR_OK || work_open(&work, CKF_RW_SESSION) != CKR_OK ||
            work_login(&work) != CKR_OK)
            _exit(CHILD_LOGIN);
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
            _exit(CHILD_OPEN);
        api->session = work.session;
        api_make_index_key(api, "made by the child", 9);
        _exit(CHILD_WELL);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    OK(api->p11->C_Finalize(NULL));
    ck_assert_int_eq(write(go[1], &byte, 1), 1);
    expect_end(child, "a child that writes after its parent's C_Finalize");
    OK(api->p11->C_Initialize(NULL));
    api_login(api);
    api_find(api, "made by the child");
    api_close(api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fork");
    TCase *tests = tcase_create("fork");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, child_lives_its_own_life);
    tcase_add_test(tests, grandchildren);
    tcase_add_test(tests, fork_in_each_phase);
    tcase_add_test(tests, raw_clone);
    tcase_add_test(tests, programs_are_started);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test(tests, fork_amid_busy_threads);
    tcase_add_test(tests, fork_amid_writers);
#endif
    tcase_add_test(tests, child_outlives_the_parent_s_store);
    tcase_set_timeout(tests, 200);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
