/* Objects of a token with many writers: threads, other custodies, other processes; and many rows.
 * */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/object_fixture.h"
#include "tokens/seal.h"

#define WRITER_COUNT 4
#define WRITER_OBJECTS 25

static void create_many(struct custody *custody)
{
    for (int i = 0; i < WRITER_OBJECTS; i++) {
        struct object_id id = objects_create(custody, "many", "value");
        uint64_t version;
        if (i % 5 == 0)
            ck_assert_uint_eq(sealed_objects_destroy(custody, &id, 1), CKR_OK);
        else
            ck_assert_uint_eq(sealed_objects_update(custody, &id, 1, view_text("more"), &version),
                              CKR_OK);
    }
}

static void *create_in_thread(void *custody)
{
    create_many(custody);
    return NULL;
}

static void assert_all_there(struct custody *custody)
{
    fixture_forget_log();
    ck_assert_uint_eq(objects_load(custody), WRITER_COUNT * WRITER_OBJECTS * 4 / 5);
    ck_assert_msg(fixture_log_count() == 0, "%s", fixture_log());
}

START_TEST(threads_write_side_by_side)
{
    struct custody *custody = objects_token(fixture_store(_i));
    pthread_t threads[WRITER_COUNT];
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, create_in_thread, custody), 0);
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    assert_all_there(custody);
    custody_close(&custody);
}
END_TEST

START_TEST(custodies_write_side_by_side)
{
    struct custody *custodies[WRITER_COUNT];
    pthread_t threads[WRITER_COUNT];
    custodies[0] = objects_token(fixture_store(1));
    for (size_t i = 1; i < WRITER_COUNT; i++) {
        custodies[i] = fixture_open(fixture_store(1), "");
        fixture_login_user(custodies[i]);
    }
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, create_in_thread, custodies[i]), 0);
    for (size_t i = 0; i < WRITER_COUNT; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        assert_all_there(custodies[i]);
        custody_close(&custodies[i]);
    }
}
END_TEST

START_TEST(processes_write_side_by_side)
{
    struct custody *custody = fixture_token(fixture_store(1), "");
    custody_close(&custody);
    pid_t children[WRITER_COUNT];
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) {
            secrets_abandon();
            custody = fixture_open(fixture_store(1), "");
            fixture_login_user(custody);
            create_many(custody);
            custody_close(&custody);
            _exit(0);
        }
    }
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        int status = 0;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    custody = fixture_open(fixture_store(1), "");
    fixture_login_user(custody);
    assert_all_there(custody);
    custody_close(&custody);
}
END_TEST

static void let_a_tick_fall_due(void)
{
    struct timespec pause = {.tv_nsec = 60 * 1000000L};
    (void) nanosleep(&pause, NULL);
}

START_TEST(a_change_by_another_is_seen_at_the_next_tick_and_an_own_one_is_not)
{
    struct custody *one = objects_token(fixture_store(1));
    struct custody *two = fixture_open(fixture_store(1), "");
    fixture_login_user(two);
    ck_assert_uint_eq(objects_load(one), 0);
    ck_assert_uint_eq(objects_load(two), 0);
    let_a_tick_fall_due();
    /* Two's login counted its attempt in the store: no news for one. */
    ck_assert_int_eq(custody_tick(one), CUSTODY_SAME);
    ck_assert_int_eq(custody_tick(two), CUSTODY_SAME);
    (void) objects_create(one, "label", "value");
    let_a_tick_fall_due();
    ck_assert_int_eq(custody_tick(one), CUSTODY_SAME);
    ck_assert_int_eq(custody_tick(two), CUSTODY_CHANGED);
    ck_assert_uint_eq(objects_load(two), 1);
    let_a_tick_fall_due();
    ck_assert_int_eq(custody_tick(two), CUSTODY_SAME);
    custody_close(&two);
    custody_close(&one);
}
END_TEST

START_TEST(a_token_initialised_elsewhere_logs_out)
{
    struct custody *one = objects_token(fixture_store(1));
    struct custody *two = fixture_open(fixture_store(1), "");
    fixture_init_token(two);
    let_a_tick_fall_due();
    fixture_forget_log();
    ck_assert_int_eq(custody_tick(one), CUSTODY_CLOSED);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert_int_eq(custody_tick(one), CUSTODY_SAME);
    custody_close(&two);
    custody_close(&one);
}
END_TEST

#define MANY 100000u

static CK_RV count_row(void *context, const struct sealed_object *object)
{
    ++*(size_t *) context;
    ck_assert_uint_eq(object->attributes.len, 200);
    return CKR_OK;
}

/* Sealed rows put straight into the store: the load opens them all and misses them in the summary.
 * */
static void put_many(struct custody *custody)
{
    static const unsigned char attributes[200];
    for (uint32_t i = 0; i < MANY; i++) {
        struct object_id id = {
            {(unsigned char) (i >> 16), (unsigned char) (i >> 8), (unsigned char) i}};
        struct seal_content content = {
            .id = &id,
            .version = 1,
            .attributes = {attributes, sizeof(attributes)},
        };
        struct sealed_row row = {0};
        struct keyring *held = NULL;
        ck_assert_uint_eq(keyring_hold(&custody->keyring, &held), CKR_OK);
        ck_assert_uint_eq(seal_row(held, &content, &row), CKR_OK);
        keyring_release(&held);
        struct store_change change = {.object = &id, .attributes = blob_view(&row.attributes)};
        ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
        sealed_row_clear(&row);
    }
}

START_TEST(a_hundred_thousand_rows_load_at_once)
{
    struct custody *custody = objects_token("memory:");
    put_many(custody);
    size_t count = 0;
    int64_t begin = clock_boot_ms();
    ck_assert_uint_eq(sealed_objects_load(custody, count_row, &count), CKR_OK);
    int64_t took = clock_boot_ms() - begin;
    ck_assert_uint_eq(count, MANY);
    ck_assert_uint_eq(fixture_log_count(), 1);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "100000 objects where 0 were recorded"));
    /* A fraction of a second; the rest is for sanitizers and busy machines. */
    ck_assert_msg(took < 10000, "%lld ms", (long long) took);
    if (getenv("INDEXKEY_TEST_TIMES") != NULL)
        (void) printf("%u rows: %lld ms\n", MANY, (long long) took);
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("sealed_objects_shared");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, threads_write_side_by_side, 0, FIXTURE_STORE_COUNT);
    tcase_add_test(cases, custodies_write_side_by_side);
    tcase_add_test(cases, processes_write_side_by_side);
    tcase_add_test(cases, a_change_by_another_is_seen_at_the_next_tick_and_an_own_one_is_not);
    tcase_add_test(cases, a_token_initialised_elsewhere_logs_out);
    tcase_add_test(cases, a_hundred_thousand_rows_load_at_once);
    return fixture_run("sealed_objects_shared", cases);
}
