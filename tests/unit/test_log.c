/* Log lines: targets, levels, the shape of a line, and what a line must not do to its process. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/base_fixture.h"

#define THREAD_COUNT 4
#define LINES_PER_THREAD 300

static char folder[64];
static char text[1 << 20];

static void folder_make(void)
{
    strcpy(folder, "/tmp/test-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void folder_remove(void)
{
    log_close();
    char command[128];
    (void) snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char *path_of(const char *name)
{
    static char path[128];
    (void) snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* A target in the folder; `name` ends with the level. */
static const char *target_of(const char *name)
{
    static char target[160];
    (void) snprintf(target, sizeof target, "file:%s", path_of(name));
    return target;
}

static const char *text_of(const char *path)
{
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    (void) fclose(file);
    return text;
}

static const struct {
    const char *target;
    bool is_valid;
} targets[] = {
    {"stderr", true},
    {"stderr:error", true},
    {"stderr:warning", true},
    {"stderr:notice", true},
    {"syslog", true},
    {"syslog:info", true},
    {"file:/a", true},
    {"file:/a:debug", true},
    {"file:/a:b:debug", true},
    {"", false},
    {":", false},
    {":warning", false},
    {"stderr:", false},
    {"stderr:loud", false},
    {"stderr:warning:", false},
    {"stderr:Warning", false},
    {"stdout", false},
    {"stdout:warning", false},
    {"stder", false},
    {"file", false},
    {"file:", false},
    {"file::debug", false},
    {"file:a", false},
    {"file:a:debug", false},
    {"file:/a:", false},
    {"file:/a:inof", false},
    {"files:/a", false},
};

START_TEST(targets_are_checked)
{
    ck_assert_int_eq(log_target_is_valid(targets[_i].target), targets[_i].is_valid);
}
END_TEST

START_TEST(an_overlong_path_is_refused)
{
    char target[PATH_MAX + 16];
    memset(target, 'a', sizeof target);
    memcpy(target, "file:/", 6);
    target[sizeof target - 1] = '\0';
    ck_assert(!log_target_is_valid(target));
    ck_assert(!log_open(target));
}
END_TEST

