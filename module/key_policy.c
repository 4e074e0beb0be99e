#include "module/key_policy.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"
#include "module/config.h"
#include "module/policy.h"
#include "module/slot.h"

#define COUNTER_LEN 4

struct key_policies {
    const char *token;
    pthread_mutex_t lock; /* over `made`; a leaf */
    struct key_policy *made;
    size_t count;
    struct key_rule rules[KEY_RULES_MAX];
};

/* ---- what the configuration says ---- */

static CK_RV add_rule(struct key_policies *policies, const struct conf_section *section)
{
    struct key_rule rule;

    if (!key_rule_read(section, &rule))
        return CKR_OK;
    if (policies->count == KEY_RULES_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "[token %s]: more than %u [policy] sections",
                    policies->token, KEY_RULES_MAX - 1);
    policies->rules[policies->count++] = rule;
    return CKR_OK;
}

static CK_RV add_rules(struct key_policies *policies, const struct conf *conf)
{
    size_t count;
    const struct conf_section *sections = conf_policies(conf, &count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(conf_string(&sections[i], "token", ""), policies->token) == 0)
            TRY(add_rule(policies, &sections[i]));
    return CKR_OK;
}

CK_RV key_policies_open(const struct conf *conf, const struct conf_section *token,
                        struct key_policies **ret_policies)
{
    _cleanup_(key_policies_close) struct key_policies *policies = mem_calloc(1, sizeof(*policies));

    if (policies == NULL)
        return CKR_HOST_MEMORY;
    pthread_mutex_init(&policies->lock, NULL);
    policies->token = token->name;
    TRY(add_rule(policies, token));
    TRY(add_rules(policies, conf));
    if (policies->count > 0)
        *ret_policies = TAKE(policies);
    return CKR_OK;
}

void key_policies_close(struct key_policies **policies)
{
    struct key_policies *closed = TAKE(*policies);

    if (closed == NULL)
        return;
    for (struct key_policy *policy = closed->made; policy != NULL;) {
        struct key_policy *next = policy->next;
        mem_free(policy);
        policy = next;
    }
    pthread_mutex_destroy(&closed->lock);
    mem_free(closed);
}

bool key_policies_offer_all(const struct key_policies *policies, const struct mechanism *mechanism)
{
    for (size_t i = 0; i < policies->count; i++)
        if (policies->rules[i].keys == NULL && !key_rule_offers(&policies->rules[i], mechanism))
            return false;
    return true;
}

/* ---- a key's rules ---- */

static struct key_policy *make_locked(struct key_policies *policies, uint64_t rules)
{
    struct key_policy *policy = mem_calloc(1, sizeof(*policy));

    if (policy == NULL)
        return NULL;
    *policy = (struct key_policy){policies, rules, UINT_MAX, UINT64_MAX, policies->made};
    for (size_t i = 0; i < policies->count; i++) {
        const struct key_rule *rule = &policies->rules[i];
        if ((rules & (uint64_t) 1 << i) == 0)
            continue;
        policy->purposes &= rule->purposes;
        if (rule->usage_limit < policy->usage_limit)
            policy->usage_limit = rule->usage_limit;
    }
    policies->made = policy;
    return policy;
}

