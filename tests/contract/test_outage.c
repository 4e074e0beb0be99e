/*
 * A KMS that stalls, is away, comes back, throttles or never stops talking: what the C_* functions
 * of a token do meanwhile, for each source. It prints the figures that it measures.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "include/indexkey.h"
#include "tests/contract/behaviour_fixture.h"
#include "tests/threads/crew.h"

#define THREAD_COUNT 8
#define LATE_MS 250
#define FINALIZE_MS 500
#define MINUTE_MS INT64_C(60000)

/* ---- a KMS that stalls ---- */

#define SHORT_MS 1000
#define LONG_MS 20000

static const struct {
    const char *name;
    const char *fault;
    const char *host;
    enum indexkey_cause cause;
} stalls[] = {
    {"never answers", "\"kind\": \"hang\"", "127.0.0.1", INDEXKEY_CAUSE_TIMEOUT},
    {"no TLS handshake", "\"kind\": \"connection_hang\"", "127.0.0.1", INDEXKEY_CAUSE_TIMEOUT},
    {"a byte each second", "\"kind\": \"drip\"", "127.0.0.1", INDEXKEY_CAUSE_TIMEOUT},
    {"a byte each 20 ms", "\"kind\": \"drip\", \"seconds\": 0.02", "127.0.0.1",
     INDEXKEY_CAUSE_TIMEOUT},
    {"hangs in DNS", "\"kind\": \"hang\"", "kms.hang", INDEXKEY_CAUSE_DNS},
};

static CK_SESSION_HANDLE begin_stalled(int row, int deadline_ms)
{
    struct kms_settings settings = {.deadline_ms = deadline_ms};
    behaviour_token(&settings);
    settings.addr = fake_service_url_at(&behaviour_fake, stalls[row].host, "");
    behaviour_configure(&settings);
    behaviour_fault(stalls[row].fault);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    return behaviour_session();
}

static int64_t time_finalize(void)
{
    int64_t start_ms = behaviour_now_ms();
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    return behaviour_now_ms() - start_ms;
}

START_TEST(login_ends_by_the_deadline)
{
    CK_SESSION_HANDLE session = begin_stalled(_i, SHORT_MS);
    int64_t start_ms = behaviour_now_ms();
    CK_RV rv = behaviour_login(session);
    int64_t took_ms = behaviour_now_ms() - start_ms;
    enum indexkey_cause cause = behaviour_cause(session);
    int64_t finalize_ms = time_finalize();
    printf("%-5s %-24s C_Login %5ld ms of %d (%s), C_Finalize after it %4ld ms\n",
           behaviour_kms->name, stalls[_i].name, (long) took_ms, SHORT_MS, cause_name(cause),
           (long) finalize_ms);
    ck_assert_uint_eq(rv, CKR_DEVICE_ERROR);
    ck_assert_int_eq((int) cause, (int) stalls[_i].cause);
    ck_assert_int_ge(took_ms, SHORT_MS - 10);
    ck_assert_int_le(took_ms, SHORT_MS + LATE_MS);
    ck_assert_int_le(finalize_ms, FINALIZE_MS);
}
END_TEST

struct caught {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    atomic_int_least64_t ended_ms; /* of the last thread */
};

static void log_in_once(struct crew_member *member, void *context)
{
    struct caught *caught = context;
    (void) member;
    ck_assert_uint_eq(behaviour_login(caught->session), CKR_CRYPTOKI_NOT_INITIALIZED);
    atomic_store(&caught->ended_ms, behaviour_now_ms());
}

/* The first waits for the KMS, the others for the first. */
START_TEST(finalize_ends_a_login)
{
    static struct crew crew;
    struct caught caught = {.session = begin_stalled(_i, LONG_MS)};
    crew_start(&crew, 3, log_in_once, &caught);
    behaviour_sleep_ms(300);
    ck_assert_int_eq(atomic_load(&caught.ended_ms), 0);
    int64_t start_ms = behaviour_now_ms();
    int64_t finalize_ms = time_finalize();
    crew_join(&crew);
    int64_t login_ms = atomic_load(&caught.ended_ms) - start_ms;
    printf("%-5s %-24s C_Finalize %4ld ms, C_Login of 3 threads back after %4ld ms\n",
           behaviour_kms->name, stalls[_i].name, (long) finalize_ms, (long) login_ms);
    ck_assert_int_le(finalize_ms, FINALIZE_MS);
    ck_assert_int_le(login_ms, FINALIZE_MS);
}
END_TEST

