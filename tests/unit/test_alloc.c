/* The allocator: its arithmetic, its counters and its faults. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tests/unit/base_fixture.h"

START_TEST(blocks_hold_what_was_asked_for)
{
    long before = mem_live();
    _cleanup_(mem_free_pointer) unsigned char *zeros = mem_calloc(4, 8);
    ck_assert_ptr_nonnull(zeros);
    for (size_t i = 0; i < 32; i++)
        ck_assert_uint_eq(zeros[i], 0);
    _cleanup_(mem_free_pointer) char *text = mem_strdup("index");
    ck_assert_str_eq(text, "index");
    _cleanup_(mem_free_pointer) char *copy = mem_dup("a\0b", 3);
    ck_assert_mem_eq(copy, "a\0b", 3);
    _cleanup_(mem_free_pointer) char *line = mem_format("%s-%d", "key", 42);
    ck_assert_str_eq(line, "key-42");
    ck_assert_int_eq(mem_live(), before + 4);
}
END_TEST

START_TEST(nothing_is_a_block_too)
{
    void *blocks[] = {mem_alloc(0), mem_calloc(0, 8), mem_calloc(8, 0), mem_dup(NULL, 0),
                      mem_resize(NULL, 0, 8)};
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        ck_assert_ptr_nonnull(blocks[i]);
        mem_free(blocks[i]);
    }
    mem_free(NULL);
}
END_TEST

START_TEST(resize_keeps_the_bytes)
{
    long before = mem_live();
    char *text = mem_strdup("abc");
    char *longer = mem_resize(text, 1000, 4);
    ck_assert_str_eq(longer, "abc");
    ck_assert_int_eq(mem_live(), before + 1);
    char *empty = mem_resize(longer, 0, 4);
    ck_assert_ptr_nonnull(empty);
    mem_free(empty);
    ck_assert_int_eq(mem_live(), before);
}
END_TEST

START_TEST(overflow_is_refused)
{
    char *old = mem_strdup("old");
    volatile size_t huge = SIZE_MAX / 2 + 1;
    ck_assert_ptr_null(mem_calloc(huge, 2));
    ck_assert_ptr_null(mem_resize(old, huge, 2));
    ck_assert_str_eq(old, "old");
    mem_free(old);
}
END_TEST

START_TEST(cleanup_frees_and_take_prevents_it)
{
    long before = mem_live();
    char *taken;
    {
        _cleanup_(mem_free_pointer) char *freed = mem_strdup("freed");
        _cleanup_(mem_free_pointer) char *kept = mem_strdup("kept");
        ck_assert_str_eq(freed, "freed");
        taken = TAKE(kept);
    }
    ck_assert_int_eq(mem_live(), before + 1);
    ck_assert_str_eq(taken, "kept");
    mem_free(taken);
}
END_TEST

START_TEST(the_nth_allocation_fails)
{
    for (unsigned long nth = 1; nth <= 3; nth++) {
        mem_fail_at(nth, _i == 1);
        for (unsigned long i = 1; i <= 4; i++) {
            char *block = mem_format("%lu", i);
            ck_assert_int_eq(block == NULL, i == nth || (_i == 1 && i > nth));
            mem_free(block);
        }
        ck_assert_uint_eq(mem_count(), 4);
    }
    mem_fail_at(0, false);
    char *block = mem_alloc(1);
    ck_assert_ptr_nonnull(block);
    mem_free(block);
}
END_TEST

START_TEST(every_function_can_fail)
{
    char *old = mem_strdup("old");
    mem_fail_at(1, true);
    ck_assert_ptr_null(mem_alloc(1));
    ck_assert_ptr_null(mem_calloc(1, 1));
    ck_assert_ptr_null(mem_resize(old, 9, 1));
    ck_assert_ptr_null(mem_strdup("x"));
    ck_assert_ptr_null(mem_dup("x", 1));
    ck_assert_ptr_null(mem_format("x"));
    mem_fail_at(0, false);
    ck_assert_str_eq(old, "old");
    mem_free(old);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("alloc");
    tcase_add_test(cases, blocks_hold_what_was_asked_for);
    tcase_add_test(cases, nothing_is_a_block_too);
    tcase_add_test(cases, resize_keeps_the_bytes);
    tcase_add_test(cases, overflow_is_refused);
    tcase_add_test(cases, cleanup_frees_and_take_prevents_it);
    tcase_add_loop_test(cases, the_nth_allocation_fails, 0, 2);
    tcase_add_test(cases, every_function_can_fail);
    return fixture_run("alloc", cases);
}