static const struct {
    const char *bytes;
    const char *shown;
} lines[] = {
    {"plain ~!", "plain ~!"},
    {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91"},
    {"a\nindexkey: error: forged", "a indexkey: error: forged"},
    {"a\r\tb\v", "a  b "},
    {"\x1b[31mred\x07\x7f", "?[31mred??"},
    {"\xc2\x9b"
     "31m",
     "??31m"},                           /* C1 control */
    {"\xff\xfe", "??"},                  /* no lead byte */
    {"\x80 \xbf", "? ?"},                /* continuation alone */
    {"\xc3", "?"},                       /* cut short */
    {"\xe2\x82", "??"},                  /* cut short */
    {"\xc3(", "?("},                     /* not continued */
    {"\xc0\x8a \xe0\x80\x8a", "?? ???"}, /* overlong newline */
    {"\xed\xa0\x80", "???"},             /* surrogate */
    {"\xf4\x90\x80\x80", "????"},        /* beyond Unicode */
    {"\xe2\x80\xae"
     "gnp.exe",
     "???gnp.exe"},          /* right-to-left override */
    {"\xe2\x80\xa8", "???"}, /* line separator */
};

START_TEST(lines_are_cleaned)
{
    char expected[128];
    (void) snprintf(expected, sizeof expected, "indexkey: notice: %s\n", lines[_i].shown);
    fixture_catch_log();
    log_line(LOG_LEVEL_NOTICE, "%s", lines[_i].bytes);
    ck_assert_str_eq(fixture_log(), expected);
}
END_TEST

START_TEST(a_file_gets_the_lines_of_its_level)
{
    ck_assert(log_open(target_of("log:notice")));
    ck_assert(log_enabled(LOG_LEVEL_NOTICE));
    ck_assert(!log_enabled(LOG_LEVEL_INFO));
    log_line(LOG_LEVEL_ERROR, "one");
    log_line(LOG_LEVEL_NOTICE, "two %d", 2);
    log_line(LOG_LEVEL_INFO, "three");
    log_line((enum log_level) 99, "four");
    log_close();
    ck_assert(!log_enabled(LOG_LEVEL_NOTICE));
    ck_assert_str_eq(text_of(path_of("log")), "indexkey: error: one\nindexkey: notice: two 2\n");
    struct stat info;
    ck_assert_int_eq(stat(path_of("log"), &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0600);
    ck_assert(log_open(target_of("log")));
    log_line(LOG_LEVEL_NOTICE, "unseen");
    log_line(LOG_LEVEL_WARNING, "appended");
    log_close();
    ck_assert_ptr_nonnull(strstr(text_of(path_of("log")), "two 2\nindexkey: warning: appended\n"));
}
END_TEST

START_TEST(a_target_that_fails_changes_nothing)
{
    ck_assert(log_open(target_of("log:debug")));
    ck_assert_int_eq(symlink("log", path_of("link")), 0);
    ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
    errno = 77;
    ck_assert(!log_open(target_of("link:error")));
    ck_assert(!log_open(target_of("fifo:error")));
    ck_assert(!log_open(target_of("none/log:error")));
    ck_assert(!log_open("stderr:loud"));
    ck_assert_int_eq(errno, 77);
    log_line(LOG_LEVEL_DEBUG, "still here");
    ck_assert_str_eq(text_of(path_of("log")), "indexkey: debug: still here\n");
}
END_TEST

START_TEST(a_closed_target_leaves_no_descriptor)
{
    int before = open("/dev/null", O_RDONLY);
    (void) close(before);
    for (int i = 0; i < 5; i++) {
        ck_assert(log_open(target_of("a")));
        ck_assert(log_open(target_of("b")));
        ck_assert_int_ne(fcntl(before + 1, F_GETFD) & FD_CLOEXEC, 0);
        log_close();
    }
    int after = open("/dev/null", O_RDONLY);
    ck_assert_int_eq(after, before);
    (void) close(after);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    char longer[3 * LOG_LINE_MAX];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    ck_assert(log_open(target_of("log")));
    log_line(LOG_LEVEL_ERROR, "%s", longer);
    log_line(LOG_LEVEL_ERROR, "next");
    log_close();
    const char *seen = text_of(path_of("log"));
    ck_assert_uint_eq(strcspn(seen, "\n") + 1, LOG_LINE_MAX);
    ck_assert_str_eq(seen + LOG_LINE_MAX, "indexkey: error: next\n");
}
END_TEST

START_TEST(errno_survives)
{
    ck_assert(log_open(target_of("log")));
    errno = ENOENT;
    log_line(LOG_LEVEL_ERROR, "open: %m");
    ck_assert_int_eq(errno, ENOENT);
    log_close();
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_str_eq(text_of(path_of("log")), "indexkey: error: open: No such file or directory\n");
}
END_TEST

START_TEST(standard_error_is_the_default)
{
    int saved = dup(STDERR_FILENO);
    int file = open(path_of("stderr"), O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(dup2(file, STDERR_FILENO), STDERR_FILENO);
    log_line(LOG_LEVEL_WARNING, "seen");
    log_line(LOG_LEVEL_NOTICE, "unseen");
    ck_assert_int_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void) close(saved);
    (void) close(file);
    ck_assert_str_eq(text_of(path_of("stderr")), "indexkey: warning: seen\n");
}
END_TEST

static int log_to_closed_pipe(void *context)
{
    (void) context;
    int ends[2];
    (void) signal(SIGPIPE, SIG_DFL);
    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0 || close(ends[0]) != 0)
        return 1;
    log_line(LOG_LEVEL_ERROR, "nobody reads");
    sigset_t pending;
    sigset_t blocked;
    (void) sigpending(&pending);
    (void) pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    return sigismember(&pending, SIGPIPE) == 0 && sigismember(&blocked, SIGPIPE) == 0 ? 0 : 2;
}

START_TEST(a_closed_pipe_does_not_kill)
{
    ck_assert_int_eq(fixture_in_child(log_to_closed_pipe, NULL), 0);
}
END_TEST

static int syslog_socket(struct sockaddr_un *ret_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/dev-log", folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    *ret_address = address;
    return fd;
}

START_TEST(syslog_gets_a_datagram)
{
    struct sockaddr_un address;
    int fd = syslog_socket(&address);
    log_set_syslog_path(address.sun_path);
    ck_assert(log_open("syslog:info"));
    log_line(LOG_LEVEL_INFO, "a\nb");
    log_line(LOG_LEVEL_DEBUG, "unseen");
    char expected[128];
    char seen[128] = {0};
    (void) snprintf(expected, sizeof expected, "<14>indexkey[%d]: info: a b", getpid());
    ck_assert_int_gt(recv(fd, seen, sizeof seen - 1, 0), 0);
    ck_assert_str_eq(seen, expected);
    ck_assert_int_lt(recv(fd, seen, sizeof seen - 1, 0), 0);
    /* Nobody takes the datagrams: they are lost, and nobody waits. */
    for (int i = 0; i < 5000; i++)
        log_line(LOG_LEVEL_ERROR, "flood");
    (void) close(fd);
    log_line(LOG_LEVEL_ERROR, "gone");
    log_set_syslog_path(NULL);
}
END_TEST

static void *write_lines(void *number)
{
    for (int i = 0; i < LINES_PER_THREAD; i++)
        log_line(LOG_LEVEL_ERROR, "thread %d line %d end", *(int *) number, i);
    return NULL;
}

/* Lines of write_lines in the file, each whole. */
static int whole_lines(const char *name)
{
    int count = 0;
    char *rest = NULL;
    (void) text_of(path_of(name));
    char *line = strtok_r(text, "\n", &rest);
    for (; line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        int thread;
        int number;
        char end[8];
        ck_assert_int_eq(
            sscanf(line, "indexkey: error: thread %d line %d %7s", &thread, &number, end), 3);
        ck_assert_str_eq(end, "end");
        count++;
    }
    return count;
}

START_TEST(threads_do_not_mix_lines)
{
    pthread_t threads[THREAD_COUNT];
    int numbers[THREAD_COUNT];
    ck_assert(log_open(target_of("a")));
    for (int i = 0; i < THREAD_COUNT; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < 50; i++)
        ck_assert(log_open(target_of(i % 2 == 0 ? "b" : "a")));
    for (int i = 0; i < THREAD_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    log_close();
    ck_assert_int_eq(whole_lines("a") + whole_lines("b"), THREAD_COUNT * LINES_PER_THREAD);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("log");
    tcase_add_checked_fixture(cases, folder_make, folder_remove);
    tcase_add_loop_test(cases, targets_are_checked, 0, COUNT_OF(targets));
    tcase_add_test(cases, an_overlong_path_is_refused);
    tcase_add_loop_test(cases, lines_are_cleaned, 0, COUNT_OF(lines));
    tcase_add_test(cases, a_file_gets_the_lines_of_its_level);
    tcase_add_test(cases, a_target_that_fails_changes_nothing);
    tcase_add_test(cases, a_closed_target_leaves_no_descriptor);
    tcase_add_test(cases, a_long_line_is_cut);
    tcase_add_test(cases, errno_survives);
    tcase_add_test(cases, standard_error_is_the_default);
    tcase_add_test(cases, a_closed_pipe_does_not_kill);
    tcase_add_test(cases, syslog_gets_a_datagram);
    tcase_add_test(cases, threads_do_not_mix_lines);
    return fixture_run("log", cases);
}