static void use_once(struct crew_member *member, void *context)
{
    struct caught *caught = context;
    const char *call;
    (void) member;
    CK_SESSION_HANDLE session = behaviour_session();
    CK_RV rv = behaviour_encrypt(session, caught->key, &call);
    ck_assert_msg(rv == CKR_CRYPTOKI_NOT_INITIALIZED || rv == CKR_SESSION_HANDLE_INVALID, "0x%lx",
                  rv);
    atomic_store(&caught->ended_ms, behaviour_now_ms());
}

/* Nobody has the grace any more: one thread renews, the others wait for what it learns. */
START_TEST(finalize_ends_a_renewal)
{
    static struct crew crew;
    struct kms_settings settings = {.more = "lease = 60s\ngrace = 60s", .deadline_ms = LONG_MS};
    CK_BYTE value[32] = "an index key that all may see";
    struct caught caught = {0};
    behaviour_token(&settings);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    caught.session = behaviour_session();
    ck_assert_uint_eq(behaviour_login(caught.session), CKR_OK);
    (void) behaviour_import(caught.session, value);
    caught.key = behaviour_find(caught.session, "shared/payload");
    behaviour_fault("\"kind\": \"hang\"");
    clock_shift(3 * MINUTE_MS);
    crew_start(&crew, THREAD_COUNT, use_once, &caught);
    behaviour_sleep_ms(300);
    ck_assert_int_eq(atomic_load(&caught.ended_ms), 0);
    int64_t start_ms = behaviour_now_ms();
    int64_t finalize_ms = time_finalize();
    crew_join(&crew);
    int64_t call_ms = atomic_load(&caught.ended_ms) - start_ms;
    printf("%-5s %-24s C_Finalize %4ld ms, C_EncryptInit of 8 threads back after %4ld ms\n",
           behaviour_kms->name, "a renewal that hangs", (long) finalize_ms, (long) call_ms);
    ck_assert_int_le(finalize_ms, FINALIZE_MS);
    ck_assert_int_le(call_ms, FINALIZE_MS);
}
END_TEST

/* ---- a KMS that is away ---- */

static atomic_ulong successes;
static atomic_ulong failures;

static void keep_busy(struct crew_member *member, void *context)
{
    CK_SESSION_HANDLE session = behaviour_session();
    CK_OBJECT_HANDLE payload = behaviour_find(session, "shared/payload");
    CK_OBJECT_HANDLE token = behaviour_find(session, "shared/token");
    const char *call;
    (void) context;
    while (crew_goes_on(member)) {
        CK_RV rv = behaviour_encrypt(session, payload, &call);
        atomic_fetch_add(rv == CKR_OK ? &successes : &failures, 1);
        rv = behaviour_sign(session, token, &call);
        atomic_fetch_add(rv == CKR_OK ? &successes : &failures, 1);
    }
}

static CK_SESSION_HANDLE begin_use(const char *more, int deadline_ms)
{
    struct kms_settings settings = {.more = more, .deadline_ms = deadline_ms};
    CK_BYTE value[32] = "an index key that all may see";
    behaviour_token(&settings);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    (void) behaviour_import(session, value);
    return session;
}

#define STEP_MS 10000
#define OUTAGE_MS (10 * MINUTE_MS)
#define GRACE_MS (15 * MINUTE_MS)

/* In steps, so that the threads meet each point of it. A step that comes while the KMS is asked
 * ends that call's deadline. */
static void pass(int64_t *now_ms, int64_t ms, long each_ms)
{
    for (int64_t end_ms = *now_ms + ms; *now_ms < end_ms;) {
        *now_ms += STEP_MS;
        clock_shift(*now_ms);
        behaviour_sleep_ms(each_ms);
    }
}
#define QUICK_MS 20
#define SLOW_MS 400

