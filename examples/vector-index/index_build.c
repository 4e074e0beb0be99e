#include "index_build.h"

#include <math.h>
#include <string.h>

#include "crypt.h"
#include "db.h"
#include "fvecs.h"
#include "items.h"
#include "kmeans.h"
#include "progress.h"
#include "record.h"
#include "token.h"
#include "util.h"
#include "vectors.h"

#define SAMPLE_MAX_LEN (64U << 20)
#define SAMPLE_PER_LIST 64U

struct list {
    uint8_t token[CRYPT_MAC_LEN];
    uint32_t members;
};

struct build {
    const struct options *options;
    struct fvecs vectors;
    struct lines items;
    struct token *token;
    struct db *db;
    struct record_index index;
    struct vectors *head; // the sample of a stream, whose vectors cannot be read again
    struct vectors *centroids;
    struct list *lists;
    uint64_t records;
    struct kmeans_random random;
};

static void build_clear(struct build *build)
{
    db_close(build->db);
    token_close(build->token);
    vectors_free(build->head);
    vectors_free(build->centroids);
    util_freep(&build->lists);
    fvecs_close(&build->vectors);
    lines_close(&build->items);
}

_Static_assert(SAMPLE_MAX_LEN / (FVECS_MAX_DIM * sizeof(float)) >= OPTIONS_MAX_LISTS,
               "the largest sample has a vector for each list");

static uint64_t build_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static size_t build_list_count(const struct build *build)
{
    uint64_t count = build->vectors.count;
    uint64_t lists = build->options->lists;

    if (lists == 0) {
        lists = (uint64_t)sqrt((double)count);
    }
    return (size_t)build_min(lists, build_min(count, OPTIONS_MAX_LISTS));
}

static size_t build_sample_count(const struct build *build, size_t lists)
{
    uint64_t fits = SAMPLE_MAX_LEN / (build->vectors.dim * sizeof(float));
    uint64_t wanted = build_min((uint64_t)lists * SAMPLE_PER_LIST, fits);

    return (size_t)build_min(wanted, build->vectors.count);
}

// Every vector of a file is read and checked here, before anything is written; each has the same
// chance to be taken (Knuth's selection sampling).
static bool build_sample_file(struct build *build, struct vectors *sample)
{
    struct fvecs *in = &build->vectors;
    _cleanup_(util_freep) float *vector = util_alloc(in->dim, sizeof *vector);
    size_t taken = 0;
    bool more = true;

    if (vector == NULL) {
        return false;
    }
    while (in->next < in->count) {
        uint64_t left = in->count - in->next;

        if (!fvecs_read(in, vector, &more)) {
            return false;
        }
        if (!more) {
            return fail("%s changed while it was read", in->path);
        }
        if (kmeans_random_below(&build->random, left) < sample->rows - taken) {
            memcpy(vectors_row(sample, taken++), vector, in->dim * sizeof *vector);
        }
        if (!progress_step(build->options->progress, "reading vectors", in->next, in->count)) {
            return false;
        }
    }
    return fvecs_rewind(in);
}

// The first vectors of a stream: how many follow is not known.
static bool build_sample_stream(struct build *build, struct vectors *sample)
{
    bool more = true;

    while (build->vectors.next < sample->rows) {
        if (!fvecs_read(&build->vectors, vectors_row(sample, build->vectors.next), &more) ||
            !progress_step(build->options->progress, "reading vectors", build->vectors.next,
                           sample->rows)) {
            return false;
        }
        if (!more) {
            sample->rows = (size_t)build->vectors.next;
        }
    }
    return true;
}

static bool build_sample(struct build *build, size_t lists, struct vectors **ret_sample)
{
    _cleanup_(vectors_freep) struct vectors *sample = NULL;
    bool stream = build->vectors.count == FVECS_STREAM;

    if (!vectors_new(build_sample_count(build, lists), build->vectors.dim, &sample) ||
        !(stream ? build_sample_stream(build, sample) : build_sample_file(build, sample))) {
        return false;
    }
    *ret_sample = sample;
    sample = NULL;
    return true;
}

static bool build_on_round(void *context, size_t round, size_t rounds)
{
    const struct build *build = context;

    return progress_step(build->options->progress, "finding lists", round, rounds);
}

static bool build_train(struct build *build)
{
    _cleanup_(vectors_freep) struct vectors *sample = NULL;
    struct kmeans_options options = {
        .random = &build->random,
        .on_round = build_on_round,
        .context = build,
    };
    size_t lists = build_list_count(build);

    if (!build_sample(build, lists, &sample)) {
        return false;
    }
    options.lists = lists < sample->rows ? lists : sample->rows;
    if (!kmeans_train(sample, &options, &build->centroids)) {
        return false;
    }
    if (build->vectors.count == FVECS_STREAM) {
        build->head = sample;
        sample = NULL;
    }
    return true;
}

static bool build_open(struct build *build)
{
    const struct options *options = build->options;

    if (!fvecs_open(options->vectors, &build->vectors) ||
        !lines_open(options->items, &build->items)) {
        return false;
    }
    if (build->vectors.count == FVECS_STREAM && options->lists == 0) {
        return fail("%s is a stream, whose length is not known: --lists is needed",
                    options->vectors);
    }
    return token_open(&options->token, &build->token);
}

static bool build_start_index(struct build *build)
{
    build->index.name = build->options->token.index;
    build->lists = util_alloc(build->centroids->rows, sizeof *build->lists);
    if (build->lists == NULL ||
        !crypt_random(build->token, build->index.salt, sizeof build->index.salt)) {
        return false;
    }
    for (size_t list = 0; list < build->centroids->rows; list++) {
        if (!record_list_token(build->token, &build->index, list, build->lists[list].token)) {
            return false;
        }
    }
    return true;
}

