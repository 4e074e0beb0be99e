/* The access token of a source: who fetches it, who waits, and when it is dropped. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "tests/unit/base_fixture.h"
#include "tokens/access_token.h"

#define LIFETIME_S 3600
#define MARGIN_MS 240000
#define DEADLINE_MS 5000
#define THREADS 8
#define PERIOD_NS 1000000L

/* An identity provider that gives "text-1", "text-2", …, or fails. */
static struct {
    atomic_int asked;
    atomic_int inside;
    atomic_int most_inside;
    atomic_bool holds; /* does not answer while true */
    int64_t lifetime_s;
    _Atomic enum indexkey_cause failure; /* CAUSE_NONE: gives a token */
} provider;

static atomic_bool cancelled;
static struct access_token *token;

static void pause_shortly(void)
{
    (void) nanosleep(&(struct timespec){.tv_nsec = PERIOD_NS}, NULL);
}

static CK_RV ask_provider(void *context, const struct source_call *call,
                          struct access_token_grant *ret_grant)
{
    ck_assert_ptr_eq(context, &provider);
    int inside = atomic_fetch_add(&provider.inside, 1) + 1;
    if (inside > atomic_load(&provider.most_inside))
        atomic_store(&provider.most_inside, inside);
    char text[32];
    int len = snprintf(text, sizeof(text), "text-%d", atomic_fetch_add(&provider.asked, 1) + 1);
    while (atomic_load(&provider.holds) && clock_boot_ms() < call->deadline_ms)
        pause_shortly();
    enum indexkey_cause failure = atomic_load(&provider.failure);
    if (clock_boot_ms() >= call->deadline_ms)
        failure = INDEXKEY_CAUSE_TIMEOUT;
    atomic_fetch_sub(&provider.inside, 1);
    if (failure != INDEXKEY_CAUSE_NONE)
        return FAIL_CAUSE(failure, "the provider fails");
    ret_grant->lifetime_s = provider.lifetime_s;
    return secret_from(text, (size_t) len, &ret_grant->text);
}

static void setup(void)
{
    fixture_catch_log();
    secrets_init(false);
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    memset(&provider, 0, sizeof(provider));
    provider.lifetime_s = LIFETIME_S;
    atomic_store(&cancelled, false);
    ck_assert_uint_eq(access_token_new("t", ask_provider, &provider, &token), CKR_OK);
}

static void teardown(void)
{
    clock_shift(0);
    access_token_free(&token);
    ck_assert_ptr_null(token);
    ck_assert_uint_eq(secrets_in_use(), 0);
    crypto_finish();
}

static CK_RV get_within(int64_t deadline_ms, struct secret *ret_text)
{
    struct source_call call = {.deadline_ms = clock_boot_ms() + deadline_ms,
                               .cancelled = &cancelled};
    return access_token_get(token, &call, ret_text);
}

static void assert_gets(const char *wanted)
{
    struct secret text = {0};
    ck_assert_uint_eq(get_within(DEADLINE_MS, &text), CKR_OK);
    ck_assert_uint_eq(text.len, strlen(wanted));
    ck_assert_int_eq(memcmp(text.bytes, wanted, text.len), 0);
    secret_clear(&text);
}

static void assert_fails(enum indexkey_cause cause)
{
    struct secret text = {0};
    ck_assert_uint_eq(get_within(DEADLINE_MS, &text), cause_rv(cause));
    ck_assert_int_eq((int) cause_last(), (int) cause);
    ck_assert_uint_eq(text.len, 0);
}

static void refuse(const char *text)
{
    struct secret refused = {0};
    ck_assert_uint_eq(secret_from(text, strlen(text), &refused), CKR_OK);
    access_token_refuse(token, &refused);
    secret_clear(&refused);
}

/* ---- one thread ---- */

