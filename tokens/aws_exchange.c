#include "tokens/aws_exchange.h"

#include <stdio.h>
#include <string.h>

#define STATUS_UNAUTHORIZED 401
#define STATUS_FORBIDDEN 403
#define STATUS_SERVER 500
#define TARGET_SIZE 64

static void set_endpoint(struct aws_exchange *exchange, const char *endpoint)
{
    if (endpoint == NULL)
        aws_request_endpoint(exchange->service->name, exchange->session.credentials.region,
                             exchange->aws->uses_fips, exchange->endpoint);
    else
        (void) snprintf(exchange->endpoint, sizeof(exchange->endpoint), "%s", endpoint);
    exchange->http.endpoint = exchange->endpoint;
}

CK_RV aws_exchange_begin(struct aws *aws, const struct source_call *call,
                         struct aws_exchange *exchange)
{
    static const struct aws_service kms = {
        .name = "kms",
        .title = "AWS KMS",
        .target = "TrentService",
        .endpoint_key = "endpoint",
    };
    const struct aws_place place = {
        .service = &kms,
        .resource = aws->key,
        .endpoint = aws->has_endpoint ? aws->http.endpoint : NULL,
    };
    return aws_exchange_begin_at(aws, call, &place, exchange);
}

CK_RV aws_exchange_begin_at(struct aws *aws, const struct source_call *call,
                            const struct aws_place *place, struct aws_exchange *exchange)
{
    char *region = exchange->session.credentials.region;
    exchange->aws = aws;
    exchange->call = call;
    exchange->service = place->service;
    exchange->resource = place->resource;
    exchange->http = aws->http;
    exchange->http.service = place->service->title;
    exchange->http.endpoint_key = place->service->endpoint_key;
    TRY(aws_session_get(aws, call, &exchange->session));
    if (place->region.len > 0)
        (void) snprintf(region, AWS_REGION_LEN_MAX + 1, "%.*s", (int) place->region.len,
                        (const char *) place->region.bytes);
    set_endpoint(exchange, place->endpoint);
    return CKR_OK;
}

void aws_exchange_clear(struct aws_exchange *exchange)
{
    aws_session_clear(&exchange->session);
}

void aws_exchange_move(struct aws_exchange *exchange, const struct source_call *call,
                       const char *region, const char *endpoint)
{
    struct aws_credentials *credentials = &exchange->session.credentials;
    (void) snprintf(credentials->region, sizeof(credentials->region), "%s", region);
    exchange->call = call;
    set_endpoint(exchange, endpoint);
}

/* ---- refusals ---- */

static const struct aws_refusal *refusal_of(const struct aws_exchange *exchange,
                                            const struct http_result *result, const char *code)
{
    return aws_refusal_find_in(exchange->service->refusals, code,
                               (struct view){result->body.bytes, result->body.len});
}

static CK_RV fail(const struct aws_exchange *exchange, const struct aws_act *act,
                  const struct http_result *result, const char *code)
{
    char place[AWS_WHERE_MAX];
    char remark[AWS_WHERE_MAX];
    const char *where = aws_request_where(&exchange->http, result, code, place);
    const char *token = exchange->http.token;
    const char *resource = exchange->resource;
    const struct aws_service *service = exchange->service;
    const struct aws_refusal *refusal = refusal_of(exchange, result, code);
    /* Only a code of AWS's is a denial. */
    if (code[0] == '\0' &&
        (result->status == STATUS_UNAUTHORIZED || result->status == STATUS_FORBIDDEN))
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': cannot %s by %s at %s: something that is not %s "
                          "refuses; check %s, and the proxy or gateway before it",
                          token, act->what, resource, where, service->title, service->endpoint_key);
    if (refusal == NULL && (code[0] == '\0' || result->status >= STATUS_SERVER))
        return source_http_fail_status(&exchange->http, result, act->what);
    if (refusal == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_INTERNAL,
                          "token '%s': cannot %s by %s at %s: %s refuses the request for a reason "
                          "that this module does not know; look for it in CloudTrail, and report "
                          "it",
                          token, act->what, resource, where, service->title);
    if (refusal->cause == INDEXKEY_CAUSE_DENIED)
        return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s at %s: %s %s:%s; %s", token,
                          act->what, resource, where, refusal->why, service->name, act->name,
                          refusal->remedy);
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s at %s: %s; %s%s", token,
                      act->what, resource, where, refusal->why, refusal->remedy,
                      aws_request_clock_remark(result, code, remark));
}

/* ---- both ---- */

static CK_RV send_once(const struct aws_exchange *exchange, const struct aws_act *act,
                       const struct secret *body, struct http_result *ret_result, char *ret_code)
{
    char target[TARGET_SIZE];
    const struct aws_request request = {
        .aws = exchange->aws,
        .call = exchange->call,
        .http = &exchange->http,
        .credentials = &exchange->session.credentials,
        .service = exchange->service->name,
        .content_type = "application/x-amz-json-1.1",
        .target = target,
        .body = {body->bytes, body->len},
    };
    (void) snprintf(target, sizeof(target), "%s.%s", exchange->service->target, act->name);
    return aws_request_send(&request, ret_result, ret_code);
}

static bool refuses_credentials(const struct aws_exchange *exchange,
                                const struct http_result *result, const char *code)
{
    const struct aws_refusal *refusal = refusal_of(exchange, result, code);
    return refusal != NULL && refusal->cause == INDEXKEY_CAUSE_CREDENTIAL;
}

CK_RV aws_exchange_try(struct aws_exchange *exchange, const struct aws_act *act,
                       const struct secret *body, struct http_result *ret_result,
                       char ret_code[AWS_CODE_LEN_MAX + 1])
{
    bool changed = false;
    TRY(send_once(exchange, act, body, ret_result, ret_code));
    if (refuses_credentials(exchange, ret_result, ret_code))
        TRY(aws_session_renew(exchange->aws, exchange->call, &exchange->session, &changed));
    if (!changed)
        return CKR_OK;
    http_result_clear(ret_result);
    return send_once(exchange, act, body, ret_result, ret_code);
}

CK_RV aws_exchange_send(struct aws_exchange *exchange, const struct aws_act *act,
                        const struct secret *body, struct http_result *ret_result)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    char code[AWS_CODE_LEN_MAX + 1] = "";
    TRY(aws_exchange_try(exchange, act, body, &result, code));
    if (result.status != AWS_STATUS_OK)
        return fail(exchange, act, &result, code);
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}
