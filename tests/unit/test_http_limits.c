/* What bounds the HTTP client: time, cancellation, memory, connections; and what it leaves behind.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/hang_dns.h"
#include "tests/unit/http_fixture.h"

/* Sanitizers map terabytes of shadow memory and keep freed blocks: no figures of memory there, and
 * no search through it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_PLAIN_MEMORY 0
#elif defined(__has_feature)
#define HAS_PLAIN_MEMORY (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#else
#define HAS_PLAIN_MEMORY 1
#endif

#define SHORT_MS 700
#define CANCEL_MS 500
#define JITTER_MS 250 /* of the first pause of who is throttled */
#define MIB (1 << 20)

static void sleep_ms(long ms)
{
    (void) nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static const struct {
    const char *fault;
    const char *host;
    enum http_outcome outcome;
    const char *detail;
} stalls[] = {
    {"\"kind\": \"hang\"", "127.0.0.1", HTTP_TIMEOUT, "no whole answer"},
    {"\"kind\": \"drip\"", "127.0.0.1", HTTP_TIMEOUT, "no whole answer"},
    {"\"kind\": \"drip\", \"seconds\": 0.02", "127.0.0.1", HTTP_TIMEOUT, "no whole answer"},
    {"\"kind\": \"delay\", \"seconds\": 30", "127.0.0.1", HTTP_TIMEOUT, "no whole answer"},
    {"\"kind\": \"connection_hang\"", "127.0.0.1", HTTP_TIMEOUT, "with a TLS handshake in time"},
    {"\"kind\": \"connection_hang\"", "localhost", HTTP_TIMEOUT, "with a TLS handshake in time"},
    {"\"kind\": \"hang\"", "kms.here", HTTP_TLS, "kms.here"},
    {"\"kind\": \"hang\"", "kms.hang", HTTP_DNS, "could not be resolved in time"},
    {"\"kind\": \"hang\"", "kms.absent", HTTP_DNS, "kms.absent"},
    /* TEST-NET-1 (RFC 5737): nobody answers, or the network says so at once. */
    {"\"kind\": \"hang\"", "192.0.2.1", HTTP_TIMEOUT, ""},
};

static void stall(int row)
{
    fake_service_fault(&http_fixture_tls, "%s, \"times\": -1", stalls[row].fault);
}

static struct http_request stalled_request(int row, int64_t deadline_ms)
{
    const char *url = fake_service_url_at(&http_fixture_tls, stalls[row].host, "/");
    return http_fixture_request("POST", url, deadline_ms);
}

START_TEST(returns_by_the_deadline)
{
    stall(_i);
    struct http_request request = stalled_request(_i, SHORT_MS);
    int64_t start_ms = http_fixture_now_ms();
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    int64_t took_ms = http_fixture_now_ms() - start_ms;
    ck_assert_int_le(took_ms, SHORT_MS + LATE_MS);
    if (strcmp(stalls[_i].host, "192.0.2.1") == 0 && result.outcome == HTTP_CONNECT)
        return;
    http_fixture_expect(&result, stalls[_i].outcome);
    ck_assert_msg(strstr(result.detail, stalls[_i].detail) != NULL, "%s", result.detail);
    if (result.outcome == HTTP_TIMEOUT || strstr(stalls[_i].host, "hang") != NULL)
        ck_assert_int_ge(took_ms, SHORT_MS - 10);
    if (strstr(stalls[_i].host, "hang") != NULL)
        ck_assert_int_eq(hang_dns_waiting(), 1);
    http_result_clear(&result);
}
END_TEST

/* The name hangs while the client is freed, too. */
START_TEST(frees_a_client_while_a_resolver_hangs)
{
    struct http_request request = http_fixture_request("GET", "https://kms.hang/", SHORT_MS);
    struct http_result result = http_fixture_send(http_fixture_client, &request);
    http_fixture_expect(&result, HTTP_DNS);
    int64_t start_ms = http_fixture_now_ms();
    http_client_free(&http_fixture_client);
    ck_assert_int_le(http_fixture_now_ms() - start_ms, LATE_MS);
}
END_TEST

static const struct {
    const char *fault;
    bool kept; /* over a connection that is open already */
} pauses[] = {
    {"\"kind\": \"status\", \"status\": 503, \"headers\": {\"Retry-After\": \"30\"}", false},
    {"\"kind\": \"status\", \"status\": 429, \"headers\": {\"Retry-After\": \"30\"}", false},
    {"\"kind\": \"hang\"", true},
};

/* A pause that would outlast the deadline is not begun. */
START_TEST(never_waits_beyond_the_deadline)
{
    struct http_result result = {.outcome = HTTP_OK};
    if (pauses[_i].kept) {
        result = http_fixture_get("/", DEADLINE_MS);
        http_fixture_expect(&result, HTTP_OK);
        http_result_clear(&result);
    }
    fake_service_fault(&http_fixture_tls, "%s, \"times\": -1", pauses[_i].fault);
    int64_t start_ms = http_fixture_now_ms();
    result = http_fixture_get("/", SHORT_MS);
    int64_t took_ms = http_fixture_now_ms() - start_ms;
    http_fixture_expect(&result, pauses[_i].kept ? HTTP_TIMEOUT : HTTP_OK);
    ck_assert_uint_eq(result.attempts, 1);
    ck_assert_int_le(took_ms, pauses[_i].kept ? SHORT_MS + LATE_MS : LATE_MS);
    http_result_clear(&result);
}
END_TEST

START_TEST(waits_as_long_as_it_is_asked_to)
{
    fake_service_fault(&http_fixture_tls, "\"kind\": \"status\", \"status\": 429, "
                                          "\"headers\": {\"Retry-After\": \"1\"}");
    int64_t start_ms = http_fixture_now_ms();
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    int64_t took_ms = http_fixture_now_ms() - start_ms;
    ck_assert_int_eq(result.status, 200);
    ck_assert_int_ge(took_ms, 1000);
    ck_assert_int_le(took_ms, 1000 + JITTER_MS + LATE_MS);
    http_result_clear(&result);
}
END_TEST

START_TEST(does_not_begin_late)
{
    struct http_result result = http_fixture_get("/", 0);
    http_fixture_expect(&result, HTTP_TIMEOUT);
    atomic_store(&http_fixture_cancelled, true);
    result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, HTTP_CANCELLED);
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "connections"), 0);
}
END_TEST

