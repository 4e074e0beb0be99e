#include "index_search.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "queries.h"
#include "reader.h"
#include "util.h"

struct search {
    const struct reader *reader;
    struct queries *queries;
    struct vectors *centroids;
    uint32_t *members;
    bool *wanted; // a row of queries for each list
    float *vector;
    size_t list;       // the one being walked
    uint64_t seen;     // its rows so far
    uint8_t list_token[CRYPT_MAC_LEN];
};

static void search_clear(struct search *search)
{
    vectors_free(search->centroids);
    util_freep(&search->members);
    util_freep(&search->wanted);
    util_freep(&search->vector);
}

static bool *search_wanted(const struct search *search, size_t list)
{
    return search->wanted + list * search->queries->vectors->rows;
}

// Marks the lists whose centroids are nearest to a query.
static bool search_choose_lists(struct search *search, size_t query, size_t probe)
{
    const float *vector = vectors_row(search->queries->vectors, query);
    _cleanup_(topk_clear) struct topk best = { .entries = NULL };

    if (!topk_init(&best, probe)) {
        return false;
    }
    for (size_t list = 0; list < search->centroids->rows; list++) {
        topk_add(&best, list, vectors_dot(vectors_row(search->centroids, list), vector,
                                          search->centroids->dim));
    }
    for (size_t i = 0; i < best.count; i++) {
        search_wanted(search, (size_t)best.entries[i].record)[query] = true;
    }
    return true;
}

static bool search_prepare(struct search *search, uint64_t probe)
{
    size_t queries = search->queries->vectors->rows;
    size_t lists = search->reader->header.lists;

    search->wanted = util_alloc(lists * queries, sizeof *search->wanted);
    search->vector = util_alloc(search->reader->header.dim, sizeof *search->vector);
    if (search->wanted == NULL || search->vector == NULL ||
        !reader_centroids(search->reader, &search->centroids, &search->members)) {
        return false;
    }
    for (size_t query = 0; query < queries; query++) {
        if (!search_choose_lists(search, query, probe < lists ? (size_t)probe : lists)) {
            return false;
        }
    }
    return true;
}

static bool search_on_embedding(void *context, uint64_t record, const struct crypt_sealed *sealed)
{
    struct search *search = context;
    struct queries *queries = search->queries;
    const bool *wanted = search_wanted(search, search->list);
    struct crypt_context name;

    record_embedding_context(&search->reader->index, record, search->list_token, &name);
    if (!reader_open_embedding(search->reader, &name, sealed, search->vector)) {
        return false;
    }
    search->seen++;
    for (size_t query = 0; query < queries->vectors->rows && record != queries->like; query++) {
        if (wanted[query]) {
            topk_add(&queries->results[query], record,
                     vectors_dot(vectors_row(queries->vectors, query), search->vector,
                                 queries->vectors->dim));
        }
    }
    return true;
}

// A list that several queries want is decrypted once.
static bool search_list(struct search *search, size_t list)
{
    search->list = list;
    search->seen = 0;
    if (memchr(search_wanted(search, list), 1, search->queries->vectors->rows) == NULL) {
        return true;
    }
    if (!record_list_token(search->reader->token, &search->reader->index, list,
                           search->list_token) ||
        !db_walk_list(search->reader->db, search->list_token, search_on_embedding, search)) {
        return false;
    }
    return search->seen == search->members[list] ||
           fail("list %zu has %" PRIu64 " records where its centroid tells of %" PRIu32
                ": the database was altered; restore it or build it again",
                list, search->seen, search->members[list]);
}

static void search_print_item(const char *lead, const struct item *item)
{
    printf("%s%-28s %-14s %10" PRIu64 " KiB\n", lead, item->name, item->section, item->size_kib);
}

static bool search_print_query(const struct search *search, size_t query, bool tsv)
{
    const struct topk *results = &search->queries->results[query];
    char lead[32];
    struct item item;

    printf("%s%s", queries_text(search->queries, query), tsv ? "\t" : "\n");
    for (size_t i = 0; i < results->count; i++) {
        if (!reader_item(search->reader, results->entries[i].record, &item)) {
            return false;
        }
        if (tsv) {
            printf("%s%s", i > 0 ? "," : "", item.name);
        } else {
            snprintf(lead, sizeof lead, "%4zu  %7.4f  ", i + 1, (double)results->entries[i].score);
            search_print_item(lead, &item);
        }
    }
    putchar('\n');
    return true;
}

static bool search_nearest(const struct options *options, const struct reader *reader)
{
    _cleanup_(queries_clear) struct queries queries = { .vectors = NULL };
    _cleanup_(search_clear) struct search search = { .reader = reader, .queries = &queries };

    if (!queries_read(options, reader, &queries) || !search_prepare(&search, options->probe)) {
        return false;
    }
    for (size_t list = 0; list < search.centroids->rows; list++) {
        if (!search_list(&search, list)) {
            return false;
        }
    }
    for (size_t query = 0; query < queries.vectors->rows; query++) {
        if (!search_print_query(&search, query, options->tsv)) {
            return false;
        }
    }
    return true;
}

struct field_print {
    const struct options *options;
    uint64_t count;
};

static bool search_on_item(void *context, uint64_t record, const struct item *item)
{
    struct field_print *print = context;

    (void)record;
    print->count++;
    if (print->options->top != 0 && print->count > print->options->top) {
        return true;
    }
    if (print->options->tsv) {
        printf("%s%s", print->count > 1 ? "," : "", item->name);
    } else {
        search_print_item("  ", item);
    }
    return true;
}

static bool search_field(const struct options *options, const struct reader *reader)
{
    const char *equals = strchr(options->field, '=');
    struct field_print print = { .options = options };
    char field[16];

    if (equals == NULL || (size_t)(equals - options->field) >= sizeof field) {
        return fail("--field: expected section=VALUE or name=VALUE");
    }
    snprintf(field, sizeof field, "%.*s", (int)(equals - options->field), options->field);
    if (strcmp(field, "section") != 0 && strcmp(field, "name") != 0) {
        return fail("--field: \"%s\" is not indexed: only section and name are", field);
    }
    printf("%s%s", options->field, options->tsv ? "\t" : "\n");
    if (!reader_walk_field(reader, field, equals + 1, search_on_item, &print)) {
        return false;
    }
    if (options->tsv) {
        putchar('\n');
    } else {
        printf("%" PRIu64 " items\n", print.count);
    }
    return true;
}

bool index_search(const struct options *options)
{
    _cleanup_(reader_close) struct reader reader = { .token = NULL };

    return reader_open(options, &reader) &&
           (options->field != NULL ? search_field(options, &reader)
                                   : search_nearest(options, &reader));
}