static CK_RV policy_of(struct key_policies *policies, uint64_t rules,
                       const struct key_policy **ret_policy)
{
    struct key_policy *found;

    pthread_mutex_lock(&policies->lock);
    for (found = policies->made; found != NULL && found->rules != rules;)
        found = found->next;
    if (found == NULL)
        found = make_locked(policies, rules);
    pthread_mutex_unlock(&policies->lock);
    *ret_policy = found;
    return found == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

static uint64_t rules_of(const struct attributes *attributes)
{
    return attributes->policy == NULL ? 0 : attributes->policy->rules;
}

static uint64_t named_by(const struct key_policies *policies, const struct attributes *attributes)
{
    struct view label = {NULL, 0};
    uint64_t rules = 0;

    (void) attributes_bytes(attributes, CKA_LABEL, &label);
    for (size_t i = 0; i < policies->count; i++)
        if (key_rule_names(&policies->rules[i], label))
            rules |= (uint64_t) 1 << i;
    return rules;
}

static CK_RV add(struct key_policies *policies, uint64_t more, struct attributes *attributes)
{
    uint64_t rules = rules_of(attributes) | more;

    return rules == rules_of(attributes) ? CKR_OK : policy_of(policies, rules, &attributes->policy);
}

CK_RV key_policies_add_named(struct key_policies *policies, struct attributes *attributes)
{
    if (attributes->object_class != CKO_SECRET_KEY)
        return CKR_OK;
    return add(policies, named_by(policies, attributes), attributes);
}

CK_RV key_policies_add_of(struct key_policies *policies, const struct attributes *source,
                          struct attributes *attributes)
{
    return add(policies, rules_of(source), attributes);
}

bool key_policies_keep_all(const struct key_policies *policies, const struct attributes *source,
                           const struct attributes *attributes)
{
    return !attributes_has(attributes, FLAG_TOKEN) ||
           (rules_of(source) & ~named_by(policies, attributes)) == 0;
}

/* ---- uses ---- */

static const struct key_rule *next_rule(const struct key_policy *policy, size_t *at)
{
    while (*at < policy->policies->count) {
        size_t i = (*at)++;
        if ((policy->rules & (uint64_t) 1 << i) != 0)
            return &policy->policies->rules[i];
    }
    return NULL;
}

static CK_RV refuse(const struct object *key, const char *rule, const char *what, CK_RV rv)
{
    struct view label = {NULL, 0};

    (void) attributes_bytes(&key->attributes, CKA_LABEL, &label);
    log_line(LOG_LEVEL_WARNING, "token %s: refused by policy rule %s: key '%.*s': %s",
             key->slot->name, rule, (int) label.len, (const char *) label.bytes, what);
    return rv;
}

/* A derivation without a label could give any key. */
static bool has_label(const struct mechanism *mechanism)
{
    switch (mechanism->type) {
    case CKM_HKDF_DERIVE:
    case CKM_HKDF_DATA:
    case CKM_SP800_108_COUNTER_KDF:
    case CKM_SP800_108_FEEDBACK_KDF:
    case CKM_SP800_108_DOUBLE_PIPELINE_KDF:
        return true;
    default:
        return mechanism->derive == NULL;
    }
}

CK_RV key_policy_check_use(const struct object *key, const struct mechanism *mechanism)
{
    const struct key_rule *rule;
    size_t at = 0;

    while ((rule = next_rule(key->attributes.policy, &at)) != NULL) {
        if (!key_rule_offers(rule, mechanism))
            return refuse(key, "key-mechanisms-are-allowed", mechanism->name,
                          CKR_MECHANISM_INVALID);
        if (rule->labels != NULL && !has_label(mechanism))
            return refuse(key, "derivation-labels-are-listed", mechanism->name,
                          CKR_MECHANISM_INVALID);
    }
    return key_policy_check_time(key);
}

CK_RV key_policy_check_time(const struct object *key)
{
    const struct key_rule *rule;
    size_t at = 0;

    while ((rule = next_rule(key->attributes.policy, &at)) != NULL)
        if (rule->has_window && !time_window_holds(&rule->window, clock_utc_s()))
            return refuse(key, "keys-have-hours", "it is outside of time_window",
                          CKR_KEY_FUNCTION_NOT_PERMITTED);
    return CKR_OK;
}

static CK_RV check_label(const struct object *key, struct view label)
{
    const struct key_rule *rule;
    size_t at = 0;

    while ((rule = next_rule(key->attributes.policy, &at)) != NULL)
        if (rule->labels != NULL && (label.len == 0 || !config_info_is_listed(rule->labels, label)))
            return refuse(key, "derivation-labels-are-listed",
                          "the derivation's label is not in derivation_labels",
                          CKR_MECHANISM_PARAM_INVALID);
    return CKR_OK;
}

/* SP 800-108, 4.1 and 5: a 32-bit counter, which stays below 256, the label, a zero byte. Empty for
 * an input of any other form. */
static struct view label_of(struct view prf_input)
{
    static const unsigned char zeros[COUNTER_LEN - 1] = {0};

    if (prf_input.len < COUNTER_LEN || memcmp(prf_input.bytes, zeros, sizeof(zeros)) != 0)
        return (struct view){NULL, 0};
    struct view rest = {prf_input.bytes + COUNTER_LEN, prf_input.len - COUNTER_LEN};
    const unsigned char *end = rest.len == 0 ? NULL : memchr(rest.bytes, 0, rest.len);
    if (end == NULL)
        return (struct view){NULL, 0};
    return (struct view){rest.bytes, (size_t) (end - rest.bytes)};
}

CK_RV key_policy_ask_prf_input(const struct object *key, struct view prf_input)
{
    unsigned char purpose = PURPOSE_NONE;

    TRY(policy_purpose(prf_input, &purpose));
    if (purpose == PURPOSE_NONE)
        return check_label(key, label_of(prf_input));
    if (!key_policy_allows_purpose(key->attributes.policy, purpose))
        return refuse(key, "purposes-are-allowed", "the purpose is not in allowed_purposes",
                      CKR_MECHANISM_PARAM_INVALID);
    return CKR_OK;
}

CK_RV key_policy_ask_info(const struct object *key, struct view info)
{
    return check_label(key, info);
}
