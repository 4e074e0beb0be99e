#include "tokens/aws_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tokens/aws_sign.h"

/* AWS takes a date that is up to five minutes off. */
#define CLOCK_SKEW_MAX_S 300
#define UNSIGNED_HEADERS 1

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

void aws_request_endpoint(const char *service, const char *region, bool fips,
                          char ret_endpoint[AWS_ENDPOINT_LEN_MAX])
{
    /* GovCloud's only STS is a FIPS endpoint without the name of one. */
    bool is_gov_sts = strcmp(service, "sts") == 0 && strncmp(region, "us-gov-", 7) == 0;
    (void) snprintf(ret_endpoint, AWS_ENDPOINT_LEN_MAX, "https://%s%s.%s.%s", service,
                    fips && !is_gov_sts ? "-fips" : "", region, domain_of(region));
}

static CK_RV send_once(const struct aws_request *request, const char *authority,
                       struct http_result *ret_result)
{
    struct aws_signed made = {.header_count = 0};
    struct http_header bare[UNSIGNED_HEADERS] = {
        {"content-type", view_text(request->content_type)}};
    struct aws_signing signing = {
        .credentials = request->credentials,
        .host = authority,
        .service = request->service,
        .content_type = request->content_type,
        .target = request->target,
        .body = request->body,
        .time_s = clock_utc_s() + atomic_load(&request->aws->clock_ahead_s),
    };
    bool is_signed = request->credentials != NULL;
    if (is_signed)
        TRY(aws_sign(&signing, &made));
    struct http_request http_request = {
        .method = "POST",
        .headers = is_signed ? made.headers : bare,
        .header_count = is_signed ? made.header_count : UNSIGNED_HEADERS,
        .body = request->body,
        .verdict = aws_refusal_verdict,
    };
    return source_http_send(request->http, request->call, &http_request, "/", ret_result);
}

/* ---- the clock ---- */

static bool is_clock_fault(const struct aws *aws, const struct http_result *result,
                           const char *code)
{
    if (result->date_s == 0 || !aws_refusal_is_of_signature(code))
        return false;
    int64_t off_s = source_http_clock_ahead_s(result) - atomic_load(&aws->clock_ahead_s);
    return llabs(off_s) > CLOCK_SKEW_MAX_S;
}

static void set_clock(const struct aws_request *request, const struct http_result *result)
{
    int64_t ahead_s = source_http_clock_ahead_s(result);
    bool is_right = llabs(ahead_s) <= CLOCK_SKEW_MAX_S;
    if (!is_right)
        log_line(LOG_LEVEL_WARNING,
                 "token '%s': this machine's clock is %lld s %s that of %s (%s), whose time is "
                 "used for its requests; set the clock",
                 request->http->token, llabs(ahead_s), ahead_s > 0 ? "behind" : "ahead of",
                 request->http->service, request->http->endpoint);
    atomic_store(&request->aws->clock_ahead_s, is_right ? 0 : ahead_s);
}

const char *aws_request_clock_remark(const struct http_result *result, const char *code,
                                     char buffer[AWS_WHERE_MAX])
{
    int64_t ahead_s = source_http_clock_ahead_s(result);
    buffer[0] = '\0';
    if (aws_refusal_is_of_signature(code) && llabs(ahead_s) > CLOCK_SKEW_MAX_S)
        (void) snprintf(buffer, AWS_WHERE_MAX, "; set this machine's clock too, which is %lld s %s",
                        llabs(ahead_s), ahead_s > 0 ? "behind" : "ahead");
    return buffer;
}

/* ---- both ---- */

const char *aws_request_where(const struct source_http *http, const struct http_result *result,
                              const char *code, char buffer[AWS_WHERE_MAX])
{
    (void) snprintf(buffer, AWS_WHERE_MAX, "%s (HTTP %ld%s%s%s%s)", http->endpoint, result->status,
                    code[0] == '\0' ? "" : " ", code,
                    result->request_id[0] == '\0' ? "" : ", request ", result->request_id);
    return buffer;
}

static void read_code(const struct http_result *result, char ret_code[AWS_CODE_LEN_MAX + 1])
{
    ret_code[0] = '\0';
    if (result->status != AWS_STATUS_OK)
        aws_refusal_code((struct view){result->body.bytes, result->body.len}, ret_code);
}

CK_RV aws_request_send(const struct aws_request *request, struct http_result *ret_result,
                       char ret_code[AWS_CODE_LEN_MAX + 1])
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct http_target target;
    const char *fault = http_url_read(request->http->endpoint, &target);
    if (fault != NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': the URL of %s must be %s", request->http->token,
                    request->http->service, fault);
    TRY(send_once(request, target.authority, &result));
    read_code(&result, ret_code);
    if (is_clock_fault(request->aws, &result, ret_code)) {
        set_clock(request, &result);
        http_result_clear(&result);
        TRY(send_once(request, target.authority, &result));
        read_code(&result, ret_code);
    }
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}
