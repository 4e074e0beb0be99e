/*
 * One call of AWS KMS, or of a store of parameters: where it goes, who signs it, and what a refusal
 * means.
 *
 * A refusal is told by AWS's error code, JSON's or XML's (the services before KMS answer so); log
 * lines have the code and our words, never the server's. See aws_request.h for the clock.
 *
 * Temporary credentials that this module keeps and the service refuses are fetched anew, once a
 * call.
 */
#pragma once

#include "tokens/aws_request.h"
#include "tokens/aws_session.h"

struct aws_service {
    const char *name;                   /* "kms": of the host, the signature and permissions */
    const char *title;                  /* "AWS KMS" */
    const char *target;                 /* "TrentService" */
    const char *endpoint_key;           /* of the configuration */
    const struct aws_refusal *refusals; /* its own: see aws_refusal_find_in */
};

/* What a call is about. */
struct aws_place {
    const struct aws_service *service;
    const char *resource; /* for log lines */
    const char *endpoint; /* NULL: the Region's own */
    struct view region;   /* empty: the token's */
};

/* Of one call. It is not moved: `http` points into it. */
struct aws_exchange {
    struct aws *aws;
    const struct source_call *call;
    const struct aws_service *service;
    const char *resource;
    struct source_http http; /* the source's, at the endpoint of this call */
    char endpoint[AWS_ENDPOINT_LEN_MAX];
    struct aws_session session;
};

struct aws_act {
    const char *name; /* "Decrypt": of the operation, and of the permission */
    const char *what; /* "unwrap the data key" */
};

/* Finds credentials and Region for KMS and the token's key. Freed with aws_exchange_clear, after a
 * failure too. */
CK_RV aws_exchange_begin(struct aws *aws, const struct source_call *call,
                         struct aws_exchange *exchange);
/* The same for another service. What `place` points at is borrowed. */
CK_RV aws_exchange_begin_at(struct aws *aws, const struct source_call *call,
                            const struct aws_place *place, struct aws_exchange *exchange);
void aws_exchange_clear(struct aws_exchange *exchange);

/* The same credentials for a replica of the key in another Region; the call bounds this one's time.
 * `endpoint` NULL is the Region's own. */
void aws_exchange_move(struct aws_exchange *exchange, const struct source_call *call,
                       const char *region, const char *endpoint);

/* CKR_OK: status 200, `*ret_result` to be cleared with http_result_clear. Everything else is logged
 * and has its cause. */
CK_RV aws_exchange_send(struct aws_exchange *exchange, const struct aws_act *act,
                        const struct secret *body, struct http_result *ret_result);
/* The same where a refusal is an answer too, and is not logged: CKR_OK for any status; `ret_code`
 * is AWS's error code, or "". The result is to be cleared after a failure too. */
CK_RV aws_exchange_try(struct aws_exchange *exchange, const struct aws_act *act,
                       const struct secret *body, struct http_result *ret_result,
                       char ret_code[AWS_CODE_LEN_MAX + 1]);
