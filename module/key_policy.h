/*
 * The rules of the configuration (key_rules.h) that hold for one key: found when the object is
 * made, asked at each use. An object has a pointer in its attributes, NULL where nothing holds.
 *
 * A key's rules are those that its label is named by, and those of the keys that it was copied or
 * derived from. All of them hold. A key that is stored must be named by as many: its label is all
 * that is left of where it comes from after a restart.
 */
#pragma once

#include "module/key_rules.h"
#include "module/object.h"

struct key_policies;

/* The policy of a key: one for each set of rules. Never changes, lives as long as the slot. */
struct key_policy {
    const struct key_policies *policies;
    uint64_t rules; /* bit i: rule i */
    unsigned int purposes;
    uint64_t usage_limit; /* UINT64_MAX: none */
    struct key_policy *next;
};

/* Of a token's section and of the [policy] sections that name it; NULL when they ask for nothing.
 * Freed with key_policies_close. */
CK_RV key_policies_open(const struct conf *conf, const struct conf_section *token,
                        struct key_policies **ret_policies);
void key_policies_close(struct key_policies **policies);

/* The long ways of what follows: where the configuration has a policy. */
bool key_policies_offer_all(const struct key_policies *policies, const struct mechanism *mechanism);
CK_RV key_policies_add_named(struct key_policies *policies, struct attributes *attributes);
CK_RV key_policies_add_of(struct key_policies *policies, const struct attributes *source,
                          struct attributes *attributes);
bool key_policies_keep_all(const struct key_policies *policies, const struct attributes *source,
                           const struct attributes *attributes);
CK_RV key_policy_ask_prf_input(const struct object *key, struct view prf_input);
CK_RV key_policy_ask_info(const struct object *key, struct view info);

/* False for a mechanism that no key of the token may be used with. */
static inline bool key_policies_offer(const struct key_policies *policies,
                                      const struct mechanism *mechanism)
{
    return policies == NULL || key_policies_offer_all(policies, mechanism);
}

/* Adds the rules that name the label to those that the attributes have. */
static inline CK_RV key_policies_apply(struct key_policies *policies, struct attributes *attributes)
{
    return policies == NULL ? CKR_OK : key_policies_add_named(policies, attributes);
}

/* Adds the rules of another key, which the new one is made of. */
static inline CK_RV key_policies_inherit(struct key_policies *policies,
                                         const struct attributes *source,
                                         struct attributes *attributes)
{
    return policies == NULL ? CKR_OK : key_policies_add_of(policies, source, attributes);
}

/* False for a token object whose label is not named by every rule that `source` has. */
static inline bool key_policies_keep(const struct key_policies *policies,
                                     const struct attributes *source,
                                     const struct attributes *attributes)
{
    return policies == NULL || key_policies_keep_all(policies, source, attributes);
}

/* For a key that has a policy. CKR_MECHANISM_INVALID (key-mechanisms-are-allowed);
 * CKR_KEY_FUNCTION_NOT_PERMITTED (keys-have-hours). */
CK_RV key_policy_check_use(const struct object *key, const struct mechanism *mechanism);
/* The second alone: asked when an operation begins again with the key that it has. */
CK_RV key_policy_check_time(const struct object *key);
/* CKR_MECHANISM_PARAM_INVALID (purposes-are-allowed, derivation-labels-are-listed). */
static inline CK_RV key_policy_check_prf_input(const struct object *key, struct view prf_input)
{
    return key->attributes.policy == NULL ? CKR_OK : key_policy_ask_prf_input(key, prf_input);
}

static inline CK_RV key_policy_check_info(const struct object *key, struct view info)
{
    return key->attributes.policy == NULL ? CKR_OK : key_policy_ask_info(key, info);
}

static inline bool key_policy_allows_purpose(const struct key_policy *policy, unsigned char purpose)
{
    return policy == NULL || (policy->purposes & 1U << (purpose - 1)) != 0;
}
