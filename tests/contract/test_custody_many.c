/*
 * Processes that create, rotate and destroy keys of one token at once: each version of a key has
 * one winner, and everything that was acknowledged is there for a fresh process and decrypts.
 *
 * There are 16 processes with 60 keys each by day and, by INDEXKEY_MANY, 1,000 at night. On SQLite,
 * and under tests/servers/postgres.sh on PostgreSQL, where connections are ended at random: calls
 * may fail then, as long as they say so.
 */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "include/indexkey.h"
#include "module/admin.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/token_fixture.h"

#define PROCESSES 16
#define KEYS_BY_DAY 60
#define KEYS_MAX 4000
#define LINES 4
#define TEXT "written before"
#define SEALED_LEN (sizeof(TEXT) + 16)
#define CUT_EVERY_MS 200
#define PATIENCE_MS 60000
#define TIMEOUT_S 1500

enum deed { CREATED, ROTATED, DESTROYED, REFUSED, BROKEN };

/* What a process did and was told to have done; written at once (PIPE_BUF). */
struct report {
    enum deed deed;
    unsigned int process; /* ROTATED: the line */
    unsigned int number;  /* ROTATED: the version that was made */
    CK_RV rv;             /* REFUSED, BROKEN */
    char call[40];
    CK_BYTE iv[12];
    CK_BYTE sealed[SEALED_LEN];
};
_Static_assert(sizeof(struct report) <= PIPE_BUF, "a report is written whole");

static unsigned int key_count = KEYS_BY_DAY;
static bool may_fail; /* the store's connections are cut */
static CK_BBOOL yes = CK_TRUE;
static CK_ULONG key_len = 32;

/* ---- one process ---- */

struct worker {
    unsigned int number;
    int reports;
    CK_SESSION_HANDLE session;
    struct report report;
};

static void tell(struct worker *worker, enum deed deed)
{
    worker->report.deed = deed;
    if (write(worker->reports, &worker->report, sizeof(worker->report)) !=
        (ssize_t) sizeof(worker->report))
        _exit(2);
}

#define CALL(worker, function, ...)                                                                \
    do {                                                                                           \
        (void) snprintf((worker)->report.call, sizeof((worker)->report.call), "%s", #function);    \
        TRY(function(__VA_ARGS__));                                                                \
    } while (0)

static CK_RV find(struct worker *worker, const char *label, CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) (uintptr_t) label, strlen(label)};
    CK_ULONG count = 0;
    CALL(worker, C_FindObjectsInit, worker->session, &template, 1);
    CALL(worker, C_FindObjects, worker->session, ret_key, 1, &count);
    CALL(worker, C_FindObjectsFinal, worker->session);
    return count == 1 ? CKR_OK : CKR_OBJECT_HANDLE_INVALID;
}

static CK_MECHANISM gcm(struct report *report, CK_GCM_PARAMS *params)
{
    *params = (CK_GCM_PARAMS){.pIv = report->iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128};
    return (CK_MECHANISM){CKM_AES_GCM, params, sizeof(*params)};
}

static CK_RV encrypt(struct worker *worker, CK_OBJECT_HANDLE key)
{
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm(&worker->report, &params);
    CK_BYTE text[] = TEXT;
    CK_ULONG len = SEALED_LEN;
    CALL(worker, C_GenerateRandom, worker->session, worker->report.iv, 12);
    CALL(worker, C_EncryptInit, worker->session, &mechanism, key);
    CALL(worker, C_Encrypt, worker->session, text, sizeof(text), worker->report.sealed, &len);
    return CKR_OK;
}

static CK_RV generate(struct worker *worker, const char *label, CK_OBJECT_HANDLE *ret_key)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &key_len, sizeof(key_len)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},
        {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_LABEL, (void *) (uintptr_t) label, strlen(label)},
    };
    CALL(worker, C_GenerateKey, worker->session, &mechanism, template, COUNT_OF(template), ret_key);
    return CKR_OK;
}

