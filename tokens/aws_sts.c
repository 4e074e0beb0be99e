#include "tokens/aws_sts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "tokens/http_form.h"
#include "tokens/secret_file.h"

#define API_VERSION "2011-06-15"
#define SESSION_NAME_DEFAULT "indexkey"
#define WEB_TOKEN_LEN_MAX ((size_t) 20000) /* as STS bounds it */
#define FIELD_COUNT_MAX 7
#define DIGITS_SIZE 16
#define STATUS_SERVER 500

/* One assumption. */
struct assumption {
    const struct aws_fetch *fetch;
    const struct aws_role *role;
    struct source_http http; /* the source's, at the endpoint of STS */
    char endpoint[AWS_ENDPOINT_LEN_MAX];
    const char *action;
    const struct aws_credentials *signer; /* NULL: the web identity speaks for itself */
    struct view web_token;
};

static void set_endpoint(struct assumption *assumption)
{
    const struct aws *aws = assumption->fetch->aws;
    assumption->http = aws->http;
    assumption->http.service = "AWS STS";
    assumption->http.endpoint_key = "sts_endpoint";
    assumption->http.endpoint = assumption->endpoint;
    if (aws->sts_endpoint != NULL)
        (void) snprintf(assumption->endpoint, sizeof(assumption->endpoint), "%s",
                        aws->sts_endpoint);
    else
        aws_request_endpoint("sts", assumption->fetch->region, aws->uses_fips,
                             assumption->endpoint);
}

/* ---- the request ---- */

static CK_RV compose(const struct assumption *assumption, struct secret *ret_body)
{
    const struct aws_role *role = assumption->role;
    const char *session_name = role->session_name;
    char duration[DIGITS_SIZE];
    (void) snprintf(duration, sizeof(duration), "%d", (int) role->duration_s);
    struct http_form_field fields[FIELD_COUNT_MAX] = {
        {"Action", view_text(assumption->action)},
        {"Version", view_text(API_VERSION)},
        {"RoleArn", view_text(role->arn)},
        {"RoleSessionName", view_text(session_name == NULL ? SESSION_NAME_DEFAULT : session_name)},
        {"DurationSeconds", view_text(duration)},
    };
    size_t count = 5;
    if (assumption->web_token.len > 0)
        fields[count++] = (struct http_form_field){"WebIdentityToken", assumption->web_token};
    else if (role->external_id != NULL)
        fields[count++] = (struct http_form_field){"ExternalId", view_text(role->external_id)};
    CK_RV rv = http_form_encode(fields, count, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to AWS STS", assumption->http.token);
    return CKR_OK;
}

/* ---- refusals ---- */

static CK_RV fail(const struct assumption *assumption, const struct http_result *result,
                  const char *code)
{
    char place[AWS_WHERE_MAX];
    char remark[AWS_WHERE_MAX];
    const char *where = aws_request_where(&assumption->http, result, code, place);
    const char *token = assumption->http.token;
    const char *role = assumption->role->arn;
    const struct aws_refusal *refusal =
        aws_refusal_find(code, (struct view){result->body.bytes, result->body.len});
    if (code[0] == '\0' && result->status >= 400 && result->status < STATUS_SERVER)
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': cannot assume the role %s at %s: something that is not AWS "
                          "STS refuses; check sts_endpoint, and the proxy or gateway before it",
                          token, role, where);
    if (refusal == NULL && (code[0] == '\0' || result->status >= STATUS_SERVER))
        return source_http_fail_status(&assumption->http, result, "assume the role");
    if (refusal == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_INTERNAL,
                          "token '%s': cannot assume the role %s at %s: STS refuses the request "
                          "for a reason that this module does not know; look for it in CloudTrail, "
                          "and report it",
                          token, role, where);
    if (refusal->cause == INDEXKEY_CAUSE_DENIED)
        return FAIL_CAUSE(refusal->cause,
                          "token '%s': cannot assume the role %s at %s: %s sts:%s; allow it in the "
                          "role's trust policy and in the identity's own, and check external_id",
                          token, role, where, refusal->why, assumption->action);
    if (assumption->signer == NULL && refusal->cause == INDEXKEY_CAUSE_CREDENTIAL)
        return FAIL_CAUSE(refusal->cause,
                          "token '%s': cannot assume the role %s at %s: the web identity token is "
                          "not accepted: it has expired, or its issuer, audience or subject is not "
                          "the one that the role trusts; check the token's file and the role's "
                          "trust policy",
                          token, role, where);
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot assume the role %s at %s: %s; %s%s",
                      token, role, where, refusal->why, refusal->remedy,
                      aws_request_clock_remark(result, code, remark));
}

/* ---- the reply ---- */

