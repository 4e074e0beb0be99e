/*
 * All sequences of steps up to a depth from one target, breadth first.
 *
 * Worlds with the same keys and facts are gone on with once. A sequence with a key that no later
 * step uses is not taken: the one without it leads to the same, as no step takes anything away from
 * the attacker.
 */
#pragma once

#include "tests/attacks/steps.h"

#define RULES_OFF_MAX 5

struct exploration {
    const struct target *target;
    /* Rules that are off; the first is the one in question: a sequence counts only if the first
     * alone, switched on again, would stop it. NULL: all are on. */
    const char *off[RULES_OFF_MAX];
    size_t depth;    /* at most DEPTH_MAX */
    const char *hit; /* NULL: nothing found */
    struct step path[DEPTH_MAX];
    size_t path_len;
    unsigned long steps; /* that were to be tried */
    unsigned long calls; /* of them, made; the others had been refused to keys that look alike */
    unsigned long sequences; /* that succeeded to their last step */
    unsigned long worlds;    /* that differ */
    unsigned long merged;    /* sequences that led to a world seen before */
    unsigned long others;    /* hits of sequences that the first of `off` does not stop */
};

/* Ends at the first hit. Targets that are refused give no sequences. */
void explore(struct api *api, struct exploration *exploration);
void explore_describe(const struct exploration *exploration, char *text, size_t size);
