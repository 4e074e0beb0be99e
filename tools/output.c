#include "tools/output.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log_text.h"
#include "tools/failure.h"
#include "tools/output_text.h"

#define DEPTH_MAX 3

struct output {
    bool json;
    bool failed;
    json_t *open[DEPTH_MAX]; /* the document, a list, a record; borrowed but for the first */
    size_t depth;
    struct output_table tables[OUTPUT_TABLES_MAX];
    size_t table_count;
};

CK_RV output_new(bool json, struct output **ret_output)
{
    _cleanup_(output_free) struct output *output = mem_calloc(1, sizeof(*output));
    if (output == NULL)
        return CKR_HOST_MEMORY;
    output->json = json;
    output->open[0] = json_object();
    if (output->open[0] == NULL)
        return CKR_HOST_MEMORY;
    *ret_output = TAKE(output);
    return CKR_OK;
}

void output_free(struct output **output)
{
    if (*output == NULL)
        return;
    json_decref((*output)->open[0]);
    mem_free(*output);
    *output = NULL;
}

static json_t *innermost(const struct output *output)
{
    return output->open[output->depth];
}

/* Takes the value, whatever happens. NULL: memory was short. */
static void put(struct output *output, const char *name, json_t *value)
{
    if (value == NULL || json_object_set_new(innermost(output), name, value) != 0)
        output->failed = true;
}

static void descend(struct output *output, json_t *child)
{
    if (output->depth + 1 < DEPTH_MAX)
        output->open[++output->depth] = child;
    else
        output->failed = true;
}

void output_list(struct output *output, const char *name, const char *columns)
{
    json_t *list = json_array();
    put(output, name, list);
    if (output->table_count < OUTPUT_TABLES_MAX)
        output->tables[output->table_count++] = (struct output_table){name, columns};
    else
        output->failed = true;
    descend(output, list);
}

void output_end_list(struct output *output)
{
    output->depth--;
}

void output_record(struct output *output)
{
    json_t *record = json_object();
    if (record == NULL || json_array_append_new(innermost(output), record) != 0)
        output->failed = true;
    descend(output, record);
}

void output_end_record(struct output *output)
{
    output->depth--;
}

static json_t *clean_string(struct view text)
{
    _cleanup_(mem_free_pointer) char *copy = mem_alloc(text.len + 1);
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < text.len; i++)
        copy[i] = text.bytes[i] == '\0' ? '?' : (char) text.bytes[i];
    copy[text.len] = '\0';
    log_text_clean(copy);
    return json_string(copy);
}

void output_text(struct output *output, const char *name, const char *text)
{
    put(output, name, text == NULL ? json_null() : clean_string(view_text(text)));
}

void output_view(struct output *output, const char *name, struct view text)
{
    put(output, name, clean_string(text));
}

void output_number(struct output *output, const char *name, uint64_t number)
{
    put(output, name, json_integer((json_int_t) number));
}

void output_flag(struct output *output, const char *name, bool flag)
{
    put(output, name, json_boolean(flag));
}

void output_hex(struct output *output, const char *name, struct view bytes)
{
    static const char digits[] = "0123456789abcdef";
    _cleanup_(mem_free_pointer) char *text = mem_alloc(2 * bytes.len + 1);
    if (text == NULL) {
        output->failed = true;
        return;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = digits[bytes.bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes.bytes[i] & 15];
    }
    text[2 * bytes.len] = '\0';
    put(output, name, json_string(text));
}

void output_time(struct output *output, const char *name, uint64_t seconds)
{
    char text[40];
    time_t moment = (time_t) seconds;
    struct tm parts;
    if (gmtime_r(&moment, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        output_number(output, name, seconds);
    else
        put(output, name, json_string(text));
}

void output_word(struct output *output, const char *name, const char *word)
{
    json_t *list = json_object_get(innermost(output), name);
    if (list == NULL) {
        list = json_array();
        put(output, name, list);
    }
    if (word != NULL && json_array_append_new(list, clean_string(view_text(word))) != 0)
        output->failed = true;
}

static CK_RV print_json(const json_t *document)
{
    if (json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) != 0)
        return CKR_DEVICE_ERROR;
    (void) fputc('\n', stdout);
    return CKR_OK;
}

CK_RV output_print(const struct output *output)
{
    if (output->failed)
        return CKR_HOST_MEMORY;
    if (output->json)
        TRY(print_json(output->open[0]));
    else
        TRY(output_text_print(output->open[0], output->tables, output->table_count));
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? CKR_OK : CKR_DEVICE_ERROR;
}

void output_print_failure(bool json, const struct failure *failure)
{
    char name[32];
    (void) fprintf(stderr, "indexkey: error: %s\n", failure->text);
    if (!json)
        return;
    json_t *document =
        json_pack("{s:{s:i, s:s?, s:s?, s:s}}", "error", "exit", (int) failure->exit, "code",
                  failure->rv == CKR_OK ? NULL : failure_rv_name(failure->rv, name), "cause",
                  failure->cause == INDEXKEY_CAUSE_NONE ? NULL : cause_name(failure->cause),
                  "message", failure->text);
    if (document != NULL)
        (void) print_json(document);
    json_decref(document);
}
