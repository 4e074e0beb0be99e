#include "tests/unit/base_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static char caught[16 * LOG_LINE_MAX];

static void catch_line(enum log_level level, const char *line, void *context)
{
    (void) level;
    char *text = context;
    size_t len = strlen(text);
    ck_assert_uint_lt(len + strlen(line) + 2, sizeof caught);
    strcpy(text + len, line);
    strcat(text, "\n");
}

void fixture_catch_log(void)
{
    caught[0] = '\0';
    log_set_sink(catch_line, caught);
}

const char *fixture_log(void)
{
    return caught;
}

int fixture_in_child(int (*body)(void *context), void *context)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        /* Deaths are expected here: no core file, no report by a sanitizer. */
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void) signal(SIGSEGV, SIG_DFL);
        (void) signal(SIGBUS, SIG_DFL);
        _exit(body(context));
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

bool fixture_died_of_access(int status)
{
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

int fixture_run(const char *name, TCase *cases)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