static CK_RV create(struct worker *worker, unsigned int number)
{
    char label[40];
    CK_OBJECT_HANDLE key;
    (void) snprintf(label, sizeof(label), "key %u of %u", number, worker->number);
    worker->report.process = worker->number;
    worker->report.number = number;
    TRY(generate(worker, label, &key));
    TRY(encrypt(worker, key));
    tell(worker, CREATED);
    return CKR_OK;
}

static CK_RV destroy(struct worker *worker, unsigned int number)
{
    char label[40];
    CK_OBJECT_HANDLE key;
    (void) snprintf(label, sizeof(label), "key %u of %u", number, worker->number);
    worker->report.process = worker->number;
    worker->report.number = number;
    TRY(find(worker, label, &key));
    CALL(worker, C_DestroyObject, worker->session, key);
    tell(worker, DESTROYED);
    return CKR_OK;
}

static CK_RV rotate(struct worker *worker, unsigned int line)
{
    char label[40];
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE newer;
    CK_ULONG version;
    CK_ATTRIBUTE attribute = {CKA_INDEXKEY_VERSION, &version, sizeof(version)};
    (void) snprintf(label, sizeof(label), "line %u", line);
    TRY(find(worker, label, &key));
    CALL(worker, admin_key_rotate, worker->session, key, &newer);
    CALL(worker, C_GetAttributeValue, worker->session, newer, &attribute, 1);
    TRY(encrypt(worker, newer));
    worker->report.process = line;
    worker->report.number = (unsigned int) version;
    tell(worker, ROTATED);
    return CKR_OK;
}

/* Others rotate the same keys, and may have deactivated this one meanwhile. */
static bool is_lost_race(CK_RV rv)
{
    return rv == CKR_OBJECT_HANDLE_INVALID || rv == CKR_ACTION_PROHIBITED ||
           rv == CKR_KEY_HANDLE_INVALID || rv == CKR_KEY_FUNCTION_NOT_PERMITTED ||
           rv == CKR_OPERATION_NOT_INITIALIZED;
}

static void judge(struct worker *worker, CK_RV rv, bool is_race)
{
    if (rv == CKR_OK || (is_race && is_lost_race(rv)))
        return;
    worker->report.rv = rv;
    tell(worker, may_fail && rv == CKR_DEVICE_ERROR ? REFUSED : BROKEN);
}

static CK_RV log_in(CK_SESSION_HANDLE *ret_session)
{
    TRY(C_Initialize(NULL));
    TRY(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, ret_session));
    return C_Login(*ret_session, CKU_USER, NULL, 0);
}

static void work(struct worker *worker)
{
    uint32_t random = 0;
    CK_RV rv = log_in(&worker->session);
    for (int i = 0; may_fail && rv == CKR_DEVICE_ERROR && i < 20; i++) {
        (void) C_Finalize(NULL);
        rv = log_in(&worker->session);
    }
    judge(worker, rv, false);
    for (unsigned int i = 0; rv == CKR_OK && i < key_count; i++) {
        judge(worker, create(worker, i), false);
        (void) crypto_random(&random, sizeof(random));
        judge(worker, rotate(worker, random % LINES), true);
        if (i % 2 == 1)
            judge(worker, destroy(worker, i - 1), false);
    }
    (void) C_Finalize(NULL);
    _exit(0);
}

/* ---- all of them ---- */

static struct fate {
    bool is_known;
    bool is_destroyed;
    CK_BYTE iv[12];
    CK_BYTE sealed[SEALED_LEN];
} keys[PROCESSES][KEYS_MAX], versions[LINES][PROCESSES * KEYS_MAX + 2];

struct tally {
    unsigned int count[BROKEN + 1];
    unsigned int newest[LINES];
};

static void keep(struct fate *fate, const struct report *report)
{
    fate->is_known = true;
    memcpy(fate->iv, report->iv, sizeof(fate->iv));
    memcpy(fate->sealed, report->sealed, sizeof(fate->sealed));
}