struct caller {
    pthread_t thread;
    struct http_request request;
    struct http_result result;
    int64_t end_ms;
    CK_RV rv;
};

static void *call(void *context)
{
    struct caller *caller = context;
    caller->rv = http_send(http_fixture_client, &caller->request, &caller->result);
    caller->end_ms = http_fixture_now_ms();
    return NULL;
}

static void cancel_after(struct caller *caller, long ms)
{
    ck_assert_int_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
    sleep_ms(ms);
    int64_t cancelled_ms = http_fixture_now_ms();
    atomic_store(&http_fixture_cancelled, true);
    ck_assert_int_eq(pthread_join(caller->thread, NULL), 0);
    ck_assert_uint_eq(caller->rv, CKR_OK);
    ck_assert_int_le(caller->end_ms - cancelled_ms, CANCEL_MS);
    http_fixture_expect(&caller->result, HTTP_CANCELLED);
    ck_assert_ptr_nonnull(strstr(caller->result.detail, "C_Finalize"));
}

START_TEST(a_cancelled_call_returns)
{
    if (stalls[_i].outcome != HTTP_TIMEOUT && strcmp(stalls[_i].host, "kms.hang") != 0)
        return;
    stall(_i);
    struct caller caller = {.request = stalled_request(_i, 30000)};
    /* A network that has no such address says so at once. */
    if (strcmp(stalls[_i].host, "192.0.2.1") != 0)
        cancel_after(&caller, 300);
}
END_TEST

