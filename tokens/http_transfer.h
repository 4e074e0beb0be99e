/*
 * One call's transfer: an easy handle with all that is decided about the connection, run on a multi
 * handle as often as the call makes attempts.
 */
#pragma once

#include <curl/curl.h>

#include "tokens/http_headers.h"
#include "tokens/http_reply.h"
#include "tokens/http_retry.h"
#include "tokens/http_url.h"

/* The client's, as long as it lives. */
struct http_settings {
    char *ca_file;
    char *client_cert;
    char *client_key;
    bool direct;
    size_t reply_max;
    int64_t connect_ms;
};

struct http_transfer {
    const struct http_settings *settings;
    const struct http_request *request;
    struct http_target target;
    CURL *easy;
    struct http_headers headers;
    struct http_reply reply;
    size_t sent; /* bytes of the request's body */
    char error[CURL_ERROR_SIZE];
};

/* How an attempt ended. */
struct http_attempt {
    enum http_outcome outcome;
    long status;
    int64_t retry_after_ms;
    char detail[HTTP_DETAIL_LEN_MAX + 1];
};

/* The target is read already. Freed with http_transfer_clear, after a failure too.
 * CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY, CKR_FUNCTION_FAILED, logged. */
CK_RV http_transfer_make(const struct http_settings *settings, const struct http_request *request,
                         struct http_transfer *transfer);
void http_transfer_clear(struct http_transfer *transfer);

/* One attempt; returns by the request's deadline, or soon after its cancellation. CKR_HOST_MEMORY,
 * logged. */
CK_RV http_transfer_run(struct http_transfer *transfer, CURLM *multi,
                        struct http_attempt *ret_attempt);
