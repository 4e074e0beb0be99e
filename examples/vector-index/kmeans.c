#include "kmeans.h"

#include <math.h>
#include <string.h>

#include "util.h"

#define ROUNDS 16U

uint64_t kmeans_random_below(struct kmeans_random *random, uint64_t bound)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return (z ^ z >> 31) % bound;
}

size_t kmeans_nearest(const struct vectors *centroids, const float *vector)
{
    size_t best = 0;
    float best_score = -INFINITY;

    for (size_t list = 0; list < centroids->rows; list++) {
        float score = vectors_dot(vectors_row(centroids, list), vector, centroids->dim);

        if (score > best_score) {
            best = list;
            best_score = score;
        }
    }
    return best;
}

// A vector without a direction is left as it is.
static void kmeans_normalise(float *vector, size_t dim)
{
    float length = sqrtf(vectors_dot(vector, vector, dim));

    for (size_t i = 0; i < dim && length > 0; i++) {
        vector[i] /= length;
    }
}

static void kmeans_use_member(const struct vectors *sample, struct kmeans_random *random,
                              float *centroid)
{
    size_t row = kmeans_random_below(random, sample->rows);

    memcpy(centroid, vectors_row(sample, row), sample->dim * sizeof *centroid);
    kmeans_normalise(centroid, sample->dim);
}

static size_t kmeans_assign(const struct vectors *sample, const struct vectors *centroids,
                            size_t *lists)
{
    size_t changes = 0;

    for (size_t row = 0; row < sample->rows; row++) {
        size_t list = kmeans_nearest(centroids, vectors_row(sample, row));

        changes += list != lists[row];
        lists[row] = list;
    }
    return changes;
}

// The new centroid is the direction of the members' sum; an empty list starts anew at a member of
// the sample.
static void kmeans_update(const struct vectors *sample, const size_t *lists,
                          struct kmeans_random *random, struct vectors *centroids)
{
    memset(centroids->values, 0, centroids->rows * centroids->dim * sizeof *centroids->values);
    for (size_t row = 0; row < sample->rows; row++) {
        float *centroid = vectors_row(centroids, lists[row]);
        const float *vector = vectors_row(sample, row);

        for (size_t i = 0; i < sample->dim; i++) {
            centroid[i] += vector[i];
        }
    }
    for (size_t list = 0; list < centroids->rows; list++) {
        float *centroid = vectors_row(centroids, list);

        if (vectors_dot(centroid, centroid, centroids->dim) > 0) {
            kmeans_normalise(centroid, centroids->dim);
        } else {
            kmeans_use_member(sample, random, centroid);
        }
    }
}

bool kmeans_train(const struct vectors *sample, const struct kmeans_options *options,
                  struct vectors **ret_centroids)
{
    _cleanup_(vectors_freep) struct vectors *centroids = NULL;
    _cleanup_(util_freep) size_t *lists = util_alloc(sample->rows, sizeof *lists);
    size_t changes = 1;

    if (lists == NULL || !vectors_new(options->lists, sample->dim, &centroids)) {
        return false;
    }
    for (size_t list = 0; list < centroids->rows; list++) {
        kmeans_use_member(sample, options->random, vectors_row(centroids, list));
    }
    memset(lists, 0xff, sample->rows * sizeof *lists);
    for (size_t round = 0; round < ROUNDS && changes > 0; round++) {
        if (!options->on_round(options->context, round, ROUNDS)) {
            return false;
        }
        changes = kmeans_assign(sample, centroids, lists);
        kmeans_update(sample, lists, options->random, centroids);
    }
    if (!options->on_round(options->context, ROUNDS, ROUNDS)) {
        return false;
    }
    *ret_centroids = centroids;
    centroids = NULL;
    return true;
}
