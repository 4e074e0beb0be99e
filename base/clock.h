/*
 * Time. Leases run on CLOCK_BOOTTIME, which counts suspended time too; the data path asks the
 * coarse monotonic clock (a few nanoseconds) and turns to the other only when a check falls due.
 */
#pragma once

#include <stdint.h>

/* Milliseconds of CLOCK_BOOTTIME. */
int64_t clock_boot_ms(void);
/* Milliseconds of CLOCK_MONOTONIC_COARSE: resolution about 4 ms; stands still while suspended. */
int64_t clock_coarse_ms(void);
/* Seconds since 1970, UTC. */
int64_t clock_utc_s(void);

#ifdef INDEXKEY_TEST_HOOKS
/* Adds `ms` to all three clocks, so that tests can let hours pass. 0 restores. */
void clock_shift(int64_t ms);
#endif
