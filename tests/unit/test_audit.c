/*
 * The writer: what is on disk when a call returns, what a full disk refuses, what a kill leaves,
 * rotation of the file, several processes on one file, counted uses.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/audit_fixture.h"
#include "tokens/audit_send.h"
#include "tokens/audit_usage.h"

static struct audit_findings findings;
static const struct audit_proof by_key = {.with_mac = true};

static void expect_clean(const char *const *paths, size_t count)
{
    audit_files_verify(paths, count, &by_key, &findings);
    ck_assert_msg(findings.verdict.wrong == 0, "%s", findings.all);
}

static void expect_clean_log(void)
{
    const char *path = audit_fixture_path();

    expect_clean(&path, 1);
}

/* ---- faults at the N-th call that changes the file ---- */

enum fault { FAULT_NONE, FAULT_KILL_BEFORE, FAULT_KILL_HALF, FAULT_KILL_AFTER, FAULT_FULL };

static enum fault fault;
static int calls_left; /* until the fault */

static bool is_hit(void)
{
    return fault != FAULT_NONE && --calls_left == 0;
}

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);

ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    bool hit = is_hit();

    if (hit && fault == FAULT_KILL_BEFORE)
        (void) raise(SIGKILL);
    if (hit && (fault == FAULT_KILL_HALF || fault == FAULT_FULL)) {
        ssize_t written = write(fd, parts[0].iov_base, parts[0].iov_len / 2);
        if (fault == FAULT_KILL_HALF)
            (void) raise(SIGKILL);
        return written;
    }
    ssize_t written = __real_writev(fd, parts, count);
    if (hit && fault == FAULT_KILL_AFTER)
        (void) raise(SIGKILL);
    return written;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
    bool hit = is_hit();

    if (hit && fault == FAULT_FULL) {
        errno = ENOSPC;
        return -1;
    }
    if (hit)
        (void) raise(SIGKILL);
    return __real_fdatasync(fd);
}

/* ---- lines ---- */

START_TEST(test_lines_before_login_are_countersigned)
{
    struct audit *audit = audit_fixture_open("");
    struct audit_text text;

    ck_assert_uint_eq(audit_fixture_write(audit, "init-token", ""), CKR_OK);
    ck_assert_uint_eq(audit_login(audit, &(struct audit_event){.event = "login",
                                                               .role = "user",
                                                               .result = CKR_PIN_INCORRECT,
                                                               .cause = INDEXKEY_CAUSE_PIN}),
                      CKR_OK);
    audit_fixture_login(audit);
    expect_clean_log();
    ck_assert_uint_eq(findings.verdict.unproved, 0);
    ck_assert_uint_eq(findings.verdict.good_signatures, 1);
    audit_text_read(&text, audit_fixture_path());
    ck_assert_ptr_null(strstr(text.lines[1], "\"mac\":"));
    ck_assert_ptr_nonnull(
        strstr(text.lines[1], "\"result\":\"CKR_PIN_INCORRECT\",\"cause\":\"pin\""));
    ck_assert_ptr_nonnull(strstr(text.lines[2], "\"mac\":"));
    audit_text_clear(&text);
    audit_close(&audit);
}
END_TEST

/* A label that tries to end its string, its line, or the terminal's. */
START_TEST(test_hostile_labels_stay_inside)
{
    static const struct {
        const char *label;
        const char *written;
    } rows[] = {
        {"a\"}\n{\"v\":1", "\"label\":\"a\\\"}\\u000a{\\\"v\\\":1\""},
        {"\\\x1b[2J\x7f", "\"label\":\"\\\\\\u001b[2J\\u007f\""},
        {"\xc3\xbc \xe2\x80\xae \xf0\x9f\x94\x91", "\"label\":\"\\u00fc \\u202e \\ud83d\\udd11\""},
        {"\xff\xc3(\xed\xa0\x80", "\"label\":\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\""},
    };
    struct audit *audit = audit_fixture_open("");
    struct audit_text text;

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        ck_assert_uint_eq(audit_fixture_write(audit, "create", rows[i].label), CKR_OK);
    char *longest = calloc(1, 100000);
    memset(longest, 1, 99999);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", longest), CKR_OK);
    free(longest);
    audit_text_read(&text, audit_fixture_path());
    ck_assert_uint_eq(text.count, COUNT_OF(rows) + 1);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        ck_assert_msg(strstr(text.lines[i], rows[i].written) != NULL, "%s", text.lines[i]);
    audit_text_clear(&text);
    expect_clean_log();
    audit_close(&audit);
}
END_TEST

