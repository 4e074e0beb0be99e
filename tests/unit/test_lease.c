/* The lease as a state machine: who renews, who goes on, when it is over. */
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "tests/support/token_fixture.h"

#define LEASE_MS 10000
#define GRACE_MS 100000

static atomic_bool cancelled;
static struct lease lease;

static uint64_t start(void)
{
    atomic_store(&cancelled, false);
    lease_init(&lease, LEASE_MS, GRACE_MS, &cancelled);
    return lease_start(&lease, clock_boot_ms());
}

static enum lease_turn check(void)
{
    uint64_t generation;
    return lease_check(&lease, &generation);
}

START_TEST(one_caller_renews_and_the_rest_goes_on)
{
    uint64_t generation = start();
    ck_assert_int_eq(check(), LEASE_GOES_ON);
    clock_shift(LEASE_MS + 1000);
    ck_assert_int_eq(check(), LEASE_RENEW);
    ck_assert_int_eq(check(), LEASE_GOES_ON);
    ck_assert_int_eq(lease_settle(&lease, generation, LEASE_CONFIRMED), LEASE_GOES_ON);
    ck_assert_int_eq(check(), LEASE_GOES_ON);
    /* The new lease counts from when the source was asked. */
    clock_shift(2 * LEASE_MS + 500);
    ck_assert_int_eq(check(), LEASE_GOES_ON);
    clock_shift(2 * LEASE_MS + 1500);
    ck_assert_int_eq(check(), LEASE_RENEW);
    lease_destroy(&lease);
}
END_TEST

START_TEST(a_denial_is_over_at_once)
{
    uint64_t generation = start();
    clock_shift(LEASE_MS);
    ck_assert_int_eq(check(), LEASE_RENEW);
    ck_assert_int_eq(lease_settle(&lease, generation, LEASE_DENIED), LEASE_OVER);
    ck_assert_int_eq(check(), LEASE_OVER);
    lease_destroy(&lease);
}
END_TEST

START_TEST(an_unanswered_renewal_is_tried_again_and_at_the_end_of_the_grace_for_the_last_time)
{
    uint64_t generation = start();
    int tries = 0;
    int64_t at = LEASE_MS;
    for (; at < LEASE_MS + GRACE_MS; at += 100) {
        clock_shift(at);
        enum lease_turn turn = check();
        ck_assert_int_ne(turn, LEASE_OVER);
        if (turn == LEASE_RENEW) {
            tries++;
            ck_assert_int_eq(lease_settle(&lease, generation, LEASE_UNANSWERED), LEASE_GOES_ON);
        }
    }
    ck_assert_int_ge(tries, 3);
    ck_assert_int_le(tries, 60);
    clock_shift(LEASE_MS + GRACE_MS + 100);
    ck_assert_int_eq(check(), LEASE_RENEW);
    ck_assert_int_eq(lease_settle(&lease, generation, LEASE_UNANSWERED), LEASE_OVER);
    ck_assert_int_eq(check(), LEASE_OVER);
    lease_destroy(&lease);
}
END_TEST

START_TEST(a_stopped_lease_is_over_and_a_new_one_begins_afresh)
{
    uint64_t first = start();
    clock_shift(LEASE_MS);
    ck_assert_int_eq(check(), LEASE_RENEW);
    lease_stop(&lease);
    ck_assert_int_eq(check(), LEASE_OVER);
    ck_assert_int_eq(lease_settle(&lease, first, LEASE_CONFIRMED), LEASE_OVER);
    uint64_t second = lease_start(&lease, clock_boot_ms());
    ck_assert_uint_ne(first, second);
    /* A report that comes late is nobody's any more. */
    ck_assert_int_eq(lease_settle(&lease, first, LEASE_DENIED), LEASE_GOES_ON);
    ck_assert_int_eq(check(), LEASE_GOES_ON);
    lease_destroy(&lease);
}
END_TEST

static void *check_in_thread(void *ret_turn)
{
    *(enum lease_turn *) ret_turn = check();
    return NULL;
}

static const enum lease_answer answers[] = {LEASE_CONFIRMED, LEASE_UNANSWERED, LEASE_DENIED};

START_TEST(beyond_the_grace_the_others_wait_for_the_answer)
{
    uint64_t generation = start();
    pthread_t thread;
    enum lease_turn turn = LEASE_RENEW;
    struct timespec pause = {.tv_nsec = 300 * 1000000L};
    clock_shift(LEASE_MS + GRACE_MS);
    ck_assert_int_eq(check(), LEASE_RENEW);
    ck_assert_int_eq(pthread_create(&thread, NULL, check_in_thread, &turn), 0);
    (void) nanosleep(&pause, NULL);
    enum lease_turn expected = answers[_i] == LEASE_CONFIRMED ? LEASE_GOES_ON : LEASE_OVER;
    ck_assert_int_eq(lease_settle(&lease, generation, answers[_i]), expected);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(turn, expected);
    lease_destroy(&lease);
}
END_TEST

START_TEST(cancelling_wakes_who_waits)
{
    (void) start();
    pthread_t thread;
    enum lease_turn turn = LEASE_RENEW;
    clock_shift(LEASE_MS + GRACE_MS);
    ck_assert_int_eq(check(), LEASE_RENEW);
    ck_assert_int_eq(pthread_create(&thread, NULL, check_in_thread, &turn), 0);
    atomic_store(&cancelled, true);
    lease_wake(&lease);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(turn, LEASE_OVER);
    lease_destroy(&lease);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("lease");
    tcase_add_test(cases, one_caller_renews_and_the_rest_goes_on);
    tcase_add_test(cases, a_denial_is_over_at_once);
    tcase_add_test(
        cases, an_unanswered_renewal_is_tried_again_and_at_the_end_of_the_grace_for_the_last_time);
    tcase_add_test(cases, a_stopped_lease_is_over_and_a_new_one_begins_afresh);
    tcase_add_loop_test(cases, beyond_the_grace_the_others_wait_for_the_answer, 0,
                        (int) COUNT_OF(answers));
    tcase_add_test(cases, cancelling_wakes_who_waits);
    return fixture_run("lease", cases);
}