START_TEST(a_token_is_kept_until_shortly_before_its_end)
{
    assert_gets("text-1");
    clock_shift(LIFETIME_S * 1000 - MARGIN_MS - 2000);
    assert_gets("text-1");
    /* The margin is spread over its second half. */
    clock_shift(LIFETIME_S * 1000 - MARGIN_MS / 2);
    assert_gets("text-2");
    assert_gets("text-2");
    ck_assert_int_eq(atomic_load(&provider.asked), 2);
}
END_TEST

START_TEST(a_short_life_has_a_short_margin)
{
    provider.lifetime_s = 5;
    assert_gets("text-1");
    clock_shift(3900);
    assert_gets("text-1");
    clock_shift(4500);
    assert_gets("text-2");
}
END_TEST

START_TEST(a_long_life_is_cut)
{
    provider.lifetime_s = INT64_MAX;
    assert_gets("text-1");
    clock_shift(INT64_C(86400000) - MARGIN_MS - 2000);
    assert_gets("text-1");
    clock_shift(INT64_C(86400000));
    assert_gets("text-2");
}
END_TEST

START_TEST(without_a_lifetime_each_call_asks)
{
    static const int64_t lifetimes[] = {0, -1, INT64_MIN};
    provider.lifetime_s = lifetimes[_i];
    assert_gets("text-1");
    assert_gets("text-2");
}
END_TEST

START_TEST(a_refused_token_is_dropped)
{
    assert_gets("text-1");
    refuse("text-1");
    assert_gets("text-2");
    /* A late word about the former one. */
    refuse("text-1");
    refuse("text-");
    refuse("text-21");
    assert_gets("text-2");
    refuse("text-2");
    refuse("text-2");
    assert_gets("text-3");
}
END_TEST

START_TEST(a_failed_renewal_leaves_the_present_token)
{
    static const enum indexkey_cause causes[] = {INDEXKEY_CAUSE_SERVER, INDEXKEY_CAUSE_TIMEOUT,
                                                 INDEXKEY_CAUSE_UNREACHABLE, INDEXKEY_CAUSE_CONFIG,
                                                 INDEXKEY_CAUSE_THROTTLED};
    assert_gets("text-1");
    atomic_store(&provider.failure, causes[_i]);
    clock_shift(LIFETIME_S * 1000 - MARGIN_MS / 2);
    assert_gets("text-1");
    ck_assert_int_eq((int) cause_last(), INDEXKEY_CAUSE_NONE);
    int asked = atomic_load(&provider.asked);
    ck_assert_int_eq(asked, 2);
    /* At the latest after its backoff it is tried again, and after its end nothing else helps. */
    clock_shift(LIFETIME_S * 1000 - MARGIN_MS / 2 + 1500);
    assert_gets("text-1");
    ck_assert_int_gt(atomic_load(&provider.asked), asked);
    clock_shift(LIFETIME_S * 1000 + 1);
    assert_fails(causes[_i]);
    atomic_store(&provider.failure, INDEXKEY_CAUSE_NONE);
    struct secret text = {0};
    ck_assert_uint_eq(get_within(DEADLINE_MS, &text), CKR_OK);
    secret_clear(&text);
}
END_TEST

START_TEST(a_denied_renewal_drops_the_present_token)
{
    static const enum indexkey_cause causes[] = {INDEXKEY_CAUSE_CREDENTIAL, INDEXKEY_CAUSE_DENIED};
    assert_gets("text-1");
    atomic_store(&provider.failure, causes[_i]);
    clock_shift(LIFETIME_S * 1000 - MARGIN_MS / 2);
    assert_fails(causes[_i]);
    ck_assert_uint_eq(secrets_in_use(), 0);
    assert_fails(causes[_i]);
    ck_assert_int_eq(atomic_load(&provider.asked), 3);
}
END_TEST