START_TEST(test_nothing_is_configured)
{
    const struct audit_event event = {.event = "create"};

    ck_assert_uint_eq(audit_write(NULL, &event), CKR_OK);
    ck_assert_uint_eq(audit_login(NULL, &event), CKR_OK);
    audit_logout(NULL, &event);
    ck_assert_ptr_null(audit_metrics(NULL));
}
END_TEST

/* The token key is replaced: who holds the former public key verifies on. */
START_TEST(test_a_new_audit_key_is_named_by_the_former_one)
{
    const unsigned char bytes[32] = "the token key that comes after";
    _cleanup_(secret_clear) struct secret later = {NULL, 0};
    const struct audit_event login = {.event = "login", .role = "user"};
    const char *path = audit_fixture_path();
    const struct audit_proof public_key_alone = {.head = NULL};

    ck_assert_uint_eq(secret_from(bytes, sizeof(bytes), &later), CKR_OK);
    for (int named = 0; named < 2; named++) {
        struct audit *audit = audit_fixture_open("");
        audit_fixture_login(audit);
        if (named)
            ck_assert_uint_eq(
                audit_succeed(audit, AUDIT_FIXTURE_SERIAL, audit_fixture_token_key(), &later),
                CKR_OK);
        audit_fixture_logout(audit);
        ck_assert_uint_eq(audit_unlock(audit, AUDIT_FIXTURE_SERIAL, &later), CKR_OK);
        ck_assert_uint_eq(audit_login(audit, &login), CKR_OK);
        ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_OK);
        audit_fixture_logout(audit);
        audit_close(&audit);
        audit_files_verify(&path, 1, &public_key_alone, &findings);
        ck_assert_msg((findings.verdict.wrong == 0) == named, "%s", findings.all);
        fixture_remove("audit.jsonl");
    }
}
END_TEST

/* ---- a full disk ---- */

START_TEST(test_a_full_disk_refuses)
{
    struct audit *audit = audit_fixture_open("");
    struct rlimit former;
    struct stat before;
    struct stat after;

    (void) signal(SIGXFSZ, SIG_IGN);
    audit_fixture_login(audit);
    ck_assert_int_eq(stat(audit_fixture_path(), &before), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &former), 0);
    /* Half of a line finds room. */
    struct rlimit limit = {(rlim_t) before.st_size + 200, former.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_DEVICE_ERROR);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_AUDIT);
    ck_assert_int_eq(stat(audit_fixture_path(), &after), 0);
    ck_assert_int_eq(before.st_size, after.st_size);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &former), 0);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_OK);
    audit_fixture_logout(audit);
    audit_close(&audit);
    expect_clean_log();
}
END_TEST

/* At each call in its turn; what was refused may stand in the log, what was not refused does. */
START_TEST(test_failing_writes_and_syncs_refuse)
{
    struct audit *audit = audit_fixture_open("");
    struct audit_text text;
    char label[32];

    audit_fixture_login(audit);
    for (int i = 1; i < 12; i++) {
        fault = FAULT_FULL;
        calls_left = i;
        CK_RV refused = CKR_OK;
        for (int j = 0; calls_left > 0; j++) {
            (void) snprintf(label, sizeof(label), "at-%d-%d", i, j);
            refused = audit_fixture_write(audit, "create", label);
        }
        ck_assert_uint_eq(refused, CKR_DEVICE_ERROR);
        fault = FAULT_NONE;
        ck_assert_uint_eq(audit_fixture_write(audit, "create", "afterwards"), CKR_OK);
    }
    audit_fixture_logout(audit);
    audit_close(&audit);
    expect_clean_log();
    audit_text_read(&text, audit_fixture_path());
    ck_assert_uint_ge(text.count, 2 + 11 + 1);
    audit_text_clear(&text);
}
END_TEST