static void count_report(const struct report *report, struct tally *tally)
{
    tally->count[report->deed]++;
    switch (report->deed) {
    case CREATED:
        keep(&keys[report->process][report->number], report);
        break;
    case DESTROYED:
        keys[report->process][report->number].is_destroyed = true;
        break;
    case ROTATED:
        ck_assert_msg(!versions[report->process][report->number].is_known,
                      "version %u of line %u has two winners", report->number, report->process);
        keep(&versions[report->process][report->number], report);
        if (report->number > tally->newest[report->process])
            tally->newest[report->process] = report->number;
        break;
    default:
        printf("process %u: %s: 0x%lx\n", report->process, report->call, report->rv);
        break;
    }
}

static void cut(void)
{
    if (may_fail)
        postgres_fixture_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                             " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                             " AND random() < 0.2");
}

static void read_reports(int reports, struct tally *tally)
{
    struct report report;
    struct pollfd next = {.fd = reports, .events = POLLIN};
    int quiet_ms = 0;
    for (;;) {
        int ready = poll(&next, 1, CUT_EVERY_MS);
        quiet_ms = ready == 0 ? quiet_ms + CUT_EVERY_MS : 0;
        ck_assert_int_lt(quiet_ms, PATIENCE_MS);
        if (ready == 0 || tally->count[CREATED] % 32 == 0)
            cut();
        if (ready > 0 && read(reports, &report, sizeof(report)) != (ssize_t) sizeof(report))
            return;
        if (ready > 0)
            count_report(&report, tally);
    }
}

static void run_workers(struct tally *tally)
{
    int ends[2];
    pid_t children[PROCESSES];
    ck_assert_int_eq(pipe(ends), 0);
    for (unsigned int i = 0; i < PROCESSES; i++) {
        struct worker worker = {.number = i, .reports = ends[1], .report = {.process = i}};
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0)
            work(&worker);
    }
    (void) close(ends[1]);
    read_reports(ends[0], tally);
    (void) close(ends[0]);
    for (unsigned int i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %u: %x", i, status);
    }
}

/* ---- a fresh process ---- */

static void decrypt(CK_SESSION_HANDLE session, const char *label, const struct fate *fate)
{
    struct worker worker = {.session = session};
    CK_GCM_PARAMS params;
    CK_OBJECT_HANDLE key;
    CK_BYTE text[SEALED_LEN];
    CK_ULONG len = sizeof(text);
    memcpy(worker.report.iv, fate->iv, sizeof(fate->iv));
    CK_MECHANISM mechanism = gcm(&worker.report, &params);
    CK_RV rv = find(&worker, label, &key);
    ck_assert_msg(rv == CKR_OK, "%s: not found: %lx", label, rv);
    ck_assert_uint_eq(C_DecryptInit(session, &mechanism, key), CKR_OK);
    rv = C_Decrypt(session, (CK_BYTE *) (uintptr_t) fate->sealed, SEALED_LEN, text, &len);
    ck_assert_msg(rv == CKR_OK && len == sizeof(TEXT) && memcmp(text, TEXT, len) == 0, "%s: %lx",
                  label, rv);
}

static void check_keys(CK_SESSION_HANDLE session, unsigned int process)
{
    struct worker worker = {.session = session};
    CK_OBJECT_HANDLE key;
    char label[40];
    for (unsigned int i = 0; i < key_count; i++) {
        (void) snprintf(label, sizeof(label), "key %u of %u", i, process);
        if (keys[process][i].is_destroyed)
            ck_assert_msg(find(&worker, label, &key) != CKR_OK, "%s is still there", label);
        else if (keys[process][i].is_known)
            decrypt(session, label, &keys[process][i]);
    }
}

