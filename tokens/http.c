#include "tokens/http.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"
#include "tokens/http_library.h"
#include "tokens/http_transfer.h"

/* Multi handles kept between calls, each with its open connections. */
#define IDLE_MAX 16
#define CONNECTIONS_PER_MULTI 2L
#define CONNECT_MS 3000
#define PAUSE_SLICE_MS 50
#define NS_PER_MS 1000000

struct http_client {
    struct http_settings settings;
    struct http_quota quota;
    pthread_mutex_t lock; /* over `idle` */
    CURLM *idle[IDLE_MAX];
    size_t idle_count;
};

enum http_verdict http_default_verdict(long status, struct view body)
{
    (void) body;
    switch (status) {
    case 429:
        return HTTP_THROTTLED;
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
        return HTTP_TRANSIENT;
    default:
        return HTTP_FINAL;
    }
}

void http_result_clear(struct http_result *result)
{
    secret_clear(&result->body);
}

static bool copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text == NULL ? NULL : mem_strdup(text);
    return text == NULL || *ret_copy != NULL;
}

CK_RV http_client_new(const struct http_options *options, struct http_client **ret_client)
{
    struct http_client *client = mem_calloc(1, sizeof *client);
    if (client == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for an HTTP client");
    (void) pthread_mutex_init(&client->lock, NULL);
    http_quota_init(&client->quota);
    struct http_settings *settings = &client->settings;
    settings->direct = options->direct;
    settings->reply_max = options->reply_max > 0 ? options->reply_max : HTTP_REPLY_MAX;
    settings->connect_ms = options->connect_ms > 0 ? options->connect_ms : CONNECT_MS;
    if (!copy_text(options->ca_file, &settings->ca_file) ||
        !copy_text(options->client_cert, &settings->client_cert) ||
        !copy_text(options->client_key, &settings->client_key)) {
        http_client_free(&client);
        return FAIL(CKR_HOST_MEMORY, "no memory for an HTTP client");
    }
    *ret_client = client;
    return CKR_OK;
}

void http_client_free(struct http_client **client)
{
    struct http_client *old = *client;
    if (old == NULL)
        return;
    HTTP_INSIDE;
    for (size_t i = 0; i < old->idle_count; i++)
        (void) curl_multi_cleanup(old->idle[i]);
    http_quota_destroy(&old->quota);
    (void) pthread_mutex_destroy(&old->lock);
    mem_free(old->settings.ca_file);
    mem_free(old->settings.client_cert);
    mem_free(old->settings.client_key);
    mem_free(old);
    *client = NULL;
}

/* The last one given back first: its connections are the freshest. */
static CURLM *take_multi(struct http_client *client)
{
    CURLM *multi = NULL;
    (void) pthread_mutex_lock(&client->lock);
    if (client->idle_count > 0)
        multi = client->idle[--client->idle_count];
    (void) pthread_mutex_unlock(&client->lock);
    if (multi != NULL)
        return multi;
    HTTP_INSIDE;
    multi = curl_multi_init();
    if (multi != NULL)
        (void) curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_PER_MULTI);
    return multi;
}

static void give_back_multi(struct http_client *client, CURLM *multi)
{
    (void) pthread_mutex_lock(&client->lock);
    bool kept = client->idle_count < IDLE_MAX;
    if (kept)
        client->idle[client->idle_count++] = multi;
    (void) pthread_mutex_unlock(&client->lock);
    HTTP_INSIDE;
    if (!kept)
        (void) curl_multi_cleanup(multi);
}

static struct view reply_body(const struct http_transfer *transfer)
{
    return (struct view){transfer->reply.body.bytes, transfer->reply.len};
}

/* False: the attempt is the call's last, for better or worse. */
static bool trouble_of(const struct http_transfer *transfer, const struct http_attempt *attempt,
                       enum http_trouble *ret_trouble)
{
    const struct http_request *request = transfer->request;
    enum http_verdict verdict = HTTP_FINAL;
    switch (attempt->outcome) {
    case HTTP_OK:
        verdict = request->verdict != NULL
                      ? request->verdict(attempt->status, reply_body(transfer))
                      : http_default_verdict(attempt->status, reply_body(transfer));
        *ret_trouble = verdict == HTTP_THROTTLED ? HTTP_TROUBLE_THROTTLED : HTTP_TROUBLE_TRANSIENT;
        return verdict != HTTP_FINAL;
    case HTTP_DNS:
        *ret_trouble = HTTP_TROUBLE_DNS;
        return true;
    case HTTP_CONNECT:
        *ret_trouble = HTTP_TROUBLE_TRANSIENT;
        return true;
    case HTTP_TIMEOUT:
        *ret_trouble = HTTP_TROUBLE_TIMEOUT;
        return true;
    case HTTP_TLS:
    case HTTP_CANCELLED:
    case HTTP_TOO_BIG:
    case HTTP_PROTOCOL:
    case HTTP_REDIRECT:
        return false;
    }
    return false;
}

