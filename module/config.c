#include "module/config.h"

#include <string.h>

#include "base/log.h"
#include "module/approvers.h"
#include "module/key_rules.h"
#include "tokens/audit.h"
#include "tokens/custody.h"

#define TOKEN_KEYS_MAX 64
#define UNDO_WINDOW_MAX_MS (UINT64_C(366) * 24 * 60 * 60 * 1000)
#define HEX_PREFIX "hex:"

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

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* The next word of a list, and the place behind it; empty at the end. */
static struct view next_word(const char **at)
{
    *at += strspn(*at, " \t");
    struct view word = {(const unsigned char *) *at, strcspn(*at, " \t")};
    *at += word.len;
    return word;
}

static bool is_hex_word(struct view word)
{
    return word.len > sizeof(HEX_PREFIX) - 1 &&
           memcmp(word.bytes, HEX_PREFIX, sizeof(HEX_PREFIX) - 1) == 0;
}

/* The digits of a hex: word against bytes. */
static bool hex_equals(struct view word, struct view bytes)
{
    const unsigned char *digits = word.bytes + sizeof(HEX_PREFIX) - 1;

    if (word.len - (sizeof(HEX_PREFIX) - 1) != 2 * bytes.len)
        return false;
    for (size_t i = 0; i < bytes.len; i++) {
        int high = hex_digit((char) digits[2 * i]);
        int low = hex_digit((char) digits[2 * i + 1]);
        if (high < 0 || low < 0 || bytes.bytes[i] != (high << 4 | low))
            return false;
    }
    return true;
}

static bool hex_word_is_valid(struct view word)
{
    size_t digits = sizeof(HEX_PREFIX) - 1;

    for (size_t i = digits; i < word.len; i++)
        if (hex_digit((char) word.bytes[i]) < 0)
            return false;
    return (word.len - digits) % 2 == 0;
}

const char *config_check_info_list(const char *value)
{
    for (struct view word = next_word(&value); word.len > 0; word = next_word(&value))
        if (is_hex_word(word) && !hex_word_is_valid(word))
            return "words of text, or hex: and an even number of hexadecimal digits, with a blank "
                   "between";
    return NULL;
}

bool config_info_is_listed(const char *list, struct view info)
{
    if (list == NULL)
        return false;
    for (struct view word = next_word(&list); word.len > 0; word = next_word(&list))
        if (is_hex_word(word) ? hex_equals(word, info) : view_equal(word, info))
            return true;
    return false;
}

#define FILE_PREFIX "file:"

static const char *check_file(const char *value)
{
    size_t len = sizeof(FILE_PREFIX) - 1;

    return strncmp(value, FILE_PREFIX, len) == 0 && value[len] == '/' ? NULL : "file:/PATH";
}

#define SHA256_PREFIX "sha256:"
#define FINGERPRINT_LEN 32

