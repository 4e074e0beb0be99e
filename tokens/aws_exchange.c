#include "tokens/aws_exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tokens/aws_refusal.h"
#include "tokens/aws_sign.h"

#define STATUS_OK 200
#define STATUS_UNAUTHORIZED 401
#define STATUS_FORBIDDEN 403
#define STATUS_SERVER 500
/* AWS takes a date that is up to five minutes off. */
#define CLOCK_SKEW_MAX_S 300
#define TARGET_SIZE 64
#define WHERE_MAX 512

/* Partitions with domains of their own. */
static const char *domain_of(const char *region)
{
    static const struct {
        const char *prefix;
        const char *domain;
    } rows[] = {
        {"cn-", "amazonaws.com.cn"}, {"eusc-", "amazonaws.eu"}, {"us-isob-", "sc2s.sgov.gov"},
        {"us-iso-", "c2s.ic.gov"},   {"", "amazonaws.com"},
    };
    size_t i = 0;
    while (strncmp(region, rows[i].prefix, strlen(rows[i].prefix)) != 0)
        i++;
    return rows[i].domain;
}

CK_RV aws_exchange_begin(struct aws *aws, const struct source_call *call,
                         struct aws_exchange *exchange)
{
    struct aws_identity identity = {aws->http.token, aws->profile, aws->region};
    exchange->aws = aws;
    exchange->call = call;
    exchange->http = aws->http;
    TRY(aws_credentials_read(&identity, call->credential, &exchange->credentials));
    if (!aws->has_endpoint) {
        const char *region = exchange->credentials.region;
        (void) snprintf(exchange->endpoint, sizeof(exchange->endpoint), "https://kms.%s.%s", region,
                        domain_of(region));
        exchange->http.endpoint = exchange->endpoint;
    }
    const char *fault = http_url_read(exchange->http.endpoint, &exchange->target);
    if (fault != NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': the URL of AWS KMS must be %s", aws->http.token,
                    fault);
    return CKR_OK;
}

void aws_exchange_clear(struct aws_exchange *exchange)
{
    aws_credentials_clear(&exchange->credentials);
}

/* ---- the request ---- */

static CK_RV send_once(struct aws_exchange *exchange, const struct aws_act *act,
                       const struct secret *body, struct http_result *ret_result)
{
    char target[TARGET_SIZE];
    struct aws_signed made;
    struct aws_signing signing = {
        .credentials = &exchange->credentials,
        .host = exchange->target.authority,
        .target = target,
        .body = {body->bytes, body->len},
        .time_s = clock_utc_s() + atomic_load(&exchange->aws->clock_ahead_s),
    };
    (void) snprintf(target, sizeof(target), "TrentService.%s", act->name);
    TRY(aws_sign(&signing, &made));
    struct http_request request = {
        .method = "POST",
        .headers = made.headers,
        .header_count = made.header_count,
        .body = signing.body,
        .verdict = aws_refusal_verdict,
    };
    return source_http_send(&exchange->http, exchange->call, &request, "/", ret_result);
}

/* ---- refusals ---- */

/* "alias/index-keys at https://kms.eu-central-1.amazonaws.com (HTTP 400 DisabledException, request
 * 5f3c)" */
static const char *where_of(const struct aws_exchange *exchange, const struct http_result *result,
                            const char *code, char buffer[WHERE_MAX])
{
    (void) snprintf(buffer, WHERE_MAX, "%s at %s (HTTP %ld%s%s%s%s)", exchange->aws->key,
                    exchange->http.endpoint, result->status, code[0] == '\0' ? "" : " ", code,
                    result->request_id[0] == '\0' ? "" : ", request ", result->request_id);
    return buffer;
}

static int64_t clock_fault_s(const struct aws_exchange *exchange, const struct http_result *result)
{
    if (result->date_s == 0)
        return 0;
    return source_http_clock_ahead_s(result) - atomic_load(&exchange->aws->clock_ahead_s);
}

