#include "base/clock.h"

#include <time.h>

#define MS_PER_S 1000
#define NS_PER_MS 1000000

#ifdef INDEXKEY_TEST_HOOKS
#include <stdatomic.h>

static _Atomic int64_t shift_ms;

void clock_shift(int64_t ms)
{
    atomic_store(&shift_ms, ms);
}

static int64_t shifted(int64_t ms)
{
    return ms + atomic_load(&shift_ms);
}
#else
static int64_t shifted(int64_t ms)
{
    return ms;
}
#endif

static int64_t clock_ms(clockid_t id)
{
    /* Linux has had these clocks since 2.6.39, and a valid clock and address are the only ways for
     * clock_gettime to fail. */
    struct timespec now = {0};
    (void) clock_gettime(id, &now);
    return shifted((int64_t) now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS);
}

int64_t clock_boot_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

int64_t clock_coarse_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_utc_s(void)
{
    return clock_ms(CLOCK_REALTIME) / MS_PER_S;
}
