#include "tokens/http_outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/rv.h"

#define STATUS_CLASS 100
#define REDIRECTS 3
#define MS_PER_S 1000

__attribute__((format(printf, 3, 4))) static void
say(struct http_attempt *attempt, enum http_outcome outcome, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void) vsnprintf(attempt->detail, sizeof attempt->detail, format, args);
    va_end(args);
    attempt->outcome = outcome;
}

static const char *text_of(const struct http_transfer *transfer, CURLcode code)
{
    return transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
}

static bool is_past(const struct http_transfer *transfer, CURLINFO stage)
{
    curl_off_t microseconds = 0;
    (void) curl_easy_getinfo(transfer->easy, stage, &microseconds);
    return microseconds > 0;
}

/* Where the time went. Neither figure is set while a name is being resolved, nor for a kept
 * connection until its request is under way. */
static void say_timeout(struct http_attempt *attempt, const struct http_transfer *transfer)
{
    bool sent = is_past(transfer, CURLINFO_PRETRANSFER_TIME_T);
    bool resolved = !transfer->target.is_name || is_past(transfer, CURLINFO_NAMELOOKUP_TIME_T);
    if (sent)
        say(attempt, HTTP_TIMEOUT, "no whole answer in time");
    else if (!resolved)
        say(attempt, HTTP_DNS, "its name could not be resolved in time");
    else
        say(attempt, HTTP_TIMEOUT, "no connection%s in time",
            transfer->target.is_tls ? " with a TLS handshake" : "");
}

static void say_redirect(struct http_attempt *attempt, const struct http_transfer *transfer)
{
    struct http_target target = {.host = ""};
    char *location = NULL;
    (void) curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &location);
    if (location == NULL || http_url_read(location, &target) != NULL)
        say(attempt, HTTP_REDIRECT, "it redirects (status %ld)", attempt->status);
    else
        say(attempt, HTTP_REDIRECT, "it redirects (status %ld) to %s", attempt->status,
            target.host);
}

/* A peer that goes away during the handshake says nothing about certificates. OpenSSL reports what
 * is wrong with them as "error:", or as an alert of the other side. */
static enum http_outcome handshake_outcome(const struct http_transfer *transfer)
{
    if (strstr(transfer->error, "unexpected eof") != NULL)
        return HTTP_CONNECT;
    return strstr(transfer->error, "error:") != NULL ? HTTP_TLS : HTTP_CONNECT;
}

/* TLS 1.3 tells a client that its certificate is refused when it reads the answer. */
static enum http_outcome receive_outcome(const struct http_transfer *transfer)
{
    return strstr(transfer->error, "alert") != NULL ? HTTP_TLS : HTTP_CONNECT;
}

static enum http_outcome outcome_of_code(const struct http_transfer *transfer, CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTP_DNS;
    case CURLE_SSL_CONNECT_ERROR:
        return handshake_outcome(transfer);
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return receive_outcome(transfer);
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return HTTP_CONNECT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED:
        return HTTP_TLS;
    default:
        return HTTP_PROTOCOL;
    }
}

/* libcurl 7.88 calls a header line beyond its own limit a lack of memory. */
static bool is_too_big(const struct http_transfer *transfer, CURLcode code)
{
    const struct http_reply *reply = &transfer->reply;
    bool in_headers = reply->headers_len > 0 && !reply->has_headers;
    return reply->is_too_big || (code == CURLE_OUT_OF_MEMORY && in_headers);
}

static void say_done(struct http_attempt *attempt, const struct http_transfer *transfer,
                     CURLcode code)
{
    curl_off_t retry_after_s = 0;
    if (is_too_big(transfer, code)) {
        say(attempt, HTTP_TOO_BIG, "its reply is longer than %zu bytes, or its headers are",
            transfer->reply.body_max);
    } else if (code == CURLE_OK && !transfer->reply.has_headers) {
        /* libcurl takes the end of the connection for the end of the headers. */
        say(attempt, HTTP_CONNECT, "the connection was closed within the headers");
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        say_timeout(attempt, transfer);
    } else if (code != CURLE_OK) {
        say(attempt, outcome_of_code(transfer, code), "%s", text_of(transfer, code));
    } else {
        (void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &attempt->status);
        (void) curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
        /* An hour and a century are the same to a call. */
        attempt->retry_after_ms = (retry_after_s < 3600 ? retry_after_s : 3600) * MS_PER_S;
        attempt->outcome = HTTP_OK;
        if (attempt->status / STATUS_CLASS == REDIRECTS)
            say_redirect(attempt, transfer);
    }
}

struct http_attempt http_outcome_of(struct http_transfer *transfer, enum http_end end,
                                    CURLcode code)
{
    struct http_attempt attempt = {.outcome = HTTP_OK};
    switch (end) {
    case HTTP_END_CANCELLED:
        say(&attempt, HTTP_CANCELLED, "the call was ended by C_Finalize");
        break;
    case HTTP_END_DEADLINE:
        say_timeout(&attempt, transfer);
        break;
    case HTTP_END_DONE:
        say_done(&attempt, transfer, code);
        break;
    }
    return attempt;
}
