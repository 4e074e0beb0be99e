// Inverted lists: spherical k-means, by inner product, the same for the same input and seed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vectors.h"

// splitmix64: enough to choose samples; nothing secret depends on it.
struct kmeans_random {
    uint64_t state;
};

// A number below bound, which is not zero.
uint64_t kmeans_random_below(struct kmeans_random *random, uint64_t bound);

// Called before each round and at the end; false stops the training.
typedef bool kmeans_round(void *context, size_t round, size_t rounds);

struct kmeans_options {
    size_t lists; // at most the sample's rows
    struct kmeans_random *random;
    kmeans_round *on_round;
    void *context;
};

// One centroid a list, of unit length. Freed by vectors_free.
bool kmeans_train(const struct vectors *sample, const struct kmeans_options *options,
                  struct vectors **ret_centroids);
size_t kmeans_nearest(const struct vectors *centroids, const float *vector);
