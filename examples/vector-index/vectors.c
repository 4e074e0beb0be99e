#include "vectors.h"

#include <stdint.h>
#include <stdlib.h>

#include "util.h"

#define LANES 16U

bool vectors_new(size_t rows, size_t dim, struct vectors **ret_vectors)
{
    size_t count;
    struct vectors *vectors;

    if (__builtin_mul_overflow(rows, dim, &count)) {
        return fail("%zu vectors of %zu values do not fit into memory", rows, dim);
    }
    vectors = util_alloc(1, sizeof *vectors);
    if (vectors == NULL) {
        return false;
    }
    vectors->rows = rows;
    vectors->dim = dim;
    vectors->values = util_alloc(count, sizeof *vectors->values);
    if (vectors->values == NULL) {
        free(vectors);
        return false;
    }
    *ret_vectors = vectors;
    return true;
}

void vectors_free(struct vectors *vectors)
{
    if (vectors != NULL) {
        free(vectors->values);
        free(vectors);
    }
}

void vectors_freep(struct vectors **vectors)
{
    vectors_free(*vectors);
}

float *vectors_row(const struct vectors *vectors, size_t row)
{
    return vectors->values + row * vectors->dim;
}

// Independent sums, so that the compiler may use vector registers without reordering additions.
float vectors_dot(const float *a, const float *b, size_t dim)
{
    float sums[LANES] = { 0 };
    float total = 0;
    size_t i = 0;

    for (; i + LANES <= dim; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            sums[lane] += a[i + lane] * b[i + lane];
        }
    }
    for (; i < dim; i++) {
        total += a[i] * b[i];
    }
    for (size_t lane = 0; lane < LANES; lane++) {
        total += sums[lane];
    }
    return total;
}
