/*
 * Loading, unloading and exit: the built module starts no thread, registers nothing that runs at
 * exit or fork, and stays mapped (-z nodelete), so that nothing is called that is gone.
 */
#include <check.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/api_fixture.h"
#include "tests/threads/crew.h"
#include "tests/threads/work.h"

struct shared {
    struct api api;
    atomic_ulong done;
};

/* For builds with AddressSanitizer: the child of a fork leaves what its parent allocated, and an
 * exit without C_Finalize leaves the rest. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static CK_FUNCTION_LIST_3_2 *load_again(void **ret_library)
{
    CK_INTERFACE *interface;
    void *library = dlopen(getenv("INDEXKEY_MODULE"), RTLD_NOW | RTLD_LOCAL);

    ck_assert_msg(library != NULL, "%s", dlerror());
    CK_C_GetInterface get = (CK_C_GetInterface) dlsym(library, "C_GetInterface");
    ck_assert(get != NULL);
    OK(get(NULL, NULL, &interface, 0));
    *ret_library = library;
    return interface->pFunctionList;
}

START_TEST(a_hundred_loads)
{
    static struct api api;
    void *library;

    api_open(&api, NULL, NULL);
    OK(api.p11->C_Finalize(NULL));
    dlclose(api.library);
    for (int round = 0; round < 100; round++) {
        api.p11 = load_again(&library);
        CK_RV rv = api.p11->C_Initialize(NULL);
        /* Every other round leaves it initialised, and the next finds it so. */
        ck_assert_msg(rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED, "0x%lx", rv);
        if (round % 10 == 0) {
            api_login(&api);
            api_make_aes_key(&api, false, "a key");
        }
        if (round % 2 == 0)
            OK(api.p11->C_Finalize(NULL));
        ck_assert_int_eq(dlclose(library), 0);
    }
    api_close(&api);
}
END_TEST

START_TEST(no_threads)
{
    static struct shared shared;
    size_t before = crew_kernel_threads();

    api_open(&shared.api, NULL, NULL);
    api_import_index_key(&shared.api, WORK_LABEL, work_index_key);
    struct work work = {.p11 = shared.api.p11, .session = shared.api.session, .call = "none"};
    api_expect(work_subkeys(&work), CKR_OK, work.call);
    ck_assert_uint_eq(crew_kernel_threads(), before);
    api_close(&shared.api);
    ck_assert_uint_eq(crew_kernel_threads(), before);
}
END_TEST

static void keep_busy(struct crew_member *member, void *context)
{
    struct shared *shared = context;
    struct work work = {.p11 = shared->api.p11,
                        .slot = shared->api.slot,
                        .seed = (unsigned int) member->number,
                        .call = "none",
                        .unchecked = true};

    work_open(&work, CKF_RW_SESSION);
    while (crew_goes_on(member)) {
        work_subkeys(&work);
        atomic_fetch_add(&shared->done, 1);
    }
}

enum way { WAY_IDLE, WAY_OPERATION, WAY_THREADS, WAY_COUNT };

/* Ends by exit() without C_Finalize, so that every handler and destructor of the process runs. */
static void end_process(struct shared *shared, enum way way)
{
    static struct crew crew;
    CK_MECHANISM sha = {CKM_SHA256, NULL, 0};

    if (way == WAY_OPERATION &&
        (shared->api.p11->C_DigestInit(shared->api.session, &sha) != CKR_OK ||
         shared->api.p11->C_FindObjectsInit(shared->api.session, NULL, 0)))
        _exit(3);
    if (way == WAY_THREADS)
        crew_start(&crew, 4, keep_busy, shared);
    while (way == WAY_THREADS && atomic_load(&shared->done) < 20)
        crew_sleep_ms(1);
    exit(0);
}

START_TEST(exit_without_finalize)
{
    static struct shared shared;
    int status;

    api_open(&shared.api, NULL, NULL);
    api_import_index_key(&shared.api, WORK_LABEL, work_index_key);
    for (int round = 0; round < 10; round++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            OK(shared.api.p11->C_Initialize(NULL));
            api_login(&shared.api);
            end_process(&shared, (enum way) _i);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
        ck_assert_int_eq(WEXITSTATUS(status), 0);
    }
    api_close(&shared.api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unload");
    TCase *tests = tcase_create("unload");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, a_hundred_loads);
    tcase_add_test(tests, no_threads);
    tcase_add_loop_test(tests, exit_without_finalize, 0, WAY_COUNT);
    tcase_set_timeout(tests, 200);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
