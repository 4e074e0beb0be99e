#include "topk.h"

#include <stdlib.h>

#include "util.h"

bool topk_init(struct topk *topk, size_t max)
{
    *topk = (struct topk){ .max = max, .entries = util_alloc(max, sizeof *topk->entries) };
    return topk->entries != NULL;
}

void topk_clear(struct topk *topk)
{
    free(topk->entries);
    *topk = (struct topk){ .entries = NULL };
}

static bool topk_before(const struct topk_entry *a, const struct topk_entry *b)
{
    return a->score > b->score || (a->score == b->score && a->record < b->record);
}

// Insertion into a sorted array: k is small, and nearly every record is turned away at once.
void topk_add(struct topk *topk, uint64_t record, float score)
{
    struct topk_entry entry = { .record = record, .score = score };
    size_t at = topk->count;

    if (topk->count == topk->max) {
        at--;
        if (!topk_before(&entry, &topk->entries[at])) {
            return;
        }
    } else {
        topk->count++;
    }
    for (; at > 0 && topk_before(&entry, &topk->entries[at - 1]); at--) {
        topk->entries[at] = topk->entries[at - 1];
    }
    topk->entries[at] = entry;
}
