// vector-index: an encrypted vector index whose keys stay in a PKCS#11 token. See README.md.

#include <stdio.h>
#include <stdlib.h>

#include "index_build.h"
#include "index_search.h"
#include "options.h"
#include "profile.h"
#include "util.h"

static bool run(const struct options *options)
{
    switch (options->command) {
    case OPTIONS_BUILD:
        return index_build(options);
    case OPTIONS_SEARCH:
        return index_search(options);
    default:
        options_print_help();
        return true;
    }
}

int main(int argc, char **argv)
{
    struct options options;

    if (!options_read(argc, argv, &options)) {
        return EXIT_FAILURE;
    }
    if (options.profile) {
        profile_start();
    }
    if (!run(&options)) {
        return EXIT_FAILURE;
    }
    profile_print();
    if (fflush(stdout) != 0 || ferror(stdout)) {
        util_say("the results could not be written");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
