#include "tokens/gcp_grant.h"

#include <string.h>
#include <time.h>

#define STATUS_OK 200
#define STATUS_BAD_REQUEST 400
#define STATUS_UNAUTHORIZED 401
#define STATUS_FORBIDDEN 403

/* The provider's words for a refusal (RFC 6749, 5.2); `text` is looked for in its description. The
 * first row that fits is taken. */
static const struct refusal {
    const char *error;
    const char *text; /* NULL: any */
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
} refusals[] = {
    {"invalid_grant", "JWT Signature", INDEXKEY_CAUSE_CREDENTIAL,
     "the service account's key is wrong or was deleted", "make a new key for it"},
    {"invalid_grant", "timeframe", INDEXKEY_CAUSE_CREDENTIAL, "the time of the request is refused",
     "set this machine's clock"},
    {"invalid_grant", "account not found", INDEXKEY_CAUSE_CREDENTIAL,
     "the service account is deleted or disabled", "enable it, or use another one"},
    {"invalid_grant", "revoked", INDEXKEY_CAUSE_CREDENTIAL,
     "the refresh token is expired or revoked", "run gcloud auth application-default login"},
    {"invalid_grant", "rapt", INDEXKEY_CAUSE_CREDENTIAL,
     "the organisation wants the user to log in again",
     "run gcloud auth application-default login, or use a service account"},
    {"invalid_grant", NULL, INDEXKEY_CAUSE_CREDENTIAL, "the credential is refused",
     "replace it with one that exists and is active"},
    {"invalid_client", NULL, INDEXKEY_CAUSE_CREDENTIAL, "the client is not known, or disabled",
     "run gcloud auth application-default login, or make a new key"},
    {"unauthorized_client", NULL, INDEXKEY_CAUSE_CREDENTIAL, "the client may not ask so",
     "replace the credential"},
    {"deleted_client", NULL, INDEXKEY_CAUSE_CREDENTIAL, "the client is deleted",
     "replace the credential"},
    {"invalid_target", NULL, INDEXKEY_CAUSE_CREDENTIAL,
     "the workload identity pool or provider is disabled, deleted or not known",
     "check audience, and enable the pool and its provider"},
    {"access_denied", NULL, INDEXKEY_CAUSE_DENIED, "access is denied to this identity",
     "allow it in the project's policies"},
    {"invalid_scope", NULL, INDEXKEY_CAUSE_CONFIG, "the scope is refused",
     "check that the Cloud KMS API is enabled in the project"},
    {"invalid_request", NULL, INDEXKEY_CAUSE_CREDENTIAL, "what was sent is refused",
     "check the credentials file, and the subject token of a federation"},
    {"unsupported_grant_type", NULL, INDEXKEY_CAUSE_CONFIG, "this is no token endpoint of Google's",
     "check the credentials file"},
};
#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

struct source_http gcp_grant_http(const struct gcp_ask *ask, const struct gcp_provider *provider)
{
    struct source_http http = *ask->http;
    http.service = provider->service;
    http.endpoint = provider->url;
    http.endpoint_key = provider->url_member;
    return http;
}

bool gcp_grant_is_token(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= GCP_ACCESS_TOKEN_LEN_MAX;
}

bool gcp_grant_read_time(const char *text, int64_t *ret_seconds)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    /* A fraction may follow; Google says all times in UTC. */
    if (rest == NULL || text[strlen(text) - 1] != 'Z')
        return false;
    *ret_seconds = timegm(&parts);
    return true;
}

struct view gcp_grant_view(const struct secret *secret)
{
    return (struct view){secret->bytes, secret->len};
}

CK_RV gcp_grant_bearer(struct view token, struct secret *ret_value)
{
    static const char scheme[] = "Bearer ";
    size_t len = strlen(scheme);
    TRY(secret_new(len + token.len, ret_value));
    memcpy(ret_value->bytes, scheme, len);
    memcpy(ret_value->bytes + len, token.bytes, token.len);
    return CKR_OK;
}

CK_RV gcp_grant_fail_memory(const struct gcp_ask *ask)
{
    return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to ask for an access token",
                ask->http->token);
}