static bool build_put_embedding(struct build *build, const float *vector)
{
    struct list *list = &build->lists[kmeans_nearest(build->centroids, vector)];
    struct crypt_context context;
    struct crypt_plain plain;
    struct crypt_sealed sealed;

    list->members++;
    record_embedding_context(&build->index, build->records, list->token, &context);
    record_encode_vector(0, vector, build->vectors.dim, &plain);
    return crypt_seal(build->token, &context, &plain, &sealed) &&
           db_put_embedding(build->db, build->records, list->token, &sealed);
}

static bool build_put_term(struct build *build, const char *field, const char *value)
{
    uint8_t query_token[CRYPT_MAC_LEN];

    return record_query_token(build->token, &build->index, field, value, query_token) &&
           db_put_term(build->db, build->records, query_token);
}

static bool build_put_item(struct build *build, const struct item *item)
{
    struct crypt_context context;
    struct crypt_plain plain;
    struct crypt_sealed sealed;

    record_item_context(&build->index, build->records, &context);
    items_encode(item, &plain);
    return crypt_seal(build->token, &context, &plain, &sealed) &&
           db_put_item(build->db, build->records, &sealed) &&
           build_put_term(build, "name", item->name) &&
           build_put_term(build, "section", item->section);
}

static bool build_next_vector(struct build *build, float *ret_vector, bool *ret_more)
{
    const struct vectors *head = build->head;

    if (head == NULL || build->records >= head->rows) {
        return fvecs_read(&build->vectors, ret_vector, ret_more);
    }
    memcpy(ret_vector, vectors_row(head, build->records), head->dim * sizeof *ret_vector);
    *ret_more = true;
    return true;
}

static bool build_next_item(struct build *build, struct item *ret_item)
{
    bool more = false;

    if (!items_read(&build->items, ret_item, &more)) {
        return false;
    }
    return more || fail("%s ends after %llu items, but %s has more vectors", build->items.path,
                        (unsigned long long)build->records, build->vectors.path);
}

static bool build_progress(const struct build *build)
{
    uint64_t total = build->vectors.count == FVECS_STREAM ? PROGRESS_UNKNOWN : build->vectors.count;

    return progress_step(build->options->progress, "encrypting records", build->records, total);
}

static bool build_check_ends(struct build *build)
{
    const struct fvecs *in = &build->vectors;
    struct item item;
    bool more = false;

    if (in->count != FVECS_STREAM && in->count != build->records) {
        return fail("%s changed while it was read", in->path);
    }
    if (!items_read(&build->items, &item, &more)) {
        return false;
    }
    return !more || fail("%s has more items than %s has vectors (%llu)", build->items.path,
                         in->path, (unsigned long long)build->records);
}

static bool build_put_records(struct build *build)
{
    _cleanup_(util_freep) float *vector = util_alloc(build->vectors.dim, sizeof *vector);
    struct item item;
    bool more = true;

    if (vector == NULL) {
        return false;
    }
    while (build_next_vector(build, vector, &more)) {
        if (!more) {
            return build_check_ends(build);
        }
        if (build->records == UINT32_MAX) {
            return fail("%s has more vectors than %u", build->vectors.path, UINT32_MAX);
        }
        if (!build_next_item(build, &item) || !build_put_embedding(build, vector) ||
            !build_put_item(build, &item)) {
            return false;
        }
        build->records++;
        if (!build_progress(build)) {
            return false;
        }
    }
    return false;
}

// Last, because a centroid is sealed with the number of its list's members: a search then notices
// a row that was taken away.
static bool build_put_centroids(struct build *build)
{
    struct crypt_context context;
    struct crypt_plain plain;
    struct crypt_sealed sealed;

    for (size_t list = 0; list < build->centroids->rows; list++) {
        record_centroid_context(&build->index, list, &context);
        record_encode_vector(build->lists[list].members, vectors_row(build->centroids, list),
                             build->vectors.dim, &plain);
        if (!crypt_seal(build->token, &context, &plain, &sealed) ||
            !db_put_centroid(build->db, list, &sealed)) {
            return false;
        }
    }
    return true;
}

static bool build_put_header(struct build *build)
{
    struct record_header header = {
        .dim = (uint32_t)build->vectors.dim,
        .lists = (uint32_t)build->centroids->rows,
        .records = build->records,
    };
    struct crypt_context context;
    struct crypt_plain plain;
    struct crypt_sealed sealed;

    record_header_context(&build->index, &context);
    record_encode_header(&header, &plain);
    return crypt_seal(build->token, &context, &plain, &sealed) &&
           db_put_header(build->db, build->index.salt, &sealed);
}

bool index_build(const struct options *options)
{
    _cleanup_(build_clear) struct build build = {
        .options = options,
        .random.state = options->seed,
    };

    progress_catch_signals();
    if (!build_open(&build) || !build_train(&build) || !build_start_index(&build) ||
        !db_create(options->db, &build.db) || !build_put_records(&build) ||
        !build_put_centroids(&build) || !build_put_header(&build) || !db_publish(build.db)) {
        return false;
    }
    printf("%s: %llu records of %zu values in %zu lists, encrypted with the keys of \"%s\"\n",
           options->db, (unsigned long long)build.records, build.vectors.dim,
           build.centroids->rows, options->token.index);
    return true;
}
