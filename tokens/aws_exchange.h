/*
 * One call of AWS KMS: where it goes, who signs it, and what a refusal means.
 *
 * A refusal is told by AWS's error code, JSON's or XML's (the services before KMS answer so); log
 * lines have the code and our words, never the server's.
 *
 * A signature that is refused while the service's clock and ours are more than five minutes apart
 * is sent once more, dated by the service's clock, which later calls keep. Nothing else that was
 * refused is sent again.
 */
#pragma once

#include <stdatomic.h>

#include "tokens/aws_credentials.h"
#include "tokens/http_url.h"
#include "tokens/source_http.h"

#define AWS_ENDPOINT_LEN_MAX 2048

struct aws {
    struct source base;
    struct source_http http;
    bool has_endpoint;                   /* configured; else the Region's own */
    char *key;                           /* as configured */
    char *profile;                       /* NULL: not configured */
    char region[AWS_REGION_LEN_MAX + 1]; /* configured, or of the key's ARN; "": to be found */
    /* Seconds to add to our clock for a date that the service takes. */
    _Atomic int64_t clock_ahead_s;
};

/* Of one call. It is not moved: `http` points into it. */
struct aws_exchange {
    struct aws *aws;
    const struct source_call *call;
    struct source_http http; /* the source's, at the endpoint of this call */
    char endpoint[AWS_ENDPOINT_LEN_MAX];
    struct http_target target; /* of that endpoint */
    struct aws_credentials credentials;
};

struct aws_act {
    const char *name; /* "Decrypt": of the operation, and of the permission */
    const char *what; /* "unwrap the data key" */
};

/* Finds credentials and Region. Freed with aws_exchange_clear, after a failure too. */
CK_RV aws_exchange_begin(struct aws *aws, const struct source_call *call,
                         struct aws_exchange *exchange);
void aws_exchange_clear(struct aws_exchange *exchange);

/* CKR_OK: status 200, `*ret_result` to be cleared with http_result_clear. Everything else is logged
 * and has its cause. */
CK_RV aws_exchange_send(struct aws_exchange *exchange, const struct aws_act *act,
                        const struct secret *body, struct http_result *ret_result);
