/*
 * The command line: `indexkey COMMAND [OPTIONS] [ARGUMENTS]`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/cryptoki.h"

enum option_id {
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_JSON,
    OPTION_CONF,
    OPTION_TOKEN,
    OPTION_PIN_FILE,
    OPTION_PIN_ENV,
    OPTION_SO_PIN_FILE,
    OPTION_SO_PIN_ENV,
    OPTION_YES,
    OPTION_LABEL,
    OPTION_ID,
    OPTION_FROM_MODULE,
    OPTION_FROM_TOKEN,
    OPTION_FROM_LABEL,
    OPTION_FROM_ID,
    OPTION_FROM_PIN_FILE,
    OPTION_FROM_PIN_ENV,
    OPTION_TO_MODULE,
    OPTION_TO_TOKEN,
    OPTION_TO_KEY,
    OPTION_TO_PIN_FILE,
    OPTION_TO_PIN_ENV,
    OPTION_ACCEPT,
    OPTION_PUBLIC_KEY,
    OPTION_HEAD,
    OPTION_PENDING,
    OPTION_UNIQUE_ID,
    OPTION_ACTIVATION,
    OPTION_DEACTIVATION,
    OPTION_OFF,
    OPTION_TOKEN_KEY,
    OPTION_FORCE,
    OPTION_COUNT,
};

#define OPTION_BIT(id) (UINT64_C(1) << (id))
#define ARGUMENTS_MAX 64

struct option_row {
    const char *name;     /* without the two dashes */
    const char *argument; /* as usage shows it: "FILE"; NULL: it takes none */
    const char *help;
};

/* In the order of enum option_id. */
extern const struct option_row option_rows[OPTION_COUNT];

struct command;

struct options {
    const struct command *command;    /* NULL: help or version of the whole */
    const char *values[OPTION_COUNT]; /* NULL: not given; "" for those without an argument */
    const char *arguments[ARGUMENTS_MAX];
    size_t argument_count;
};

/* Strings are argv's own. What the user typed in place of a known word is repeated only where it
 * cannot be a secret. On failure, told by failure.h with EXIT_CODE_USAGE, `*ret_options` has what
 * was understood until then. */
CK_RV options_read(int argc, char **argv, struct options *ret_options);

bool options_has(const struct options *options, enum option_id id);
/* NULL when it was not given. */
const char *options_value(const struct options *options, enum option_id id);
/* The command's first argument, or NULL. */
const char *options_argument(const struct options *options);
