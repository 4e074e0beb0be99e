#include "tokens/aws_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/json_scan.h"

#define OUTPUT_MAX ((size_t) 64 << 10)
#define STEP_MS 50
#define VERSION 1
#define FIRST_FREE_FD 3

/* ---- words ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Copies one word to `*to` and moves behind it. In double quotes a backslash escapes itself and the
 * quote alone; in single ones nothing is. */
static bool take_word(const char **from, char **to)
{
    char quote = '\0';
    for (; **from != '\0' && (quote != '\0' || !is_blank(**from)); (*from)++) {
        char c = **from;
        bool escapes = c == '\\' && quote != '\'' &&
                       (quote == '\0' || (*from)[1] == '"' || (*from)[1] == '\\');
        if (c == quote && quote != '\0') {
            quote = '\0';
            continue;
        }
        if (quote == '\0' && (c == '\'' || c == '"')) {
            quote = c;
            continue;
        }
        if (escapes && *++*from == '\0')
            return false;
        *(*to)++ = **from;
    }
    return quote == '\0';
}

bool aws_process_split(char *text, char *ret_words[AWS_PROCESS_WORDS_MAX + 1])
{
    const char *from = text;
    char *to = text;
    size_t count = 0;
    for (;;) {
        while (is_blank(*from))
            from++;
        if (*from == '\0')
            break;
        if (count == AWS_PROCESS_WORDS_MAX)
            return false;
        ret_words[count++] = to;
        if (!take_word(&from, &to))
            return false;
        /* The word's end may stand where the next blank is read. */
        if (*from != '\0')
            from++;
        *to++ = '\0';
    }
    ret_words[count] = NULL;
    return count > 0;
}

/* ---- the child ---- */

struct child {
    pid_t pid;
    int output; /* -1: closed */
    bool is_reaped;
    int status; /* 0 when the host's own SIGCHLD handling has taken it */
};

static void close_output(struct child *child)
{
    if (child->output >= 0)
        (void) close(child->output);
    child->output = -1;
}

static bool reap(struct child *child, int flags)
{
    pid_t pid;
    if (child->is_reaped)
        return true;
    do {
        pid = waitpid(child->pid, &child->status, flags);
    } while (pid < 0 && errno == EINTR);
    child->is_reaped = pid != 0;
    return child->is_reaped;
}

static void child_end(struct child *child)
{
    close_output(child);
    if (child->pid <= 0)
        return;
    if (!child->is_reaped) {
        (void) kill(-child->pid, SIGKILL);
        (void) reap(child, 0);
    }
    child->pid = 0;
}

static int set_up(posix_spawn_file_actions_t *files, posix_spawnattr_t *attributes, int output)
{
    sigset_t none;
    sigset_t all;
    (void) sigemptyset(&none);
    (void) sigfillset(&all);
    int error = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(files, output, STDOUT_FILENO);
    if (error == 0)
        error = posix_spawn_file_actions_addopen(files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    /* The host's files that are not close-on-exec. */
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(files, FIRST_FREE_FD);
    (void) posix_spawnattr_setpgroup(attributes, 0);
    (void) posix_spawnattr_setsigmask(attributes, &none);
    (void) posix_spawnattr_setsigdefault(attributes, &all);
    (void) posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
    return error;
}

/* posix_spawn runs no atfork handlers, neither the host's nor ours. */
static int spawn(char *const words[], int output, struct child *child)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&files);
    if (error != 0)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = set_up(&files, &attributes, output);
        if (error == 0)
            error = posix_spawnp(&child->pid, words[0], &files, &attributes, words, environ);
        (void) posix_spawnattr_destroy(&attributes);
    }
    (void) posix_spawn_file_actions_destroy(&files);
    if (error != 0)
        child->pid = 0;
    return error;
}

static int start(char *const words[], struct child *child)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    child->output = ends[0];
    /* Not 0, 1 or 2: a host may have closed those, and the child's are made there. */
    int output = fcntl(ends[1], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int error = output < 0 ? errno : spawn(words, output, child);
    (void) close(ends[1]);
    if (output >= 0)
        (void) close(output);
    return error;
}

/* ---- its output ---- */

enum end {
    END_DONE,
    END_TOO_MUCH,
    END_TIMEOUT,
    END_CANCELLED,
    END_BROKEN,
};

static bool is_over(const struct source_call *call, enum end *ret_end)
{
    if (atomic_load(call->cancelled))
        *ret_end = END_CANCELLED;
    else if (clock_boot_ms() >= call->deadline_ms)
        *ret_end = END_TIMEOUT;
    else
        return false;
    return true;
}

