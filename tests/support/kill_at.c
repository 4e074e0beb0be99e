#include "tests/support/kill_at.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_watched;

static const uint64_t writing_calls[] = {
    SYS_write,     SYS_pwrite64, SYS_writev,    SYS_pwritev,   SYS_pwritev2,  SYS_sendto,
    SYS_sendmsg,   SYS_fsync,    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_renameat,
    SYS_renameat2, SYS_unlinkat, SYS_linkat,    SYS_mkdirat,   SYS_fchmod,
#ifdef SYS_rename
    SYS_rename,    SYS_unlink,   SYS_link,      SYS_mkdir,
#endif
};

static bool writes(uint64_t number)
{
    for (size_t i = 0; i < sizeof(writing_calls) / sizeof(writing_calls[0]); i++) {
        if (writing_calls[i] == number)
            return true;
    }
    return false;
}

/* The tracer takes each stop as the change from counting to not counting, or back. */
static void tell_tracer(void)
{
    if (is_watched)
        (void) raise(SIGSTOP);
}

void kill_at_begin(void)
{
    tell_tracer();
}

void kill_at_end(void)
{
    tell_tracer();
}

static void be_child(void (*work)(void *context), void *context)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(126);
    is_watched = true;
    (void) raise(SIGSTOP);
    work(context);
    _exit(0);
}

struct watch {
    pid_t child;
    bool is_counting;
    unsigned int nth;
    unsigned int count;
};

/* True when the call that the child enters is the one. */
static bool is_struck(struct watch *watch)
{
    struct __ptrace_syscall_info info;
    long len = ptrace(PTRACE_GET_SYSCALL_INFO, watch->child, sizeof(info), &info);
    ck_assert_int_gt(len, 0);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !writes(info.entry.nr))
        return false;
    return ++watch->count == watch->nth;
}

static void go_on(const struct watch *watch, int signal)
{
    ck_assert_int_eq(ptrace(watch->is_counting ? PTRACE_SYSCALL : PTRACE_CONT, watch->child, NULL,
                            (void *) (intptr_t) signal),
                     0);
}

static int wait_for(pid_t child)
{
    int status = 0;
    pid_t found;
    do {
        found = waitpid(child, &status, __WALL);
    } while (found < 0 && errno == EINTR);
    ck_assert_int_eq(found, child);
    return status;
}

static enum kill_at follow(struct watch *watch)
{
    for (int status = wait_for(watch->child);; status = wait_for(watch->child)) {
        if (WIFEXITED(status))
            return WEXITSTATUS(status) == 0 ? KILL_AT_NEVER : KILL_AT_FAILED;
        if (WIFSIGNALED(status))
            return KILL_AT_FAILED;
        int signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80) && is_struck(watch)) {
            ck_assert_int_eq(kill(watch->child, SIGKILL), 0);
            status = wait_for(watch->child);
            ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            return KILL_AT_STRUCK;
        }
        if (signal == SIGSTOP)
            watch->is_counting = !watch->is_counting;
        go_on(watch, signal == SIGSTOP || signal == (SIGTRAP | 0x80) ? 0 : signal);
    }
}

enum kill_at kill_at_nth_write(unsigned int nth, void (*work)(void *context), void *context)
{
    struct watch watch = {.child = fork(), .nth = nth};
    ck_assert_int_ge(watch.child, 0);
    if (watch.child == 0)
        be_child(work, context);
    int status = wait_for(watch.child);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, watch.child, NULL,
                            (void *) (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
                     0);
    go_on(&watch, 0);
    return follow(&watch);
}