/* False: cancelled, or the deadline came (the clock may leap over a suspended machine). */
static bool wait_out(const struct http_request *request, int64_t pause_ms)
{
    int64_t end_ms = clock_boot_ms() + pause_ms;
    for (;;) {
        int64_t now_ms = clock_boot_ms();
        if (atomic_load(request->cancelled) || now_ms >= request->deadline_ms)
            return false;
        if (now_ms >= end_ms)
            return true;
        int64_t slice_ms = end_ms - now_ms < PAUSE_SLICE_MS ? end_ms - now_ms : PAUSE_SLICE_MS;
        (void) nanosleep(&(struct timespec){.tv_nsec = slice_ms * NS_PER_MS}, NULL);
    }
}

static _Thread_local struct {
    bool is_known;
    int64_t ahead_s;
} told_clock;

void http_clock_forget(void)
{
    told_clock.is_known = false;
}

bool http_clock_ahead(int64_t *ret_ahead_s)
{
    if (told_clock.is_known)
        *ret_ahead_s = told_clock.ahead_s;
    return told_clock.is_known;
}

static void fill_result(struct http_transfer *transfer, const struct http_attempt *attempt,
                        struct http_result *result)
{
    result->outcome = attempt->outcome;
    result->status = attempt->status;
    result->is_google_metadata = transfer->reply.is_google_metadata;
    result->date_s = transfer->reply.date_s;
    if (result->date_s != 0) {
        told_clock.is_known = true;
        told_clock.ahead_s = result->date_s - clock_utc_s();
    }
    memcpy(result->detail, attempt->detail, sizeof result->detail);
    memcpy(result->request_id, transfer->reply.request_id, sizeof result->request_id);
    memcpy(result->challenge, transfer->reply.challenge, sizeof result->challenge);
    if (attempt->outcome == HTTP_OK)
        result->body = http_reply_take_body(&transfer->reply);
}

static CK_RV attempt_all(struct http_transfer *transfer, CURLM *multi, struct http_quota *quota,
                         struct http_result *result)
{
    const struct http_request *request = transfer->request;
    struct http_retry retry = {.quota = quota};
    for (;;) {
        struct http_attempt attempt = {.outcome = HTTP_OK};
        enum http_trouble trouble = HTTP_TROUBLE_TRANSIENT;
        int64_t pause_ms = 0;
        TRY(http_transfer_run(transfer, multi, &attempt));
        result->attempts++;
        bool troubled = trouble_of(transfer, &attempt, &trouble);
        int64_t left_ms = request->deadline_ms - clock_boot_ms();
        bool again = troubled &&
                     http_retry_next(&retry, trouble, attempt.retry_after_ms, left_ms, &pause_ms) &&
                     wait_out(request, pause_ms);
        if (again)
            continue;
        bool cancelled = atomic_load(request->cancelled);
        if (!cancelled)
            http_retry_end(&retry, !troubled && attempt.outcome == HTTP_OK);
        if (cancelled && troubled) {
            attempt = (struct http_attempt){.outcome = HTTP_CANCELLED};
            (void) snprintf(attempt.detail, sizeof attempt.detail,
                            "the call was ended by C_Finalize");
        }
        fill_result(transfer, &attempt, result);
        return CKR_OK;
    }
}

static void refuse(struct http_result *result, enum http_outcome outcome, const char *why)
{
    result->outcome = outcome;
    (void) snprintf(result->detail, sizeof result->detail, "%s", why);
}

CK_RV http_send(struct http_client *client, const struct http_request *request,
                struct http_result *ret_result)
{
    _cleanup_(http_transfer_clear) struct http_transfer transfer = {.request = request};
    struct http_result result = {.outcome = HTTP_OK};
    const char *fault = request->plain_near ? http_url_read_near(request->url, &transfer.target)
                                            : http_url_read(request->url, &transfer.target);
    if (fault != NULL) {
        refuse(&result, HTTP_PROTOCOL, "its URL is refused");
        *ret_result = result;
        return CKR_OK;
    }
    TRY(http_library_init());
    TRY(http_transfer_make(&client->settings, request, &transfer));
    CURLM *multi = take_multi(client);
    if (multi == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for a request to %s", transfer.target.host);
    CK_RV rv = attempt_all(&transfer, multi, &client->quota, &result);
    give_back_multi(client, multi);
    TRY(rv);
    *ret_result = result;
    return CKR_OK;
}
