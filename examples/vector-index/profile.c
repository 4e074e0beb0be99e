#include "profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

struct profile_sum {
    uint64_t calls;
    uint64_t time; // nanoseconds
};

static const char *const names[PROFILE_CALL_COUNT] = {
    [PROFILE_RANDOM] = "random",
    [PROFILE_MAC] = "mac",
    [PROFILE_SEAL] = "seal",
    [PROFILE_OPEN] = "open",
};

static bool profile_started;
static struct profile_sum profile_sums[PROFILE_CALL_COUNT];

static uint64_t profile_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void profile_start(void)
{
    profile_started = true;
}

struct profile_span profile_begin(enum profile_call call)
{
    return (struct profile_span){ call, profile_started ? profile_now() : 0 };
}

void profile_end(const struct profile_span *span)
{
    if (span->begin != 0) {
        profile_sums[span->call].calls++;
        profile_sums[span->call].time += profile_now() - span->begin;
    }
}

void profile_print(void)
{
    for (size_t i = 0; profile_started && i < PROFILE_CALL_COUNT; i++) {
        fprintf(stderr, "profile: %s %" PRIu64 " calls %" PRIu64 " ns\n", names[i],
                profile_sums[i].calls, profile_sums[i].time);
    }
}
