/*
 * A reply as libcurl hands it over, piece by piece: the body into a secret, capped; of the headers,
 * those that we look at.
 */
#pragma once

#include "tokens/http.h"

struct http_reply {
    size_t body_max;
    struct secret body; /* its length is its capacity until http_reply_take_body */
    size_t len;
    size_t headers_len;
    char request_id[HTTP_ID_LEN_MAX + 1];
    bool is_google_metadata;
    int64_t date_s;
    bool has_headers; /* all of them */
    bool is_too_big;
    bool lacks_memory;
};

/* Before each attempt: forgets the former one. */
void http_reply_reset(struct http_reply *reply);
void http_reply_clear(struct http_reply *reply);
struct secret http_reply_take_body(struct http_reply *reply);

/* CURLOPT_WRITEFUNCTION, with the reply as its data: wipes what it took from libcurl's buffer. */
size_t http_reply_on_body(char *bytes, size_t size, size_t count, void *reply);
/* CURLOPT_HEADERFUNCTION. */
size_t http_reply_on_header(char *bytes, size_t size, size_t count, void *reply);
