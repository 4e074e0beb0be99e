/*
 * What a URL says about how it may be reached. No I/O: the host is judged as it is written.
 */
#pragma once

#include <stdbool.h>

#define HTTP_HOST_LEN_MAX 255
#define HTTP_AUTHORITY_LEN_MAX (HTTP_HOST_LEN_MAX + sizeof("[]:65535"))

struct http_target {
    char host[HTTP_HOST_LEN_MAX + 1]; /* lower case, without brackets */
    /* As the Host header says it: in brackets if it is IPv6, with a port that is not the scheme's
     * own. */
    char authority[HTTP_AUTHORITY_LEN_MAX + 1];
    bool is_tls;
    bool has_path;  /* more than "/", or a query */
    bool is_name;   /* needs a resolver */
    bool is_direct; /* never through a proxy: loopback, link-local, metadata services */
};

/* NULL, or why the URL is refused. */
const char *http_url_read(const char *url, struct http_target *ret_target);
/* The same, and plain http to link-local addresses and metadata services is taken too. */
const char *http_url_read_near(const char *url, struct http_target *ret_target);
