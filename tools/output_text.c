#include "tools/output_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define COLUMNS_MAX 16
#define NAME_MAX_LEN 32

/* A value as one word or line; freed with mem_free. NULL: memory was short. */
static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return mem_strdup(json_string_value(value));
    if (json_is_integer(value))
        return mem_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_boolean(value))
        return mem_strdup(json_is_true(value) ? "yes" : "no");
    char *joined = mem_strdup(json_array_size(value) == 0 ? "-" : "");
    for (size_t i = 0; joined != NULL && i < json_array_size(value); i++) {
        _cleanup_(mem_free_pointer) char *before = joined;
        joined = mem_format("%s%s%s", before, i == 0 ? "" : " ",
                            json_string_value(json_array_get(value, i)));
    }
    return joined;
}

/* Characters, not bytes, so that columns stand below each other. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char) *text & 0xc0) != 0x80;
    return width;
}

static void print_name(const char *name)
{
    for (; *name != '\0'; name++)
        (void) putchar(*name == '_' ? ' ' : *name);
}

/* Values one below the other; lists of records are not values. */
static CK_RV print_values(const json_t *record, const char *indent)
{
    const char *name;
    json_t *value;
    int widest = 0;
    json_object_foreach((json_t *) record, name, value)
    {
        if (!json_is_object(json_array_get(value, 0)) && width_of(name) > widest)
            widest = width_of(name);
    }
    json_object_foreach((json_t *) record, name, value)
    {
        if (json_is_object(json_array_get(value, 0)))
            continue;
        _cleanup_(mem_free_pointer) char *text = value_text(value);
        if (text == NULL)
            return CKR_HOST_MEMORY;
        (void) fputs(indent, stdout);
        print_name(name);
        (void) printf(":%*s %s\n", widest - width_of(name), "", text);
    }
    return CKR_OK;
}

static CK_RV print_blocks(const json_t *list)
{
    size_t i;
    json_t *record;
    json_array_foreach(list, i, record)
    {
        if (i > 0)
            (void) putchar('\n');
        TRY(print_values(record, ""));
    }
    return CKR_OK;
}

struct columns {
    char names[COLUMNS_MAX][NAME_MAX_LEN];
    int widths[COLUMNS_MAX];
    size_t count;
};

static void split_columns(const char *words, struct columns *columns)
{
    columns->count = 0;
    while (*words != '\0' && columns->count < COLUMNS_MAX) {
        size_t len = strcspn(words, " ");
        char *name = columns->names[columns->count];
        (void) snprintf(name, NAME_MAX_LEN, "%.*s", (int) len, words);
        columns->widths[columns->count++] = width_of(name);
        words += len + strspn(words + len, " ");
    }
}

static CK_RV measure(const json_t *list, struct columns *columns)
{
    size_t i;
    json_t *record;
    json_array_foreach(list, i, record)
    {
        for (size_t column = 0; column < columns->count; column++) {
            _cleanup_(mem_free_pointer) char *text =
                value_text(json_object_get(record, columns->names[column]));
            if (text == NULL)
                return CKR_HOST_MEMORY;
            if (width_of(text) > columns->widths[column])
                columns->widths[column] = width_of(text);
        }
    }
    return CKR_OK;
}

static void print_cell(const struct columns *columns, size_t column, const char *text)
{
    bool is_last = column + 1 == columns->count;
    int pad = is_last ? 0 : columns->widths[column] - width_of(text) + 2;
    (void) printf("%s%*s", text, pad, "");
}

static void print_head(const struct columns *columns)
{
    for (size_t column = 0; column < columns->count; column++) {
        char name[NAME_MAX_LEN];
        (void) snprintf(name, sizeof(name), "%s", columns->names[column]);
        for (char *at = name; *at != '\0'; at++)
            *at = *at == '_' ? ' ' : (char) toupper((unsigned char) *at);
        print_cell(columns, column, name);
    }
    (void) putchar('\n');
}

static CK_RV print_table(const json_t *list, const char *words)
{
    struct columns columns;
    size_t i;
    json_t *record;
    split_columns(words, &columns);
    TRY(measure(list, &columns));
    print_head(&columns);
    json_array_foreach(list, i, record)
    {
        for (size_t column = 0; column < columns.count; column++) {
            _cleanup_(mem_free_pointer) char *text =
                value_text(json_object_get(record, columns.names[column]));
            if (text == NULL)
                return CKR_HOST_MEMORY;
            print_cell(&columns, column, text);
        }
        (void) putchar('\n');
    }
    return CKR_OK;
}

CK_RV output_text_print(const json_t *document, const struct output_table *tables,
                        size_t table_count)
{
    TRY(print_values(document, ""));
    for (size_t i = 0; i < table_count; i++) {
        const json_t *list = json_object_get(document, tables[i].name);
        if (json_array_size(list) == 0)
            continue;
        if (tables[i].columns == NULL)
            TRY(print_blocks(list));
        else
            TRY(print_table(list, tables[i].columns));
    }
    return CKR_OK;
}
