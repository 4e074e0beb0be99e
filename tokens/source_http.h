/*
 * What the sources over HTTP share: their common configuration keys, their client, and what a
 * failed exchange means.
 *
 * Every failure of the network is logged here, once, with the token's name, the service, the host
 * and the remedy; a reply of whatever status goes back to the source, which knows its service's
 * errors and falls back on source_http_fail_status.
 */
#pragma once

#include "tokens/http.h"
#include "tokens/source.h"

/* Rows for a source's table of keys. */
#define SOURCE_HTTP_KEYS                                                                           \
    {.name = "ca_file",                                                                            \
     .type = CONF_PATH,                                                                            \
     .help = "PEM file of the certificate authorities to trust, instead of the system's"},         \
        {.name = "client_cert", .type = CONF_PATH, .help = "PEM file of the client certificate"},  \
    {                                                                                              \
        .name = "client_key", .type = CONF_PATH,                                                   \
        .help = "PEM file of the client certificate's key"                                         \
    }

/* For the `check` of a key that holds an endpoint: NULL, or how it must be. */
const char *source_http_check_url(const char *value);

struct source_http {
    char *token;         /* the token's name */
    const char *service; /* "Vault", "AWS KMS": for log lines */
    char *endpoint;      /* without a slash at its end */
    const char *endpoint_key;
    struct http_client *client;
};

/* Strings are literals of the source. */
struct source_http_options {
    const char *service;
    const char *endpoint_key;     /* the configuration key, named in remedies: "vault_addr" */
    const char *endpoint_default; /* NULL: the key is required */
    bool direct;                  /* see struct http_options */
};

/* No I/O. Closed with source_http_close. Failures are logged, with CAUSE_CONFIG. */
CK_RV source_http_open(const struct source_http_options *options,
                       const struct conf_section *section, struct source_http *ret_http);
/* For a struct that is all zero too. */
void source_http_close(struct source_http *http);

/* Sends with the call's deadline and cancellation. `request->url` NULL means endpoint + `path`,
 * which begins with a slash ("/v1/transit/decrypt/NAME"). CKR_OK: a reply came; anything else is
 * logged and has its cause. */
CK_RV source_http_send(const struct source_http *http, const struct source_call *call,
                       const struct http_request *request, const char *path,
                       struct http_result *ret_result);

/* A copy without a slash at its end. Freed with mem_free; NULL when memory is short. */
char *source_http_copy_endpoint(const char *url);

/* One segment of a path or a query value, percent-encoded (RFC 3986). Freed with mem_free; NULL
 * when memory is short. */
char *source_http_escape(const char *text);

/* For a status that the source has no row for: 401 and 403 credential or denied, 404 config, 429
 * throttled, 5xx server …; logs and answers. `what` is what was tried: "unwrap the data key". */
CK_RV source_http_fail_status(const struct source_http *http, const struct http_result *result,
                              const char *what);
/* A reply that makes no sense: `fault` says why, in our words. */
CK_RV source_http_fail_reply(const struct source_http *http, const struct http_result *result,
                             const char *fault);
/* Seconds that the service's clock is ahead of ours, by its Date header; 0 when it sent none. */
int64_t source_http_clock_ahead_s(const struct http_result *result);
