/*
 * What the configuration allows for keys: the rules in a [token] section, which hold for each of
 * its keys, and those of [policy] sections, which hold for the keys whose labels they name.
 */
#pragma once

#include "conf/conf.h"
#include "module/mechanism.h"
#include "module/time_window.h"

#define KEY_RULES_MAX 64
#define MECHANISM_SET_LEN 32 /* bytes, a bit for each line of the mechanism table */

/* Each member that is not set allows everything. */
struct key_rule {
    const char *name;   /* of the section */
    const char *keys;   /* label patterns; NULL: every key of the token */
    const char *labels; /* of derivations; NULL: any */
    bool names_mechanisms;
    unsigned char mechanisms[MECHANISM_SET_LEN];
    unsigned int purposes; /* bit p-1; all when not named */
    bool has_window;
    struct time_window window;
    uint64_t usage_limit; /* UINT64_MAX: none */
};

/* For the schema: a [token] section has the first, a [policy] section both. Each ends with NULL. */
extern const struct conf_key key_rule_keys[];
extern const struct conf_key key_rule_policy_keys[];

/* False when the section asks for nothing. The strings are the configuration's. */
bool key_rule_read(const struct conf_section *section, struct key_rule *ret_rule);

/* True for a label that one of the patterns names: `*` stands for any bytes. A version's `@N` and a
 * subkey's `/PURPOSE` do not count. */
bool key_rule_names(const struct key_rule *rule, struct view label);
bool key_rule_offers(const struct key_rule *rule, const struct mechanism *mechanism);
