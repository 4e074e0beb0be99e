/*
 * Signature Version 4 of requests to AWS ("Signing AWS API requests" in the AWS General
 * Reference), each of them a POST to "/" without a query.
 *
 * docs/decisions/0006 says why libcurl's signer is not used. No I/O. What is derived from the
 * secret access key is in secret memory, and wiped before the function returns.
 */
#pragma once

#include "tokens/aws_credentials.h"
#include "tokens/http.h"

#define AWS_DATE_SIZE sizeof("20250131T120000Z")
#define AWS_AUTHORIZATION_SIZE 512
#define AWS_HEADER_COUNT_MAX 6

struct aws_signing {
    const struct aws_credentials *credentials;
    const char *host;    /* as the request goes to, with the port that is not its scheme's own */
    const char *service; /* of the scope: "kms" */
    const char *content_type;
    const char *target; /* X-Amz-Target: "TrentService.Decrypt"; NULL: none */
    struct view body;
    int64_t time_s; /* UTC; the service takes five minutes more or less */
};

/* All headers of a request. It is not moved: they point into it, and into what was signed. */
struct aws_signed {
    char date[AWS_DATE_SIZE];
    char authorization[AWS_AUTHORIZATION_SIZE];
    struct http_header headers[AWS_HEADER_COUNT_MAX];
    size_t header_count;
};

/* A failure leaves `made` half filled. CKR_HOST_MEMORY, CKR_FUNCTION_FAILED; logged. */
CK_RV aws_sign(const struct aws_signing *request, struct aws_signed *made);
