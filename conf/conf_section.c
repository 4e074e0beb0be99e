#include <string.h>

#include "conf/conf.h"

/* Entries are sorted by name once they are checked. */
static const struct conf_entry *find_entry(const struct conf_section *section, const char *name)
{
    for (size_t i = 0; i < section->entry_count; i++) {
        const struct conf_entry *entry = &section->entries[i];
        if (entry->key != NULL && strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static uint64_t number_of(const struct conf_section *section, const char *name, uint64_t fallback)
{
    const struct conf_entry *entry = find_entry(section, name);
    return entry == NULL ? fallback : entry->number;
}

const char *conf_string(const struct conf_section *section, const char *name, const char *fallback)
{
    const struct conf_entry *entry = find_entry(section, name);
    return entry == NULL ? fallback : entry->value;
}

bool conf_bool(const struct conf_section *section, const char *name, bool fallback)
{
    return number_of(section, name, fallback) != 0;
}

uint64_t conf_uint(const struct conf_section *section, const char *name, uint64_t fallback)
{
    return number_of(section, name, fallback);
}

uint64_t conf_duration_ms(const struct conf_section *section, const char *name, uint64_t fallback)
{
    return number_of(section, name, fallback);
}

size_t conf_choice(const struct conf_section *section, const char *name, size_t fallback)
{
    return (size_t) number_of(section, name, fallback);
}

uint64_t conf_words(const struct conf_section *section, const char *name, uint64_t fallback)
{
    return number_of(section, name, fallback);
}

size_t conf_section_line(const struct conf_section *section)
{
    return section->line;
}

bool conf_next(const struct conf_section *section, const char *prefix, size_t *cursor,
               const char **ret_rest, const char **ret_value)
{
    size_t len = strlen(prefix);
    while (*cursor < section->entry_count) {
        const struct conf_entry *entry = &section->entries[(*cursor)++];
        if (entry->key == NULL || strncmp(entry->name, prefix, len) != 0)
            continue;
        *ret_rest = entry->name + len;
        *ret_value = entry->value;
        return true;
    }
    return false;
}