START_TEST(test_without_required_nothing_is_refused)
{
    struct audit *audit = audit_fixture_open("\naudit_required = no\n");

    fault = FAULT_FULL;
    calls_left = 1;
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_OK);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "cannot write its audit log"));
    fault = FAULT_NONE;
    audit_close(&audit);
}
END_TEST

START_TEST(test_files_of_others_are_refused)
{
    struct audit *audit = audit_fixture_open("");

    fixture_write("audit.jsonl", "", 0622);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_DEVICE_ERROR);
    fixture_remove("audit.jsonl");
    ck_assert_int_eq(symlink("/dev/full", audit_fixture_path()), 0);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_DEVICE_ERROR);
    fixture_remove("audit.jsonl");
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "x"), CKR_OK);
    audit_close(&audit);
}
END_TEST

static uint64_t uses_in_log(size_t *ret_events)
{
    struct audit_usage usage;
    struct audit_text text;
    uint64_t uses = 0;

    audit_text_read(&text, audit_fixture_path());
    *ret_events = 0;
    size_t len = 0;
    char *bytes = calloc(text.count + 1, 4098);
    for (size_t i = 0; i < text.count; i++) {
        *ret_events += strstr(text.lines[i], "\"event\":\"create\"") != NULL &&
                       strstr(text.lines[i], "\"mac\":") != NULL;
        len += (size_t) sprintf(bytes + len, "%s\n", text.lines[i]);
    }
    const struct audit_input file = {"log", {(const unsigned char *) bytes, len}};
    ck_assert_uint_eq(audit_usage(&file, 1, &usage), CKR_OK);
    for (size_t i = 0; i < usage.count; i++)
        uses += usage.rows[i].uses;
    audit_usage_clear(&usage);
    audit_text_clear(&text);
    free(bytes);
    return uses;
}

/* ---- copies to the system's log ---- */

static int bind_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
    return fd;
}

START_TEST(test_syslog_and_journal_get_each_line)
{
    struct audit *audit = audit_fixture_open("syslog:local0 journald:");
    char syslog_path[128];
    char journal_path[128];
    char to_syslog[5000] = "";
    char to_journal[5000] = "";
    struct audit_text text;

    (void) snprintf(syslog_path, sizeof(syslog_path), "%s", fixture_path("syslog"));
    (void) snprintf(journal_path, sizeof(journal_path), "%s", fixture_path("journal"));
    audit_send_test_sockets(syslog_path, journal_path);
    int syslog_end = bind_socket(syslog_path);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "a"), CKR_DEVICE_ERROR);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "the journal does not take a line"));
    ck_assert_int_gt(recv(syslog_end, to_syslog, sizeof(to_syslog) - 1, 0), 0);
    int journal_end = bind_socket(journal_path);
    memset(to_syslog, 0, sizeof(to_syslog));
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "b"), CKR_OK);
    ck_assert_int_gt(recv(syslog_end, to_syslog, sizeof(to_syslog) - 1, 0), 0);
    ck_assert_int_gt(recv(journal_end, to_journal, sizeof(to_journal) - 1, 0), 0);
    audit_text_read(&text, audit_fixture_path());
    ck_assert_uint_eq(text.count, 2);
    ck_assert_int_eq(strncmp(to_syslog, "<133>indexkey-audit[", 20), 0);
    ck_assert_str_eq(strchr(to_syslog, '{'), text.lines[1]);
    ck_assert_str_eq(strstr(to_journal, "MESSAGE=") + 8, text.lines[1]);
    audit_text_clear(&text);
    audit_send_test_sockets(NULL, NULL);
    (void) close(syslog_end);
    (void) close(journal_end);
    (void) unlink(syslog_path);
    (void) unlink(journal_path);
    audit_close(&audit);
}
END_TEST

/* ---- threads ---- */

#define THREADS 4

struct crowd {
    struct audit *audit;
    _Atomic uint64_t uses;
};

