#include "conf/conf_value.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf_nearest.h"

static const struct {
    const char *name;
    uint64_t ms;
} units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

int conf_value_word_index(const char *words, const char *word, size_t len)
{
    int index = 0;
    for (size_t step; *words != '\0'; words += step + (words[step] == ' ' ? 1 : 0), index++) {
        step = strcspn(words, " ");
        if (step == len && memcmp(words, word, len) == 0)
            return index;
    }
    return -1;
}

/* Leaves `*text` after the digits. */
static bool parse_digits(const char **text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = *text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, 10U, &number) ||
            __builtin_add_overflow(number, (uint64_t) (*at - '0'), &number))
            return false;
    }
    if (at == *text)
        return false;
    *text = at;
    *ret_number = number;
    return true;
}

static bool is_within(const struct conf_key *key, uint64_t number)
{
    return number >= key->min && (key->max == 0 || number <= key->max);
}

static bool parse_uint(const struct conf_key *key, const char *text, uint64_t *ret_number)
{
    return parse_digits(&text, ret_number) && *text == '\0' && is_within(key, *ret_number);
}

static bool parse_duration(const struct conf_key *key, const char *text, uint64_t *ret_number)
{
    uint64_t number;
    if (!parse_digits(&text, &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].ms, ret_number) &&
                   is_within(key, *ret_number);
    }
    return false;
}

static bool parse_choice(const struct conf_key *key, const char *text, uint64_t *ret_number)
{
    int index = conf_value_word_index(key->choices, text, strlen(text));
    if (index < 0)
        return false;
    *ret_number = (uint64_t) index;
    return true;
}

/* Finds the first word at or after `*cursor`. */
static bool next_word(const char **cursor, size_t *ret_len)
{
    *cursor += strspn(*cursor, " \t");
    *ret_len = strcspn(*cursor, " \t");
    return *ret_len > 0;
}

static bool parse_words(const struct conf_key *key, const char *text, uint64_t *ret_number)
{
    uint64_t set = 0;
    size_t len;
    if (strcmp(text, "none") == 0) {
        *ret_number = 0;
        return true;
    }
    for (const char *word = text; next_word(&word, &len); word += len) {
        int index = conf_value_word_index(key->choices, word, len);
        if (index < 0 || index >= 64)
            return false;
        set |= UINT64_C(1) << index;
    }
    *ret_number = set;
    return true;
}

bool conf_value_parse(const struct conf_key *key, const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    bool good = true;
    switch (key->type) {
    case CONF_STRING:
        break;
    case CONF_PATH:
        good = text[0] == '/' && strlen(text) < CONF_PATH_MAX;
        break;
    case CONF_BOOL:
        number = strcmp(text, "yes") == 0;
        good = number == 1 || strcmp(text, "no") == 0;
        break;
    case CONF_UINT:
        good = parse_uint(key, text, &number);
        break;
    case CONF_DURATION:
        good = parse_duration(key, text, &number);
        break;
    case CONF_CHOICE:
        good = parse_choice(key, text, &number);
        break;
    case CONF_WORDS:
        good = parse_words(key, text, &number);
        break;
    }
    if (!good || (key->check != NULL && key->check(text) != NULL))
        return false;
    *ret_number = number;
    return true;
}

/* The word of `text` that is not among the choices, or is nearest to one of them. */
static void describe_choices(const struct conf_key *key, const char *text, char *buffer, size_t len)
{
    char word[CONF_NEAREST_MAX + 1];
    size_t word_len;
    bool many = key->type == CONF_WORDS;
    int used = snprintf(buffer, len, "%s %s", many ? "`none` or some of" : "one of", key->choices);
    for (const char *at = text; next_word(&at, &word_len); at += word_len) {
        if (word_len > CONF_NEAREST_MAX || conf_value_word_index(key->choices, at, word_len) >= 0)
            continue;
        memcpy(word, at, word_len);
        word[word_len] = '\0';
        struct conf_nearest nearest = conf_nearest_to(word);
        conf_nearest_offer_words(&nearest, key->choices);
        if (nearest.best != NULL && used > 0 && (size_t) used < len)
            (void) snprintf(buffer + used, len - (size_t) used, " (nearest: '%.*s')",
                            (int) nearest.best_len, nearest.best);
        return;
    }
}

static void describe_duration(const struct conf_key *key, char *buffer, size_t len)
{
    int used = snprintf(buffer, len, "a number and its unit (ms, s, m, h or d), such as 5s");
    if ((key->min > 0 || key->max > 0) && used > 0 && (size_t) used < len)
        (void) snprintf(buffer + used, len - (size_t) used, ", from %llums to %llums",
                        (unsigned long long) key->min,
                        (unsigned long long) (key->max == 0 ? UINT64_MAX : key->max));
}

void conf_value_describe(const struct conf_key *key, const char *text, char *buffer, size_t len)
{
    const char *fixed = key->check != NULL ? key->check(text) : NULL;
    switch (key->type) {
    case CONF_CHOICE:
    case CONF_WORDS:
        describe_choices(key, text, buffer, len);
        return;
    case CONF_DURATION:
        describe_duration(key, buffer, len);
        return;
    case CONF_UINT:
        (void) snprintf(buffer, len, "a whole number from %llu to %llu",
                        (unsigned long long) key->min,
                        (unsigned long long) (key->max == 0 ? UINT64_MAX : key->max));
        return;
    case CONF_BOOL:
        fixed = "yes or no";
        break;
    case CONF_PATH:
        fixed = text[0] == '/' && fixed != NULL ? fixed : "an absolute path";
        break;
    case CONF_STRING:
        break;
    }
    (void) snprintf(buffer, len, "%s", fixed != NULL ? fixed : "text");
}
