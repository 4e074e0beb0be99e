#include "tokens/aws_metadata.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/secret_file.h"

#define TOKEN_PATH "/latest/api/token"
#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"
#define ROLE_LEN_MAX 128
#define AUTHORIZATION_LEN_MAX ((size_t) 16384)
/* The session of one fetch. */
#define SESSION_SECONDS "60"
/* It is near by: who does not answer by then is not there. */
#define ANSWER_MS 3000
#define STATUS_BAD_REQUEST 400
#define STATUS_UNAUTHORIZED 401
#define STATUS_FORBIDDEN 403
#define STATUS_NOT_FOUND 404

static const char container_name[] = "the container's credential service";
static const char instance_name[] =
    "the EC2 instance metadata service, asked since no other place has AWS credentials,";

static CK_RV send(const struct aws_fetch *fetch, const struct source_http *http,
                  struct http_request *request, const char *path, struct http_result *ret_result)
{
    struct source_call call = *fetch->call;
    int64_t latest_ms = clock_boot_ms() + ANSWER_MS;
    if (call.deadline_ms > latest_ms)
        call.deadline_ms = latest_ms;
    request->plain_near = true;
    return source_http_send(http, &call, request, path, ret_result);
}

static struct source_http service_of(const struct aws_fetch *fetch, const char *name, char *url,
                                     const char *key)
{
    return (struct source_http){.token = fetch->aws->http.token,
                                .service = name,
                                .endpoint = url,
                                .endpoint_key = key,
                                .client = fetch->aws->near};
}

static struct view body_of(const struct http_result *result)
{
    return (struct view){result->body.bytes, result->body.len};
}

static CK_RV take_credentials(const struct source_http *http, struct http_result *result,
                              struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    int64_t expires_s = 0;
    CK_RV rv = aws_credentials_take_json(&result->body, "Token", credentials, &expires_s);
    if (rv == CKR_DATA_INVALID || (rv == CKR_OK && expires_s == 0))
        return source_http_fail_reply(http, result, "it has no temporary credentials");
    TRY(rv);
    *ret_lifetime_s = aws_sts_lifetime_s(result, expires_s);
    return CKR_OK;
}

/* ---- the container's ---- */

static CK_RV fail_authorization(const struct aws_fetch *fetch, const char *where, const char *fault)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "token '%s': %s %s", fetch->aws->http.token, where,
                      fault);
}

/* What the header Authorization says: of the file, which is written anew, before the variable. */
static CK_RV read_authorization(const struct aws_fetch *fetch, struct secret *ret_text)
{
    static const char fault[] =
        "does not hold one token in one line; set it as the platform gave it";
    const char *path = aws_route_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *text = aws_route_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    struct secret_file file = {
        .token = fetch->aws->http.token,
        .what = "container authorization token file",
        .path = path,
        .len_max = AUTHORIZATION_LEN_MAX,
        .refused = S_IWGRP | S_IWOTH,
        .follows_links = true,
    };
    _cleanup_(secret_clear) struct secret found = {0};
    mode_t mode = 0;
    if (path == NULL && text == NULL)
        return CKR_OK;
    if (path != NULL)
        TRY(secret_file_read(&file, &found, &mode));
    else
        TRY(secret_from(text, strlen(text), &found));
    if (path != NULL && mode == 0)
        return fail_authorization(fetch, path,
                                  "does not exist; mount it, or correct "
                                  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    while (path != NULL && found.len > 0 && found.bytes[found.len - 1] == '\n')
        found.len--;
    for (size_t i = 0; i < found.len; i++) {
        if (found.bytes[i] < ' ' || found.bytes[i] > '~')
            return fail_authorization(
                fetch, path == NULL ? "AWS_CONTAINER_AUTHORIZATION_TOKEN" : path, fault);
    }
    *ret_text = secret_move(&found);
    return CKR_OK;
}

CK_RV aws_metadata_ask_container(const struct aws_fetch *fetch, const char *url,
                                 struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    _cleanup_(secret_clear) struct secret authorization = {0};
    _cleanup_(mem_free_pointer) char *copy = mem_strdup(url);
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct source_http http =
        service_of(fetch, container_name, copy, "AWS_CONTAINER_CREDENTIALS_…_URI");
    if (copy == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its AWS credentials", http.token);
    TRY(read_authorization(fetch, &authorization));
    const struct http_header header = {"authorization", {authorization.bytes, authorization.len}};
    struct http_request request = {.method = "GET",
                                   .url = url,
                                   .headers = &header,
                                   .header_count = authorization.len > 0 ? 1 : 0};
    TRY(send(fetch, &http, &request, NULL, &result));
    if (result.status >= STATUS_BAD_REQUEST && result.status <= STATUS_NOT_FOUND)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': %s at %s refuses (HTTP %ld); check the role of the task or "
                          "pod, and AWS_CONTAINER_AUTHORIZATION_TOKEN or its _FILE",
                          http.token, http.service, url, result.status);
    if (result.status != AWS_STATUS_OK)
        return source_http_fail_status(&http, &result, "get credentials");
    return take_credentials(&http, &result, credentials, ret_lifetime_s);
}

/* ---- the instance's ---- */

static CK_RV fail_instance(const struct source_http *http, const struct http_result *result,
                           const char *what)
{
    switch (result->status) {
    case STATUS_BAD_REQUEST:
    case STATUS_UNAUTHORIZED:
    case STATUS_FORBIDDEN:
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': %s at %s refuses to %s (HTTP %ld); enable the instance's "
                          "metadata endpoint for IMDSv2 (and a hop limit of 2 for containers)",
                          http->token, http->service, http->endpoint, what, result->status);
    case STATUS_NOT_FOUND:
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s at %s has no role (HTTP 404); attach an instance profile "
                          "to the instance, or give the token other credentials",
                          http->token, http->service, http->endpoint);
    default:
        return source_http_fail_status(http, result, what);
    }
}