static void *write_and_use(void *context)
{
    struct crowd *crowd = context;
    const struct object_id id = {{5}};
    const struct audit_use use = {"user", &id, view_text("k"), "CKM_AES_CMAC"};
    struct audit_share share = {.count = NULL};

    for (int i = 0; i < 50; i++) {
        if (audit_fixture_write(crowd->audit, "create", "x") != CKR_OK)
            return context;
        for (int j = 0; j < 20; j++) {
            if (share.left == 0 && audit_share_fill(crowd->audit, &use, &share) != CKR_OK)
                return context;
            share.left--;
            crowd->uses++;
        }
    }
    audit_share_give_back(&share);
    return NULL;
}

START_TEST(test_threads_share_a_writer)
{
    struct crowd crowd = {.audit = audit_fixture_open("")};
    pthread_t threads[THREADS];
    size_t events;

    audit_fixture_login(crowd.audit);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_and_use, &crowd), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    audit_fixture_logout(crowd.audit);
    ck_assert_uint_eq(uses_in_log(&events), THREADS * 50 * 20);
    ck_assert_uint_eq(events, THREADS * 50);
    audit_close(&crowd.audit);
    expect_clean_log();
}
END_TEST

/* ---- kill -9 ---- */

/* In a child: tells each acknowledged event and use by a byte. */
static void work_until_killed(int told)
{
    struct audit *audit = audit_fixture_open("");
    const struct object_id id = {{7}};
    const struct audit_use use = {"user", &id, view_text("counted"), "CKM_SHA256_HMAC"};
    struct audit_share share = {.count = NULL};

    audit_fixture_login(audit);
    for (int i = 0; i < 3; i++) {
        if (audit_fixture_write(audit, "create", "told") == CKR_OK)
            (void) !write(told, "e", 1);
        for (int j = 0; j < 100; j++) {
            if (share.left == 0 && audit_share_fill(audit, &use, &share) != CKR_OK)
                _exit(2);
            share.left--;
            (void) !write(told, "u", 1);
        }
    }
    audit_share_give_back(&share);
    audit_fixture_logout(audit);
    audit_close(&audit);
}

/* True when the child came to its end. */
static bool run_child(enum fault kind, int call, size_t *ret_events, size_t *ret_uses)
{
    int pipe_ends[2];
    char told;
    int status;

    ck_assert_int_eq(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void) close(pipe_ends[0]);
        audit_fixture_in_child();
        fault = kind;
        calls_left = call;
        work_until_killed(pipe_ends[1]);
        _exit(0);
    }
    (void) close(pipe_ends[1]);
    while (read(pipe_ends[0], &told, 1) == 1) {
        *ret_events += told == 'e';
        *ret_uses += told == 'u';
    }
    (void) close(pipe_ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
    return WIFEXITED(status);
}

/* All lives write to one file: what a life leaves must not harm the next one. */
START_TEST(test_kills_at_every_write_leave_a_good_log)
{
    static const enum fault kinds[] = {FAULT_KILL_BEFORE, FAULT_KILL_HALF, FAULT_KILL_AFTER};
    size_t events = 0;
    size_t uses = 0;
    size_t written;
    size_t kills = 0;

    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
        bool ended = false;
        for (int call = 1; !ended; call++) {
            ended = run_child(kinds[kind], call, &events, &uses);
            kills += !ended;
            ck_assert_uint_ge(uses_in_log(&written), uses);
            ck_assert_uint_ge(written, events);
            expect_clean_log();
        }
    }
    ck_assert_uint_gt(kills, 40);
    /* At most the first block and what was doubled. */
    ck_assert_uint_le(uses_in_log(&written), 3 * uses + 64 * (kills + 3));
}
END_TEST

/* ---- several processes, rotation ---- */

#define WRITERS 4
#define LINES_EACH 100

static void write_in_child(int number)
{
    audit_fixture_in_child();
    struct audit *audit = audit_fixture_open("");
    char label[32];

    audit_fixture_login(audit);
    for (int i = 0; i < LINES_EACH; i++) {
        (void) snprintf(label, sizeof(label), "w%d-%d", number, i);
        if (audit_fixture_write(audit, "create", label) != CKR_OK)
            _exit(1);
        /* One of them is logrotate. */
        if (number == 0 && i % 30 == 20) {
            char old[128];
            (void) snprintf(old, sizeof(old), "%s.%d", audit_fixture_path(), i / 30);
            if (rename(audit_fixture_path(), old) != 0)
                _exit(1);
        }
    }
    audit_fixture_logout(audit);
    audit_close(&audit);
    _exit(0);
}

