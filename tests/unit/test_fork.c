/* The fork word: one page, wiped in the child however the child was made. */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"
#include "tests/unit/base_fixture.h"

#define THREAD_COUNT 8

static _Atomic unsigned int *word_of_process(void)
{
    _Atomic unsigned int *word = NULL;
    ck_assert_uint_eq(fork_word(&word), CKR_OK);
    ck_assert_ptr_nonnull(word);
    return word;
}

/* 0: the child sees zero, finds the same word again, and can set it. */
static int child_sees_zero(void *context)
{
    _Atomic unsigned int *word = context;
    _Atomic unsigned int *again = NULL;
    if (atomic_load(word) != 0)
        return 1;
    if (fork_word(&again) != CKR_OK || again != word)
        return 2;
    atomic_store(word, 9);
    return 0;
}

START_TEST(the_word_begins_as_zero_and_stays)
{
    _Atomic unsigned int *word = word_of_process();
    ck_assert_uint_eq(atomic_load(word), 0);
    atomic_store(word, 7);
    ck_assert_ptr_eq(word_of_process(), word);
    ck_assert_uint_eq(atomic_load(word), 7);
}
END_TEST

START_TEST(a_fork_wipes_the_childs_word)
{
    _Atomic unsigned int *word = word_of_process();
    atomic_store(word, 7);
    ck_assert_int_eq(fixture_in_child(child_sees_zero, word), 0);
    ck_assert_uint_eq(atomic_load(word), 7);
}
END_TEST

static int child_forks(void *context)
{
    _Atomic unsigned int *word = context;
    atomic_store(word, 8);
    int status = fixture_in_child(child_sees_zero, word);
    return status == 0 && atomic_load(word) == 8 ? 0 : 3;
}

START_TEST(a_grandchild_is_wiped_too)
{
    _Atomic unsigned int *word = word_of_process();
    atomic_store(word, 7);
    ck_assert_int_eq(fixture_in_child(child_forks, word), 0);
    ck_assert_uint_eq(atomic_load(word), 7);
}
END_TEST

START_TEST(a_raw_clone_wipes_it_too)
{
    _Atomic unsigned int *word = word_of_process();
    atomic_store(word, 7);
    /* Without the C library's fork, so that no handler of its runs. */
    long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    ck_assert_int_ge(child, 0);
    if (child == 0)
        syscall(SYS_exit_group, atomic_load(word) == 0 ? 0 : 1);
    int status = -1;
    ck_assert_int_eq(waitpid((pid_t) child, &status, 0), (pid_t) child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(atomic_load(word), 7);
}
END_TEST

static void *first_call(void *start)
{
    (void) pthread_barrier_wait(start);
    _Atomic unsigned int *word = NULL;
    return fork_word(&word) == CKR_OK ? (void *) word : NULL;
}

START_TEST(first_callers_agree)
{
    pthread_barrier_t start;
    pthread_t threads[THREAD_COUNT];
    ck_assert_int_eq(pthread_barrier_init(&start, NULL, THREAD_COUNT), 0);
    for (size_t i = 0; i < THREAD_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, first_call, &start), 0);
    for (size_t i = 0; i < THREAD_COUNT; i++) {
        void *word = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &word), 0);
        ck_assert_ptr_eq(word, (void *) word_of_process());
    }
    (void) pthread_barrier_destroy(&start);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("fork");
    tcase_add_test(cases, the_word_begins_as_zero_and_stays);
    tcase_add_test(cases, a_fork_wipes_the_childs_word);
    tcase_add_test(cases, a_grandchild_is_wiped_too);
    tcase_add_test(cases, a_raw_clone_wipes_it_too);
    tcase_add_test(cases, first_callers_agree);
    return fixture_run("fork", cases);
}
