#include "tests/leaks/leak_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/token_fixture.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

/* The kernel then answers as an old one does, to the application and what it forks. */
static bool forbid_memfd_secret(void)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_secret, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = COUNT_OF(lines), .filter = lines};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

struct app_files {
    const char *folder;
    const char *program;
    const char *errors;
    int input;
    int output;
};

/* In the child: only system calls until the program runs. */
static void become_app(const struct app_files *files, bool has_memfd_secret)
{
    int error = open(files->errors, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (chdir(files->folder) == 0 && error >= 0 && dup2(files->input, STDIN_FILENO) >= 0 &&
        dup2(files->output, STDOUT_FILENO) >= 0 && dup2(error, STDERR_FILENO) >= 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && (has_memfd_secret || forbid_memfd_secret())) {
        (void) execl(files->program, files->program, getenv("INDEXKEY_MODULE"), (char *) NULL);
    }
    _exit(127);
}

static void keep_answer(const char *line)
{
    FILE *file = fopen(fixture_path("stdout"), "a");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(line, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static long await_answer(const struct leak_process *process, const char *answer)
{
    char line[128] = "";
    for (size_t len = 0; len < sizeof(line) - 1 && strchr(line, '\n') == NULL; len++) {
        ssize_t got = read(process->answers, line + len, 1);
        ck_assert_msg(got == 1, "the application ended before it said \"%s\"; why is in %s", answer,
                      fixture_path("stderr"));
    }
    keep_answer(line);
    ck_assert_msg(strncmp(line, answer, strlen(answer)) == 0, "\"%s\", wanted \"%s\"", line,
                  answer);
    return strtol(line + strlen(answer), NULL, 10);
}

struct leak_process leak_process_start(const char *conf, const struct leak_input *input,
                                       bool has_memfd_secret)
{
    int to[2];
    int from[2];
    const char *app = getenv("LEAK_APP");
    ck_assert_msg(app != NULL && getenv("INDEXKEY_MODULE") != NULL,
                  "LEAK_APP and INDEXKEY_MODULE must name the application and the module");
    ck_assert_int_eq(setenv("INDEXKEY_CONF", conf, 1), 0);
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    struct app_files files = {fixture_path(""), app, fixture_path("stderr"), to[0], from[1]};
    /* An application that ends too early is met when its answer is awaited. */
    (void) signal(SIGPIPE, SIG_IGN);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        become_app(&files, has_memfd_secret);
    ck_assert_int_eq(close(to[0]), 0);
    ck_assert_int_eq(close(from[1]), 0);
    struct leak_process process = {.pid = pid, .commands = to[1], .answers = from[0]};
    (void) !write(process.commands, input, sizeof(*input));
    (void) await_answer(&process, "busy");
    return process;
}

static void command(const struct leak_process *process, enum leak_command command)
{
    char byte = (char) command;
    (void) !write(process->commands, &byte, 1);
}

long leak_process_ask(const struct leak_process *process, enum leak_command asked,
                      const char *answer)
{
    command(process, asked);
    return await_answer(process, answer);
}

static int end(const struct leak_process *process)
{
    int status;
    ck_assert_int_eq(waitpid(process->pid, &status, 0), process->pid);
    ck_assert_int_eq(close(process->commands), 0);
    ck_assert_int_eq(close(process->answers), 0);
    return status;
}

void leak_process_quit(const struct leak_process *process)
{
    command(process, LEAK_QUIT);
    ck_assert_int_eq(end(process), 0);
}

/* A pattern without folder or pipe, and a hard limit that lets the application raise its own. */
static bool kernel_writes_cores(void)
{
    char pattern[256];
    struct rlimit limit;
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "r");
    if (file == NULL)
        return false;
    bool has_pattern = fgets(pattern, sizeof(pattern), file) != NULL;
    (void) fclose(file);
    return has_pattern && strncmp(pattern, "core", 4) == 0 && strchr(pattern, '/') == NULL &&
           getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == RLIM_INFINITY;
}

static bool has_gcore(void)
{
    return system("command -v gcore >/dev/null") == 0;
}

bool leak_process_can_core(void)
{
    return kernel_writes_cores() || has_gcore();
}

/* From outside, while the process stands still; it ends after that without a core of its own. */
static void run_gcore(const struct leak_process *process)
{
    char line[256];
    snprintf(line, sizeof(line), "gcore -o '%s' %d >/dev/null 2>&1", fixture_path("core"),
             (int) process->pid);
    ck_assert_int_eq(system(line), 0);
    ck_assert_int_eq(kill(process->pid, SIGKILL), 0);
    (void) end(process);
}

static void abort_process(const struct leak_process *process)
{
    command(process, LEAK_ABORT);
    int status = end(process);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_msg(WCOREDUMP(status), "the kernel wrote no core");
}

const char *leak_process_core(const struct leak_process *process)
{
    const char *path = NULL;
    if (kernel_writes_cores())
        abort_process(process);
    else
        run_gcore(process);
    DIR *entries = opendir(fixture_path(""));
    ck_assert_ptr_nonnull(entries);
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (strncmp(entry->d_name, "core", 4) != 0)
            continue;
        ck_assert_msg(path == NULL, "two cores");
        path = fixture_path(entry->d_name);
    }
    ck_assert_int_eq(closedir(entries), 0);
    ck_assert_msg(path != NULL, "no core in the folder");
    return path;
}
