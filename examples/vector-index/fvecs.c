#include "fvecs.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util.h"

// Larger values could overflow an inner product to infinity, which has no rank.
#define FVECS_MAX_VALUE 1e6F

static uint32_t fvecs_le32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static bool fvecs_open_file(struct fvecs *fvecs, uint64_t *ret_size)
{
    struct stat status;

    fvecs->file = fopen(fvecs->path, "rbe");
    if (fvecs->file == NULL || fstat(fileno(fvecs->file), &status) != 0) {
        return fail("cannot open %s: %s", fvecs->path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail("%s is not a regular file", fvecs->path);
    }
    *ret_size = (uint64_t)status.st_size;
    return true;
}

static bool fvecs_measure(struct fvecs *fvecs)
{
    uint64_t size = 0;
    uint8_t head[4];
    uint32_t dim;
    uint64_t row_len;

    if (!fvecs_open_file(fvecs, &size)) {
        return false;
    }
    if (fread(head, sizeof head, 1, fvecs->file) != 1) {
        return fail("%s is too short for a vector", fvecs->path);
    }
    dim = fvecs_le32(head);
    if (dim == 0 || dim > FVECS_MAX_DIM) {
        return fail("%s: the first vector's dimension %u is not in 1..%u", fvecs->path, dim,
                    FVECS_MAX_DIM);
    }
    row_len = 4 + 4 * (uint64_t)dim;
    if (size % row_len != 0) {
        return fail("%s: %llu bytes are no whole number of vectors of %u values", fvecs->path,
                    (unsigned long long)size, dim);
    }
    fvecs->dim = dim;
    fvecs->count = size / row_len;
    return fvecs_rewind(fvecs);
}

bool fvecs_open(const char *path, struct fvecs *ret_fvecs)
{
    _cleanup_(fvecs_close) struct fvecs fvecs = { .path = path };

    if (!fvecs_measure(&fvecs)) {
        return false;
    }
    fvecs.buffer = util_alloc(fvecs.dim + 1, 4);
    if (fvecs.buffer == NULL) {
        return false;
    }
    *ret_fvecs = fvecs;
    fvecs.file = NULL;
    fvecs.buffer = NULL;
    return true;
}

void fvecs_close(struct fvecs *fvecs)
{
    util_fclosep(&fvecs->file);
    free(fvecs->buffer);
}

bool fvecs_rewind(struct fvecs *fvecs)
{
    if (fseek(fvecs->file, 0, SEEK_SET) != 0) {
        return fail("cannot seek in %s: %s", fvecs->path, strerror(errno));
    }
    fvecs->next = 0;
    return true;
}

bool fvecs_read(struct fvecs *fvecs, float *ret_vector)
{
    unsigned long long number = fvecs->next;

    if (fread(fvecs->buffer, 4 + 4 * fvecs->dim, 1, fvecs->file) != 1) {
        return fail("%s: vector %llu cannot be read", fvecs->path, number);
    }
    if (fvecs_le32(fvecs->buffer) != fvecs->dim) {
        return fail("%s: vector %llu has dimension %u, the first one has %zu", fvecs->path, number,
                    fvecs_le32(fvecs->buffer), fvecs->dim);
    }
    util_get_floats(fvecs->buffer + 4, ret_vector, fvecs->dim);
    for (size_t i = 0; i < fvecs->dim; i++) {
        if (!isfinite(ret_vector[i]) || fabsf(ret_vector[i]) > FVECS_MAX_VALUE) {
            return fail("%s: value %zu of vector %llu is not a number up to %g", fvecs->path, i,
                        number, (double)FVECS_MAX_VALUE);
        }
    }
    fvecs->next++;
    return true;
}

bool fvecs_load(const char *path, size_t max_count, struct vectors **ret_vectors)
{
    _cleanup_(fvecs_close) struct fvecs fvecs = { .path = path };
    _cleanup_(vectors_freep) struct vectors *vectors = NULL;

    if (!fvecs_open(path, &fvecs)) {
        return false;
    }
    if (fvecs.count > max_count) {
        return fail("%s has %llu vectors, at most %zu can be taken at once", path,
                    (unsigned long long)fvecs.count, max_count);
    }
    if (!vectors_new(fvecs.count, fvecs.dim, &vectors)) {
        return false;
    }
    for (size_t row = 0; row < vectors->rows; row++) {
        if (!fvecs_read(&fvecs, vectors_row(vectors, row))) {
            return false;
        }
    }
    *ret_vectors = vectors;
    vectors = NULL;
    return true;
}
