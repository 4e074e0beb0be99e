#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/log_text.h"

/* In place of a descriptor: lines go to the syslog socket. */
#define FD_SYSLOG (-1)
#define CLOSE_WAIT_TRIES 100
#define CLOSE_WAIT_NS 1000000

enum target_kind { TARGET_STDERR, TARGET_SYSLOG, TARGET_FILE };

struct target {
    enum target_kind kind;
    enum log_level level;
    char path[PATH_MAX];
};

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},      [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LEVEL_NOTICE] = {"notice", LOG_NOTICE}, [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};
#define LEVEL_COUNT (sizeof levels / sizeof levels[0])

/* Two words rather than one: a line that meets a change may go to the new target at the old
 * level. */
static atomic_int target_fd = STDERR_FILENO;
static atomic_int target_level = LOG_LEVEL_WARNING;
/* Lines being written: a file is closed when there are none, since its number may be another's
 * next. */
static atomic_uint writer_count;

static _Thread_local struct {
    char *text;
    size_t size;
} diverted;

static _Thread_local struct {
    void (*take)(void *context, const char *text);
    void *context;
} collected;

#ifdef INDEXKEY_TEST_HOOKS
static _Atomic(const char *) syslog_path_override;
static void (*_Atomic sink_function)(enum log_level, const char *, void *);
static _Atomic(void *) sink_context;

void log_set_sink(void (*sink)(enum log_level level, const char *line, void *context),
                  void *context)
{
    atomic_store(&sink_context, context);
    atomic_store(&sink_function, sink);
}

void log_set_syslog_path(const char *path)
{
    atomic_store(&syslog_path_override, path);
}

static const char *syslog_path(void)
{
    const char *path = atomic_load(&syslog_path_override);
    return path != NULL ? path : "/dev/log";
}

static bool has_sink(void)
{
    return atomic_load(&sink_function) != NULL;
}

static bool to_sink(enum log_level level, const char *line)
{
    void (*sink)(enum log_level, const char *, void *) = atomic_load(&sink_function);
    if (sink == NULL)
        return false;
    sink(level, line, atomic_load(&sink_context));
    return true;
}
#else
static const char *syslog_path(void)
{
    return "/dev/log";
}

static bool has_sink(void)
{
    return false;
}

static bool to_sink(enum log_level level, const char *line)
{
    (void) level;
    (void) line;
    return false;
}
#endif

static bool level_of(const char *name, enum log_level *ret_level)
{
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        if (strcmp(name, levels[i].name) == 0) {
            *ret_level = (enum log_level) i;
            return true;
        }
    }
    return false;
}

static bool parse_file(const char *text, struct target *target)
{
    const char *colon = strrchr(text, ':');
    if (colon != NULL && !level_of(colon + 1, &target->level))
        return false;
    size_t len = colon != NULL ? (size_t) (colon - text) : strlen(text);
    if (text[0] != '/' || len >= sizeof target->path)
        return false;
    memcpy(target->path, text, len);
    target->path[len] = '\0';
    return true;
}

static bool parse_target(const char *text, struct target *target)
{
    target->level = LOG_LEVEL_WARNING;
    size_t word_len = strcspn(text, ":");
    const char *rest = text[word_len] == ':' ? text + word_len + 1 : NULL;
    if (word_len == strlen("file") && strncmp(text, "file", word_len) == 0) {
        target->kind = TARGET_FILE;
        return rest != NULL && parse_file(rest, target);
    }
    if (word_len != strlen("stderr"))
        return false;
    if (strncmp(text, "stderr", word_len) == 0)
        target->kind = TARGET_STDERR;
    else if (strncmp(text, "syslog", word_len) == 0)
        target->kind = TARGET_SYSLOG;
    else
        return false;
    return rest == NULL || level_of(rest, &target->level);
}

bool log_target_is_valid(const char *target)
{
    struct target parsed;
    return parse_target(target, &parsed);
}

/* The new target stands; what log_open opened before is closed once nobody writes to it. In the
 * child of a fork a line of the parent's may count for ever, so the wait ends, and the file stays
 * open. */
static void switch_to(int fd, enum log_level level)
{
    int old = atomic_exchange(&target_fd, fd);
    atomic_store(&target_level, (int) level);
    if (old == FD_SYSLOG || old == STDERR_FILENO)
        return;
    for (int i = 0; i < CLOSE_WAIT_TRIES; i++) {
        if (atomic_load(&writer_count) == 0) {
            (void) close(old);
            return;
        }
        (void) nanosleep(&(struct timespec){.tv_nsec = CLOSE_WAIT_NS}, NULL);
    }
}

