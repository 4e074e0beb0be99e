/*
 * Processes that start at once: each logs in to one token on SQLite, finds its key, encrypts once
 * and ends, while the KMS takes no more than a quarter of them a second. No call may fail. There
 * are 80 of them by day and, by INDEXKEY_CROWD, 200 at night: their PINs' scrypt is work for all
 * processors of a small machine, and other tests beside it would be late.
 *
 *   test_crowd              the tests
 *   test_crowd member MODE  one of the processes: writes a byte to OUTCOME_FD when it is ready to
 *                           log in, waits for the end of START_FD, and writes its outcome
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/behaviour_fixture.h"

#define CROWD 80
#define CROWD_MAX 1000
#define RATE_PART 4
#define DEADLINE_MS 30000
#define PATIENCE_MS 50000 /* for the next of them */
#define START_FD 10
#define OUTCOME_FD 11
#define LINE_MAX_LEN 512

static size_t crowd_size = CROWD;

/* Written at once: no longer than PIPE_BUF. */
struct outcome {
    CK_RV rv;
    char call[32];
    char line[LINE_MAX_LEN]; /* the last one of the log */
    long login_ms;
    long ms;
};
_Static_assert(sizeof(struct outcome) <= PIPE_BUF, "an outcome is written whole");

/* ---- one process ---- */

static void keep_line(enum log_level level, const char *line, void *context)
{
    struct outcome *outcome = context;
    if (level == LOG_LEVEL_ERROR)
        (void) snprintf(outcome->line, sizeof(outcome->line), "%s", line);
}

#define CALL(function, ...)                                                                        \
    do {                                                                                           \
        (void) snprintf(outcome->call, sizeof(outcome->call), "%s", #function);                    \
        TRY(function(__VA_ARGS__));                                                                \
    } while (0)

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *ret_key, struct outcome *outcome)
{
    CK_UTF8CHAR label[] = "shared/payload";
    CK_ATTRIBUTE template = {CKA_LABEL, label, sizeof(label) - 1};
    CK_ULONG count = 0;
    CALL(C_FindObjectsInit, session, &template, 1);
    CALL(C_FindObjects, session, ret_key, 1, &count);
    CALL(C_FindObjectsFinal, session);
    return count == 1 ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

static CK_RV wait_for_start(void)
{
    char byte = 0;
    bool started = write(OUTCOME_FD, &byte, 1) == 1 && read(START_FD, &byte, 1) == 0;
    return started ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV work(bool is_ambient, struct outcome *outcome)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    const char *call;
    CALL(C_Initialize, NULL);
    CALL(C_OpenSession, 0, CKF_SERIAL_SESSION, NULL, NULL, &session);
    CALL(wait_for_start);
    int64_t begin_ms = clock_boot_ms();
    CALL(C_Login, session, CKU_USER, is_ambient ? NULL : pin, is_ambient ? 0 : sizeof(pin) - 1);
    outcome->login_ms = (long) (clock_boot_ms() - begin_ms);
    TRY(find(session, &key, outcome));
    CALL(behaviour_encrypt, session, key, &call);
    CALL(C_Finalize, NULL);
    outcome->ms = (long) (clock_boot_ms() - begin_ms);
    return CKR_OK;
}

static int be_member(bool is_ambient)
{
    struct outcome outcome = {.call = ""};
    /* The KMS stands for another machine, which they do not take the processor from. */
    (void) setpriority(PRIO_PROCESS, 0, 10);
    log_set_sink(keep_line, &outcome);
    outcome.rv = work(is_ambient, &outcome);
    return write(OUTCOME_FD, &outcome, sizeof(outcome)) == (ssize_t) sizeof(outcome) ? EXIT_SUCCESS
                                                                                     : EXIT_FAILURE;
}

/* ---- all of them ---- */

static const char *own_path;

struct crowd {
    pid_t members[CROWD_MAX];
    int start; /* they start when it is closed */
    int outcomes;
};

static void start_member(struct crowd *crowd, size_t index, const int ends[2], const char *mode)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void) dup2(ends[0], START_FD);
        (void) dup2(ends[1], OUTCOME_FD);
        (void) execl(own_path, own_path, "member", mode, (char *) NULL);
        _exit(127);
    }
    crowd->members[index] = child;
}

