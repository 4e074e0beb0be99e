/*
 * The known name nearest to a misspelt one, for "nearest: 'store'" in a message.
 */
#pragma once

#include <stddef.h>

struct conf_nearest {
    const char *wanted; /* the misspelt name */
    const char *best;   /* NULL: nothing near */
    size_t best_len;    /* `best` may be followed by other words */
    size_t distance;    /* of best: insertions, deletions and replacements */
};

/* Of no use for names that are longer than this: they are near to nothing. */
#define CONF_NEAREST_MAX 64

struct conf_nearest conf_nearest_to(const char *wanted);
void conf_nearest_offer(struct conf_nearest *nearest, const char *name, size_t len);
/* Each word of a list that is separated by single spaces. */
void conf_nearest_offer_words(struct conf_nearest *nearest, const char *words);
