#include "module/config.h"

#include <string.h>

#include "base/log.h"
#include "tokens/custody.h"

#define TOKEN_KEYS_MAX 32

static const char *check_log(const char *value)
{
    return log_target_is_valid(value)
               ? NULL
               : "stderr, syslog or file:PATH, then a colon and one of error, "
                 "warning, notice, info, debug";
}

static const struct conf_key module_keys[] = {
    {.name = "log",
     .type = CONF_STRING,
     .check = check_log,
     .help = "where log lines go, and from which level on: stderr:warning"},
    {.name = "require_locked_memory",
     .type = CONF_BOOL,
     .help = "yes: refuse to hold secrets in memory that cannot be locked"},
    {.name = NULL},
};

#define PURPOSES "token centroid payload item query"
#define POLICIES "strengthen strict"
#define AES_DEFAULTS "gcm cbc"
#define RELAXABLE                                                                                  \
    "known-keys-do-not-wrap token-keys-stay-inside wrapped-under-as-strong wrapping-ivs-are-fresh"

static const struct conf_key own_token_keys[] = {
    {.name = "subkeys",
     .type = CONF_WORDS,
     .choices = PURPOSES,
     .help = "the subkey objects shown for each index key, or none"},
    {.name = "policy",
     .type = CONF_CHOICE,
     .choices = POLICIES,
     .help = "strengthen: weak templates of token keys are made strong; strict: refused"},
    {.name = "aes_default",
     .type = CONF_CHOICE,
     .choices = AES_DEFAULTS,
     .help = "CKA_ALLOWED_MECHANISMS of AES token keys whose template names none"},
    {.name = "relax",
     .type = CONF_WORDS,
     .choices = RELAXABLE,
     .help = "rules of the policy that do not hold for this token, or none"},
};

/* The module's own keys and those of the token layer, joined: the reader takes one table. */
static struct conf_key token_keys[TOKEN_KEYS_MAX];

static struct conf_schema schema;

const struct conf_schema *config_schema(void)
{
    size_t count = 0;

    for (size_t i = 0; i < sizeof(own_token_keys) / sizeof(own_token_keys[0]); i++)
        token_keys[count++] = own_token_keys[i];
    for (const struct conf_key *key = custody_conf_keys;
         key->name != NULL && count < TOKEN_KEYS_MAX - 1; key++)
        token_keys[count++] = *key;
    token_keys[count] = (struct conf_key){.name = NULL};

    schema = (struct conf_schema){
        .module_keys = module_keys,
        .token_keys = token_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
        .key_keys = custody_direct_key_conf_keys,
    };
    return &schema;
}

unsigned int config_subkeys(const struct conf_section *token)
{
    return (unsigned int) conf_words(token, "subkeys", 0x1f);
}

enum config_policy config_policy(const struct conf_section *token)
{
    return (enum config_policy) conf_choice(token, "policy", CONFIG_STRENGTHEN);
}

enum config_aes_default config_aes_default(const struct conf_section *token)
{
    return (enum config_aes_default) conf_choice(token, "aes_default", CONFIG_AES_GCM);
}

unsigned int config_relaxed(const struct conf_section *token)
{
    return (unsigned int) conf_words(token, "relax", 0);
}
