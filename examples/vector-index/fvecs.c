#include "fvecs.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util.h"

// Larger values could overflow an inner product to infinity, which has no rank.
#define FVECS_MAX_VALUE 1e6F
// As much as a pipe holds: fewer turns between who writes it and who reads it.
#define FVECS_BUFFER_LEN 65536U

static uint32_t fvecs_le32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static bool fvecs_open_file(struct fvecs *fvecs, struct stat *ret_status)
{
    fvecs->file = fopen(fvecs->path, "rbe");
    if (fvecs->file == NULL || fstat(fileno(fvecs->file), ret_status) != 0) {
        return fail("cannot open %s: %s", fvecs->path, strerror(errno));
    }
    return setvbuf(fvecs->file, NULL, _IOFBF, FVECS_BUFFER_LEN) == 0 ||
           fail("%s: no buffer of %u bytes", fvecs->path, FVECS_BUFFER_LEN);
}

// The dimension of the vector that follows is read ahead: in a stream, the first one's cannot be
// looked at and read again.
static bool fvecs_read_dim(struct fvecs *fvecs)
{
    uint8_t head[4];
    size_t got = fread(head, 1, sizeof head, fvecs->file);

    if (got == 0 && feof(fvecs->file)) {
        fvecs->next_dim = 0;
        return true;
    }
    if (got != sizeof head) {
        return fail("%s: vector %llu cannot be read", fvecs->path,
                    (unsigned long long)fvecs->next);
    }
    fvecs->next_dim = fvecs_le32(head);
    if (fvecs->next_dim == 0 || fvecs->next_dim > FVECS_MAX_DIM) {
        return fail("%s: the dimension %u of vector %llu is not in 1..%u", fvecs->path,
                    fvecs->next_dim, (unsigned long long)fvecs->next, FVECS_MAX_DIM);
    }
    return true;
}

static bool fvecs_measure(struct fvecs *fvecs)
{
    struct stat status;
    uint64_t row_len;

    if (!fvecs_open_file(fvecs, &status) || !fvecs_read_dim(fvecs)) {
        return false;
    }
    if (fvecs->next_dim == 0) {
        return fail("%s is too short for a vector", fvecs->path);
    }
    fvecs->dim = fvecs->next_dim;
    if (!S_ISREG(status.st_mode)) {
        fvecs->count = FVECS_STREAM;
        return true;
    }
    row_len = 4 + 4 * (uint64_t)fvecs->dim;
    if ((uint64_t)status.st_size % row_len != 0) {
        return fail("%s: %llu bytes are no whole number of vectors of %zu values", fvecs->path,
                    (unsigned long long)status.st_size, fvecs->dim);
    }
    fvecs->count = (uint64_t)status.st_size / row_len;
    return true;
}

bool fvecs_open(const char *path, struct fvecs *ret_fvecs)
{
    _cleanup_(fvecs_close) struct fvecs fvecs = { .path = path };

    if (!fvecs_measure(&fvecs)) {
        return false;
    }
    fvecs.buffer = util_alloc(fvecs.dim, 4);
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
    return fvecs_read_dim(fvecs);
}

bool fvecs_read(struct fvecs *fvecs, float *ret_vector, bool *ret_more)
{
    unsigned long long number = fvecs->next;

    *ret_more = fvecs->next_dim != 0;
    if (!*ret_more) {
        return true;
    }
    if (fvecs->next_dim != fvecs->dim) {
        return fail("%s: vector %llu has dimension %u, the first one has %zu", fvecs->path, number,
                    fvecs->next_dim, fvecs->dim);
    }
    if (fread(fvecs->buffer, 4 * fvecs->dim, 1, fvecs->file) != 1) {
        return fail("%s: vector %llu cannot be read", fvecs->path, number);
    }
    util_get_floats(fvecs->buffer, ret_vector, fvecs->dim);
    for (size_t i = 0; i < fvecs->dim; i++) {
        if (!isfinite(ret_vector[i]) || fabsf(ret_vector[i]) > FVECS_MAX_VALUE) {
            return fail("%s: value %zu of vector %llu is not a number up to %g", fvecs->path, i,
                        number, (double)FVECS_MAX_VALUE);
        }
    }
    fvecs->next++;
    return fvecs_read_dim(fvecs);
}

bool fvecs_load(const char *path, size_t max_count, struct vectors **ret_vectors)
{
    _cleanup_(fvecs_close) struct fvecs fvecs = { .path = path };
    _cleanup_(vectors_freep) struct vectors *vectors = NULL;
    bool more = true;

    if (!fvecs_open(path, &fvecs)) {
        return false;
    }
    if (fvecs.count == FVECS_STREAM) {
        return fail("%s is not a regular file", path);
    }
    if (fvecs.count > max_count) {
        return fail("%s has %llu vectors, at most %zu can be taken at once", path,
                    (unsigned long long)fvecs.count, max_count);
    }
    if (!vectors_new(fvecs.count, fvecs.dim, &vectors)) {
        return false;
    }
    for (size_t row = 0; row < vectors->rows; row++) {
        if (!fvecs_read(&fvecs, vectors_row(vectors, row), &more)) {
            return false;
        }
        if (!more) {
            return fail("%s changed while it was read", path);
        }
    }
    *ret_vectors = vectors;
    vectors = NULL;
    return true;
}
