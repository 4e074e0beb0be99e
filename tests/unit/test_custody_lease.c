/* The lease of a login, with hours that pass on demand: outages, denials, waiting threads. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/support/token_fixture.h"
#include "tokens/sealed_objects.h"

#define MINUTE (60 * 1000)
#define HOUR (60 * MINUTE)

static CK_RV pass_by(void *context, const struct sealed_object *object)
{
    (void) context;
    (void) object;
    return CKR_OK;
}

/* As the module logs in: it loads the objects, and knows their generation from then on. */
static struct custody *logged_in(struct fixture_source **ret_source)
{
    struct custody *custody = fixture_token("memory:", "lease = 15m\ngrace = 1h");
    *ret_source = fixture_interpose(custody);
    fixture_login_user(custody);
    ck_assert_uint_eq(sealed_objects_load(custody, pass_by, NULL), CKR_OK);
    atomic_store(&(*ret_source)->unwrap_count, 0);
    fixture_forget_log();
    return custody;
}

static bool works(struct custody *custody)
{
    struct object_id id;
    ck_assert_uint_eq(sealed_objects_new_id(&id), CKR_OK);
    CK_RV rv = sealed_objects_create(custody, &id, view_text("x"), NULL);
    ck_assert(rv == CKR_OK || rv == CKR_USER_NOT_LOGGED_IN);
    return rv == CKR_OK;
}

START_TEST(the_source_is_asked_again_only_when_the_lease_ran_out)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    clock_shift(14 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, 0);
    clock_shift(16 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, 1);
    clock_shift(30 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, 1);
    clock_shift(32 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, 2);
    ck_assert_uint_eq(fixture_log_count(), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(an_outage_within_the_grace_fails_nothing_and_backs_off)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_UNREACHABLE);
    for (int64_t ms = 15 * MINUTE; ms <= 25 * MINUTE; ms += 1000) {
        clock_shift(ms);
        ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    }
    ck_assert(works(custody));
    /* 600 ticks; doubling to a minute leaves some dozens of calls, one line each. */
    ck_assert_int_ge(source->unwrap_count, 8);
    ck_assert_int_le(source->unwrap_count, 100);
    ck_assert_uint_eq(fixture_log_count(), (size_t) source->unwrap_count);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_NONE);
    clock_shift(27 * MINUTE);
    int calls = source->unwrap_count;
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, calls + 1);
    clock_shift(40 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, calls + 1);
    custody_close(&custody);
}
END_TEST

static const int denials[] = {INDEXKEY_CAUSE_DENIED, INDEXKEY_CAUSE_DISABLED,
                              INDEXKEY_CAUSE_DELETED, INDEXKEY_CAUSE_CREDENTIAL};

START_TEST(a_denial_closes_at_once_and_a_login_heals)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    atomic_store(&source->fails_with, denials[_i]);
    clock_shift(15 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CLOSED);
    ck_assert_int_eq(source->unwrap_count, 1);
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert(!works(custody));
    ck_assert_int_eq(atomic_load(custody_due(custody)), INT64_MAX);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "refused to renew the lease"));
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_NONE);
    fixture_login_user(custody);
    ck_assert(works(custody));
    custody_close(&custody);
}
END_TEST

START_TEST(an_outage_beyond_the_grace_closes)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_TIMEOUT);
    clock_shift(HOUR + 14 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    clock_shift(HOUR + 15 * MINUTE + 1000);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CLOSED);
    ck_assert_uint_eq(secrets_in_use(), 0);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "before the grace ended"));
    custody_close(&custody);
}
END_TEST

START_TEST(an_idle_process_asks_first_when_it_wakes_beyond_the_grace)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    clock_shift(10 * HOUR);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    ck_assert_int_eq(source->unwrap_count, 1);
    ck_assert(works(custody));
    custody_close(&custody);
}
END_TEST

START_TEST(a_token_that_was_changed_in_the_store_is_a_denial)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    struct blob bytes = {0};
    struct store_change change = {.record = RECORD_TOKEN};
    ck_assert_uint_eq(
        custody->store->ops->read_record(custody->store, RECORD_TOKEN, &bytes, &change.expected),
        CKR_OK);
    bytes.bytes[bytes.len - 1] ^= 1;
    change.attributes = blob_view(&bytes);
    ck_assert_uint_eq(custody->store->ops->commit(custody->store, &change, 1), CKR_OK);
    blob_clear(&bytes);
    clock_shift(16 * MINUTE);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_CLOSED);
    custody_close(&custody);
}
END_TEST

#define THREADS 6

struct ticks {
    struct custody *custody;
    enum custody_news news;
    int64_t took_ms;
};

static void *tick_in_thread(void *context)
{
    struct ticks *ticks = context;
    int64_t begin = clock_boot_ms();
    ticks->news = custody_tick(ticks->custody);
    ticks->took_ms = clock_boot_ms() - begin;
    return NULL;
}

/* All at once; the slowest call first. */
static void tick_together(struct custody *custody, struct ticks ticks[THREADS])
{
    pthread_t threads[THREADS];
    struct timespec head_start = {.tv_nsec = 60 * 1000000L};
    for (size_t i = 0; i < THREADS; i++) {
        ticks[i] = (struct ticks){.custody = custody};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, tick_in_thread, &ticks[i]), 0);
        if (i == 0)
            (void) nanosleep(&head_start, NULL);
    }
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