static const struct refusal *refusal_of(const struct json *reply)
{
    const char *error = reply == NULL ? NULL : json_text(reply, "error");
    if (error == NULL)
        return NULL;
    const char *description = json_text(reply, "error_description");
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        const char *text = refusals[i].text;
        if (strcmp(refusals[i].error, error) == 0 &&
            (text == NULL || (description != NULL && strstr(description, text) != NULL)))
            return &refusals[i];
    }
    return NULL;
}

static CK_RV fail(const struct source_http *http, const struct gcp_ask *ask,
                  const struct http_result *result)
{
    _cleanup_(json_free) struct json *reply = NULL;
    /* An answer that is no JSON has no error to look for. */
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    const struct refusal *refusal = refusal_of(reply);
    if (refusal != NULL && result->status >= STATUS_BAD_REQUEST && result->status < 500)
        return FAIL_CAUSE(refusal->cause,
                          "token '%s': %s (%s, HTTP %ld%s%s) gives no access token for %s: %s; %s",
                          http->token, http->service, http->endpoint, result->status,
                          result->request_id[0] == '\0' ? "" : ", request ", result->request_id,
                          ask->credential->place, refusal->why, refusal->remedy);
    if (result->status == STATUS_UNAUTHORIZED || result->status == STATUS_FORBIDDEN)
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': %s (%s, HTTP %ld) gives no access token: something that is "
                          "not Google refuses; check %s, and the proxy or gateway before it",
                          http->token, http->service, http->endpoint, result->status,
                          http->endpoint_key);
    return source_http_fail_status(http, result, "get an access token");
}

CK_RV gcp_grant_take(const struct source_http *http, struct http_result *result, const char *member,
                     struct secret *ret_text, struct json **ret_rest)
{
    _cleanup_(secret_clear) struct secret text = {0};
    _cleanup_(json_free) struct json *rest = NULL;
    CK_RV rv = json_secret_take(&result->body, member, &text);
    if (rv == CKR_OK && !gcp_grant_is_token(gcp_grant_view(&text)))
        rv = CKR_DATA_INVALID;
    if (rv == CKR_OK)
        rv = json_parse((struct view){result->body.bytes, result->body.len}, &rest);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(http, result, "it has no access token where Google puts it");
    TRY(rv);
    *ret_text = secret_move(&text);
    *ret_rest = TAKE(rest);
    return CKR_OK;
}

CK_RV gcp_grant_read(const struct source_http *http, struct http_result *result,
                     struct access_token_grant *ret_grant)
{
    _cleanup_(secret_clear) struct secret text = {0};
    _cleanup_(json_free) struct json *rest = NULL;
    int64_t lifetime_s;
    TRY(gcp_grant_take(http, result, "access_token", &text, &rest));
    if (!json_number(rest, "expires_in", &lifetime_s) || lifetime_s < 0)
        return source_http_fail_reply(http, result, "it does not say when its access token ends");
    ret_grant->lifetime_s = lifetime_s;
    ret_grant->text = secret_move(&text);
    return CKR_OK;
}

CK_RV gcp_grant_by_form(const struct gcp_ask *ask, const struct gcp_provider *provider,
                        const struct http_form_field *fields, size_t field_count,
                        struct access_token_grant *ret_grant)
{
    static const struct http_header header = {
        "Content-Type",
        {(const unsigned char *) "application/x-www-form-urlencoded",
         sizeof("application/x-www-form-urlencoded") - 1}};
    _cleanup_(secret_clear) struct secret form = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct source_http http = gcp_grant_http(ask, provider);
    if (http_form_encode(fields, field_count, &form) != CKR_OK)
        return gcp_grant_fail_memory(ask);
    struct http_request request = {
        .method = "POST",
        .url = provider->url,
        .headers = &header,
        .header_count = 1,
        .body = gcp_grant_view(&form),
    };
    TRY(source_http_send(&http, ask->call, &request, NULL, &result));
    if (result.status != STATUS_OK)
        return fail(&http, ask, &result);
    return gcp_grant_read(&http, &result, ret_grant);
}