START_TEST(test_processes_share_a_file_that_rotates)
{
    char names[4][128];
    const char *paths[4];

    for (int i = 0; i < WRITERS; i++)
        if (fork() == 0)
            write_in_child(i);
    for (int i = 0; i < WRITERS; i++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    for (int i = 0; i < 4; i++) {
        (void) snprintf(names[i], sizeof(names[i]), "%s.%d", audit_fixture_path(), i);
        if (i == 3)
            (void) snprintf(names[i], sizeof(names[i]), "%s", audit_fixture_path());
        paths[i] = names[i];
    }
    expect_clean(paths, 4);
    ck_assert_uint_eq(findings.verdict.writers, WRITERS);
    ck_assert_uint_ge(findings.verdict.lines, WRITERS * (LINES_EACH + 3));
}
END_TEST

START_TEST(test_a_rotated_file_begins_with_the_chain)
{
    struct audit *audit = audit_fixture_open("");
    struct audit_text text;
    char old[128];

    (void) snprintf(old, sizeof(old), "%s.1", audit_fixture_path());
    audit_fixture_login(audit);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "before"), CKR_OK);
    ck_assert_int_eq(rename(audit_fixture_path(), old), 0);
    ck_assert_uint_eq(audit_fixture_write(audit, "create", "after"), CKR_OK);
    audit_text_read(&text, audit_fixture_path());
    ck_assert_uint_eq(text.count, 2);
    ck_assert_uint_eq(audit_text_find(&text, 0, "file"), 0);
    audit_text_clear(&text);
    const char *both[] = {old, audit_fixture_path()};
    expect_clean(both, 2);
    /* Without the former file the beginning is unproved, and nothing is wrong. */
    expect_clean_log();
    ck_assert_uint_gt(findings.counts[AUDIT_UNPROVED], 1);
    audit_close(&audit);
}
END_TEST

/* ---- uses ---- */

START_TEST(test_uses_are_counted_by_key_and_given_back)
{
    struct audit *audit = audit_fixture_open("");
    const struct object_id id = {{9}};
    const struct audit_use use = {"user", &id, view_text("k"), "CKM_AES_GCM"};
    struct audit_share shares[3] = {{.count = NULL}};
    size_t events;

    audit_fixture_login(audit);
    for (int i = 0; i < 1000; i++) {
        struct audit_share *share = &shares[i % 3];
        if (share->left == 0)
            ck_assert_uint_eq(audit_share_fill(audit, &use, share), CKR_OK);
        share->left--;
    }
    ck_assert_uint_ge(uses_in_log(&events), 1000);
    for (int i = 0; i < 3; i++)
        audit_share_give_back(&shares[i]);
    audit_fixture_logout(audit);
    ck_assert_uint_eq(uses_in_log(&events), 1000);
    audit_close(&audit);
    expect_clean_log();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("audit");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, audit_fixture_setup, audit_fixture_teardown);
    tcase_add_test(cases, test_lines_before_login_are_countersigned);
    tcase_add_test(cases, test_hostile_labels_stay_inside);
    tcase_add_test(cases, test_a_new_audit_key_is_named_by_the_former_one);
    tcase_add_test(cases, test_nothing_is_configured);
    tcase_add_test(cases, test_a_full_disk_refuses);
    tcase_add_test(cases, test_failing_writes_and_syncs_refuse);
    tcase_add_test(cases, test_without_required_nothing_is_refused);
    tcase_add_test(cases, test_files_of_others_are_refused);
    tcase_add_test(cases, test_syslog_and_journal_get_each_line);
    tcase_add_test(cases, test_threads_share_a_writer);
    tcase_add_test(cases, test_kills_at_every_write_leave_a_good_log);
    tcase_add_test(cases, test_processes_share_a_file_that_rotates);
    tcase_add_test(cases, test_a_rotated_file_begins_with_the_chain);
    tcase_add_test(cases, test_uses_are_counted_by_key_and_given_back);
    return audit_fixture_run("audit", cases);
}
