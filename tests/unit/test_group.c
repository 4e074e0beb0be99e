/* Work that one thread does for all who wait. */
#include "tokens/group.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define THREAD_COUNT 8
#define ROUNDS 50

struct request {
    struct group_member member; /* first */
    int thread;
    int number;
};

/* What the work has seen. */
static struct group group;
static int done[THREAD_COUNT]; /* requests of each thread */
static size_t round_count;
static size_t largest;
static atomic_bool is_inside;
static long work_ms;
static size_t settles_at_most;

static void sleep_ms(long ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000L};
    (void) nanosleep(&time, NULL);
}

static void work(void *context, struct group_member *const *members, size_t count)
{
    ck_assert_ptr_eq(context, &group);
    ck_assert(!atomic_exchange(&is_inside, true));
    ck_assert(count >= 1 && count <= GROUP_MAX);
    sleep_ms(work_ms);
    for (size_t i = 0; i < count && i < settles_at_most; i++) {
        struct request *request = (struct request *) members[i];
        ck_assert_int_eq(request->number, done[request->thread]);
        done[request->thread]++;
        request->member.is_settled = true;
    }
    round_count++;
    largest = count > largest ? count : largest;
    atomic_store(&is_inside, false);
}

static void ask(int thread, int number)
{
    struct request request = {.thread = thread, .number = number};
    group_do(&group, &request.member);
    ck_assert(request.member.is_settled);
}

static void *ask_often(void *thread)
{
    for (int i = 0; i < ROUNDS; i++)
        ask(*(int *) thread, i);
    return NULL;
}

static void ask_by_all(void)
{
    pthread_t threads[THREAD_COUNT];
    int numbers[THREAD_COUNT];
    for (int i = 0; i < THREAD_COUNT; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, &numbers[i]), 0);
    }
    for (int i = 0; i < THREAD_COUNT; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(done[i], ROUNDS);
    }
    ck_assert_ptr_null(group.first);
    ck_assert_uint_eq(group.waiting_count, 0);
}

static void setup(void)
{
    settles_at_most = GROUP_MAX;
    group_init(&group, work, &group);
}

static void teardown(void)
{
    group_destroy(&group);
}

START_TEST(everything_is_done_once_and_together)
{
    work_ms = 4;
    ask_by_all();
    ck_assert_uint_gt(largest, 1);
    ck_assert_uint_le(largest, THREAD_COUNT);
    /* All eight in most rounds; alone they would take eight times as many. */
    ck_assert_uint_lt(round_count, 3 * ROUNDS);
}
END_TEST

START_TEST(what_is_not_settled_stays)
{
    settles_at_most = 1;
    ask_by_all();
    ck_assert_uint_eq(round_count, THREAD_COUNT * ROUNDS);
}
END_TEST

/* Who is alone waits for nobody, however long the work takes. */
START_TEST(one_thread_does_its_own)
{
    work_ms = 20;
    for (int i = 0; i < 5; i++) {
        ask(0, i);
        ck_assert_uint_eq(round_count, (size_t) i + 1);
        ck_assert_uint_eq(group.expected_count, 1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("group");
    TCase *cases = tcase_create("group");
    SRunner *runner = srunner_create(suite);
    suite_add_tcase(suite, cases);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, everything_is_done_once_and_together);
    tcase_add_test(cases, what_is_not_settled_stays);
    tcase_add_test(cases, one_thread_does_its_own);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
