#include "conf/conf_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "conf/conf_line.h"
#include "conf/conf_nearest.h"
#include "conf/conf_value.h"

#define SLOT_MAX INT32_MAX

static const struct conf_key token_own_keys[] = {
    {.name = "source",
     .type = CONF_STRING,
     .required = true,
     .help = "where the token's root key lives"},
    {.name = "slot", .type = CONF_UINT, .max = SLOT_MAX, .help = "the stable slot id"},
    {.name = NULL},
};

static const struct conf_key key_own_keys[] = {
    {.name = "token",
     .type = CONF_STRING,
     .required = true,
     .help = "the token that shows the key"},
    {.name = NULL},
};

static const struct conf_key policy_own_keys[] = {
    {.name = "token", .type = CONF_STRING, .required = true, .help = "the token that has the keys"},
    {.name = NULL},
};

/* One section under examination. */
struct subject {
    const struct conf_check *check;
    struct conf_section *section;
    const char *kind;                 /* module, token, key, policy */
    const char *effect;               /* what the mistake costs, after the remedy */
    const struct conf_key *tables[3]; /* NULL: no such table */
    bool source_is_known;
};

static void refuse(const struct subject *subject, size_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(const struct subject *subject, size_t line, const char *format, ...)
{
    char text[LOG_LINE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const struct conf_section *section = subject->section;
    log_line(LOG_LEVEL_ERROR, "%s:%zu: [%s%s%s] %s%s", subject->check->path, line, subject->kind,
             *section->name == '\0' ? "" : " ", section->name, text, subject->effect);
    subject->section->bad = true;
}

static const struct conf_entry *find_raw(const struct conf_section *section, const char *name)
{
    for (size_t i = 0; i < section->entry_count; i++) {
        if (strcmp(section->entries[i].name, name) == 0)
            return &section->entries[i];
    }
    return NULL;
}

/* An entry before this one that sets the same key. */
static const struct conf_entry *find_earlier(const struct conf_section *section, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(section->entries[i].name, section->entries[index].name) == 0)
            return &section->entries[i];
    }
    return NULL;
}