static int open_file(const char *path)
{
    /* O_NONBLOCK is for a FIFO that nobody reads: neither open nor write may hang the host. */
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags, S_IRUSR | S_IWUSR);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    /* A host that closed its standard streams: a number of theirs would be reopened under us, and
     * stderr's is not ours to close. */
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    (void) close(fd);
    return moved;
}

bool log_open(const char *target)
{
    int saved = errno;
    struct target parsed;
    bool done = parse_target(target, &parsed);
    int fd = STDERR_FILENO;
    if (done && parsed.kind == TARGET_SYSLOG) {
        fd = FD_SYSLOG;
    } else if (done && parsed.kind == TARGET_FILE) {
        fd = open_file(parsed.path);
        done = fd >= 0;
    }
    if (done)
        switch_to(fd, parsed.level);
    errno = saved;
    return done;
}

void log_close(void)
{
    int saved = errno;
    switch_to(STDERR_FILENO, LOG_LEVEL_WARNING);
    errno = saved;
}

void log_divert(char *buffer, size_t size)
{
    diverted.text = buffer;
    diverted.size = size;
}

void log_collect(void (*take)(void *context, const char *text), void *context)
{
    collected.take = take;
    collected.context = context;
}

bool log_enabled(enum log_level level)
{
    return (int) level <= atomic_load_explicit(&target_level, memory_order_relaxed) || has_sink();
}

/* One write. A pipe whose reader is gone must not kill the host by SIGPIPE, and the host's
 * handling of that signal is not ours to change: it is held back in this thread, and taken if the
 * write made it. */
static void write_line(int fd, const char *line, size_t len)
{
    sigset_t pipe_set;
    sigset_t pending;
    sigset_t old;
    (void) sigemptyset(&pipe_set);
    (void) sigaddset(&pipe_set, SIGPIPE);
    (void) sigemptyset(&pending);
    (void) sigpending(&pending);
    if (pthread_sigmask(SIG_BLOCK, &pipe_set, &old) != 0)
        return;
    ssize_t written;
    do {
        written = write(fd, line, len);
    } while (written < 0 && errno == EINTR);
    if (written < 0 && errno == EPIPE && sigismember(&pending, SIGPIPE) == 0)
        (void) sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Not syslog(3): it has a lock that a fork can leave held, and the host's openlog settings. */
static void write_syslog(enum log_level level, const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = syslog_path();
    if (strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    char line[LOG_LINE_MAX + 64];
    int priority = LOG_USER | levels[level].priority;
    int len = snprintf(line, sizeof line, "<%d>indexkey[%ld]: %s: %s", priority, (long) getpid(),
                       levels[level].name, text);
    if (len > 0 && (size_t) len < sizeof line)
        (void) sendto(fd, line, (size_t) len, MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *) &address, sizeof address);
    (void) close(fd);
}

static void emit(enum log_level level, char *line, const char *text)
{
    if (to_sink(level, line))
        return;
    (void) atomic_fetch_add(&writer_count, 1);
    int fd = atomic_load(&target_fd);
    if (fd == FD_SYSLOG) {
        write_syslog(level, text);
    } else {
        size_t len = strlen(line);
        line[len] = '\n';
        write_line(fd, line, len + 1);
    }
    (void) atomic_fetch_sub(&writer_count, 1);
}

void log_line(enum log_level level, const char *format, ...)
{
    if ((size_t) level >= LEVEL_COUNT || !log_enabled(level))
        return;
    int saved = errno;
    /* The newline takes the place of the NUL, so a whole line has LOG_LINE_MAX bytes at most. */
    char line[LOG_LINE_MAX];
    int prefix_len = snprintf(line, sizeof line, "indexkey: %s: ", levels[level].name);
    char *text = line + prefix_len;
    va_list args;
    va_start(args, format);
    errno = saved;
    int len = vsnprintf(text, sizeof line - (size_t) prefix_len, format, args);
    va_end(args);
    if (len >= 0) {
        log_text_clean(text);
        if (level == LOG_LEVEL_ERROR && diverted.text != NULL)
            (void) snprintf(diverted.text, diverted.size, "%s", text);
        else if (level == LOG_LEVEL_ERROR && collected.take != NULL)
            collected.take(collected.context, text);
        else
            emit(level, line, text);
    }
    errno = saved;
}
