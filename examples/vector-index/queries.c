#include "queries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fvecs.h"
#include "lines.h"
#include "util.h"

#define DEFAULT_TOP 10U

void queries_clear(struct queries *queries)
{
    for (size_t i = 0; queries->results != NULL && i < queries->vectors->rows; i++) {
        topk_clear(&queries->results[i]);
    }
    free(queries->texts);
    free(queries->results);
    vectors_free(queries->vectors);
}

char *queries_text(const struct queries *queries, size_t query)
{
    return queries->texts + query * QUERIES_TEXT_SIZE;
}

static bool queries_allocate(struct queries *queries, size_t top)
{
    size_t count = queries->vectors->rows;

    queries->texts = util_alloc(count, QUERIES_TEXT_SIZE);
    queries->results = util_alloc(count, sizeof *queries->results);
    if (queries->texts == NULL || queries->results == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!topk_init(&queries->results[i], top)) {
            return false;
        }
    }
    return true;
}

static bool queries_read_texts(const char *path, struct queries *queries)
{
    _cleanup_(lines_close) struct lines lines = { .path = path };
    size_t count = queries->vectors->rows;
    bool more = false;

    if (!lines_open(path, &lines)) {
        return false;
    }
    for (size_t query = 0; query < count; query++) {
        if (!lines_read(&lines, &more)) {
            return false;
        }
        if (!more) {
            return fail("%s has %zu lines for %zu queries", path, query, count);
        }
        memcpy(queries_text(queries, query), lines.text, QUERIES_TEXT_SIZE);
    }
    if (!lines_read(&lines, &more)) {
        return false;
    }
    return !more || fail("%s has more lines than there are queries (%zu)", path, count);
}

static void queries_number_texts(struct queries *queries)
{
    for (size_t query = 0; query < queries->vectors->rows; query++) {
        snprintf(queries_text(queries, query), QUERIES_TEXT_SIZE, "query %zu", query + 1);
    }
}

// Of several items with one name the first is meant.
static bool queries_on_like(void *context, uint64_t record, const struct item *item)
{
    struct queries *queries = context;

    if (queries->like == QUERIES_NO_RECORD) {
        queries->like = record;
    } else {
        util_say("more than one item is named \"%s\": the first is used", item->name);
    }
    return true;
}

static bool queries_read_like(const char *name, const struct reader *reader,
                              struct queries *queries)
{
    if (!reader_walk_field(reader, "name", name, queries_on_like, queries)) {
        return false;
    }
    if (queries->like == QUERIES_NO_RECORD) {
        return fail("the index has no item named \"%s\"", name);
    }
    return vectors_new(1, reader->header.dim, &queries->vectors) &&
           reader_embedding(reader, queries->like, queries->vectors->values);
}

static bool queries_read_file(const char *path, const struct reader *reader,
                              struct queries *queries)
{
    if (!fvecs_load(path, QUERIES_MAX, &queries->vectors)) {
        return false;
    }
    return queries->vectors->dim == reader->header.dim ||
           fail("%s has vectors of %zu values, the index has %u", path, queries->vectors->dim,
                reader->header.dim);
}

static bool queries_fill(const struct options *options, const struct reader *reader,
                         struct queries *queries)
{
    size_t top = options->top != 0 ? (size_t)options->top : DEFAULT_TOP;

    if (!(options->like != NULL ? queries_read_like(options->like, reader, queries)
                                : queries_read_file(options->query, reader, queries)) ||
        !queries_allocate(queries, top)) {
        return false;
    }
    if (options->query_text != NULL) {
        return queries_read_texts(options->query_text, queries);
    }
    if (options->like != NULL) {
        snprintf(queries->texts, QUERIES_TEXT_SIZE, "%s", options->like);
    } else {
        queries_number_texts(queries);
    }
    return true;
}

bool queries_read(const struct options *options, const struct reader *reader,
                  struct queries *ret_queries)
{
    _cleanup_(queries_clear) struct queries queries = { .like = QUERIES_NO_RECORD };

    if (!queries_fill(options, reader, &queries)) {
        return false;
    }
    *ret_queries = queries;
    queries = (struct queries){ .vectors = NULL };
    return true;
}
