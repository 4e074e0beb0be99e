#include "options.h"

#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define DEFAULT_PROBE 8U

enum option_id {
    OPT_MODULE = 1000, OPT_TOKEN, OPT_PIN_FILE, OPT_PIN_FD, OPT_INDEX, OPT_DB, OPT_VECTORS,
    OPT_ITEMS, OPT_LISTS, OPT_SEED, OPT_QUERY, OPT_QUERY_TEXT, OPT_LIKE, OPT_FIELD, OPT_TOP,
    OPT_PROBE, OPT_PROGRESS, OPT_PROFILE, OPT_TSV, OPT_HELP,
};

static const struct option long_options[] = {
    { "module", required_argument, NULL, OPT_MODULE },
    { "token", required_argument, NULL, OPT_TOKEN },
    { "pin-file", required_argument, NULL, OPT_PIN_FILE },
    { "pin-fd", required_argument, NULL, OPT_PIN_FD },
    { "index", required_argument, NULL, OPT_INDEX },
    { "db", required_argument, NULL, OPT_DB },
    { "vectors", required_argument, NULL, OPT_VECTORS },
    { "items", required_argument, NULL, OPT_ITEMS },
    { "lists", required_argument, NULL, OPT_LISTS },
    { "seed", required_argument, NULL, OPT_SEED },
    { "query", required_argument, NULL, OPT_QUERY },
    { "query-text", required_argument, NULL, OPT_QUERY_TEXT },
    { "like", required_argument, NULL, OPT_LIKE },
    { "field", required_argument, NULL, OPT_FIELD },
    { "top", required_argument, NULL, OPT_TOP },
    { "probe", required_argument, NULL, OPT_PROBE },
    { "progress", no_argument, NULL, OPT_PROGRESS },
    { "profile", no_argument, NULL, OPT_PROFILE },
    { "tsv", no_argument, NULL, OPT_TSV },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

static const char help[] =
    "An encrypted vector index; its keys stay in a PKCS#11 token.\n"
    "\n"
    "  vector-index build  TOKEN-OPTIONS --db FILE --vectors X.fvecs --items X.tsv\n"
    "                      [--lists N] [--seed N]\n"
    "  vector-index search TOKEN-OPTIONS --db FILE [--top K] [--probe N|all] [--tsv]\n"
    "                      --query Q.fvecs [--query-text Q.tsv] | --like NAME |\n"
    "                      --field NAME=VALUE\n"
    "\n"
    "TOKEN-OPTIONS\n"
    "  --module FILE     the PKCS#11 module\n"
    "  --token LABEL     the token\n"
    "  --index NAME      the index: keys NAME/token, NAME/centroid, NAME/payload, NAME/item,\n"
    "                    NAME/query\n"
    "  --pin-file FILE   the user PIN; or --pin-fd N, or the variable VECTOR_INDEX_PIN\n"
    "\n"
    "  --vectors FILE    or a pipe, which is read once; it needs --lists\n"
    "  --items FILE      name, section and size of each vector, tab-separated\n"
    "  --lists N         inverted lists; default: the root of the number of vectors\n"
    "  --like NAME       the neighbours of a stored item, without itself\n"
    "  --field NAME=VALUE  every item with that section or name, exactly\n"
    "  --top K           results of a query (default 10); of --field, all unless given\n"
    "  --probe N|all     lists to look into (default 8); all is exact\n"
    "  --tsv             one line a query: text, tab, names separated by commas\n"
    "  --progress        a progress bar even where stderr is no terminal\n"
    "  --profile         how long the token's calls took, on stderr at the end\n";

void options_print_help(void)
{
    fputs(help, stdout);
}

static bool options_number(const char *name, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    return util_parse_number(optarg, min, max, ret_value) ||
           fail("%s: \"%s\" is not a number from %llu to %llu", name, optarg,
                (unsigned long long)min, (unsigned long long)max);
}

static bool options_set_number(enum option_id id, struct options *options)
{
    uint64_t fd;

    switch (id) {
    case OPT_LISTS:
        return options_number("--lists", 1, OPTIONS_MAX_LISTS, &options->lists);
    case OPT_SEED:
        return options_number("--seed", 0, UINT64_MAX, &options->seed);
    case OPT_TOP:
        return options_number("--top", 1, OPTIONS_MAX_TOP, &options->top);
    case OPT_PROBE:
        if (strcmp(optarg, "all") == 0) {
            options->probe = OPTIONS_MAX_LISTS;
            return true;
        }
        return options_number("--probe", 1, OPTIONS_MAX_LISTS, &options->probe);
    default:
        if (!options_number("--pin-fd", 0, INT_MAX, &fd)) {
            return false;
        }
        options->token.pin.fd = (int)fd;
        return true;
    }
}

// Where a text option is kept; NULL for the others.
static const char **options_text(enum option_id id, struct options *options)
{
    switch (id) {
    case OPT_MODULE:
        return &options->token.module;
    case OPT_TOKEN:
        return &options->token.label;
    case OPT_PIN_FILE:
        return &options->token.pin.file;
    case OPT_INDEX:
        return &options->token.index;
    case OPT_DB:
        return &options->db;
    case OPT_VECTORS:
        return &options->vectors;
    case OPT_ITEMS:
        return &options->items;
    case OPT_QUERY:
        return &options->query;
    case OPT_QUERY_TEXT:
        return &options->query_text;
    case OPT_LIKE:
        return &options->like;
    case OPT_FIELD:
        return &options->field;
    default:
        return NULL;
    }
}

static bool options_set(int id, struct options *options)
{
    const char **text;

    switch (id) {
    case '?':
        return fail("see vector-index --help");
    case OPT_HELP:
        options->command = OPTIONS_HELP;
        return true;
    case OPT_PROGRESS:
        options->progress = true;
        return true;
    case OPT_PROFILE:
        options->profile = true;
        return true;
    case OPT_TSV:
        options->tsv = true;
        return true;
    default:
        text = options_text((enum option_id)id, options);
        if (text != NULL) {
            *text = optarg;
            return true;
        }
        return options_set_number((enum option_id)id, options);
    }
}

static bool options_check(const struct options *options)
{
    int ways = (options->query != NULL) + (options->like != NULL) + (options->field != NULL);
    bool build = options->command == OPTIONS_BUILD;

    if (options->command == OPTIONS_HELP) {
        return true;
    }
    if (options->token.module == NULL || options->token.label == NULL ||
        options->token.index == NULL || options->db == NULL) {
        return fail("--module, --token, --index and --db are needed: see --help");
    }
    if (options->token.index[0] == '\0') {
        return fail("--index is empty");
    }
    if (build && (options->vectors == NULL || options->items == NULL)) {
        return fail("build needs --vectors and --items: see --help");
    }
    if (!build && ways != 1) {
        return fail("search needs one of --query, --like and --field: see --help");
    }
    if (options->query_text != NULL && options->query == NULL) {
        return fail("--query-text goes with --query");
    }
    return true;
}

bool options_read(int argc, char **argv, struct options *ret_options)
{
    struct options options = {
        .command = OPTIONS_HELP,
        .token.pin.fd = -1,
        .seed = 1,
        .probe = DEFAULT_PROBE,
        .progress = isatty(STDERR_FILENO) == 1,
    };
    int id;

    if (argc < 2) {
        return fail("build or search? See vector-index --help");
    }
    if (strcmp(argv[1], "build") == 0) {
        options.command = OPTIONS_BUILD;
    } else if (strcmp(argv[1], "search") == 0) {
        options.command = OPTIONS_SEARCH;
    } else if (strcmp(argv[1], "--help") != 0) {
        return fail("\"%s\" is no command: build or search? See --help", argv[1]);
    }
    while ((id = getopt_long(argc - 1, argv + 1, "", long_options, NULL)) != -1) {
        if (!options_set(id, &options)) {
            return false;
        }
    }
    if (optind < argc - 1) {
        return fail("\"%s\" is not expected: see --help", argv[optind + 1]);
    }
    if (!options_check(&options)) {
        return false;
    }
    *ret_options = options;
    return true;
}