static const struct conf_key *find_in_table(const struct conf_key *table, const char *name)
{
    for (const struct conf_key *key = table; key != NULL && key->name != NULL; key++) {
        size_t len = strlen(key->name);
        if (key->prefix ? strncmp(key->name, name, len) == 0 && name[len] != '\0'
                        : strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

static const struct conf_key *find_key(const struct subject *subject, const char *name)
{
    const struct conf_key *key = NULL;
    for (size_t i = 0; i < 3 && key == NULL; i++)
        key = find_in_table(subject->tables[i], name);
    return key;
}

/* The source that has this key, for a key that stands under another one. */
static bool find_source_of(const struct conf_schema *schema, const char *key_name, char *buffer,
                           size_t len)
{
    size_t word_len;
    const char *word = schema->source_names;
    for (; *word != '\0'; word += word_len + (word[word_len] == ' ' ? 1 : 0)) {
        word_len = strcspn(word, " ");
        (void) snprintf(buffer, len, "%.*s", (int) word_len, word);
        if (find_in_table(schema->source_keys(buffer), key_name) != NULL)
            return true;
    }
    return false;
}

/* A prefix key is compared up to the first dot: `contxt.tenant` is near to `context.`. */
static void offer_tables(const struct subject *subject, struct conf_nearest *whole,
                         struct conf_nearest *start)
{
    for (size_t i = 0; i < 3; i++) {
        for (const struct conf_key *key = subject->tables[i]; key != NULL && key->name != NULL;
             key++)
            conf_nearest_offer(key->prefix ? start : whole, key->name, strlen(key->name));
    }
}

static void refuse_unknown_key(const struct subject *subject, const struct conf_entry *entry)
{
    char source[CONF_NEAREST_MAX];
    char head[CONF_KEY_MAX + 1];
    bool is_token = subject->tables[0] == token_own_keys;
    if (is_token && find_source_of(subject->check->schema, entry->name, source, sizeof(source))) {
        refuse(subject, entry->line,
               "key '%s' belongs to source = %s; remove it or change the source", entry->name,
               source);
        return;
    }
    (void) snprintf(head, sizeof(head), "%.*s", (int) (strcspn(entry->name, ".") + 1), entry->name);
    struct conf_nearest whole = conf_nearest_to(entry->name);
    struct conf_nearest start = conf_nearest_to(head);
    offer_tables(subject, &whole, &start);
    if (whole.best != NULL)
        refuse(subject, entry->line, "unknown key '%s' (nearest: '%s'); correct or remove it",
               entry->name, whole.best);
    else if (start.best != NULL)
        refuse(subject, entry->line, "unknown key '%s' (nearest: '%sNAME'); correct or remove it",
               entry->name, start.best);
    else
        refuse(subject, entry->line, "unknown key '%s'; remove it", entry->name);
}

static void check_entry(const struct subject *subject, size_t index)
{
    struct conf_entry *entry = &subject->section->entries[index];
    const struct conf_entry *earlier = find_earlier(subject->section, index);
    const struct conf_key *key = find_key(subject, entry->name);
    if (earlier != NULL) {
        refuse(subject, entry->line, "key '%s' is also set in line %zu; remove one of them",
               entry->name, earlier->line);
    } else if (key == NULL) {
        /* Without its source, nobody knows which keys the section may have. */
        if (subject->source_is_known)
            refuse_unknown_key(subject, entry);
    } else if (conf_value_parse(key, entry->value, &entry->number)) {
        entry->key = key;
    } else {
        char text[LOG_LINE_MAX / 4];
        conf_value_describe(key, entry->value, text, sizeof(text));
        refuse(subject, entry->line, "%s must be %s; correct it", entry->name, text);
    }
}

static void check_required(const struct subject *subject, const struct conf_key *table)
{
    for (const struct conf_key *key = table; key != NULL && key->name != NULL; key++) {
        if (key->required && find_raw(subject->section, key->name) == NULL)
            refuse(subject, subject->section->line, "has no key '%s' (%s); add it", key->name,
                   key->help);
    }
}

static void check_entries(const struct subject *subject)
{
    for (size_t i = 0; i < subject->section->entry_count; i++)
        check_entry(subject, i);
    for (size_t i = 0; i < 3; i++)
        check_required(subject, subject->tables[i]);
}

void conf_check_module(const struct conf_check *check, struct conf_section *module)
{
    const struct subject subject = {
        .check = check,
        .section = module,
        .kind = "module",
        .effect = "",
        .tables = {check->schema->module_keys},
        .source_is_known = true,
    };
    check_entries(&subject);
}

static void refuse_unknown_source(const struct subject *subject, const struct conf_entry *source)
{
    const char *names = subject->check->schema->source_names;
    struct conf_nearest nearest = conf_nearest_to(source->value);
    conf_nearest_offer_words(&nearest, names);
    if (nearest.best != NULL)
        refuse(subject, source->line, "source must be one of %s (nearest: '%.*s'); correct it",
               names, (int) nearest.best_len, nearest.best);
    else
        refuse(subject, source->line, "source must be one of %s; correct it", names);
}

void conf_check_token(const struct conf_check *check, struct conf_section *token)
{
    const struct conf_schema *schema = check->schema;
    const struct conf_entry *source = find_raw(token, "source");
    const struct conf_key *source_keys = source == NULL ? NULL : schema->source_keys(source->value);
    const struct subject subject = {
        .check = check,
        .section = token,
        .kind = "token",
        .effect = "; until then this token is absent",
        .tables = {token_own_keys, schema->token_keys, source_keys},
        .source_is_known = source_keys != NULL,
    };
    check_entries(&subject);
    if (source != NULL && source_keys == NULL)
        refuse_unknown_source(&subject, source);
}

/* `token` names the section of one. */
static void check_token_name(const struct subject *subject, const struct conf_section *tokens,
                             size_t token_count)
{
    const struct conf_entry *token = find_raw(subject->section, "token");
    if (token == NULL)
        return;
    struct conf_nearest nearest = conf_nearest_to(token->value);
    for (size_t i = 0; i < token_count; i++) {
        if (strcmp(tokens[i].name, token->value) == 0)
            return;
        conf_nearest_offer(&nearest, tokens[i].name, strlen(tokens[i].name));
    }
    if (nearest.best != NULL)
        refuse(subject, token->line,
               "token must name a [token] section (nearest: '%s'); correct it", nearest.best);
    else
        refuse(subject, token->line, "token must name a [token] section; correct it");
}

void conf_check_key(const struct conf_check *check, struct conf_section *key,
                    const struct conf_section *tokens, size_t token_count)
{
    const struct subject subject = {
        .check = check,
        .section = key,
        .kind = "key",
        .effect = "; until then this key is absent",
        .tables = {key_own_keys, check->schema->key_keys},
        .source_is_known = true,
    };
    check_entries(&subject);
    check_token_name(&subject, tokens, token_count);
}

void conf_check_policy(const struct conf_check *check, struct conf_section *policy,
                       const struct conf_section *tokens, size_t token_count)
{
    const struct subject subject = {
        .check = check,
        .section = policy,
        .kind = "policy",
        .effect = "; until then no token is there",
        .tables = {policy_own_keys, check->schema->policy_keys},
        .source_is_known = true,
    };
    check_entries(&subject);
    check_token_name(&subject, tokens, token_count);
}

static const struct conf_section *find_slot(const struct conf_section *tokens, size_t count,
                                            CK_SLOT_ID slot)
{
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].slot == slot)
            return &tokens[i];
    }
    return NULL;
}

void conf_check_slots(const struct conf_check *check, struct conf_section *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct conf_section *token = &tokens[i];
        CK_SLOT_ID slot = (CK_SLOT_ID) conf_uint(token, "slot", i);
        const struct conf_section *owner = find_slot(tokens, i, slot);
        const struct subject subject = {
            .check = check,
            .section = token,
            .kind = "token",
            .effect = "; until then this token is absent",
        };
        token->slot = slot;
        token->has_slot = owner == NULL;
        if (owner != NULL)
            refuse(&subject, token->line,
                   "slot %lu is that of [token %s] (line %zu); give each token its own `slot`",
                   (unsigned long) slot, owner->name, owner->line);
    }
}
