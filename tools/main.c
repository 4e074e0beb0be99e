/* indexkey: what an operator does with tokens and Cryptoki has no call for. indexkey(1). */
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "include/indexkey.h"
#include "tools/command.h"
#include "tools/failure.h"
#include "tools/help.h"
#include "tools/token.h"

/* PINs and keys pass through this process: no core, and no other process of the user's looks in. */
static void hide_memory(void)
{
    const struct rlimit none = {0, 0};
    (void) setrlimit(RLIMIT_CORE, &none);
    (void) prctl(PR_SET_DUMPABLE, 0);
}

static int fail(const struct options *options)
{
    output_print_failure(options_has(options, OPTION_JSON), failure_last());
    return (int) failure_last()->exit;
}

static int run_command(const struct options *options)
{
    _cleanup_(output_free) struct output *output = NULL;
    CK_RV rv = output_new(options_has(options, OPTION_JSON), &output);
    struct run run = {.options = options, .output = output, .exit = EXIT_CODE_OK};
    failure_watch();
    if (failure_of(rv, INDEXKEY_CAUSE_NONE, "output") == CKR_OK)
        rv = options->command->run(&run);
    tokens_finish();
    if (rv == CKR_OK)
        rv = failure_of(output_print(output), INDEXKEY_CAUSE_NONE, "writing to standard output");
    if (rv != CKR_OK)
        return fail(options);
    failure_show_warnings();
    return (int) run.exit;
}

int main(int argc, char **argv)
{
    struct options options;
    hide_memory();
    if (options_read(argc, argv, &options) != CKR_OK)
        return fail(&options);
    if (options_has(&options, OPTION_VERSION)) {
        (void) printf("indexkey %d.%d.%d\n", INDEXKEY_VERSION_MAJOR, INDEXKEY_VERSION_MINOR,
                      INDEXKEY_VERSION_PATCH);
        return EXIT_CODE_OK;
    }
    if (options_has(&options, OPTION_HELP)) {
        help_show(&options);
        return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILED;
    }
    return run_command(&options);
}
