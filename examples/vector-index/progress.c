#include "progress.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#define BAR_WIDTH 30U
#define COUNT_STEP 1000U

static volatile sig_atomic_t progress_signal;

static void progress_on_signal(int number)
{
    progress_signal = number;
}

void progress_catch_signals(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = progress_on_signal, .sa_flags = SA_RESTART };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

static void progress_draw(const char *what, uint64_t done, uint64_t total)
{
    char bar[BAR_WIDTH + 1];
    size_t filled = (size_t)(done * BAR_WIDTH / total);

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%-20s [%s] %3u%% %llu/%llu%s", what, bar, (unsigned int)(done * 100 / total),
            (unsigned long long)done, (unsigned long long)total, done == total ? "\n" : "");
    fflush(stderr);
}

static void progress_count(const char *what, uint64_t done)
{
    if (done % COUNT_STEP == 0) {
        fprintf(stderr, "\r%-20s %llu", what, (unsigned long long)done);
        fflush(stderr);
    }
}

bool progress_step(bool show, const char *what, uint64_t done, uint64_t total)
{
    if (progress_signal != 0) {
        return fail("%sstopped by signal %d", show ? "\n" : "", (int)progress_signal);
    }
    // Only at whole percents: drawing must not slow the work down.
    if (show && total == PROGRESS_UNKNOWN) {
        progress_count(what, done);
    } else if (show && total > 0 &&
        (done == 0 || done == total || done * 100 / total != (done - 1) * 100 / total)) {
        progress_draw(what, done, total);
    }
    return true;
}
