// The k best of a stream of scored records, best first; ties go to the lower record number.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct topk_entry {
    uint64_t record;
    float score;
};

struct topk {
    size_t max;
    size_t count;
    struct topk_entry *entries;
};

// Freed by topk_clear.
bool topk_init(struct topk *topk, size_t max);
void topk_clear(struct topk *topk);
void topk_add(struct topk *topk, uint64_t record, float score);