static bool is_clock_fault(const struct aws_exchange *exchange, const struct http_result *result,
                           const char *code)
{
    return aws_refusal_is_of_signature(code) &&
           llabs(clock_fault_s(exchange, result)) > CLOCK_SKEW_MAX_S;
}

/* Says what the clock has to do with a signature that is refused; "" when nothing. */
static const char *clock_remark(const struct http_result *result, const char *code,
                                char buffer[WHERE_MAX])
{
    int64_t ahead_s = source_http_clock_ahead_s(result);
    buffer[0] = '\0';
    if (aws_refusal_is_of_signature(code) && llabs(ahead_s) > CLOCK_SKEW_MAX_S)
        (void) snprintf(buffer, WHERE_MAX, "; set this machine's clock too, which is %lld s %s",
                        llabs(ahead_s), ahead_s > 0 ? "behind" : "ahead");
    return buffer;
}

static CK_RV fail(const struct aws_exchange *exchange, const struct aws_act *act,
                  const struct http_result *result, const char *code)
{
    char place[WHERE_MAX];
    char remark[WHERE_MAX];
    const char *where = where_of(exchange, result, code, place);
    const char *token = exchange->http.token;
    const struct aws_refusal *refusal =
        aws_refusal_find(code, (struct view){result->body.bytes, result->body.len});
    /* Only a code of AWS's is a denial. */
    if (code[0] == '\0' &&
        (result->status == STATUS_UNAUTHORIZED || result->status == STATUS_FORBIDDEN))
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': cannot %s by %s: something that is not AWS KMS refuses; "
                          "check endpoint, and the proxy or gateway before it",
                          token, act->what, where);
    if (refusal == NULL && (code[0] == '\0' || result->status >= STATUS_SERVER))
        return source_http_fail_status(&exchange->http, result, act->what);
    if (refusal == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_INTERNAL,
                          "token '%s': cannot %s by %s: KMS refuses the request for a reason that "
                          "this module does not know; look for it in CloudTrail, and report it",
                          token, act->what, where);
    if (refusal->cause == INDEXKEY_CAUSE_DENIED)
        return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s: %s kms:%s; %s", token,
                          act->what, where, refusal->why, act->name, refusal->remedy);
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s: %s; %s%s", token, act->what,
                      where, refusal->why, refusal->remedy, clock_remark(result, code, remark));
}

/* ---- both ---- */

static void set_clock(struct aws_exchange *exchange, const struct http_result *result)
{
    int64_t ahead_s = source_http_clock_ahead_s(result);
    bool is_right = llabs(ahead_s) <= CLOCK_SKEW_MAX_S;
    if (!is_right)
        log_line(LOG_LEVEL_WARNING,
                 "token '%s': this machine's clock is %lld s %s that of %s (%s), whose time is "
                 "used for its requests; set the clock",
                 exchange->http.token, llabs(ahead_s), ahead_s > 0 ? "behind" : "ahead of",
                 exchange->http.service, exchange->http.endpoint);
    atomic_store(&exchange->aws->clock_ahead_s, is_right ? 0 : ahead_s);
}

static void read_code(const struct http_result *result, char ret_code[AWS_CODE_LEN_MAX + 1])
{
    aws_refusal_code((struct view){result->body.bytes, result->body.len}, ret_code);
}

CK_RV aws_exchange_send(struct aws_exchange *exchange, const struct aws_act *act,
                        const struct secret *body, struct http_result *ret_result)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    char code[AWS_CODE_LEN_MAX + 1] = "";
    TRY(send_once(exchange, act, body, &result));
    if (result.status != STATUS_OK)
        read_code(&result, code);
    if (is_clock_fault(exchange, &result, code)) {
        set_clock(exchange, &result);
        http_result_clear(&result);
        TRY(send_once(exchange, act, body, &result));
        read_code(&result, code);
    }
    if (result.status != STATUS_OK)
        return fail(exchange, act, &result, code);
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}
