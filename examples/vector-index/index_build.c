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
    struct vectors *centroids;
    struct list *lists;
    struct kmeans_random random;
};

static void build_clear(struct build *build)
{
    db_close(build->db);
    token_close(build->token);
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

// Every vector is read and checked here, before anything is written; each has the same chance to
// be taken (Knuth's selection sampling).
static bool build_sample(struct build *build, size_t count, struct vectors **ret_sample)
{
    struct fvecs *in = &build->vectors;
    _cleanup_(vectors_freep) struct vectors *sample = NULL;
    _cleanup_(util_freep) float *vector = util_alloc(in->dim, sizeof *vector);
    size_t taken = 0;

    if (vector == NULL || !vectors_new(count, in->dim, &sample)) {
        return false;
    }
    while (in->next < in->count) {
        uint64_t left = in->count - in->next;

        if (!fvecs_read(in, vector)) {
            return false;
        }
        if (kmeans_random_below(&build->random, left) < count - taken) {
            memcpy(vectors_row(sample, taken++), vector, in->dim * sizeof *vector);
        }
        if (!progress_step(build->options->progress, "reading vectors", in->next, in->count)) {
            return false;
        }
    }
    *ret_sample = sample;
    sample = NULL;
    return fvecs_rewind(in);
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
        .lists = build_list_count(build),
        .random = &build->random,
        .on_round = build_on_round,
        .context = build,
    };

    return build_sample(build, build_sample_count(build, options.lists), &sample) &&
           kmeans_train(sample, &options, &build->centroids);
}

static bool build_open(struct build *build)
{
    const struct options *options = build->options;

    if (!fvecs_open(options->vectors, &build->vectors) ||
        !lines_open(options->items, &build->items)) {
        return false;
    }
    if (build->vectors.count > UINT32_MAX) {
        return fail("%s has more vectors than %u", options->vectors, UINT32_MAX);
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

static bool build_put_embedding(struct build *build, uint64_t record, const float *vector)
{
    struct list *list = &build->lists[kmeans_nearest(build->centroids, vector)];
    struct crypt_context context;
    struct crypt_plain plain;
    struct crypt_sealed sealed;

    list->members++;
    record_embedding_context(&build->index, record, list->token, &context);
    record_encode_vector(0, vector, build->vectors.dim, &plain);
    return crypt_seal(build->token, &context, &plain, &sealed) &&
           db_put_embedding(build->db, record, list->token, &sealed);
}

static bool build_put_term(struct build *build, uint64_t record, const char *field,
                           const char *value)
{
    uint8_t query_token[CRYPT_MAC_LEN];

    return record_query_token(build->token, &build->index, field, value, query_token) &&
           db_put_term(build->db, record, query_token);
}

static bool build_put_item(struct build *build, uint64_t record, const struct item *item)
{
    struct crypt_context context;
    struct crypt_plain plain;
    struct crypt_sealed sealed;

    record_item_context(&build->index, record, &context);
    items_encode(item, &plain);
    return crypt_seal(build->token, &context, &plain, &sealed) &&
           db_put_item(build->db, record, &sealed) &&
           build_put_term(build, record, "name", item->name) &&
           build_put_term(build, record, "section", item->section);
}

static bool build_read_item(struct build *build, struct item *ret_item)
{
    bool more = false;

    if (!items_read(&build->items, ret_item, &more)) {
        return false;
    }
    return more || fail("%s ends after %llu items, but %s has %llu vectors", build->items.path,
                        (unsigned long long)build->items.number - 1, build->vectors.path,
                        (unsigned long long)build->vectors.count);
}

static bool build_put_records(struct build *build)
{
    struct fvecs *in = &build->vectors;
    _cleanup_(util_freep) float *vector = util_alloc(in->dim, sizeof *vector);
    struct item item;
    bool more = false;

    if (vector == NULL) {
        return false;
    }
    for (uint64_t record = 0; record < in->count; record++) {
        if (!fvecs_read(in, vector) || !build_read_item(build, &item) ||
            !build_put_embedding(build, record, vector) || !build_put_item(build, record, &item) ||
            !progress_step(build->options->progress, "encrypting records", record + 1,
                           in->count)) {
            return false;
        }
    }
    if (!items_read(&build->items, &item, &more)) {
        return false;
    }
    return !more || fail("%s has more items than %s has vectors (%llu)", build->items.path,
                         in->path, (unsigned long long)in->count);
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
        .records = build->vectors.count,
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
           options->db, (unsigned long long)build.vectors.count, build.vectors.dim,
           build.centroids->rows, options->token.index);
    return true;
}
