/* The retries' arithmetic, without a network and in simulated time. */
#include <string.h>

#include "base/crypto.h"
#include "tests/unit/base_fixture.h"
#include "tokens/http_retry.h"

#define DEADLINE_MS 5000

static struct http_quota quota;
static int64_t now_ms;

static void setup(void)
{
    fixture_catch_log();
    ck_assert_uint_eq(crypto_init(), CKR_OK);
    http_quota_init(&quota);
    now_ms = 0;
}

static void teardown(void)
{
    http_quota_destroy(&quota);
    crypto_finish();
}

/* One call of attempts that each take `attempt_ms` and end in trouble, but for the good-th (0:
 * none). Returns the requests it made. */
static unsigned call(enum http_trouble trouble, int64_t attempt_ms, unsigned good)
{
    struct http_retry retry = {.quota = &quota};
    int64_t end_ms = now_ms + DEADLINE_MS;
    for (unsigned requests = 1;; requests++) {
        int64_t pause_ms = 0;
        now_ms += attempt_ms;
        bool answered = requests == good;
        if (answered || !http_retry_next(&retry, trouble, 0, end_ms - now_ms, &pause_ms)) {
            http_retry_end(&retry, answered);
            return requests;
        }
        ck_assert_int_ge(pause_ms, 0);
        now_ms += pause_ms;
        ck_assert_int_lt(now_ms, end_ms);
    }
}

/* Calls a second, of somebody who tries again and again. */
static const int rates[] = {1, 5, 20, 200};

START_TEST(an_outage_is_asked_once_a_call)
{
    unsigned calls = 0;
    unsigned requests = 0;
    int64_t gap_ms = 1000 / rates[_i];
    for (int i = 0; i < 10; i++)
        ck_assert_uint_eq(call(HTTP_TROUBLE_TRANSIENT, 2, 1), 1);
    for (int64_t end_ms = now_ms + 60000; now_ms < end_ms; calls++) {
        int64_t start_ms = now_ms;
        requests += call(HTTP_TROUBLE_TRANSIENT, 2, 0);
        now_ms = start_ms + gap_ms > now_ms ? start_ms + gap_ms : now_ms;
    }
    ck_assert_uint_ge(calls, 40);
    ck_assert_msg(requests * 10 <= calls * 12, "%u requests in %u calls", requests, calls);
    /* It is over: the next call finds out, and those after it are repeated as ever. */
    ck_assert_uint_eq(call(HTTP_TROUBLE_TRANSIENT, 2, 1), 1);
    ck_assert_uint_eq(call(HTTP_TROUBLE_TRANSIENT, 2, 2), 2);
}
END_TEST

static const struct {
    enum http_trouble trouble;
    unsigned attempts;
    int64_t pause_max_ms; /* all together */
} rows[] = {
    {HTTP_TROUBLE_TRANSIENT, 3, 50 + 100},
    {HTTP_TROUBLE_TIMEOUT, 3, 50 + 100},
    {HTTP_TROUBLE_DNS, 2, 250},
};

START_TEST(each_trouble_has_its_attempts)
{
    ck_assert_uint_eq(call(rows[_i].trouble, 0, 0), rows[_i].attempts);
    ck_assert_int_le(now_ms, rows[_i].pause_max_ms);
}
END_TEST

/* A service that fails now and then, but answers most: the quota lasts, and refills. */
START_TEST(scattered_faults_are_ridden_out)
{
    for (int i = 0; i < 5000; i++)
        ck_assert_uint_eq(call(HTTP_TROUBLE_TRANSIENT, 1, i % 4 == 0 ? 2 : 1), i % 4 == 0 ? 2 : 1);
}
END_TEST

/* One that fails two in three times, its calls good in between, drains the quota: then calls are
 * not repeated. */
START_TEST(the_quota_runs_dry)
{
    unsigned requests = 0;
    for (int i = 0; i < 1000; i++) {
        requests += call(HTTP_TROUBLE_TIMEOUT, 1, 0);
        requests += call(HTTP_TROUBLE_TIMEOUT, 1, 1);
    }
    /* 500 tokens, 20 a bad call, 1 back for each good one; a call may spend its last ten. */
    ck_assert_uint_le(requests, 2000 + (500 + 1000) / 10);
    ck_assert_uint_ge(requests, 2000 + 500 / 10);
}
END_TEST

START_TEST(a_pause_is_random_and_bounded)
{
    int64_t longest = 0;
    int64_t shortest = DEADLINE_MS;
    for (int i = 0; i < 200; i++) {
        struct http_retry retry = {.quota = &quota};
        int64_t pause_ms = -1;
        http_quota_init(&quota);
        ck_assert(http_retry_next(&retry, HTTP_TROUBLE_THROTTLED, 0, DEADLINE_MS, &pause_ms));
        longest = pause_ms > longest ? pause_ms : longest;
        shortest = pause_ms < shortest ? pause_ms : shortest;
    }
    ck_assert_int_le(longest, 250);
    ck_assert_int_ge(longest, 200);
    ck_assert_int_ge(shortest, 0);
    ck_assert_int_le(shortest, 50);
}
END_TEST

START_TEST(a_wish_to_wait_is_heeded_or_given_up)
{
    struct http_retry retry = {.quota = &quota};
    int64_t pause_ms = -1;
    ck_assert(!http_retry_next(&retry, HTTP_TROUBLE_THROTTLED, 3000, 3000, &pause_ms));
    ck_assert_int_eq(pause_ms, -1);
    ck_assert_uint_eq(quota.tokens, 500);
    ck_assert(http_retry_next(&retry, HTTP_TROUBLE_TRANSIENT, 3000, 3021, &pause_ms));
    ck_assert_int_eq(pause_ms, 3000);
    ck_assert_uint_eq(quota.tokens, 495);
}
END_TEST

