/*
 * One signed request to a service of AWS: KMS, STS, or a store of parameters.
 *
 * A signature that is refused while the service's clock and ours are more than five minutes apart
 * is sent once more, dated by the service's clock, which later calls to all of them keep.
 * Nothing else that was refused is sent again.
 */
#pragma once

#include "tokens/access_token.h"
#include "tokens/aws_refusal.h"
#include "tokens/aws_route.h"
#include "tokens/http_url.h"
#include "tokens/source_http.h"

#define AWS_ENDPOINT_LEN_MAX 2048
#define AWS_STATUS_OK 200
#define AWS_WHERE_MAX 512

struct aws_replica;

struct aws {
    struct source base;
    struct source_http http;
    bool has_endpoint;                   /* configured; else the Region's own */
    bool uses_fips;                      /* of those, the FIPS endpoints */
    char *key;                           /* as configured */
    char *profile;                       /* NULL: not configured */
    char region[AWS_REGION_LEN_MAX + 1]; /* configured, or of the key's ARN; "": to be found */
    char *sts_endpoint;                  /* NULL: the Region's own, as of the next two */
    char *ssm_endpoint;
    char *secretsmanager_endpoint;
    struct aws_role role;         /* its arn NULL: not configured */
    struct aws_replica *replicas; /* in the order in which they are asked */
    size_t replica_count;
    struct http_client *near;      /* for metadata services: no proxy, short connects */
    struct access_token *sessions; /* temporary credentials that this module fetched */
    _Atomic int64_t clock_ahead_s; /* to add to our clock for a date that the service takes */
};

struct aws_request {
    struct aws *aws;
    const struct source_call *call;
    const struct source_http *http;            /* with the endpoint */
    const struct aws_credentials *credentials; /* NULL: not signed */
    const char *service;                       /* "kms" */
    const char *content_type;
    const char *target; /* NULL: none */
    struct view body;
};

/* "https://kms.eu-central-1.amazonaws.com", by the Region's partition. */
void aws_request_endpoint(const char *service, const char *region, bool fips,
                          char ret_endpoint[AWS_ENDPOINT_LEN_MAX]);

/* CKR_OK: a reply came; `ret_code` is its error code, "" for status 200. */
CK_RV aws_request_send(const struct aws_request *request, struct http_result *ret_result,
                       char ret_code[AWS_CODE_LEN_MAX + 1]);

/* For log lines: "https://… (HTTP 400 DisabledException, request 5f3c)". */
const char *aws_request_where(const struct source_http *http, const struct http_result *result,
                              const char *code, char buffer[AWS_WHERE_MAX]);
/* What the clock has to do with a signature that is refused; "" when nothing. */
const char *aws_request_clock_remark(const struct http_result *result, const char *code,
                                     char buffer[AWS_WHERE_MAX]);
