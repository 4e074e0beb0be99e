/* A pseudo-random number generator (splitmix64), so that a sequence is the same on each run. Not
 * for secrets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *prng)
{
    uint64_t z = prng->state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static inline unsigned long prng_below(struct prng *prng, unsigned long limit)
{
    return (unsigned long) (prng_next(prng) % limit);
}

static inline bool prng_percent(struct prng *prng, unsigned long percent)
{
    return prng_below(prng, 100) < percent;
}

static inline void prng_bytes(struct prng *prng, unsigned char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char) prng_next(prng);
}
