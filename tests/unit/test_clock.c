/* The clocks agree with the system's, go forward, and shift together. */
#include <time.h>

#include "base/clock.h"
#include "tests/unit/base_fixture.h"

static int64_t system_ms(clockid_t id)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(id, &now), 0);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

START_TEST(clocks_are_the_systems)
{
    int64_t before = system_ms(CLOCK_BOOTTIME);
    int64_t boot = clock_boot_ms();
    ck_assert_int_ge(boot, before);
    ck_assert_int_le(boot, system_ms(CLOCK_BOOTTIME));
    before = system_ms(CLOCK_MONOTONIC_COARSE);
    int64_t coarse = clock_coarse_ms();
    ck_assert_int_ge(coarse, before);
    ck_assert_int_le(coarse, system_ms(CLOCK_MONOTONIC));
    before = system_ms(CLOCK_REALTIME);
    int64_t utc = clock_utc_s();
    ck_assert_int_ge(utc, before / 1000);
    ck_assert_int_le(utc, system_ms(CLOCK_REALTIME) / 1000);
}
END_TEST

START_TEST(all_clocks_shift)
{
    int64_t boot = clock_boot_ms();
    int64_t coarse = clock_coarse_ms();
    int64_t utc = clock_utc_s();
    clock_shift(3600000);
    ck_assert_int_ge(clock_boot_ms(), boot + 3600000);
    ck_assert_int_ge(clock_coarse_ms(), coarse + 3600000);
    ck_assert_int_ge(clock_utc_s(), utc + 3600);
    clock_shift(0);
    ck_assert_int_lt(clock_boot_ms(), boot + 3600000);
    ck_assert_int_lt(clock_coarse_ms(), coarse + 3600000);
    ck_assert_int_lt(clock_utc_s(), utc + 3600);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("clock");
    tcase_add_test(cases, clocks_are_the_systems);
    tcase_add_test(cases, all_clocks_shift);
    return fixture_run("clock", cases);
}
