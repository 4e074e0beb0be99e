// The command line.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token.h"

#define OPTIONS_MAX_LISTS 4096U
#define OPTIONS_MAX_TOP 1000U

enum options_command { OPTIONS_HELP, OPTIONS_BUILD, OPTIONS_SEARCH };

// Strings are the command line's own.
struct options {
    enum options_command command;
    struct token_options token;
    const char *db;
    const char *vectors;
    const char *items;
    const char *query;
    const char *query_text;
    const char *like;
    const char *field;
    uint64_t lists; // 0: chosen by the number of vectors
    uint64_t seed;
    uint64_t top;   // 0: not given
    uint64_t probe; // OPTIONS_MAX_LISTS: all
    bool progress;
    bool profile;
    bool tsv;
};

bool options_read(int argc, char **argv, struct options *ret_options);
void options_print_help(void);
