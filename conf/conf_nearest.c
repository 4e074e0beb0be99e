#include "conf/conf_nearest.h"

#include <string.h>

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance, one row at a time. */
static size_t distance_between(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[CONF_NEAREST_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = min_size(replaced, 1 + min_size(row[j], row[j - 1]));
        }
    }
    return row[b_len];
}

struct conf_nearest conf_nearest_to(const char *wanted)
{
    return (struct conf_nearest){.wanted = wanted};
}

/* A third of the name may differ: beyond that a hint only misleads. */
void conf_nearest_offer(struct conf_nearest *nearest, const char *name, size_t len)
{
    size_t wanted_len = strlen(nearest->wanted);
    if (wanted_len > CONF_NEAREST_MAX || len > CONF_NEAREST_MAX)
        return;
    size_t distance = distance_between(nearest->wanted, wanted_len, name, len);
    if (distance > 1 + len / 3 || (nearest->best != NULL && distance >= nearest->distance))
        return;
    nearest->best = name;
    nearest->best_len = len;
    nearest->distance = distance;
}

void conf_nearest_offer_words(struct conf_nearest *nearest, const char *words)
{
    for (size_t len; *words != '\0'; words += len + (words[len] == ' ' ? 1 : 0)) {
        len = strcspn(words, " ");
        conf_nearest_offer(nearest, words, len);
    }
}
