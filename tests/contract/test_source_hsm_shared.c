/* `source = hsm` in a process with other users of its parent, with forks and threads, and with a
 * parent that hangs. */
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/hsm_fixture.h"

/* Behind cryptoki.h, whose types it takes. */
#include <p11-kit/p11-kit.h>

#define CONTEXT "context"
#define STUCK_COUNT 32
#define THREAD_COUNT 8

static const struct hsm_settings plain;

static CK_RV make(struct source *source, const char *context, struct blob *ret_wrapped)
{
    return kms_make(source, hsm_call(&plain, view_text(context)), ret_wrapped);
}

static CK_RV unwrap(struct source *source, const char *context, const struct blob *wrapped)
{
    return kms_unwrap(source, hsm_call(&plain, view_text(context)), blob_view(wrapped));
}

/* ---- an application that uses the parent, too ---- */

START_TEST(what_the_application_initialised_stays)
{
    struct blob wrapped = {0};
    CK_SESSION_INFO info;
    CK_SESSION_HANDLE session = hsm_other_user();
    struct source *source = hsm_open(&plain);
    hsm_shim_reset();
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped));
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->inits), 0);
    source_close(&source);
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->finals), 0);
    ck_assert_uint_eq(hsm_real()->C_GetSessionInfo(session, &info), CKR_OK);
    ck_assert_uint_eq(info.state, CKS_RW_USER_FUNCTIONS);
    blob_clear(&wrapped);
}
END_TEST

START_TEST(what_p11_kit_shares_is_counted)
{
    struct blob wrapped = {0};
    CK_INFO info;
    hsm_shim_reset();
    CK_FUNCTION_LIST *functions = p11_kit_module_load(HSM_SHIM, 0);
    ck_assert_ptr_nonnull(functions);
    struct source *source = hsm_open(&plain);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    ck_assert_uint_eq(p11_kit_module_initialize(functions), CKR_OK);
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->inits), 1);
    source_close(&source);
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->finals), 0);
    ck_assert_uint_eq(functions->C_GetInfo(&info), CKR_OK);
    ck_assert_uint_eq(p11_kit_module_finalize(functions), CKR_OK);
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->finals), 1);
    p11_kit_module_release(functions);
    blob_clear(&wrapped);
}
END_TEST

START_TEST(a_parent_that_was_finalised_is_initialised_again)
{
    struct blob wrapped = {0};
    struct source *source = hsm_open(&plain);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    ck_assert_uint_eq(hsm_real()->C_Finalize(NULL), CKR_OK);
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped));
    ck_assert_uint_eq(fixture_log_count(), 0);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(nothing_stays_logged_in)
{
    struct blob wrapped = {0};
    CK_SESSION_HANDLE session;
    CK_SESSION_INFO info;
    CK_SLOT_ID slots[8];
    CK_ULONG count = COUNT_OF(slots);
    struct source *source = hsm_open(&plain);
    hsm_shim_reset();
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->sessions), 0);
    const CK_FUNCTION_LIST *p11 = hsm_real();
    ck_assert_uint_eq(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    ck_assert_uint_eq(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session),
                      CKR_OK);
    ck_assert_uint_eq(p11->C_GetSessionInfo(session, &info), CKR_OK);
    ck_assert_uint_eq(info.state, CKS_RO_PUBLIC_SESSION);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- forks, threads, what hangs ---- */

static int child_logs_in(void)
{
    CK_SESSION_HANDLE session;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    if (C_Initialize(NULL) != CKR_OK || C_OpenSession(0, flags, NULL, NULL, &session) != CKR_OK ||
        C_Login(session, CKU_USER, (CK_UTF8CHAR *) FIXTURE_PIN, strlen(FIXTURE_PIN)) != CKR_OK)
        return 1;
    return C_Finalize(NULL) == CKR_OK ? 0 : 2;
}

START_TEST(a_forked_child_logs_in_by_itself)
{
    enum indexkey_cause cause;
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    int status;
    hsm_configure(&plain);
    kms_init_token();
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(child_logs_in());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(C_Logout(session), CKR_OK);
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_OK);
}
END_TEST

struct unwrapper {
    struct source *source;
    const struct blob *wrapped;
    atomic_int failures;
};

static void *unwrap_often(void *context)
{
    struct unwrapper *unwrapper = context;
    for (int i = 0; i < 20; i++) {
        struct secret data_key = {0};
        struct source_call call = hsm_call(&plain, view_text(CONTEXT));
        struct view wrapped = blob_view(unwrapper->wrapped);
        if (source_unwrap(unwrapper->source, &call, wrapped, &data_key) != CKR_OK)
            atomic_fetch_add(&unwrapper->failures, 1);
        secret_clear(&data_key);
    }
    return NULL;
}