START_TEST(no_lack_of_memory_harms)
{
    for (unsigned long nth = 1;; nth++) {
        struct secret text = {0};
        refuse("text-1");
        atomic_store(&provider.asked, 0);
        mem_fail_at(nth, false);
        CK_RV rv = get_within(DEADLINE_MS, &text);
        bool reached = mem_count() >= nth;
        mem_fail_at(0, false);
        secret_clear(&text);
        if (!reached) {
            ck_assert_uint_eq(rv, CKR_OK);
            ck_assert_uint_gt(nth, 1);
            break;
        }
        ck_assert_uint_eq(rv, CKR_HOST_MEMORY);
    }
    refuse("text-1");
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

/* ---- several threads ---- */

struct caller {
    pthread_t thread;
    int64_t deadline_ms;
    CK_RV rv;
    enum indexkey_cause cause;
    char text[32];
    int64_t took_ms;
};

static void *call_in_thread(void *context)
{
    struct caller *caller = context;
    struct secret text = {0};
    int64_t begin = clock_boot_ms();
    cause_clear();
    caller->rv = get_within(caller->deadline_ms, &text);
    caller->cause = cause_last();
    caller->took_ms = clock_boot_ms() - begin;
    if (text.len > 0)
        memcpy(caller->text, text.bytes, text.len);
    secret_clear(&text);
    return NULL;
}

static void start(struct caller *caller, int64_t deadline_ms)
{
    *caller = (struct caller){.deadline_ms = deadline_ms};
    ck_assert_int_eq(pthread_create(&caller->thread, NULL, call_in_thread, caller), 0);
}

static void end(struct caller *caller)
{
    ck_assert_int_eq(pthread_join(caller->thread, NULL), 0);
}

/* The first of them is with the provider, which holds; the others wait. */
static void start_all(struct caller callers[THREADS])
{
    atomic_store(&provider.holds, true);
    for (int i = 0; i < THREADS; i++)
        start(&callers[i], DEADLINE_MS);
    while (atomic_load(&provider.inside) == 0)
        pause_shortly();
    for (int i = 0; i < 50; i++)
        pause_shortly();
}

START_TEST(one_thread_fetches_for_all)
{
    struct caller callers[THREADS];
    start_all(callers);
    atomic_store(&provider.holds, false);
    for (int i = 0; i < THREADS; i++) {
        end(&callers[i]);
        ck_assert_uint_eq(callers[i].rv, CKR_OK);
        ck_assert_str_eq(callers[i].text, "text-1");
    }
    ck_assert_int_eq(atomic_load(&provider.asked), 1);
}
END_TEST

START_TEST(a_failure_is_shared_and_logged_once)
{
    struct caller callers[THREADS];
    atomic_store(&provider.failure, INDEXKEY_CAUSE_CREDENTIAL);
    start_all(callers);
    atomic_store(&provider.holds, false);
    for (int i = 0; i < THREADS; i++) {
        end(&callers[i]);
        ck_assert_uint_eq(callers[i].rv, cause_rv(INDEXKEY_CAUSE_CREDENTIAL));
        ck_assert_int_eq((int) callers[i].cause, INDEXKEY_CAUSE_CREDENTIAL);
    }
    ck_assert_int_eq(atomic_load(&provider.asked), 1);
    ck_assert_str_eq(fixture_log(), "indexkey: error: the provider fails\n");
}
END_TEST

START_TEST(a_renewal_holds_up_nobody_else)
{
    struct caller renewing;
    assert_gets("text-1");
    clock_shift(LIFETIME_S * 1000 - MARGIN_MS / 2);
    atomic_store(&provider.holds, true);
    start(&renewing, DEADLINE_MS);
    while (atomic_load(&provider.inside) == 0)
        pause_shortly();
    assert_gets("text-1");
    assert_gets("text-1");
    atomic_store(&provider.holds, false);
    end(&renewing);
    ck_assert_str_eq(renewing.text, "text-2");
    assert_gets("text-2");
}
END_TEST

START_TEST(who_waits_keeps_its_own_deadline)
{
    struct caller first;
    struct caller second;
    atomic_store(&provider.holds, true);
    start(&first, DEADLINE_MS);
    while (atomic_load(&provider.inside) == 0)
        pause_shortly();
    start(&second, 300);
    end(&second);
    ck_assert_int_eq((int) second.cause, INDEXKEY_CAUSE_TIMEOUT);
    ck_assert_int_ge(second.took_ms, 300);
    ck_assert_int_lt(second.took_ms, 550);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "raise deadline"));
    atomic_store(&provider.holds, false);
    end(&first);
    ck_assert_uint_eq(first.rv, CKR_OK);
}
END_TEST