START_TEST(an_outage_within_the_grace_fails_nothing)
{
    static struct crew crew;
    int64_t now_ms = 0;
    CK_SESSION_HANDLE session = begin_use("lease = 60s\ngrace = 15m", 1000);
    crew_start(&crew, THREAD_COUNT, keep_busy, NULL);
    pass(&now_ms, 5 * MINUTE_MS, QUICK_MS);
    ck_assert_int_ge(fake_service_count(&behaviour_fake, "requests"), 3);
    behaviour_cut_off();
    unsigned long before = atomic_load(&successes);
    pass(&now_ms, OUTAGE_MS, QUICK_MS);
    unsigned long during = atomic_load(&successes) - before;
    behaviour_heal();
    /* A retry is put off by a minute at most. */
    pass(&now_ms, MINUTE_MS + STEP_MS, SLOW_MS);
    int renewals = fake_service_count(&behaviour_fake, "requests");
    /* Since then the lease is fresh: another outage has all its grace. */
    behaviour_cut_off();
    pass(&now_ms, GRACE_MS - MINUTE_MS, QUICK_MS);
    unsigned long failed = atomic_load(&failures);
    ck_assert(behaviour_is_logged_in(session));
    printf("%-5s %-24s %lu calls of 8 threads, %lu failed, %d renewals after it\n",
           behaviour_kms->name, "outage of 10 min", during, failed, renewals);
    ck_assert_uint_gt(during, 1000);
    ck_assert_int_ge(renewals, 1);
    ck_assert_uint_eq(failed, 0);
    pass(&now_ms, 4 * MINUTE_MS, QUICK_MS);
    ck_assert(!behaviour_is_logged_in(session));
    ck_assert_uint_eq(behaviour_login(session), CKR_DEVICE_ERROR);
    ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_UNREACHABLE);
    unsigned long closed_at = atomic_load(&successes);
    crew_run(&crew, 100);
    printf("%-5s %-24s %lu calls succeed, %lu are refused\n", behaviour_kms->name,
           "beyond the grace", atomic_load(&successes) - closed_at, atomic_load(&failures));
    ck_assert_uint_eq(atomic_load(&successes), closed_at);
    ck_assert_uint_gt(atomic_load(&failures), THREAD_COUNT);
    behaviour_heal();
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* Nobody who may say no has said no. */
struct no_denial {
    const char *kms; /* NULL: of all */
    const char *fault;
};

#define STATUS(code) "\"kind\": \"status\", \"status\": " #code
#define SAYS(code, body) STATUS(code) ", \"body\": " body
#define VAULT_SAYS(code, error)                                                                    \
    {                                                                                              \
        "vault", SAYS(code, "{\"errors\": [\"" error "\"]}")                                       \
    }
#define AWS_SAYS(code, type)                                                                       \
    {                                                                                              \
        "aws", SAYS(code, "{\"__type\": \"" type "\"}")                                            \
    }

static const struct no_denial no_denials[] = {
    {NULL, STATUS(429)},
    {NULL, STATUS(429) ", \"headers\": {\"Retry-After\": \"120\"}"},
    {NULL, STATUS(503)},
    {NULL, STATUS(502)},
    {NULL, STATUS(504)},
    {NULL, STATUS(408)},
    {NULL, STATUS(412)},
    {NULL, SAYS(403, "\"<html>a proxy</html>\"")},
    {NULL, SAYS(401, "\"<html>a proxy</html>\"")},
    {NULL, SAYS(200, "{\"data\": {}}")},
    {NULL, "\"kind\": \"hang\""},
    {NULL, "\"kind\": \"drip\""},
    {NULL, "\"kind\": \"connection_hang\""},
    {NULL, "\"kind\": \"connection_reset\""},
    {NULL, "\"kind\": \"reset\""},
    {NULL, "\"kind\": \"close\""},
    {NULL, "\"kind\": \"truncate\""},
    {NULL, "\"kind\": \"garbage\""},
    {NULL, "\"kind\": \"endless\""},
    {NULL, "\"kind\": \"redirect\", \"location\": \"https://127.0.0.1/\""},
    VAULT_SAYS(503, "Vault is sealed"),
    VAULT_SAYS(500, "permission denied"),
    AWS_SAYS(400, "ThrottlingException"),
    AWS_SAYS(400, "LimitExceededException"),
    AWS_SAYS(500, "KMSInternalException"),
    AWS_SAYS(500, "KeyUnavailableException"),
    AWS_SAYS(503, "DependencyTimeoutException"),
    {"aws",
     SAYS(400, "{\"__type\": \"KMSInvalidStateException\", \"message\": \"is unavailable.\"}")},
    {"aws", SAYS(503, "\"<Response><Errors><Error><Code>ServiceUnavailable</Code></Error></"
                      "Errors></Response>\"")},
};

