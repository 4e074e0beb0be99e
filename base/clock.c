#include "base/clock.h"

#ifdef INDEXKEY_TEST_HOOKS
#include <stdatomic.h>

static _Atomic int64_t shift_ms;

void clock_shift(int64_t ms)
{
    atomic_store(&shift_ms, ms);
}

int64_t clock_shifted(int64_t ms)
{
    return ms + atomic_load(&shift_ms);
}
#endif