static bool parse_fingerprint(const char *value, unsigned char ret_fingerprint[FINGERPRINT_LEN])
{
    size_t prefix = sizeof(SHA256_PREFIX) - 1;

    if (strncmp(value, SHA256_PREFIX, prefix) != 0 ||
        strlen(value) != prefix + 2 * (size_t) FINGERPRINT_LEN)
        return false;
    for (size_t i = 0; i < FINGERPRINT_LEN; i++) {
        int high = hex_digit(value[prefix + 2 * i]);
        int low = hex_digit(value[prefix + 2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_fingerprint[i] = (unsigned char) (high << 4 | low);
    }
    return true;
}

static const char *check_fingerprint(const char *value)
{
    unsigned char fingerprint[FINGERPRINT_LEN];

    return parse_fingerprint(value, fingerprint) ? NULL : "sha256: and 64 hexadecimal digits";
}

#define ADMINISTRATORS "user so"
#define TWO_PERSON "destroy export policy"
#define PURPOSES "token centroid payload item query"
#define POLICIES "strengthen strict"
#define AES_DEFAULTS "gcm cbc"
#define RELAXABLE                                                                                  \
    "known-keys-do-not-wrap token-keys-stay-inside wrapped-under-as-strong "                       \
    "wrapping-ivs-are-fresh derived-keys-do-not-derive"

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
    {.name = "extract_key",
     .type = CONF_BOOL,
     .help = "yes: CKM_EXTRACT_KEY_FROM_KEY cuts keys out of keys"},
    {.name = "undo_window",
     .type = CONF_DURATION,
     .max = UNDO_WINDOW_MAX_MS,
     .help = "how long a destroyed key waits, hidden, until it is gone for good"},
    {.name = "hkdf_data_info",
     .type = CONF_STRING,
     .check = config_check_info_list,
     .help = "info strings for which CKM_HKDF_DATA gives out bytes from sensitive keys"},
    {.name = "migrate_to",
     .type = CONF_STRING,
     .check = check_fingerprint,
     .help = "sha256: and the fingerprint of the RSA public key that index keys may be wrapped to"},
    {.name = "administer",
     .type = CONF_CHOICE,
     .choices = ADMINISTRATORS,
     .help = "who makes, changes and destroys token objects"},
    {.name = "two_person",
     .type = CONF_WORDS,
     .choices = TWO_PERSON,
     .help = "what takes the approval of a second person, or none"},
    {.name = "approvers",
     .type = CONF_STRING,
     .check = check_file,
     .help = "file:PATH of the approvers' Ed25519 public keys"},
    {.name = "approvals_needed",
     .type = CONF_UINT,
     .min = 1,
     .max = APPROVERS_MAX,
     .help = "how many approvers it takes"},
    {.name = "approvals", .type = CONF_PATH, .help = "the folder that approvals are put into"},
    {.name = NULL},
};

/* The module's own keys and those of the token layer, joined: the reader takes one table. */
static struct conf_key token_keys[TOKEN_KEYS_MAX];
static struct conf_key policy_keys[TOKEN_KEYS_MAX];

static struct conf_schema schema;

/* Behind the `*count` keys that `keys` has; it ends with a NULL name again. */
static void join(const struct conf_key *more, struct conf_key keys[TOKEN_KEYS_MAX], size_t *count)
{
    for (; more->name != NULL && *count < TOKEN_KEYS_MAX - 1; more++)
        keys[(*count)++] = *more;
    keys[*count] = (struct conf_key){.name = NULL};
}

const struct conf_schema *config_schema(void)
{
    size_t token_count = 0;
    size_t policy_count = 0;

    join(own_token_keys, token_keys, &token_count);
    join(key_rule_keys, token_keys, &token_count);
    join(custody_conf_keys, token_keys, &token_count);
    join(audit_conf_keys, token_keys, &token_count);
    join(key_rule_policy_keys, policy_keys, &policy_count);
    join(key_rule_keys, policy_keys, &policy_count);

    schema = (struct conf_schema){
        .module_keys = module_keys,
        .token_keys = token_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
        .key_keys = custody_direct_key_conf_keys,
        .policy_keys = policy_keys,
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

bool config_extract_key(const struct conf_section *token)
{
    return conf_bool(token, "extract_key", false);
}

uint64_t config_undo_window_ms(const struct conf_section *token)
{
    return conf_duration_ms(token, "undo_window", 0);
}

const char *config_hkdf_data_info(const struct conf_section *token)
{
    return conf_string(token, "hkdf_data_info", NULL);
}

bool config_migrate_to(const struct conf_section *token, unsigned char ret_fingerprint[32])
{
    const char *value = conf_string(token, "migrate_to", NULL);

    return value != NULL && parse_fingerprint(value, ret_fingerprint);
}

bool config_so_administers(const struct conf_section *token)
{
    return conf_choice(token, "administer", 0) != 0;
}

unsigned int config_two_person(const struct conf_section *token)
{
    return (unsigned int) conf_words(token, "two_person", 0);
}

const char *config_approvers(const struct conf_section *token)
{
    const char *value = conf_string(token, "approvers", NULL);

    return value == NULL ? NULL : value + sizeof(FILE_PREFIX) - 1;
}

size_t config_approvals_needed(const struct conf_section *token)
{
    return (size_t) conf_uint(token, "approvals_needed", 1);
}

const char *config_approvals(const struct conf_section *token)
{
    return conf_string(token, "approvals", NULL);
}
