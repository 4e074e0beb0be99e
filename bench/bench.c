/*
 * The module's data path against raw OpenSSL, and against SoftHSM and NSS's softoken, in one
 * process: docs/performance.md says how, and shows what comes out.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"

#define ROUNDS 101
#define WORKS_MAX 64

struct options {
    const char *library;
    const char *only;
    const char *json;
    int rounds;
};

static _Noreturn void usage(int code)
{
    fprintf(code == EXIT_SUCCESS ? stdout : stderr,
            "usage: bench [--only WORK] [--rounds N] [--json FILE] MODULE\n"
            "  --only WORK   the works whose names contain this\n"
            "  --rounds N    rounds for each work; default: %d\n"
            "  --json FILE   writes the figures there too\n",
            ROUNDS);
    exit(code);
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"only", required_argument, NULL, 'o'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.only = "", .rounds = ROUNDS};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'h')
            usage(EXIT_SUCCESS);
        else if (option == 'o')
            options.only = optarg;
        else if (option == 'j')
            options.json = optarg;
        else if (option == 'r')
            options.rounds = atoi(optarg);
        else
            usage(EXIT_FAILURE);
    }
    if (optind + 1 != argc || options.rounds < 1)
        usage(EXIT_FAILURE);
    options.library = argv[optind];
    return options;
}

/* Not the errors by which a library says that it has no such thing. */
static void tell_failures(const struct measured *row, const struct token *const tokens[SIDES])
{
    for (int side = SIDE_SOFTHSM; side < SIDES; side++) {
        CK_RV rv = row->rv[side];
        if (rv != CKR_OK && rv != CKR_MECHANISM_INVALID && rv != CKR_FUNCTION_NOT_SUPPORTED)
            fprintf(stderr, "bench: %s, %s: 0x%lx\n", row->work->name, tokens[side]->name, rv);
    }
}

static void measure_all(struct sides *sides, const struct options *options, struct report *report)
{
    static struct measured rows[WORKS_MAX];

    MUST(works_count <= WORKS_MAX);
    report->rows = rows;
    for (size_t i = 0; i < works_count; i++) {
        if (!strstr(works[i].name, options->only))
            continue;
        struct measured *row = &rows[report->row_count++];
        measure(sides, &works[i], options->rounds, row);
        report_row(row);
        tell_failures(row, report->tokens);
    }
    must(report->row_count > 0, "--only: no work has such a name");
}

int main(int argc, char **argv)
{
    static struct sides sides;
    struct options options = read_options(argc, argv);
    struct token module, softhsm, nss;
    struct report report = {.tokens = {&module, NULL, &softhsm, &nss}, .rounds = options.rounds};

    const char *folder = token_make_folder();
    token_open_module(&module, options.library, folder);
    token_open_softhsm(&softhsm, folder);
    token_open_nss(&nss);
    for (int side = 0; side < SIDES; side++) {
        lane_open(&sides.lanes[side][0], report.tokens[side], 0);
        lane_open(&sides.lanes[side][1], report.tokens[side], 1);
    }
    report_head(&report);
    measure_all(&sides, &options, &report);
    if (options.json)
        report_json(&report, options.json);
    return EXIT_SUCCESS;
}