START_TEST(a_pause_is_cancelled)
{
    fake_service_fault(&http_fixture_tls, "\"kind\": \"status\", \"status\": 503, "
                                          "\"headers\": {\"Retry-After\": \"20\"}");
    struct caller caller = {
        .request = http_fixture_request("GET", fake_service_url(&http_fixture_tls, "/"), 30000)};
    cancel_after(&caller, 300);
    ck_assert_uint_eq(caller.result.attempts, 1);
}
END_TEST

static long resident_bytes(void)
{
    long pages[2] = {0, 0};
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld %ld", &pages[0], &pages[1]), 2);
    (void) fclose(file);
    return pages[1] * sysconf(_SC_PAGESIZE);
}

START_TEST(an_endless_reply_costs_little)
{
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    http_result_clear(&result);
    fake_service_fault(&http_fixture_tls, "\"kind\": \"endless\", \"times\": -1");
    long before = resident_bytes();
    result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, HTTP_TOO_BIG);
    if (HAS_PLAIN_MEMORY)
        ck_assert_int_le(resident_bytes() - before, MIB);
    http_result_clear(&result);
}
END_TEST

START_TEST(replies_up_to_the_cap_are_taken)
{
    struct http_options options = {.ca_file = fake_service_certificate("ca.pem"), .reply_max = 100};
    struct http_client *client = http_fixture_new_client(&options);
    for (int len = 99; len <= 101; len++) {
        char body[102] = "";
        memset(body, 'x', (size_t) len);
        fake_service_fault(&http_fixture_tls,
                           "\"kind\": \"status\", \"status\": 200, \"body\": \"%s\"", body);
        const char *url = fake_service_url(&http_fixture_tls, "/");
        struct http_request request = http_fixture_request("GET", url, DEADLINE_MS);
        struct http_result result = http_fixture_send(client, &request);
        http_fixture_expect(&result, len <= 100 ? HTTP_OK : HTTP_TOO_BIG);
        ck_assert_uint_eq(result.body.len, (size_t) (len <= 100 ? len : 0));
        http_result_clear(&result);
    }
    http_client_free(&client);
}
END_TEST

START_TEST(calls_reuse_a_connection)
{
    for (int i = 0; i < 20; i++) {
        struct http_result result = http_fixture_get("/", DEADLINE_MS);
        http_fixture_expect(&result, HTTP_OK);
        http_result_clear(&result);
    }
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "requests"), 20);
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "connections"), 1);
}
END_TEST

/* The service closed the kept connection: libcurl sends again by itself, the body too. */
START_TEST(a_closed_connection_is_replaced)
{
    fake_service_fault(&http_fixture_tls, "\"kind\": \"length\", \"delta\": 0");
    for (int i = 0; i < 2; i++) {
        const char *url = fake_service_url(&http_fixture_tls, "/");
        struct http_request request = http_fixture_request("POST", url, DEADLINE_MS);
        request.body = view_text("twelve bytes");
        struct http_result result = http_fixture_send(http_fixture_client, &request);
        http_fixture_expect(&result, HTTP_OK);
        ck_assert_uint_eq(result.attempts, 1);
        ck_assert_mem_eq(result.body.bytes + result.body.len - 4, " 12}", 4);
        http_result_clear(&result);
        sleep_ms(100);
    }
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "connections"), 2);
}
END_TEST

#define THREADS 8
#define CALLS_PER_THREAD 25

static void *call_often(void *context)
{
    struct caller *caller = context;
    for (int i = 0; i < CALLS_PER_THREAD; i++) {
        struct http_result result = {.outcome = HTTP_OK};
        caller->rv = http_send(http_fixture_client, &caller->request, &result);
        if (caller->rv != CKR_OK || result.outcome != HTTP_OK || result.status != 200)
            return "failed";
        http_result_clear(&result);
    }
    return NULL;
}