/* The first one's time was too short; the second has some left. */
START_TEST(who_waited_for_one_that_ran_out_of_time_asks_itself)
{
    struct caller first;
    struct caller second;
    atomic_store(&provider.holds, true);
    start(&first, 200);
    while (atomic_load(&provider.inside) == 0)
        pause_shortly();
    start(&second, DEADLINE_MS);
    end(&first);
    ck_assert_int_eq((int) first.cause, INDEXKEY_CAUSE_TIMEOUT);
    atomic_store(&provider.holds, false);
    end(&second);
    ck_assert_uint_eq(second.rv, CKR_OK);
    ck_assert_str_eq(second.text, "text-2");
}
END_TEST

START_TEST(who_waits_is_cancelled)
{
    struct caller first;
    struct caller second;
    atomic_store(&provider.holds, true);
    start(&first, 700);
    while (atomic_load(&provider.inside) == 0)
        pause_shortly();
    start(&second, DEADLINE_MS);
    for (int i = 0; i < 20; i++)
        pause_shortly();
    atomic_store(&cancelled, true);
    end(&second);
    ck_assert_int_eq((int) second.cause, INDEXKEY_CAUSE_CANCELLED);
    ck_assert_int_lt(second.took_ms, 400);
    end(&first);
}
END_TEST

/* Tokens of one second, refused at random: never two fetches at once, never a failure. */
static void *use_for_a_while(void *context)
{
    int64_t until = clock_boot_ms() + 3000;
    for (int i = 0; clock_boot_ms() < until; i++) {
        struct secret text = {0};
        ck_assert_uint_eq(get_within(DEADLINE_MS, &text), CKR_OK);
        if (i % 97 == 0)
            access_token_refuse(token, &text);
        secret_clear(&text);
        pause_shortly();
    }
    return context;
}

START_TEST(threads_never_fetch_together)
{
    pthread_t threads[THREADS];
    provider.lifetime_s = 1;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_for_a_while, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(atomic_load(&provider.most_inside), 1);
    ck_assert_int_ge(atomic_load(&provider.asked), 3);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("access token");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, a_token_is_kept_until_shortly_before_its_end);
    tcase_add_test(cases, a_short_life_has_a_short_margin);
    tcase_add_test(cases, a_long_life_is_cut);
    tcase_add_loop_test(cases, without_a_lifetime_each_call_asks, 0, 3);
    tcase_add_test(cases, a_refused_token_is_dropped);
    tcase_add_loop_test(cases, a_failed_renewal_leaves_the_present_token, 0, 5);
    tcase_add_loop_test(cases, a_denied_renewal_drops_the_present_token, 0, 2);
    tcase_add_test(cases, no_lack_of_memory_harms);
    tcase_add_test(cases, one_thread_fetches_for_all);
    tcase_add_test(cases, a_failure_is_shared_and_logged_once);
    tcase_add_test(cases, a_renewal_holds_up_nobody_else);
    tcase_add_test(cases, who_waits_keeps_its_own_deadline);
    tcase_add_test(cases, who_waited_for_one_that_ran_out_of_time_asks_itself);
    tcase_add_test(cases, who_waits_is_cancelled);
    tcase_add_test(cases, threads_never_fetch_together);
    return fixture_run("access token", cases);
}
