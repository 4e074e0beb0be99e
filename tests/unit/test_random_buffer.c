/* Random bytes for applications: what waits is secret memory, is given once and is gone then. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/random_buffer.h"
#include "base/secret.h"
#include "tests/unit/base_fixture.h"

#define VALUE_LEN 32
#define VALUE_COUNT 20000
#define ROUND_MIB 3

static void setup(void)
{
    fixture_catch_log();
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    random_buffer_init();
}

static void teardown(void)
{
    random_buffer_finish();
    crypto_finish();
    ck_assert_uint_eq(secrets_in_use(), 0);
}

static int compare_values(const void *a, const void *b)
{
    return memcmp(a, b, VALUE_LEN);
}

START_TEST(nothing_is_given_twice)
{
    static unsigned char values[VALUE_COUNT][VALUE_LEN];
    static const unsigned char zeros[VALUE_LEN];

    for (size_t i = 0; i < VALUE_COUNT; i++)
        ck_assert_uint_eq(random_buffer_read((uint32_t) i % 11, values[i], VALUE_LEN), CKR_OK);
    qsort(values, VALUE_COUNT, VALUE_LEN, compare_values);
    ck_assert_mem_ne(values[0], zeros, VALUE_LEN);
    for (size_t i = 1; i < VALUE_COUNT; i++)
        ck_assert_mem_ne(values[i - 1], values[i], VALUE_LEN);
}
END_TEST

static bool contains(struct view memory, const unsigned char *value, size_t len)
{
    return memmem(memory.bytes, memory.len, value, len) != NULL;
}

START_TEST(what_is_read_is_erased)
{
    unsigned char value[VALUE_LEN];

    ck_assert_uint_eq(random_buffer_test_memory().len, 4096);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(random_buffer_read(i, value, sizeof(value)), CKR_OK);
        ck_assert(!contains(random_buffer_test_memory(), value, sizeof(value)));
    }
}
END_TEST

/* Any length, through the buffer or past it; each byte is written, and none behind. */
START_TEST(every_length)
{
    static const unsigned char zeros[700];
    unsigned char out[700];

    for (size_t len = 0; len < 600; len++) {
        unsigned char seen[600] = {0};
        for (int round = 0; round < 12; round++) {
            memset(out, 0, sizeof(out));
            ck_assert_uint_eq(random_buffer_read(3, out, len), CKR_OK);
            for (size_t i = 0; i < len; i++)
                seen[i] |= out[i];
            ck_assert_mem_eq(out + len, zeros, sizeof(out) - len);
        }
        ck_assert(len == 0 || memchr(seen, 0, len) == NULL);
    }
}
END_TEST

START_TEST(it_goes_on_past_a_new_seed)
{
    unsigned char value[64];

    for (size_t i = 0; i < (size_t) ROUND_MIB * (1 << 20) / sizeof(value); i++)
        ck_assert_uint_eq(random_buffer_read(0, value, sizeof(value)), CKR_OK);
}
END_TEST

START_TEST(without_memory_it_asks_the_generator)
{
    unsigned char value[VALUE_LEN] = {0};
    static const unsigned char zeros[VALUE_LEN];

    random_buffer_finish();
    mem_fail_at(1, true);
    random_buffer_init();
    mem_fail_at(0, false);
    ck_assert_uint_eq(random_buffer_test_memory().len, 0);
    ck_assert_uint_eq(random_buffer_read(0, value, sizeof(value)), CKR_OK);
    ck_assert_mem_ne(value, zeros, sizeof(value));
}
END_TEST

/* Parent and child go on from the same instant and meet in nothing. */
START_TEST(a_child_has_its_own)
{
    unsigned char mine[8][VALUE_LEN];
    unsigned char theirs[8][VALUE_LEN];
    int pipes[2];

    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(random_buffer_read(i, mine[i], VALUE_LEN), CKR_OK);
    ck_assert_int_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        secrets_abandon();
        random_buffer_abandon();
        crypto_abandon();
        CK_RV rv = crypto_init();
        random_buffer_init();
        for (uint32_t i = 0; i < 8 && rv == CKR_OK; i++)
            rv = random_buffer_read(i, theirs[i], VALUE_LEN);
        _exit(rv == CKR_OK && write(pipes[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
    }
    ck_assert_int_eq(read(pipes[0], theirs, sizeof(theirs)), sizeof(theirs));
    waitpid(child, NULL, 0);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_uint_eq(random_buffer_read(i, mine[i], VALUE_LEN), CKR_OK);
        for (size_t j = 0; j < 8; j++)
            ck_assert_mem_ne(mine[i], theirs[j], VALUE_LEN);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random_buffer");
    TCase *tests = tcase_create("random_buffer");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nothing_is_given_twice);
    tcase_add_test(tests, what_is_read_is_erased);
    tcase_add_test(tests, every_length);
    tcase_add_test(tests, it_goes_on_past_a_new_seed);
    tcase_add_test(tests, without_memory_it_asks_the_generator);
    tcase_add_test(tests, a_child_has_its_own);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