/* One at a time: not every module bears more. */
START_TEST(many_threads_share_a_parent)
{
    struct blob wrapped = {0};
    pthread_t threads[THREAD_COUNT];
    struct source *source = hsm_open(&plain);
    kms_assert_ok(make(source, CONTEXT, &wrapped));
    struct unwrapper unwrapper = {.source = source, .wrapped = &wrapped};
    for (int i = 0; i < THREAD_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, unwrap_often, &unwrapper), 0);
    for (int i = 0; i < THREAD_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_msg(atomic_load(&unwrapper.failures) == 0, "%s", fixture_log());
    ck_assert_int_eq(atomic_load(&hsm_shim_get()->most_sessions), 1);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* A source whose parent hangs in C_Decrypt from now on. */
static struct source *open_hanging(struct blob *ret_wrapped)
{
    struct hsm_shim *shim = hsm_shim_get();
    struct source *source = hsm_open(&plain);
    hsm_shim_reset();
    kms_assert_ok(make(source, CONTEXT, ret_wrapped));
    shim->times = -1;
    shim->hangs = true;
    shim->function = "C_Decrypt";
    return source;
}

static void *cancel_soon(void *context)
{
    atomic_bool *cancelled = context;
    (void) usleep(100000);
    atomic_store(cancelled, true);
    return NULL;
}

START_TEST(a_hanging_call_is_cancelled)
{
    struct blob wrapped = {0};
    pthread_t thread;
    atomic_bool cancelled = false;
    struct source *source = open_hanging(&wrapped);
    struct source_call call = hsm_call(&plain, view_text(CONTEXT));
    call.cancelled = &cancelled;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, &cancelled), 0);
    int64_t begin_ms = clock_boot_ms();
    kms_assert_failed(kms_unwrap(source, call, blob_view(&wrapped)), INDEXKEY_CAUSE_CANCELLED,
                      "C_Finalize");
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    source_close(&source);
    ck_assert_int_lt(clock_boot_ms() - begin_ms, 1000);
    hsm_shim_settle(0);
    blob_clear(&wrapped);
}
END_TEST

START_TEST(a_parent_that_hangs_is_not_asked_for_ever)
{
    struct blob wrapped = {0};
    struct source *source = open_hanging(&wrapped);
    struct hsm_settings quick = {.deadline_ms = 20};
    /* A thread that is late to start finds that nobody waits, and does not get to hang. */
    while (atomic_load(&hsm_shim_get()->hanging) < STUCK_COUNT)
        kms_assert_failed(
            kms_unwrap(source, hsm_call(&quick, view_text(CONTEXT)), blob_view(&wrapped)),
            INDEXKEY_CAUSE_TIMEOUT, "timeout");
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_TIMEOUT, "too many calls");
    hsm_shim_settle(0);
    kms_assert_ok(unwrap(source, CONTEXT, &wrapped));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

static void *load_parent(void *context)
{
    CK_FUNCTION_LIST **functions = context;
    *functions = p11_kit_module_load(HSM_SHIM, 0);
    return NULL;
}

/* As while a host's own module is being loaded, and does not come back. */
START_TEST(the_lock_of_p11_kit_may_be_held)
{
    struct hsm_settings settings = {.deadline_ms = 200};
    CK_FUNCTION_LIST *functions = NULL;
    enum indexkey_cause cause;
    pthread_t thread;
    struct hsm_shim *shim = hsm_shim_get();
    hsm_configure(&plain);
    kms_init_token();
    hsm_shim_reset();
    shim->times = 1;
    shim->hangs = true;
    shim->function = "C_GetFunctionList";
    ck_assert_int_eq(pthread_create(&thread, NULL, load_parent, &functions), 0);
    while (atomic_load(&shim->hanging) == 0)
        (void) usleep(1000);
    hsm_configure(&settings);
    int64_t begin_ms = clock_boot_ms();
    ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_TIMEOUT);
    ck_assert_int_lt(clock_boot_ms() - begin_ms, 1000);
    hsm_shim_settle(0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ptr_nonnull(functions);
    p11_kit_module_release(functions);
    ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_OK);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("shared");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, hsm_start, NULL);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, what_the_application_initialised_stays);
    tcase_add_test(cases, what_p11_kit_shares_is_counted);
    tcase_add_test(cases, a_parent_that_was_finalised_is_initialised_again);
    tcase_add_test(cases, nothing_stays_logged_in);
    tcase_add_test(cases, a_forked_child_logs_in_by_itself);
    tcase_add_test(cases, many_threads_share_a_parent);
    tcase_add_test(cases, a_hanging_call_is_cancelled);
    tcase_add_test(cases, a_parent_that_hangs_is_not_asked_for_ever);
    tcase_add_test(cases, the_lock_of_p11_kit_may_be_held);
    return fixture_run("source hsm: shared", cases);
}