START_TEST(threads_call_at_once)
{
    struct caller callers[THREADS];
    const char *url = fake_service_url(&http_fixture_tls, "/");
    for (size_t i = 0; i < THREADS; i++) {
        callers[i].request = http_fixture_request("POST", url, 30000);
        callers[i].request.body = view_text("body");
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failure = NULL;
        ck_assert_int_eq(pthread_join(callers[i].thread, &failure), 0);
        ck_assert_ptr_null(failure);
    }
    ck_assert_int_eq(fake_service_count(&http_fixture_tls, "requests"), THREADS * CALLS_PER_THREAD);
    ck_assert_int_le(fake_service_count(&http_fixture_tls, "connections"), THREADS);
}
END_TEST

/* More at once than multi handles are kept. */
START_TEST(a_crowd_of_threads_is_served)
{
    struct caller callers[24];
    const char *url = fake_service_url(&http_fixture_tls, "/");
    fake_service_fault(&http_fixture_tls, "\"kind\": \"delay\", \"seconds\": 0.3, \"times\": -1");
    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        callers[i] = (struct caller){.request = http_fixture_request("GET", url, 30000)};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
        http_fixture_expect(&callers[i].result, HTTP_OK);
        http_result_clear(&callers[i].result);
    }
}
END_TEST

#define CANARY_LEN 32

/* Occurrences of the canary in `len` bytes that begin before `end`. */
static int copies_in(const unsigned char *bytes, size_t len, size_t end,
                     const unsigned char *canary)
{
    int found = 0;
    const unsigned char *at = bytes;
    while (len > 0) {
        const unsigned char *hit = memmem(at, len - (size_t) (at - bytes), canary, CANARY_LEN);
        if (hit == NULL || (size_t) (hit - bytes) >= end)
            break;
        found++;
        at = hit + 1;
    }
    return found;
}

/* Chunks overlap, so that a copy across two is seen. */
static int copies_between(int memory, uint64_t start, uint64_t end, const unsigned char *canary)
{
    static unsigned char chunk[MIB + CANARY_LEN];
    int found = 0;
    for (uint64_t at = start; at < end; at += MIB) {
        bool is_own =
            (uintptr_t) chunk + sizeof chunk > at && (uintptr_t) chunk < at + sizeof chunk;
        ssize_t got = is_own ? 0 : pread(memory, chunk, sizeof chunk, (off_t) at);
        size_t own_len = end - at < MIB ? end - at : MIB;
        found += copies_in(chunk, got > 0 ? (size_t) got : 0, own_len, canary);
        explicit_bzero(chunk, sizeof chunk);
    }
    return found;
}

/* Copies of the canary, which is given inverted, in what this process can write. The one to look
 * for is in a secret, which /proc does not show, or else is counted out. */
static int copies_in_memory(const unsigned char *inverted)
{
    int found = 0;
    char line[512];
    struct secret canary;
    ck_assert_uint_eq(secret_new(CANARY_LEN, &canary), CKR_OK);
    for (size_t i = 0; i < CANARY_LEN; i++)
        canary.bytes[i] = (unsigned char) ~inverted[i];
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ck_assert(maps != NULL && memory >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t start;
        uint64_t end;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 || strstr(line, " rw") == NULL)
            continue;
        bool has_canary = (uintptr_t) canary.bytes >= start && (uintptr_t) canary.bytes < end;
        int here = copies_between(memory, start, end, canary.bytes);
        found += has_canary && here > 0 ? here - 1 : here;
    }
    (void) fclose(maps);
    (void) close(memory);
    secret_clear(&canary);
    return found;
}

/* The service makes the reply of the request: the canary, from the handler's own command, is in
 * this process only where the client puts it. */
