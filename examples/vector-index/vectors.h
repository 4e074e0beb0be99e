// Rows of floats in memory, and the inner product by which everything here is ranked.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vectors {
    size_t rows;
    size_t dim;
    float *values;
};

// Zeroed. Freed by vectors_free.
bool vectors_new(size_t rows, size_t dim, struct vectors **ret_vectors);
void vectors_free(struct vectors *vectors);
void vectors_freep(struct vectors **vectors);

float *vectors_row(const struct vectors *vectors, size_t row);
float vectors_dot(const float *a, const float *b, size_t dim);
