#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "conf/conf_check.h"
#include "conf/conf_file.h"
#include "conf/conf_line.h"
#include "conf/conf_nearest.h"

/* Far above any use; they keep the searches for duplicates short on a hostile file. */
#define SECTIONS_MAX 4096u
#define ENTRIES_MAX 128u /* in one section */

enum kind {
    KIND_MODULE,
    KIND_TOKEN,
    KIND_KEY,
    KIND_POLICY,
    KIND_COUNT,
};

static const char *const kind_words[KIND_COUNT] = {"module", "token", "key", "policy"};

struct section_list {
    struct conf_section *items;
    size_t count;
};

struct conf {
    char *text; /* the file; names and values point into it */
    struct section_list lists[KIND_COUNT];
};

/* What [module] is when the file has none. */
static const struct conf_section no_module = {.name = ""};

/* The file while it is read. */
struct reader {
    struct conf *conf;
    const struct conf_schema *schema;
    struct conf_place place;
    struct conf_section *section; /* the open one; NULL before the first */
};

void conf_free(struct conf **conf)
{
    if (*conf == NULL)
        return;
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        struct section_list *list = &(*conf)->lists[kind];
        for (size_t i = 0; i < list->count; i++)
            mem_free(list->items[i].entries);
        mem_free(list->items);
    }
    mem_free((*conf)->text);
    mem_free(*conf);
    *conf = NULL;
}

/* Room for one more item: arrays grow when their count is a power of two. */
static CK_RV grow(const struct conf_place *place, void **items, size_t count, size_t item_len)
{
    if (count != 0 && (count & (count - 1)) != 0)
        return CKR_OK;
    void *grown = mem_resize(*items, count == 0 ? 1 : 2 * count, item_len);
    if (grown == NULL)
        return FAIL(CKR_HOST_MEMORY, "%s:%zu: out of memory for the configuration", place->path,
                    place->line);
    *items = grown;
    return CKR_OK;
}

static bool is_known(const struct conf_schema *schema, enum kind kind)
{
    if (kind == KIND_POLICY)
        return schema->policy_keys != NULL;
    return kind != KIND_KEY || schema->key_keys != NULL;
}

static CK_RV find_kind(const struct reader *reader, const char *word, enum kind *ret_kind)
{
    struct conf_nearest nearest = conf_nearest_to(word);
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        if (!is_known(reader->schema, (enum kind) kind))
            continue;
        if (strcmp(kind_words[kind], word) == 0) {
            *ret_kind = (enum kind) kind;
            return CKR_OK;
        }
        conf_nearest_offer(&nearest, kind_words[kind], strlen(kind_words[kind]));
    }
    if (nearest.best != NULL)
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: unknown section [%s] (nearest: '%s'); correct or remove it",
                    reader->place.path, reader->place.line, word, nearest.best);
    return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: unknown section [%s]; remove it", reader->place.path,
                reader->place.line, word);
}

static CK_RV check_header(const struct reader *reader, enum kind kind, const char *name)
{
    const struct conf_place *place = &reader->place;
    const struct section_list *list = &reader->conf->lists[kind];
    if (kind == KIND_MODULE && *name != '\0')
        return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: [module] takes no name; remove it", place->path,
                    place->line);
    if (kind != KIND_MODULE && *name == '\0')
        return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: [%s] has no name; write [%s NAME]", place->path,
                    place->line, kind_words[kind], kind_words[kind]);
    if (list->count == SECTIONS_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: more than %u [%s] sections", place->path,
                    place->line, SECTIONS_MAX, kind_words[kind]);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0)
            return FAIL(CKR_FUNCTION_FAILED,
                        "%s:%zu: section [%s%s%s] is also in line %zu; join them or rename one",
                        place->path, place->line, kind_words[kind], *name == '\0' ? "" : " ", name,
                        list->items[i].line);
    }
    return CKR_OK;
}

static CK_RV add_section(struct reader *reader, const struct conf_line *line)
{
    enum kind kind;
    TRY(find_kind(reader, line->word, &kind));
    TRY(check_header(reader, kind, line->value));
    struct section_list *list = &reader->conf->lists[kind];
    void *items = list->items;
    TRY(grow(&reader->place, &items, list->count, sizeof(*list->items)));
    list->items = items;
    reader->section = &list->items[list->count++];
    *reader->section = (struct conf_section){.name = line->value, .line = reader->place.line};
    return CKR_OK;
}

