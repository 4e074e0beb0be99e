// The queries of one search: their vectors, their text, and the results found so far.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lines.h"
#include "reader.h"
#include "topk.h"
#include "vectors.h"

#define QUERIES_MAX 1024U
#define QUERIES_TEXT_SIZE (LINES_MAX_LEN + 1)
#define QUERIES_NO_RECORD UINT64_MAX

struct queries {
    struct vectors *vectors;
    char *texts; // one a query, each at a multiple of QUERIES_TEXT_SIZE
    struct topk *results;
    uint64_t like; // the record asked about, which is no answer; else QUERIES_NO_RECORD
};

// Reads --query and --query-text, or the embedding of the --like item. Freed by queries_clear,
// which a zeroed struct may be passed to as well.
bool queries_read(const struct options *options, const struct reader *reader,
                  struct queries *ret_queries);
void queries_clear(struct queries *queries);

char *queries_text(const struct queries *queries, size_t query);
