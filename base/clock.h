/*
 * Time. Leases run on CLOCK_BOOTTIME, which counts suspended time too; the data path asks the
 * coarse monotonic clock (a few nanoseconds) and turns to the other only when a check falls due.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#define CLOCK_MS_PER_S 1000
#define CLOCK_NS_PER_MS 1000000

#ifdef INDEXKEY_TEST_HOOKS
/* Adds `ms` to all of these clocks, so that tests can let hours pass. 0 restores. */
void clock_shift(int64_t ms);
int64_t clock_shifted(int64_t ms);
#else
static inline int64_t clock_shifted(int64_t ms)
{
    return ms;
}
#endif

static inline int64_t clock_ms(clockid_t id)
{
    /* Linux has had these clocks since 2.6.39, and a valid clock and address are the only ways for
     * clock_gettime to fail. */
    struct timespec now = {0};
    (void) clock_gettime(id, &now);
    return clock_shifted((int64_t) now.tv_sec * CLOCK_MS_PER_S + now.tv_nsec / CLOCK_NS_PER_MS);
}

/* Milliseconds of CLOCK_BOOTTIME. */
static inline int64_t clock_boot_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

/* Milliseconds of CLOCK_MONOTONIC_COARSE: resolution about 4 ms; stands still while suspended. */
static inline int64_t clock_coarse_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC_COARSE);
}

/* Seconds since 1970, UTC; to the resolution of the coarse clocks. */
static inline int64_t clock_coarse_utc_s(void)
{
    return clock_ms(CLOCK_REALTIME_COARSE) / CLOCK_MS_PER_S;
}

/* Seconds since 1970, UTC. */
static inline int64_t clock_utc_s(void)
{
    return clock_ms(CLOCK_REALTIME) / CLOCK_MS_PER_S;
}