static CK_RV add_entry(struct reader *reader, const struct conf_line *line)
{
    struct conf_section *section = reader->section;
    const struct conf_place *place = &reader->place;
    if (section == NULL)
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: a key stands before the first section; put it under [module] or "
                    "[token NAME]",
                    place->path, place->line);
    if (section->entry_count == ENTRIES_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: more than %u keys in one section", place->path,
                    place->line, ENTRIES_MAX);
    void *entries = section->entries;
    TRY(grow(place, &entries, section->entry_count, sizeof(*section->entries)));
    section->entries = entries;
    section->entries[section->entry_count++] =
        (struct conf_entry){.name = line->word, .value = line->value, .line = place->line};
    return CKR_OK;
}

static CK_RV parse(struct reader *reader, char *text, size_t text_len)
{
    char *end = text + text_len;
    while (text < end) {
        char *line_end = memchr(text, '\n', (size_t) (end - text));
        if (line_end == NULL)
            line_end = end;
        struct conf_line line;
        reader->place.line++;
        TRY(conf_line_parse(&reader->place, text, (size_t) (line_end - text), &line));
        if (line.type == CONF_LINE_SECTION)
            TRY(add_section(reader, &line));
        if (line.type == CONF_LINE_ENTRY)
            TRY(add_entry(reader, &line));
        text = line_end + 1;
    }
    return CKR_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const struct conf_entry *one = a;
    const struct conf_entry *two = b;
    return strcmp(one->name, two->name);
}

/* After the checks, which go by the file's order. */
static void sort_entries(struct conf *conf)
{
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        struct section_list *list = &conf->lists[kind];
        for (size_t i = 0; i < list->count; i++) {
            struct conf_section *section = &list->items[i];
            if (section->entry_count > 1)
                qsort(section->entries, section->entry_count, sizeof(*section->entries),
                      compare_entries);
        }
    }
}

static CK_RV check_sections(const struct conf_check *check, struct conf *conf)
{
    struct section_list *module = &conf->lists[KIND_MODULE];
    struct section_list *tokens = &conf->lists[KIND_TOKEN];
    struct section_list *keys = &conf->lists[KIND_KEY];
    struct section_list *policies = &conf->lists[KIND_POLICY];
    if (module->count > 0)
        conf_check_module(check, module->items);
    for (size_t i = 0; i < tokens->count; i++)
        conf_check_token(check, &tokens->items[i]);
    conf_check_slots(check, tokens->items, tokens->count);
    for (size_t i = 0; i < keys->count; i++)
        conf_check_key(check, &keys->items[i], tokens->items, tokens->count);
    for (size_t i = 0; i < policies->count; i++)
        conf_check_policy(check, &policies->items[i], tokens->items, tokens->count);
    /* Which keys a policy would have guarded is not known when it is not understood. */
    for (size_t i = 0; i < policies->count; i++)
        if (policies->items[i].bad)
            return CKR_FUNCTION_FAILED;
    return module->count > 0 && module->items->bad ? CKR_FUNCTION_FAILED : CKR_OK;
}

CK_RV conf_load(const char *path, const struct conf_schema *schema, struct conf **ret_conf)
{
    _cleanup_(conf_free) struct conf *conf = mem_calloc(1, sizeof(*conf));
    if (conf == NULL)
        return FAIL(CKR_HOST_MEMORY, "out of memory for the configuration");
    if (path != NULL) {
        const char *shown = conf_file_shown(path);
        struct reader reader = {.conf = conf, .schema = schema, .place = {.path = shown}};
        size_t len;
        TRY(conf_file_read(path, &conf->text, &len));
        TRY(parse(&reader, conf->text, len));
        const struct conf_check check = {.path = shown, .schema = schema};
        TRY(check_sections(&check, conf));
        sort_entries(conf);
    }
    *ret_conf = TAKE(conf);
    return CKR_OK;
}

const struct conf_section *conf_module(const struct conf *conf)
{
    const struct section_list *list = &conf->lists[KIND_MODULE];
    return list->count == 0 ? &no_module : list->items;
}

static const struct conf_section *sections_of(const struct conf *conf, enum kind kind,
                                              size_t *ret_count)
{
    *ret_count = conf->lists[kind].count;
    return conf->lists[kind].items;
}

const struct conf_section *conf_tokens(const struct conf *conf, size_t *ret_count)
{
    return sections_of(conf, KIND_TOKEN, ret_count);
}

const struct conf_section *conf_keys(const struct conf *conf, size_t *ret_count)
{
    return sections_of(conf, KIND_KEY, ret_count);
}

const struct conf_section *conf_policies(const struct conf *conf, size_t *ret_count)
{
    return sections_of(conf, KIND_POLICY, ret_count);
}