static enum end read_output(const struct source_call *call, struct child *child,
                            struct secret *output)
{
    size_t len = 0;
    enum end end;
    while (!is_over(call, &end)) {
        struct pollfd waited = {.fd = child->output, .events = POLLIN};
        if (poll(&waited, 1, STEP_MS) <= 0)
            continue;
        if (len == output->len)
            return END_TOO_MUCH;
        ssize_t got = read(child->output, output->bytes + len, output->len - len);
        if (got < 0 && errno != EINTR)
            return END_BROKEN;
        if (got == 0) {
            output->len = len;
            return END_DONE;
        }
        len += got > 0 ? (size_t) got : 0;
    }
    return end;
}

static enum end wait_for(const struct source_call *call, struct child *child)
{
    enum end end;
    while (!reap(child, WNOHANG)) {
        if (is_over(call, &end))
            return end;
        (void) poll(NULL, 0, STEP_MS / 10);
    }
    return END_DONE;
}

static CK_RV fail_end(const char *token, enum end end)
{
    switch (end) {
    case END_CANCELLED:
        return FAIL_CAUSE(INDEXKEY_CAUSE_CANCELLED,
                          "token '%s': cancelled while its credential_process ran; nothing is "
                          "wrong",
                          token);
    case END_TIMEOUT:
        return FAIL_CAUSE(INDEXKEY_CAUSE_TIMEOUT,
                          "token '%s': timeout: its credential_process did not end in time and "
                          "was killed; run it by hand, or raise deadline",
                          token);
    case END_TOO_MUCH:
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its credential_process writes more than %zu bytes and was "
                          "killed; it must write one set of credentials",
                          token, OUTPUT_MAX);
    case END_DONE:
    case END_BROKEN:
        break;
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                      "token '%s': the output of its credential_process cannot be read; run it by "
                      "hand",
                      token);
}

/* ---- all of it ---- */

static CK_RV run(const struct aws_fetch *fetch, char *const words[], struct secret *ret_output)
{
    const char *token = fetch->aws->http.token;
    _cleanup_(child_end) struct child child = {.output = -1};
    _cleanup_(secret_clear) struct secret output = {0};
    TRY(secret_new(OUTPUT_MAX, &output));
    int error = start(words, &child);
    if (error != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its credential_process cannot be run (error %d); name a "
                          "program by its absolute path that this process may run",
                          token, error);
    enum end end = read_output(fetch->call, &child, &output);
    if (end == END_DONE) {
        close_output(&child);
        end = wait_for(fetch->call, &child);
    }
    if (end != END_DONE)
        return fail_end(token, end);
    if (child.status != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': its credential_process failed (%s %d); run it by hand to "
                          "see why",
                          token, WIFEXITED(child.status) ? "exit status" : "signal",
                          WIFEXITED(child.status) ? WEXITSTATUS(child.status)
                                                  : WTERMSIG(child.status));
    *ret_output = secret_move(&output);
    return CKR_OK;
}

static bool has_version(const struct secret *output)
{
    struct reader scan = reader_of((struct view){output->bytes, output->len});
    return json_scan_to(&scan, "Version") && scan.at < scan.end && *scan.at == '0' + VERSION &&
           (scan.at + 1 == scan.end || strchr(" \t\r\n,}", scan.at[1]) != NULL);
}

CK_RV aws_process_run(const struct aws_fetch *fetch, const char *command,
                      struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    const char *token = fetch->aws->http.token;
    char *words[AWS_PROCESS_WORDS_MAX + 1];
    _cleanup_(mem_free_pointer) char *text = mem_strdup(command);
    _cleanup_(secret_clear) struct secret output = {0};
    int64_t expires_s = 0;
    if (text == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its AWS credentials", token);
    if (strlen(text) > AWS_PROCESS_COMMAND_MAX || !aws_process_split(text, words))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its credential_process is no command of at most %d words, "
                          "or a quote in it does not end",
                          token, AWS_PROCESS_WORDS_MAX);
    TRY(run(fetch, words, &output));
    CK_RV rv = has_version(&output)
                   ? aws_credentials_take_json(&output, "SessionToken", credentials, &expires_s)
                   : CKR_DATA_INVALID;
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': its credential_process has not written credentials as JSON "
                          "with Version 1; run it by hand",
                          token);
    TRY(rv);
    int64_t left_s = expires_s - clock_utc_s();
    *ret_lifetime_s = expires_s == 0 ? AWS_LIFETIME_UNKNOWN_S : left_s > 0 ? left_s : 0;
    return CKR_OK;
}
