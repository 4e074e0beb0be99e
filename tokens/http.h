/*
 * The HTTP client under the sources (libcurl).
 *
 * One client a source. A call is one exchange with a service: attempts under one total deadline,
 * with full-jitter retries that a token quota bounds. TLS 1.2 or better, always verified; plain
 * http only to a loopback address, and to metadata services where a request says so; HTTP/1.1; no
 * redirects, cookies, netrc or compression. A reply is capped while it is received. No function
 * logs a header, a body or a credential.
 *
 * Proxies: https goes through the one that https_proxy or all_proxy names, unless no_proxy excepts
 * the host (as curl reads them); the TLS session is end to end all the same. Never for loopback and
 * link-local addresses, metadata.google.internal, and clients made with `direct`.
 *
 * Any thread may call, and concurrent calls do not wait for each other: each has a multi handle of
 * its own from the client's pool, where connections stay open between calls. No thread of ours
 * runs; libcurl resolves names in one, and a call whose time is up leaves a resolver that hangs
 * behind (CURLOPT_QUICK_EXIT), to end by itself.
 *
 * libcurl's TLS uses the host's OpenSSL, which may load a PKCS#11 provider over this very module:
 * http_is_inside tells the module's entry points to refuse such a call.
 *
 * libcurl is initialised at the first call and never cleaned up, since the host may use it too.
 * Headers and bodies are wiped in libcurl's buffers once sent or received; where it composes the
 * headers, on the heap, is beyond our reach.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/secret.h"

#define HTTP_REPLY_MAX ((size_t) 64 << 10)
#define HTTP_HEADER_COUNT_MAX 24 /* of a request */
#define HTTP_ID_LEN_MAX 80
#define HTTP_CHALLENGE_LEN_MAX 1023
#define HTTP_DETAIL_LEN_MAX 200

struct http_client;

/* Strings are copied. NULL and 0 are defaults. */
struct http_options {
    const char *ca_file;     /* PEM; alone trusted when set, else the system's store */
    const char *client_cert; /* PEM */
    const char *client_key;  /* PEM; NULL: in client_cert */
    bool direct;             /* never through a proxy */
    size_t reply_max;        /* bytes of a reply's body; HTTP_REPLY_MAX */
    int64_t connect_ms;      /* for the connection and its TLS handshake, each attempt; 3000 */
};

/* What a reply means for the retries, decided before the caller sees it. */
enum http_verdict {
    HTTP_FINAL,
    HTTP_TRANSIENT, /* tried again after a short pause */
    HTTP_THROTTLED, /* tried again after a longer one */
};

/* 429 is throttled; 408, 500, 502, 503 and 504 are transient; the rest is final. */
enum http_verdict http_default_verdict(long status, struct view body);

struct http_header {
    const char *name;
    struct view value; /* may be secret; no control characters (CKR_ARGUMENTS_BAD) */
};

struct http_request {
    const char *method; /* "GET", "POST", "PUT", "LIST" … */
    const char *url;    /* absolute, without user, password and fragment */
    const struct http_header *headers;
    size_t header_count;
    struct view body; /* may be secret; sent with POST and PUT, even when empty */
    /* Metadata services have no TLS: plain http to link-local addresses and
     * metadata.google.internal, too. */
    bool plain_near;

    int64_t deadline_ms; /* clock_boot_ms; the call returns then, at the latest */
    const atomic_bool *cancelled;
    enum http_verdict (*verdict)(long status, struct view body); /* NULL: http_default_verdict */
};

enum http_outcome {
    HTTP_OK,      /* a reply came, of whatever status */
    HTTP_DNS,     /* the host has no address, or its resolver does not answer */
    HTTP_CONNECT, /* no connection, or it broke off before the reply was whole */
    HTTP_TLS,     /* certificate, version, client certificate, or a file of them */
    HTTP_TIMEOUT,
    HTTP_CANCELLED,
    HTTP_TOO_BIG,  /* body or headers beyond the caps */
    HTTP_PROTOCOL, /* no HTTP, or a URL that is refused */
    HTTP_REDIRECT, /* `detail` has the host that it names */
};

/* Cleared with http_result_clear. */
struct http_result {
    enum http_outcome outcome;
    long status;                          /* HTTP_OK and HTTP_REDIRECT */
    struct secret body;                   /* HTTP_OK */
    char request_id[HTTP_ID_LEN_MAX + 1]; /* as the service named it; "" when it did not */
    bool is_google_metadata;              /* it had the header Metadata-Flavor: Google */
    int64_t date_s;                       /* its Date header, UTC; 0 when it had none */
    /* Its WWW-Authenticate header; "" when it had none. */
    char challenge[HTTP_CHALLENGE_LEN_MAX + 1];
    char detail[HTTP_DETAIL_LEN_MAX + 1]; /* why it is not HTTP_OK, for the log line */
    unsigned attempts;
};

void http_result_clear(struct http_result *result);

/* Does not touch libcurl yet. Freed with http_client_free. CKR_HOST_MEMORY, logged. */
CK_RV http_client_new(const struct http_options *options, struct http_client **ret_client);
/* No call may run. Closes connections; sets NULL. NULL is nothing. */
void http_client_free(struct http_client **client);

/* CKR_OK for every outcome. CKR_HOST_MEMORY, CKR_ARGUMENTS_BAD (a header is malformed),
 * CKR_FUNCTION_FAILED (libcurl has no TLS by OpenSSL); logged. */
CK_RV http_send(struct http_client *client, const struct http_request *request,
                struct http_result *ret_result);

/* How far ahead of ours the clock was that this thread's last dated reply told, in seconds. False
 * when there was none since http_clock_forget. */
bool http_clock_ahead(int64_t *ret_ahead_s);
void http_clock_forget(void);

/* The thread is inside libcurl. */
bool http_is_inside(void);

/* NULL when http_send takes this URL, else how it must be, to follow "must be". */
const char *http_url_fault(const char *url);