static void expect_use(CK_SESSION_HANDLE session)
{
    const char *call;
    CK_RV rv = behaviour_encrypt(session, behaviour_find(session, "shared/payload"), &call);
    ck_assert_msg(rv == CKR_OK, "%s: 0x%lx %s", call, rv, fixture_log());
}

START_TEST(what_is_no_denial_ends_no_login)
{
    const struct no_denial *row = &no_denials[_i];
    if (row->kms != NULL && strcmp(row->kms, behaviour_kms->name) != 0)
        return;
    CK_SESSION_HANDLE session = begin_use("lease = 60s\ngrace = 10m", 300);
    behaviour_fault(row->fault);
    /* For the faults of connections: the kept one ends. */
    behaviour_fault("\"kind\": \"close\"");
    fixture_forget_log();
    for (int i = 1; i <= 5; i++) {
        clock_shift(2 * i * MINUTE_MS);
        expect_use(session);
    }
    ck_assert_uint_ge(fixture_log_count(), 5);
    ck_assert_ptr_null(strstr(fixture_log(), "logged out"));
    behaviour_heal();
    clock_shift(10 * MINUTE_MS + MINUTE_MS / 2);
    for (int i = 0; i < 6; i++) {
        clock_shift(10 * MINUTE_MS + MINUTE_MS / 2 + i * MINUTE_MS / 12);
        expect_use(session);
    }
    ck_assert_int_ge(fake_service_count(&behaviour_fake, "requests"), 1);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

START_TEST(a_token_starts_while_its_kms_is_down)
{
    static const struct kms_settings settings;
    CK_SLOT_ID slots[4];
    CK_ULONG count = COUNT_OF(slots);
    CK_TOKEN_INFO info;
    behaviour_token(&settings);
    behaviour_cut_off();
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(C_GetTokenInfo(slots[0], &info), CKR_OK);
    ck_assert_int_eq(memcmp(info.label, "vectors ", 8), 0);
    ck_assert_uint_ne(info.flags & CKF_TOKEN_INITIALIZED, 0);
    ck_assert_uint_ne(info.flags & CKF_USER_PIN_INITIALIZED, 0);
    CK_SESSION_HANDLE session = behaviour_session();
    for (int i = 0; i < 12; i++) {
        ck_assert_uint_eq(behaviour_login(session), CKR_DEVICE_ERROR);
        ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_UNREACHABLE);
    }
    ck_assert_uint_eq(C_GetTokenInfo(slots[0], &info), CKR_OK);
    ck_assert_uint_eq(info.flags & CKF_USER_PIN_COUNT_LOW, 0);
    behaviour_heal();
    int64_t start_ms = behaviour_now_ms();
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    printf("%-5s %-24s C_Login %ld ms, without C_Finalize\n", behaviour_kms->name,
           "the KMS comes up", (long) (behaviour_now_ms() - start_ms));
    ck_assert(behaviour_is_logged_in(session));
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- a KMS that never stops ---- */

#define GROWTH_KIB_MAX 1024

/* A field in KiB: "VmHWM" of the status file, the highest VmRSS yet, which the kernel counts with
 * an error of some dozen pages; or "Rss" of smaps_rollup, which it adds up. */
static long memory_kib(const char *path, const char *field)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtol(line + strlen(field) + 1, NULL, 10);
    }
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_gt(kib, 0);
    return kib;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs("5", file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* Memory that is used is seen. */
static void check_measure(void)
{
    static unsigned char block[4 * GROWTH_KIB_MAX * 1024];
    long before = memory_kib("/proc/self/smaps_rollup", "Rss:");
    forget_peak();
    memset(block, 1, sizeof(block));
    __asm__ volatile("" : : "r"(block) : "memory");
    ck_assert_int_gt(memory_kib("/proc/self/smaps_rollup", "Rss:") - before, 3 * GROWTH_KIB_MAX);
    ck_assert_int_gt(memory_kib("/proc/self/status", "VmHWM:") - before, 3 * GROWTH_KIB_MAX);
}

START_TEST(an_endless_reply_takes_no_memory)
{
    static const struct kms_settings settings;
    behaviour_token(&settings);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    /* What the first exchange takes stays: libraries, connection, scrypt. */
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    ck_assert_uint_eq(C_Logout(session), CKR_OK);
    behaviour_heal();
    behaviour_fault("\"kind\": \"endless\"");
    forget_peak();
    long before = memory_kib("/proc/self/smaps_rollup", "Rss:");
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(behaviour_login(session), CKR_DEVICE_ERROR);
        ck_assert_int_eq((int) behaviour_cause(session), INDEXKEY_CAUSE_SERVER);
    }
    long peak = memory_kib("/proc/self/status", "VmHWM:") - before;
    long after = memory_kib("/proc/self/smaps_rollup", "Rss:") - before;
    printf("%-5s %-24s peak %+ld KiB, after it %+ld KiB, %d requests of 5 calls\n",
           behaviour_kms->name, "endless reply", peak, after,
           fake_service_count(&behaviour_fake, "requests"));
    if (HAS_PLAIN_MEMORY) {
        ck_assert_int_le(peak, GROWTH_KIB_MAX);
        ck_assert_int_le(after, GROWTH_KIB_MAX);
        check_measure();
    }
    ck_assert_int_eq(fake_service_count(&behaviour_fake, "requests"), 5);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- a KMS that answers 503 ---- */

#define BUSY_MS 60000
#define CALLER_COUNT 4
#define CALL_EACH_MS 1000
#define RECOVERY_MS 5000

static atomic_int calls;
static atomic_int_least64_t recovered_ms; /* 0: not yet */

/* As applications that try again each second. */
static void try_to_log_in(struct crew_member *member, void *context)
{
    CK_SESSION_HANDLE session = behaviour_session();
    (void) context;
    behaviour_sleep_ms((long) member->number * CALL_EACH_MS / CALLER_COUNT);
    while (crew_goes_on(member)) {
        CK_RV rv = behaviour_login(session);
        atomic_fetch_add(&calls, 1);
        if (rv == CKR_OK)
            atomic_store(&recovered_ms, behaviour_now_ms());
        if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
            return;
        ck_assert_uint_eq(rv, CKR_DEVICE_ERROR);
        behaviour_sleep_ms(CALL_EACH_MS);
    }
}

START_TEST(a_minute_of_503_is_no_storm)
{
    static struct crew crew;
    static const struct kms_settings settings;
    behaviour_token(&settings);
    behaviour_heal(); /* counts from here */
    behaviour_fault("\"kind\": \"status\", \"status\": 503");
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    crew_start(&crew, CALLER_COUNT, try_to_log_in, NULL);
    behaviour_sleep_ms(BUSY_MS);
    int call_count = atomic_load(&calls);
    int requests = fake_service_count(&behaviour_fake, "requests");
    ck_assert_int_eq(atomic_load(&recovered_ms), 0);
    behaviour_heal();
    int64_t healed_ms = behaviour_now_ms();
    crew_join(&crew);
    int64_t took_ms = atomic_load(&recovered_ms) - healed_ms;
    printf("%-5s %-24s %d requests of %d calls: %.3f a call; recovery %ld ms\n",
           behaviour_kms->name, "503 for 60 s", requests, call_count,
           (double) requests / call_count, (long) took_ms);
    ck_assert_int_gt(call_count, BUSY_MS / CALL_EACH_MS);
    ck_assert_int_le(10 * requests, 12 * call_count);
    ck_assert_int_gt(atomic_load(&recovered_ms), 0);
    ck_assert_int_lt(took_ms, RECOVERY_MS);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

static TCase *make_cases(void)
{
    TCase *cases = tcase_create("outage");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, behaviour_start, behaviour_stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, login_ends_by_the_deadline, 0, (int) COUNT_OF(stalls));
    tcase_add_loop_test(cases, finalize_ends_a_login, 0, (int) COUNT_OF(stalls));
    tcase_add_test(cases, finalize_ends_a_renewal);
    tcase_add_test(cases, an_outage_within_the_grace_fails_nothing);
    tcase_add_loop_test(cases, what_is_no_denial_ends_no_login, 0, (int) COUNT_OF(no_denials));
    tcase_add_test(cases, a_token_starts_while_its_kms_is_down);
    tcase_add_test(cases, an_endless_reply_takes_no_memory);
    tcase_add_test(cases, a_minute_of_503_is_no_storm);
    return cases;
}

int main(int argc, char **argv)
{
    return behaviour_run("outage", make_cases, argc > 1 ? argv[1] : NULL);
}
