/*
 * The configuration file: where it is, what it says, and what is wrong with it.
 *
 * The reader knows the file's form (sections, types, limits); which keys exist is told by a schema
 * that the layers above pass in, so that a new source or store only adds its table.
 *
 * A file that is unsafe, malformed or wrong in [module] or [policy] is refused as a whole. A
 * mistake inside a [token] or [key] section marks that section bad and leaves the others alone.
 * Each mistake is one log line with file, line, cause and remedy; values are never logged, because
 * a PIN or a key may have been written where it does not belong.
 *
 * A struct conf never changes once loaded, so any number of threads may read it. Every string that
 * it hands out lives as long as it does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/cryptoki.h"

#define CONF_PATH_MAX 4096 /* bytes, with the NUL */

enum conf_type {
    CONF_STRING,
    CONF_PATH,     /* absolute */
    CONF_BOOL,     /* yes | no */
    CONF_DURATION, /* 250ms, 5s, 15m, 1h, 7d; min and max in milliseconds */
    CONF_UINT,     /* decimal */
    CONF_CHOICE,   /* one of `choices` */
    CONF_WORDS,    /* any of `choices` (at most 64), or `none` */
};

/* Tables end with a key whose name is NULL. */
struct conf_key {
    const char *name;
    enum conf_type type;
    const char *choices; /* CONF_CHOICE, CONF_WORDS: separated by one space */
    uint64_t min, max;   /* CONF_DURATION, CONF_UINT: inclusive; max 0 means no upper bound */
    bool prefix;         /* `name` ends in a dot and any key may follow it: context.tenant */
    bool required;
    const char *help; /* one line; also the remedy when a required key is missing */
    /* CONF_STRING and CONF_PATH, what the type cannot say (store = sqlite:PATH): NULL when `value`
     * is good, else how it must be, to follow "must be". May be NULL itself. */
    const char *(*check)(const char *value);
};

/* `source` and `slot` in [token], `token` in [key] and [policy] tie the sections together: the
 * reader has them itself and the tables leave them out. */
struct conf_schema {
    const struct conf_key *module_keys;
    const struct conf_key *token_keys;
    const struct conf_key *(*source_keys)(const char *source); /* NULL: no such source */
    const char *source_names;                                  /* separated by one space */
    const struct conf_key *key_keys;                           /* NULL: [key NAME] is unknown */
    const struct conf_key *policy_keys;                        /* NULL: so is [policy NAME] */
};

struct conf_entry {
    const char *name;
    const char *value;
    const struct conf_key *key; /* NULL: the entry was refused, accessors do not see it */
    uint64_t number;            /* BOOL, UINT, DURATION (ms), CHOICE (index), WORDS (bit set) */
    size_t line;
};

struct conf_section {
    const char *name; /* of the token or key; "" for [module] */
    size_t line;      /* 0: not in the file */
    bool bad;         /* refused; the cause is logged */
    bool has_slot;    /* tokens: false when an earlier section has this slot id */
    CK_SLOT_ID slot;
    struct conf_entry *entries;
    size_t entry_count;
};

struct conf;

/* The path of the file to load: `reserved` (C_Initialize's pReserved) if not NULL, else
 * INDEXKEY_CONF, else $XDG_CONFIG_HOME/indexkey/indexkey.conf where it exists, else
 * /etc/indexkey/indexkey.conf. NULL with CKR_OK, after a warning, when nothing is named and the
 * last does not exist. Freed with mem_free. CKR_ARGUMENTS_BAD: `reserved` is empty, has no NUL
 * within CONF_PATH_MAX bytes, or is no path. */
CK_RV conf_locate(const char *reserved, char **ret_path);

/* Freed with conf_free; the schema must outlive it. A NULL path gives an empty configuration.
 * CKR_FUNCTION_FAILED when the file is refused, CKR_HOST_MEMORY; both logged. */
CK_RV conf_load(const char *path, const struct conf_schema *schema, struct conf **ret_conf);

/* Takes the pointer and sets it to NULL, so that _cleanup_(conf_free) works. NULL is nothing. */
void conf_free(struct conf **conf);

const struct conf_section *conf_module(const struct conf *conf);
/* In file order. A bad token is among them: its slot exists and holds no token. */
const struct conf_section *conf_tokens(const struct conf *conf, size_t *ret_count);
/* The [key NAME] sections, in file order. */
const struct conf_section *conf_keys(const struct conf *conf, size_t *ret_count);
/* The [policy NAME] sections, in file order; none of them is bad. */
const struct conf_section *conf_policies(const struct conf *conf, size_t *ret_count);

/* Accessors: `fallback` when the section does not set the key. They cannot fail, since values are
 * checked at load; the caller asks for the type that its table gives. */
const char *conf_string(const struct conf_section *section, const char *name, const char *fallback);
bool conf_bool(const struct conf_section *section, const char *name, bool fallback);
uint64_t conf_uint(const struct conf_section *section, const char *name, uint64_t fallback);
uint64_t conf_duration_ms(const struct conf_section *section, const char *name, uint64_t fallback);
/* The position of the chosen word in the key's `choices`. */
size_t conf_choice(const struct conf_section *section, const char *name, size_t fallback);
/* Bit i is set when word i of the key's `choices` is named. */
uint64_t conf_words(const struct conf_section *section, const char *name, uint64_t fallback);
size_t conf_section_line(const struct conf_section *section);

/* The next key that starts with `prefix`, in byte order of the names, whatever the file's order:
 * false at the end. `cursor` starts at 0. `*ret_rest` is the name without the prefix. */
bool conf_next(const struct conf_section *section, const char *prefix, size_t *cursor,
               const char **ret_rest, const char **ret_value);