START_TEST(bodies_are_gone_after_the_call)
{
    bool is_plain = _i == 1;
    struct fake_service *service = is_plain ? &http_fixture_plain : &http_fixture_tls;
    unsigned char inverted[CANARY_LEN];
    for (size_t i = 0; i < CANARY_LEN; i++)
        inverted[i] = (unsigned char) ~("AbCdEfGhIjKlMnOp"[(i * 7 + 3) % 16]);
    fake_service_fault(service, "\"kind\": \"echo\", \"times\": -1");
    struct secret body;
    ck_assert_uint_eq(secret_new(2000, &body), CKR_OK);
    for (size_t i = 0; i < body.len; i++)
        body.bytes[i] = (unsigned char) ~inverted[i % CANARY_LEN];
    for (int round = 0; round < 3; round++) {
        struct http_request request =
            http_fixture_request("POST", fake_service_url(service, "/"), DEADLINE_MS);
        request.body = (struct view){body.bytes, body.len};
        struct http_result result = http_fixture_send(http_fixture_client, &request);
        http_fixture_expect(&result, HTTP_OK);
        ck_assert_uint_eq(result.body.len, body.len);
        ck_assert_mem_eq(result.body.bytes, body.bytes, body.len);
        http_result_clear(&result);
    }
    secret_clear(&body);
    ck_assert_int_eq(copies_in_memory(inverted), 0);
    /* And it would have been found. */
    unsigned char *volatile planted = malloc(CANARY_LEN);
    ck_assert_ptr_nonnull(planted);
    for (size_t i = 0; i < CANARY_LEN; i++)
        planted[i] = (unsigned char) ~inverted[i];
    ck_assert_int_ge(copies_in_memory(inverted), 1);
    free(planted);
}
END_TEST

static atomic_int connected_inside;
static atomic_int connected_outside;

/* libcurl's, since a program's symbols come first: called in the midst of http_send. */
__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address,
                                                   socklen_t len)
{
    if (http_is_inside())
        connected_inside++;
    else
        connected_outside++;
    return (int) syscall(SYS_connect, fd, address, len);
}

START_TEST(knows_when_it_is_inside)
{
    ck_assert(!http_is_inside());
    struct http_result result = http_fixture_get("/", DEADLINE_MS);
    http_fixture_expect(&result, HTTP_OK);
    ck_assert_int_eq(connected_inside, 1);
    ck_assert_int_eq(connected_outside, 0);
    ck_assert(!http_is_inside());
    http_result_clear(&result);
}
END_TEST

int main(int count, char **arguments)
{
    (void) count;
    /* A symbol that is bound at its first call spills the vector registers, and with them bytes of
     * a body, to the stack; libcurl is bound so where its builder says nothing. */
    if (getenv("LD_BIND_NOW") == NULL) {
        (void) setenv("LD_BIND_NOW", "1", 1);
        (void) execv("/proc/self/exe", arguments);
    }
    TCase *cases = tcase_create("http limits");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, http_fixture_start, http_fixture_stop);
    tcase_add_checked_fixture(cases, http_fixture_setup, http_fixture_teardown);
    tcase_add_loop_test(cases, returns_by_the_deadline, 0, COUNT_OF(stalls));
    tcase_add_test(cases, frees_a_client_while_a_resolver_hangs);
    tcase_add_loop_test(cases, never_waits_beyond_the_deadline, 0, COUNT_OF(pauses));
    tcase_add_test(cases, waits_as_long_as_it_is_asked_to);
    tcase_add_test(cases, does_not_begin_late);
    tcase_add_loop_test(cases, a_cancelled_call_returns, 0, COUNT_OF(stalls));
    tcase_add_test(cases, a_pause_is_cancelled);
    tcase_add_test(cases, an_endless_reply_costs_little);
    tcase_add_test(cases, replies_up_to_the_cap_are_taken);
    tcase_add_test(cases, calls_reuse_a_connection);
    tcase_add_test(cases, a_closed_connection_is_replaced);
    tcase_add_test(cases, threads_call_at_once);
    tcase_add_test(cases, a_crowd_of_threads_is_served);
    tcase_add_loop_test(cases, bodies_are_gone_after_the_call, 0, HAS_PLAIN_MEMORY ? 2 : 0);
    tcase_add_test(cases, knows_when_it_is_inside);
    return fixture_run("http limits", cases);
}