static void gather(struct crowd *crowd, const char *mode)
{
    int start[2];
    int outcomes[2];
    ck_assert_int_eq(pipe2(start, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(outcomes, O_CLOEXEC), 0);
    for (size_t i = 0; i < crowd_size; i++)
        start_member(crowd, i, (const int[2]){start[0], outcomes[1]}, mode);
    (void) close(start[0]);
    (void) close(outcomes[1]);
    crowd->start = start[1];
    crowd->outcomes = outcomes[0];
}

static int end(struct crowd *crowd)
{
    int failed = 0;
    (void) close(crowd->outcomes);
    for (size_t i = 0; i < crowd_size; i++) {
        int status = 0;
        ck_assert_int_eq(waitpid(crowd->members[i], &status, 0), crowd->members[i]);
        failed += status == 0 ? 0 : 1;
    }
    return failed;
}

static ssize_t receive(const struct crowd *crowd, void *ret_bytes, size_t len)
{
    struct pollfd next = {.fd = crowd->outcomes, .events = POLLIN};
    ck_assert_int_eq(poll(&next, 1, PATIENCE_MS), 1);
    return read(crowd->outcomes, ret_bytes, len);
}

static void start(struct crowd *crowd)
{
    char byte;
    for (size_t i = 0; i < crowd_size; i++)
        ck_assert_int_eq(receive(crowd, &byte, 1), 1);
    (void) close(crowd->start);
}

/* How many failed, each with a line that says how. */
static int watch(const struct crowd *crowd)
{
    struct outcome outcome;
    int errors = 0;
    long login_ms = 0;
    long ms = 0;
    while (receive(crowd, &outcome, sizeof(outcome)) == (ssize_t) sizeof(outcome)) {
        if (outcome.rv != CKR_OK)
            printf("%s: 0x%lx %s\n", outcome.call, outcome.rv, outcome.line);
        errors += outcome.rv == CKR_OK ? 0 : 1;
        login_ms = outcome.login_ms > login_ms ? outcome.login_ms : login_ms;
        ms = outcome.ms > ms ? outcome.ms : ms;
    }
    printf("the longest login %ld ms, the longest life %ld ms\n", login_ms, ms);
    return errors;
}

static void make_token(const char *mode)
{
    char more[64];
    CK_BYTE value[32] = {1};
    (void) snprintf(more, sizeof(more), "login = %s", mode);
    const struct kms_settings settings = {.deadline_ms = DEADLINE_MS, .more = more};
    behaviour_token(&settings);
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = behaviour_session();
    ck_assert_uint_eq(behaviour_login(session), CKR_OK);
    (void) behaviour_import(session, value);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}

static const char *const modes[] = {"pin", "ambient"};

START_TEST(a_crowd_logs_in_without_an_error)
{
    struct crowd crowd;
    make_token(modes[_i]);
    fake_service_clear(&behaviour_fake);
    fake_service_command(&behaviour_fake, "{\"do\": \"rate\", \"rate\": %zu}",
                         crowd_size / RATE_PART);
    gather(&crowd, modes[_i]);
    start(&crowd);
    int64_t begin_ms = clock_boot_ms();
    int errors = watch(&crowd);
    int failed = end(&crowd);
    int requests = fake_service_count(&behaviour_fake, "requests");
    int throttled = fake_service_count(&behaviour_fake, "throttled");
    printf("%s, login = %s: %zu processes: %d requests, %d of them throttled, %d connections, "
           "%ld ms, %d errors\n",
           behaviour_kms->name, modes[_i], crowd_size, requests, throttled,
           fake_service_count(&behaviour_fake, "connections"), (long) (clock_boot_ms() - begin_ms),
           errors);
    (void) fflush(stdout);
    ck_assert_int_eq(errors, 0);
    ck_assert_int_eq(failed, 0);
    ck_assert_int_eq(requests - throttled, (int) crowd_size);
}
END_TEST

static TCase *make_cases(void)
{
    TCase *cases = tcase_create("crowd");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, behaviour_start, behaviour_stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_crowd_logs_in_without_an_error, 0, COUNT_OF(modes));
    return cases;
}

int main(int argc, char **argv)
{
    own_path = argv[0];
    if (argc == 3 && strcmp(argv[1], "member") == 0)
        return be_member(strcmp(argv[2], "ambient") == 0);
    const char *size = getenv("INDEXKEY_CROWD");
    if (size != NULL)
        crowd_size = (size_t) atoi(size);
    if (crowd_size < RATE_PART || crowd_size > CROWD_MAX)
        return EXIT_FAILURE;
    return behaviour_run("a crowd of processes", make_cases, argc == 2 ? argv[1] : NULL);
}
