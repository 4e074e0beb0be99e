/*
 * The names of the policy's rules, wherever a rule stands (policy.c, strengthen.c, mech_*.c, …),
 * and the switch that lets tests/attacks/ prove that each one is needed. The module as it is
 * shipped has no such switch: the question is answered `false` at compile time.
 *
 * A new rule: its name goes into the list in policy_rules.c, the place that refuses asks
 * policy_allows_breach, and docs/security-model.md says what attack it stops.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef INDEXKEY_TEST_HOOKS
/* Switches a rule off, besides those that are off; NULL: all are on again. Not for use while other
 * threads are inside the module. */
void policy_test_switch_off(const char *rule);
/* All names. */
const char *const *policy_test_rules(size_t *ret_count);
/* True when a test has switched the rule off. While one is, a
 * name that is not in the list ends the program. */
bool policy_allows_breach(const char *rule);
#else
static inline bool policy_allows_breach(const char *rule)
{
    (void) rule;
    return false;
}
#endif
