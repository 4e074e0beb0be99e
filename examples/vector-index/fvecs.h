// Reads .fvecs files: for each vector an int32 dimension, then as many float32, little-endian.
//
// The file is not trusted: dimensions, size and values are checked, one vector in memory at a time.
// What is no regular file is a stream, say a pipe: it is read once, and its end comes unannounced.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vectors.h"

// What fits into one sealed record of 16 KiB, beside a 4-byte number.
#define FVECS_MAX_DIM 4095U

#define FVECS_STREAM UINT64_MAX

struct fvecs {
    FILE *file;
    const char *path; // not owned
    uint8_t *buffer;
    size_t dim;
    uint64_t count; // FVECS_STREAM: known at the end only
    uint64_t next;
    uint32_t next_dim; // 0: no vector follows
};

// Closed by fvecs_close.
bool fvecs_open(const char *path, struct fvecs *ret_fvecs);
void fvecs_close(struct fvecs *fvecs);

// The next vector, of fvecs->dim values; *ret_more is false after the last one.
bool fvecs_read(struct fvecs *fvecs, float *ret_vector, bool *ret_more);

// To the first vector again; not of a stream.
bool fvecs_rewind(struct fvecs *fvecs);

// All vectors of a small file. Freed by vectors_free.
bool fvecs_load(const char *path, size_t max_count, struct vectors **ret_vectors);
