#include "module/key_rules.h"

#include <string.h>

#include "module/config.h"
#include "module/subkeys.h"

#define PURPOSES "token centroid payload item query"
#define ALL_PURPOSES 0x1fU
#define USAGE_MAX ((uint64_t) 1 << 32)

static struct view next_word(const char **at)
{
    *at += strspn(*at, " \t");
    struct view word = {(const unsigned char *) *at, strcspn(*at, " \t")};
    *at += word.len;
    return word;
}

/* Its line in the table, or the table's length. */
static size_t find_mechanism(struct view name)
{
    size_t count;
    const struct mechanism *all = mechanisms_all(&count);
    size_t i = 0;

    while (i < count && !view_equal(name, view_text(all[i].name)))
        i++;
    return i;
}

static const char *check_mechanisms(const char *value)
{
    size_t count;

    (void) mechanisms_all(&count);
    for (struct view word = next_word(&value); word.len > 0; word = next_word(&value))
        if (find_mechanism(word) == count)
            return "names of mechanisms that the module has, such as CKM_AES_GCM, with a blank "
                   "between";
    return NULL;
}

static const char *check_window(const char *value)
{
    struct time_window window;

    return time_window_parse(value, &window) ? NULL : "such as Mon-Fri 07:00-19:00 UTC";
}

const struct conf_key key_rule_keys[] = {
    {.name = "allowed_mechanisms",
     .type = CONF_STRING,
     .check = check_mechanisms,
     .help = "the mechanisms that keys may be used with"},
    {.name = "allowed_purposes",
     .type = CONF_WORDS,
     .choices = PURPOSES,
     .help = "the purposes that index keys have subkeys for, derived ones too; or none"},
    {.name = "derivation_labels",
     .type = CONF_STRING,
     .check = config_check_info_list,
     .help = "the labels (SP 800-108) and info strings (HKDF) of what keys may derive"},
    {.name = "time_window",
     .type = CONF_STRING,
     .check = check_window,
     .help = "when keys may be used: Mon-Fri 07:00-19:00 UTC"},
    {.name = "usage_limit",
     .type = CONF_UINT,
     .min = 1,
     .max = USAGE_MAX,
     .help = "how many AES-GCM encryptions a key makes in all"},
    {.name = NULL},
};

const struct conf_key key_rule_policy_keys[] = {
    {.name = "keys",
     .type = CONF_STRING,
     .required = true,
     .help = "labels of the keys it is for; * stands for any text"},
    {.name = NULL},
};

static void read_mechanisms(const char *names, struct key_rule *rule)
{
    for (struct view word = next_word(&names); word.len > 0; word = next_word(&names)) {
        size_t line = find_mechanism(word);
        rule->mechanisms[line / 8] |= (unsigned char) (1U << line % 8);
    }
    rule->names_mechanisms = true;
}

bool key_rule_read(const struct conf_section *section, struct key_rule *ret_rule)
{
    const char *mechanisms = conf_string(section, "allowed_mechanisms", NULL);
    const char *window = conf_string(section, "time_window", NULL);
    struct key_rule rule = {
        .name = section->name,
        .keys = conf_string(section, "keys", NULL),
        .labels = conf_string(section, "derivation_labels", NULL),
        .purposes = (unsigned int) conf_words(section, "allowed_purposes", ALL_PURPOSES),
        .usage_limit = conf_uint(section, "usage_limit", UINT64_MAX),
    };

    if (mechanisms != NULL)
        read_mechanisms(mechanisms, &rule);
    rule.has_window = window != NULL && time_window_parse(window, &rule.window);
    *ret_rule = rule;
    return rule.names_mechanisms || rule.has_window || rule.labels != NULL ||
           rule.purposes != ALL_PURPOSES || rule.usage_limit != UINT64_MAX;
}

/* Each star takes as little as it can; when the rest does not fit, the last one takes more. */
static bool fits(struct view pattern, struct view label)
{
    size_t p = 0;
    size_t l = 0;
    size_t star = SIZE_MAX;
    size_t star_at = 0;

    while (l < label.len) {
        if (p < pattern.len && pattern.bytes[p] == '*') {
            star = p++;
            star_at = l;
        } else if (p < pattern.len && pattern.bytes[p] == label.bytes[l]) {
            p++;
            l++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            l = ++star_at;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.bytes[p] == '*')
        p++;
    return p == pattern.len;
}

static struct view without_version(struct view label)
{
    size_t len = label.len;

    while (len > 0 && label.bytes[len - 1] >= '0' && label.bytes[len - 1] <= '9')
        len--;
    if (len > 0 && len < label.len && label.bytes[len - 1] == '@')
        label.len = len - 1;
    return label;
}

bool key_rule_names(const struct key_rule *rule, struct view label)
{
    const char *patterns = rule->keys;
    struct view parent;

    if (patterns == NULL)
        return true;
    if (subkeys_split_label(label, &parent) != PURPOSE_NONE)
        label = parent;
    label = without_version(label);
    for (struct view word = next_word(&patterns); word.len > 0; word = next_word(&patterns))
        if (fits(word, label))
            return true;
    return false;
}

bool key_rule_offers(const struct key_rule *rule, const struct mechanism *mechanism)
{
    size_t count;
    size_t line = (size_t) (mechanism - mechanisms_all(&count));

    return !rule->names_mechanisms || (rule->mechanisms[line / 8] & 1U << line % 8) != 0;
}