static struct view behind(struct view text, const char *mark)
{
    const unsigned char *at =
        text.len == 0 ? NULL : memmem(text.bytes, text.len, mark, strlen(mark));
    if (at == NULL)
        return (struct view){0};
    at += strlen(mark);
    return (struct view){at, text.len - (size_t) (at - text.bytes)};
}

/* The text of an element that stands there once, without markup and references. */
static struct view element(struct view text, const char *name)
{
    char mark[DIGITS_SIZE * 2];
    (void) snprintf(mark, sizeof(mark), "<%s>", name);
    struct view begin = behind(text, mark);
    if (begin.len == 0 || behind(begin, mark).len > 0)
        return (struct view){0};
    (void) snprintf(mark, sizeof(mark), "</%s>", name);
    const unsigned char *end = memmem(begin.bytes, begin.len, mark, strlen(mark));
    if (end == NULL)
        return (struct view){0};
    return (struct view){begin.bytes, (size_t) (end - begin.bytes)};
}

int64_t aws_sts_lifetime_s(const struct http_result *result, int64_t expires_s)
{
    int64_t now_s = result->date_s != 0 ? result->date_s : clock_utc_s();
    return expires_s > now_s ? expires_s - now_s : 0;
}

static CK_RV read_reply(const struct assumption *assumption, const struct http_result *result,
                        struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    static const char fault[] = "it has no credentials where STS puts them";
    struct view all = element((struct view){result->body.bytes, result->body.len}, "Credentials");
    const struct aws_keys keys = {element(all, "AccessKeyId"), element(all, "SecretAccessKey"),
                                  element(all, "SessionToken")};
    int64_t expires_s;
    if (keys.session_token.len == 0 ||
        !aws_credentials_read_time(element(all, "Expiration"), &expires_s) ||
        memchr(keys.secret.bytes == NULL ? keys.session_token.bytes : keys.secret.bytes, '&',
               keys.secret.len) != NULL ||
        memchr(keys.session_token.bytes, '&', keys.session_token.len) != NULL)
        return source_http_fail_reply(&assumption->http, result, fault);
    CK_RV rv = aws_credentials_fill(&keys, credentials);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&assumption->http, result, fault);
    *ret_lifetime_s = aws_sts_lifetime_s(result, expires_s);
    return rv;
}

/* ---- both ---- */

static CK_RV assume(struct assumption *assumption, struct aws_credentials *credentials,
                    int64_t *ret_lifetime_s)
{
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    char code[AWS_CODE_LEN_MAX + 1] = "";
    set_endpoint(assumption);
    TRY(compose(assumption, &body));
    const struct aws_request request = {
        .aws = assumption->fetch->aws,
        .call = assumption->fetch->call,
        .http = &assumption->http,
        .credentials = assumption->signer,
        .service = "sts",
        .content_type = "application/x-www-form-urlencoded; charset=utf-8",
        .body = {body.bytes, body.len},
    };
    TRY(aws_request_send(&request, &result, code));
    if (result.status != AWS_STATUS_OK)
        return fail(assumption, &result, code);
    return read_reply(assumption, &result, credentials, ret_lifetime_s);
}

CK_RV aws_sts_assume(const struct aws_fetch *fetch, const struct aws_role *role,
                     struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    struct assumption assumption = {
        .fetch = fetch, .role = role, .action = "AssumeRole", .signer = credentials};
    return assume(&assumption, credentials, ret_lifetime_s);
}

CK_RV aws_sts_assume_by_file(const struct aws_fetch *fetch, const struct aws_role *role,
                             const char *path, struct aws_credentials *credentials,
                             int64_t *ret_lifetime_s)
{
    const char *token = fetch->aws->http.token;
    struct secret_file file = {
        .token = token,
        .what = "web identity token file",
        .path = path,
        .len_max = WEB_TOKEN_LEN_MAX,
        /* Kubernetes writes it for all to read, in the pod alone. */
        .refused = S_IWGRP | S_IWOTH,
        .follows_links = true,
    };
    _cleanup_(secret_clear) struct secret text = {0};
    mode_t mode = 0;
    TRY(secret_file_read(&file, &text, &mode));
    if (mode == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its web identity token file %s does not exist; mount it, or "
                          "correct AWS_WEB_IDENTITY_TOKEN_FILE or web_identity_token_file",
                          token, path);
    while (text.len > 0 && text.bytes[text.len - 1] <= ' ')
        text.len--;
    if (!aws_credentials_is_text((struct view){text.bytes, text.len}, WEB_TOKEN_LEN_MAX))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its web identity token file %s does not hold one token "
                          "without blanks; write the token alone into it",
                          token, path);
    struct assumption assumption = {.fetch = fetch,
                                    .role = role,
                                    .action = "AssumeRoleWithWebIdentity",
                                    .web_token = {text.bytes, text.len}};
    return assume(&assumption, credentials, ret_lifetime_s);
}
