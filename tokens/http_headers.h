/*
 * A request's headers as libcurl wants them, in secret memory: they may carry a token. libcurl
 * reads the list in place, and copies each line into its send buffer.
 */
#pragma once

#include <curl/curl.h>

#include "tokens/http.h"

struct http_headers {
    struct secret text; /* the lines, each with its NUL */
    struct curl_slist nodes[HTTP_HEADER_COUNT_MAX];
    size_t count;
};

/* Freed with http_headers_clear. CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY, logged. */
CK_RV http_headers_make(const struct http_request *request, struct http_headers *ret_headers);
void http_headers_clear(struct http_headers *headers);
/* NULL when there are none. Lives as long as the headers. */
struct curl_slist *http_headers_list(struct http_headers *headers);
