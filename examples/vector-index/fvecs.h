// Reads .fvecs files: for each vector an int32 dimension, then as many float32, little-endian.
//
// The file is not trusted: dimensions, size and values are checked, one vector in memory at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vectors.h"

// What fits into one sealed record of 16 KiB, beside a 4-byte number.
#define FVECS_MAX_DIM 4095U

struct fvecs {
    FILE *file;
    const char *path; // not owned
    uint8_t *buffer;
    size_t dim;
    uint64_t count;
    uint64_t next;
};

// Closed by fvecs_close.
bool fvecs_open(const char *path, struct fvecs *ret_fvecs);
void fvecs_close(struct fvecs *fvecs);

// The next vector, of fvecs->dim values; not to be called after the last one.
bool fvecs_read(struct fvecs *fvecs, float *ret_vector);
bool fvecs_rewind(struct fvecs *fvecs);

// All vectors of a small file. Freed by vectors_free.
bool fvecs_load(const char *path, size_t max_count, struct vectors **ret_vectors);