START_TEST(within_the_grace_one_renews_and_the_others_go_on)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    struct ticks ticks[THREADS];
    atomic_store(&source->delay_ms, 400);
    clock_shift(20 * MINUTE);
    tick_together(custody, ticks);
    ck_assert_int_eq(source->unwrap_count, 1);
    ck_assert_int_ge(ticks[0].took_ms, 400);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(ticks[i].news, CUSTODY_SAME);
    for (size_t i = 1; i < THREADS; i++)
        ck_assert_int_lt(ticks[i].took_ms, 250);
    custody_close(&custody);
}
END_TEST

START_TEST(beyond_the_grace_all_wait_for_the_answer)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    struct ticks ticks[THREADS];
    atomic_store(&source->delay_ms, 400);
    atomic_store(&source->fails_with, _i == 0 ? INDEXKEY_CAUSE_NONE : INDEXKEY_CAUSE_TIMEOUT);
    clock_shift(2 * HOUR);
    tick_together(custody, ticks);
    ck_assert_int_eq(source->unwrap_count, 1);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(ticks[i].news, _i == 0 ? CUSTODY_SAME : CUSTODY_CLOSED);
        ck_assert_int_ge(ticks[i].took_ms, 300);
    }
    custody_close(&custody);
}
END_TEST

START_TEST(cancelling_ends_the_wait)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    struct ticks ticks[2] = {{.custody = custody}, {.custody = custody}};
    pthread_t threads[2];
    struct timespec head_start = {.tv_nsec = 60 * 1000000L};
    atomic_store(&source->delay_ms, 900);
    clock_shift(2 * HOUR);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, tick_in_thread, &ticks[i]), 0);
        (void) nanosleep(&head_start, NULL);
    }
    custody_cancel(custody);
    ck_assert_int_eq(pthread_join(threads[1], NULL), 0);
    ck_assert_int_lt(ticks[1].took_ms, 500);
    ck_assert_int_eq(pthread_join(threads[0], NULL), 0);
    custody_close(&custody);
}
END_TEST

START_TEST(a_late_answer_does_not_touch_the_next_login)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    struct ticks ticks = {.custody = custody};
    pthread_t thread;
    struct timespec head_start = {.tv_nsec = 60 * 1000000L};
    atomic_store(&source->delay_ms, 300);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_DENIED);
    clock_shift(20 * MINUTE);
    ck_assert_int_eq(pthread_create(&thread, NULL, tick_in_thread, &ticks), 0);
    (void) nanosleep(&head_start, NULL);
    custody_logout(custody);
    atomic_store(&source->delay_ms, 0);
    atomic_store(&source->fails_with, INDEXKEY_CAUSE_NONE);
    fixture_login_user(custody);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ticks.news, CUSTODY_SAME);
    ck_assert(works(custody));
    custody_close(&custody);
}
END_TEST

static void *tick_many(void *context)
{
    struct custody *custody = context;
    for (int i = 0; i < 20000; i++)
        (void) custody_tick(custody);
    return NULL;
}

START_TEST(logging_out_while_others_work_is_safe)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, tick_many, custody), 0);
    for (int i = 0; i < 5; i++) {
        (void) works(custody);
        custody_logout(custody);
        ck_assert(!works(custody));
        fixture_login_user(custody);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    custody_close(&custody);
}
END_TEST

static CK_RV failing_count(struct store *store, uint64_t *ret_count)
{
    (void) store;
    (void) ret_count;
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE, "the store cannot be read");
}

START_TEST(a_store_that_fails_is_asked_less_often)
{
    struct fixture_source *source;
    struct custody *custody = logged_in(&source);
    const struct store_ops *good = custody->store->ops;
    struct store_ops failing = *good;
    failing.change_count = failing_count;
    custody->store->ops = &failing;
    for (int64_t ms = 100; ms <= 3000; ms += 100) {
        clock_shift(ms);
        ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
    }
    ck_assert_uint_ge(fixture_log_count(), 2);
    ck_assert_uint_le(fixture_log_count(), 4);
    custody->store->ops = good;
    custody_close(&custody);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("custody_lease");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_source_is_asked_again_only_when_the_lease_ran_out);
    tcase_add_test(cases, an_outage_within_the_grace_fails_nothing_and_backs_off);
    tcase_add_loop_test(cases, a_denial_closes_at_once_and_a_login_heals, 0,
                        (int) COUNT_OF(denials));
    tcase_add_test(cases, an_outage_beyond_the_grace_closes);
    tcase_add_test(cases, an_idle_process_asks_first_when_it_wakes_beyond_the_grace);
    tcase_add_test(cases, a_token_that_was_changed_in_the_store_is_a_denial);
    tcase_add_test(cases, within_the_grace_one_renews_and_the_others_go_on);
    tcase_add_loop_test(cases, beyond_the_grace_all_wait_for_the_answer, 0, 2);
    tcase_add_test(cases, cancelling_ends_the_wait);
    tcase_add_test(cases, a_late_answer_does_not_touch_the_next_login);
    tcase_add_test(cases, logging_out_while_others_work_is_safe);
    tcase_add_test(cases, a_store_that_fails_is_asked_less_often);
    return fixture_run("custody_lease", cases);
}