/* A version that another process rotated before its maker had used it was not reported. */
static void check_line(CK_SESSION_HANDLE session, unsigned int line, unsigned int newest)
{
    struct worker worker = {.session = session};
    CK_OBJECT_HANDLE key;
    CK_ULONG version = 0;
    CK_ATTRIBUTE attribute = {CKA_INDEXKEY_VERSION, &version, sizeof(version)};
    char label[40];
    (void) snprintf(label, sizeof(label), "line %u", line);
    ck_assert_uint_eq(find(&worker, label, &key), CKR_OK);
    ck_assert_uint_eq(C_GetAttributeValue(session, key, &attribute, 1), CKR_OK);
    ck_assert_uint_ge(version, newest);
    for (unsigned int i = 1; i <= version; i++) {
        if (i < version)
            (void) snprintf(label, sizeof(label), "line %u@%u", line, i);
        else
            (void) snprintf(label, sizeof(label), "line %u", line);
        ck_assert_msg(find(&worker, label, &key) == CKR_OK, "%s: not found", label);
        if (versions[line][i].is_known)
            decrypt(session, label, &versions[line][i]);
    }
}

static void check_all(const struct tally *tally)
{
    CK_SESSION_HANDLE session;
    ck_assert_uint_eq(log_in(&session), CKR_OK);
    for (unsigned int i = 0; i < PROCESSES; i++)
        check_keys(session, i);
    for (unsigned int i = 0; i < LINES; i++)
        check_line(session, i, tally->newest[i]);
    ck_assert_msg(strstr(fixture_log(), "behind the token's back") == NULL, "%s", fixture_log());
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}

/* In a child: the processes of the test begin without a module. */
static void make_token(void)
{
    struct worker worker = {.number = 0};
    CK_UTF8CHAR so_pin[] = FIXTURE_SO_PIN;
    CK_UTF8CHAR label[TOKEN_LABEL_LEN];
    CK_OBJECT_HANDLE key;
    memset(label, ' ', sizeof(label));
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_InitToken(0, so_pin, sizeof(so_pin) - 1, label), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    ck_assert_uint_eq(log_in(&worker.session), CKR_OK);
    for (unsigned int i = 0; i < LINES; i++) {
        char line[40];
        (void) snprintf(line, sizeof(line), "line %u", i);
        ck_assert_uint_eq(generate(&worker, line, &key), CKR_OK);
    }
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}

static void configure(void)
{
    char conf[2048];
    char store[POSTGRES_LOCATION_MAX];
    if (may_fail)
        postgres_fixture_location(store, "");
    else
        (void) snprintf(store, sizeof(store), "sqlite:%s", fixture_path("token.db"));
    (void) snprintf(conf, sizeof(conf),
                    "[token vectors]\nsource = file\nkey_file = %s\nlogin = ambient\nstore = %s\n",
                    fixture_path("root.key"), store);
    fixture_write("indexkey.conf", conf, 0600);
    ck_assert_int_eq(setenv("INDEXKEY_CONF", fixture_path("indexkey.conf"), 1), 0);
}

START_TEST(everything_acknowledged_is_there)
{
    static struct tally tally;
    configure();
    make_token();
    run_workers(&tally);
    check_all(&tally);
    printf("%d processes: %u keys made, %u versions, %u destroyed; %u calls refused, %u broken\n",
           PROCESSES, tally.count[CREATED], tally.count[ROTATED], tally.count[DESTROYED],
           tally.count[REFUSED], tally.count[BROKEN]);
    (void) fflush(stdout);
    ck_assert_uint_eq(tally.count[BROKEN], 0);
    ck_assert_uint_gt(tally.count[ROTATED], 0);
    ck_assert(may_fail || tally.count[CREATED] == PROCESSES * key_count);
}
END_TEST

int main(void)
{
    const char *keys_text = getenv("INDEXKEY_MANY");
    may_fail = postgres_fixture_is_here();
    if (keys_text != NULL)
        key_count = (unsigned int) atoi(keys_text);
    if (key_count < 2 || key_count > KEYS_MAX)
        return EXIT_FAILURE;
    TCase *cases = tcase_create("custody_many");
    tcase_set_timeout(cases, TIMEOUT_S);
    if (may_fail)
        tcase_add_checked_fixture(cases, postgres_fixture_setup, postgres_fixture_teardown);
    tcase_add_test(cases, everything_acknowledged_is_there);
    return fixture_run("many processes, one token", cases);
}