static CK_RV get(const struct aws_fetch *fetch, const struct source_http *http,
                 const struct secret *session, const char *path, struct http_result *ret_result)
{
    const struct http_header header = {"x-aws-ec2-metadata-token", {session->bytes, session->len}};
    struct http_request request = {.method = "GET", .headers = &header, .header_count = 1};
    _cleanup_(http_result_clear) struct http_result result = {0};
    TRY(send(fetch, http, &request, path, &result));
    if (result.status != AWS_STATUS_OK)
        return fail_instance(http, &result, "give credentials");
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}

static CK_RV begin_session(const struct aws_fetch *fetch, const struct source_http *http,
                           struct secret *ret_session)
{
    const struct http_header header = {"x-aws-ec2-metadata-token-ttl-seconds",
                                       view_text(SESSION_SECONDS)};
    struct http_request request = {.method = "PUT", .headers = &header, .header_count = 1};
    _cleanup_(http_result_clear) struct http_result result = {0};
    TRY(send(fetch, http, &request, TOKEN_PATH, &result));
    if (result.status != AWS_STATUS_OK)
        return fail_instance(http, &result, "begin a session");
    if (!aws_credentials_is_text(body_of(&result), AWS_SESSION_TOKEN_LEN_MAX))
        return source_http_fail_reply(http, &result, "it is no session token");
    *ret_session = secret_move(&result.body);
    return CKR_OK;
}

static bool is_role_name(struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("/?#%", name.bytes[i]) != NULL)
            return false;
    }
    return aws_credentials_is_text(name, ROLE_LEN_MAX);
}

CK_RV aws_metadata_ask_instance(const struct aws_fetch *fetch, const char *endpoint,
                                struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    _cleanup_(mem_free_pointer) char *copy = mem_strdup(endpoint);
    _cleanup_(mem_free_pointer) char *path = NULL;
    _cleanup_(secret_clear) struct secret session = {0};
    _cleanup_(http_result_clear) struct http_result role = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    const struct source_http http =
        service_of(fetch, instance_name, copy, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (copy == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its AWS credentials", http.token);
    TRY(begin_session(fetch, &http, &session));
    TRY(get(fetch, &http, &session, ROLE_PATH, &role));
    while (role.body.len > 0 && role.body.bytes[role.body.len - 1] == '\n')
        role.body.len--;
    if (!is_role_name(body_of(&role)))
        return source_http_fail_reply(&http, &role, "it is no name of a role");
    path = mem_format("%s%.*s", ROLE_PATH, (int) role.body.len, (const char *) role.body.bytes);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its AWS credentials", http.token);
    TRY(get(fetch, &http, &session, path, &result));
    return take_credentials(&http, &result, credentials, ret_lifetime_s);
}