/* A timer that fires a few milliseconds early leaves no time for an answer to another attempt. */
START_TEST(no_attempt_is_begun_at_the_deadline)
{
    for (int64_t left_ms = 0; left_ms <= 20; left_ms++) {
        struct http_retry retry = {.quota = &quota};
        int64_t pause_ms = -1;
        ck_assert(!http_retry_next(&retry, rows[_i].trouble, 0, left_ms, &pause_ms));
    }
    ck_assert_uint_eq(quota.tokens, 500);
}
END_TEST

/* Many that were told the same do not come back together. */
START_TEST(a_wish_to_wait_is_jittered)
{
    int64_t longest = 0;
    int64_t shortest = DEADLINE_MS;
    for (int i = 0; i < 200; i++) {
        struct http_retry retry = {.quota = &quota};
        int64_t pause_ms = -1;
        http_quota_init(&quota);
        ck_assert(http_retry_next(&retry, HTTP_TROUBLE_THROTTLED, 1000, DEADLINE_MS, &pause_ms));
        longest = pause_ms > longest ? pause_ms : longest;
        shortest = pause_ms < shortest ? pause_ms : shortest;
    }
    ck_assert_int_ge(shortest, 1000);
    ck_assert_int_le(longest, 1250);
    ck_assert_int_ge(longest, 1200);
}
END_TEST

/* Throttled to the end, a call says so, rather than that its last attempt got no answer in time. */
START_TEST(a_throttled_call_goes_on_to_its_deadline)
{
    unsigned requests = call(HTTP_TROUBLE_THROTTLED, 0, 0);
    ck_assert_uint_ge(requests, 4);
    ck_assert_uint_le(requests, 101);
    ck_assert_int_ge(now_ms, DEADLINE_MS - 1000);
    ck_assert_int_le(now_ms, DEADLINE_MS - 250);
}
END_TEST

/* ---- many processes at one service that takes so many requests a second ---- */

#define CROWD 200
#define CROWD_RATE 50
#define CROWD_DEADLINE_MS 30000

struct client {
    struct http_quota quota;
    struct http_retry retry;
    int64_t next_ms; /* INT64_MAX: answered, or given up */
};

/* A bucket that begins full. */
struct service {
    int64_t asked_ms;
    int64_t thousandths;
    unsigned requests;
};

static bool is_admitted(struct service *service, int64_t at_ms)
{
    int64_t full = CROWD_RATE * 1000;
    int64_t earned = (at_ms - service->asked_ms) * CROWD_RATE;
    service->requests++;
    service->asked_ms = at_ms;
    service->thousandths += earned;
    service->thousandths = service->thousandths < full ? service->thousandths : full;
    if (service->thousandths < 1000)
        return false;
    service->thousandths -= 1000;
    return true;
}

static struct client *next_client(struct client clients[CROWD])
{
    struct client *next = &clients[0];
    for (size_t i = 1; i < CROWD; i++)
        next = clients[i].next_ms < next->next_ms ? &clients[i] : next;
    return next->next_ms == INT64_MAX ? NULL : next;
}

/* What the service says of how long to wait. */
static const int64_t wishes_ms[] = {0, 1000};

START_TEST(a_crowd_is_served_whole)
{
    static struct client clients[CROWD];
    struct service service = {.thousandths = CROWD_RATE * 1000};
    unsigned served = 0;
    for (size_t i = 0; i < CROWD; i++) {
        clients[i] = (struct client){.retry = {.quota = &clients[i].quota}};
        http_quota_init(&clients[i].quota);
    }
    for (struct client *client = next_client(clients); client != NULL;
         client = next_client(clients)) {
        int64_t pause_ms = 0;
        bool answered = is_admitted(&service, client->next_ms);
        bool again =
            !answered && http_retry_next(&client->retry, HTTP_TROUBLE_THROTTLED, wishes_ms[_i],
                                         CROWD_DEADLINE_MS - client->next_ms, &pause_ms);
        served += answered ? 1 : 0;
        client->next_ms = again ? client->next_ms + pause_ms : INT64_MAX;
    }
    ck_assert_uint_eq(served, CROWD);
    /* The last of them is served not much later than the service could. */
    ck_assert_int_le(service.asked_ms, 3 * 1000 * (CROWD - CROWD_RATE) / CROWD_RATE);
    ck_assert_uint_le(service.requests, 10 * CROWD);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("http retry");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, an_outage_is_asked_once_a_call, 0, COUNT_OF(rates));
    tcase_add_loop_test(cases, each_trouble_has_its_attempts, 0, COUNT_OF(rows));
    tcase_add_test(cases, scattered_faults_are_ridden_out);
    tcase_add_test(cases, the_quota_runs_dry);
    tcase_add_test(cases, a_pause_is_random_and_bounded);
    tcase_add_test(cases, a_wish_to_wait_is_heeded_or_given_up);
    tcase_add_loop_test(cases, no_attempt_is_begun_at_the_deadline, 0, COUNT_OF(rows));
    tcase_add_test(cases, a_wish_to_wait_is_jittered);
    tcase_add_test(cases, a_throttled_call_goes_on_to_its_deadline);
    tcase_add_loop_test(cases, a_crowd_is_served_whole, 0, COUNT_OF(wishes_ms));
    return fixture_run("http retry", cases);
}
