#include "module/policy_rules.h"

#ifdef INDEXKEY_TEST_HOOKS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line each, searched in the alphabet's order. */
static const char *const names[] = {
    "allowed-mechanisms",
    "as-sensitive-as-its-base",
    "check-values-tell-nothing",
    "copies-keep-roles",
    "derive-stands-alone",
    "derived-keys-do-not-derive",
    "fixed-attributes",
    "hkdf-data-is-listed",
    "hkdf-data-makes-no-keys",
    "known-keys-do-not-wrap",
    "mac-length-floors",
    "no-check-value-guesses",
    "no-short-pieces",
    "no-slices-of-keys",
    "no-truncation",
    "one-mode-family",
    "one-way-attributes",
    "only-the-so-trusts",
    "openers-stay-inside",
    "purposes-are-exact",
    "roles-are-fixed",
    "secrets-match-no-search",
    "sensitive-keys-are-not-digested",
    "sensitive-values-are-not-read",
    "slices-have-16-bytes",
    "subkey-labels-are-reserved",
    "tag-length-floor",
    "token-keys-are-sensitive",
    "token-keys-are-strengthened",
    "token-keys-stay-inside",
    "unwrap-excludes-encrypt",
    "unwrapped-keys-are-sensitive",
    "unwrapped-keys-do-not-derive",
    "unwrapped-keys-do-not-wrap",
    "usage-flags",
    "wrap-excludes-decrypt",
    "wrap-excludes-encrypt",
    "wrapped-under-as-strong",
    "wrapping-ivs-are-fresh",
    "xor-keeps-the-type",
};

#define COUNT (sizeof(names) / sizeof(names[0]))

static bool off[COUNT];
static bool any_off;

static int compare(const void *rule, const void *name)
{
    return strcmp(rule, *(const char *const *) name);
}

static size_t find(const char *rule)
{
    const char *const *found = bsearch(rule, names, COUNT, sizeof(names[0]), compare);

    if (found != NULL)
        return (size_t) (found - names);
    (void) fprintf(stderr, "policy_rules.c has no rule %s\n", rule);
    __builtin_trap();
}

void policy_test_switch_off(const char *rule)
{
    if (rule == NULL)
        memset(off, 0, sizeof(off));
    else
        off[find(rule)] = true;
    any_off = rule != NULL;
}

const char *const *policy_test_rules(size_t *ret_count)
{
    *ret_count = COUNT;
    return names;
}

bool policy_allows_breach(const char *rule)
{
    return any_off && off[find(rule)];
}

#endif
