/* Ledgers of key values, and the counters of GCM keys that are kept in them. */
#include "module/key_ledger.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"
#include "module/gcm_counts.h"
#include "module/slot.h"

#define THREADS 8
#define KEYS_PER_THREAD 500

static struct slot slot = {.name = "test"};

static void setup(void)
{
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
}

static void teardown(void)
{
    crypto_finish();
}

/* A session key of 32 times this byte. */
static struct object *new_key(unsigned char byte)
{
    unsigned char bytes[32];
    struct attributes attributes = {.object_class = CKO_SECRET_KEY, .value_len = sizeof(bytes)};
    struct secret value;
    struct object *key;

    memset(bytes, byte, sizeof(bytes));
    ck_assert_uint_eq(secret_from(bytes, sizeof(bytes), &value), CKR_OK);
    ck_assert_uint_eq(object_new(&slot, &attributes, &value, &key), CKR_OK);
    return key;
}

/* The first secret's slab stays. */
static long settled_live(void)
{
    struct object *key = new_key(0);

    object_release(&key);
    return mem_live();
}

static struct key_ledger *ledger_of(struct object *key)
{
    struct key_ledger *ledger;

    ck_assert_uint_eq(key_ledger_of(key, &ledger), CKR_OK);
    return ledger;
}

START_TEST(a_value_has_one_ledger)
{
    long live = settled_live();
    struct object *first = new_key(1);
    struct object *same = new_key(1);
    struct object *other = new_key(2);
    struct key_ledger *ledger = ledger_of(first);

    ck_assert_ptr_eq(ledger_of(first), ledger);
    ck_assert_ptr_eq(ledger_of(same), ledger);
    ck_assert_ptr_ne(ledger_of(other), ledger);
    object_release(&first);
    ck_assert_ptr_eq(ledger_of(same), ledger);
    object_release(&same);
    object_release(&other);
    ck_assert_int_eq(mem_live(), live);
}
END_TEST

START_TEST(a_counter_outlives_its_key)
{
    struct object *key = new_key(3);
    uint64_t count = 99;

    for (uint64_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(gcm_counts_next(key, 2, &count), CKR_OK);
        ck_assert_uint_eq(count, i);
        object_release(&key);
        key = new_key(3);
    }
    ck_assert_uint_eq(gcm_counts_next(key, 2, &count), CKR_KEY_EXHAUSTED);
    ck_assert_uint_eq(gcm_counts_next(key, 3, &count), CKR_OK);
    ck_assert_uint_eq(count, 4);
    ledger_of(key)->counter = UINT64_MAX;
    ck_assert_uint_eq(gcm_counts_next(key, 64, &count), CKR_KEY_EXHAUSTED);
    object_release(&key);
}
END_TEST

START_TEST(the_first_form_is_kept)
{
    struct object *key = new_key(5);
    struct iv_form form = {CKG_GENERATE_COUNTER_XOR, 12, 32, {1, 2, 3}};
    struct iv_form others[] = {form, form, form, form};

    others[0].generator = CKG_GENERATE_COUNTER;
    others[1].iv_len = 13;
    others[2].fixed_bits = 31;
    others[3].base[11] = 1;
    ck_assert(key_ledger_keeps_form(ledger_of(key), &form));
    ck_assert(key_ledger_keeps_form(ledger_of(key), &form));
    for (size_t i = 0; i < 4; i++)
        ck_assert(!key_ledger_keeps_form(ledger_of(key), &others[i]));
    object_release(&key);
}
END_TEST

START_TEST(a_forked_child_does_not_count_on)
{
    struct object *key = new_key(6);
    struct object *fresh;
    uint64_t count;

    ck_assert_uint_eq(gcm_counts_next(key, 64, &count), CKR_OK);
    key_ledgers_abandon();
    fresh = new_key(7);
    ck_assert_uint_eq(gcm_counts_next(key, 64, &count), CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(gcm_counts_next(fresh, 64, &count), CKR_OK);
    object_release(&key);
    object_release(&fresh);
}
END_TEST

START_TEST(want_of_memory_is_told)
{
    struct object *key = new_key(8);
    uint64_t count;

    mem_fail_at(1, false);
    ck_assert_uint_eq(gcm_counts_next(key, 64, &count), CKR_HOST_MEMORY);
    mem_fail_at(0, false);
    ck_assert_uint_eq(gcm_counts_next(key, 64, &count), CKR_OK);
    object_release(&key);
}
END_TEST

/* Keys of the same few values come and go everywhere. */
static void *come_and_go(void *ignored)
{
    for (int i = 0; i < KEYS_PER_THREAD; i++) {
        struct object *key = new_key((unsigned char) (100 + i % 3));
        ck_assert_ptr_nonnull(ledger_of(key));
        object_release(&key);
    }
    return ignored;
}

START_TEST(threads_come_and_go)
{
    long live = settled_live();
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(mem_live(), live);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key ledgers");
    TCase *tests = tcase_create("ledgers");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_value_has_one_ledger);
    tcase_add_test(tests, a_counter_outlives_its_key);
    tcase_add_test(tests, the_first_form_is_kept);
    tcase_add_test(tests, a_forked_child_does_not_count_on);
    tcase_add_test(tests, want_of_memory_is_told);
    tcase_add_test(tests, threads_come_and_go);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
