#include "tokens/gcp_federation.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/gcp_refusal.h"
#include "tokens/http_url.h"
#include "tokens/secret_file.h"

#define SOURCE "credential_source."
#define GRANT_EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define TYPE_ACCESS_TOKEN "urn:ietf:params:oauth:token-type:access_token"
#define SCOPE_IAM "https://www.googleapis.com/auth/iam"
#define IMPERSONATION "service_account_impersonation_url"
#define FIELD_LEN_MAX 100
#define HEADERS_MAX 8
#define STATUS_OK 200

static const char *member(const struct gcp_ask *ask, const char *path)
{
    return gcp_credential_text(ask->credential, path, "");
}

static CK_RV fail_config(const struct gcp_ask *ask, const char *fault)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': the workload identity federation of %s is of no use: %s; make "
                      "the file anew with gcloud iam workload-identity-pools create-cred-config",
                      ask->http->token, ask->credential->place, fault);
}

/* ---- the subject token ---- */

/* The token in what a file or an address gave, by credential_source.format. */
static CK_RV read_subject(const struct gcp_ask *ask, struct secret *text, struct secret *ret_token)
{
    _cleanup_(secret_clear) struct secret token = {0};
    const char *type = member(ask, SOURCE "format.type");
    const char *field = member(ask, SOURCE "format.subject_token_field_name");
    CK_RV rv = CKR_OK;
    if (strcmp(type, "json") == 0) {
        if (*field == '\0' || strlen(field) > FIELD_LEN_MAX)
            return fail_config(ask, "its format has no subject_token_field_name");
        rv = json_secret_take(text, field, &token);
    } else {
        while (text->len > 0 &&
               (text->bytes[text->len - 1] == '\n' || text->bytes[text->len - 1] == '\r'))
            text->len--;
        token = secret_move(text);
    }
    if (rv == CKR_OK && !gcp_grant_is_token(gcp_grant_view(&token)))
        rv = CKR_DATA_INVALID;
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': there is no subject token where credential_source of %s "
                          "says; check it, and its format",
                          ask->http->token, ask->credential->place);
    TRY(rv);
    *ret_token = secret_move(&token);
    return CKR_OK;
}

static CK_RV subject_from_file(const struct gcp_ask *ask, const char *path, struct secret *ret_text)
{
    struct secret_file file = {
        .token = ask->http->token,
        .what = "subject token file",
        .path = path,
        .len_max = GCP_ACCESS_TOKEN_LEN_MAX,
        .refused = S_IWGRP | S_IWOTH,
        .follows_links = true,
    };
    mode_t mode = 0;
    TRY(secret_file_read(&file, ret_text, &mode));
    if (mode == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its subject token file %s, which %s names, does not exist; "
                          "mount it there",
                          ask->http->token, path, ask->credential->place);
    return CKR_OK;
}

static CK_RV subject_from_url(const struct gcp_ask *ask, const char *address,
                              struct secret *ret_text)
{
    struct http_header headers[HEADERS_MAX];
    size_t count = 0;
    const char *name;
    const char *value;
    struct http_target target;
    _cleanup_(http_result_clear) struct http_result result = {0};
    if (http_url_read_near(address, &target) != NULL)
        return fail_config(ask, "the url of its credential_source is none, or is plain http to "
                                "another machine");
    while (count < HEADERS_MAX &&
           json_member(ask->credential->members, SOURCE "headers", count, &name, &value))
        headers[count++] = (struct http_header){name, view_text(value)};
    _cleanup_(mem_free_pointer) char *url = mem_strdup(address);
    if (url == NULL)
        return gcp_grant_fail_memory(ask);
    struct gcp_provider provider = {"the subject token's address", url, "credential_source.url"};
    struct source_http http = gcp_grant_http(ask, &provider);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .headers = headers,
        .header_count = count,
        .plain_near = true,
    };
    TRY(source_http_send(&http, ask->call, &request, NULL, &result));
    if (result.status != STATUS_OK)
        return source_http_fail_status(&http, &result, "get a subject token");
    *ret_text = secret_move(&result.body);
    return CKR_OK;
}

static CK_RV get_subject(const struct gcp_ask *ask, struct secret *ret_token)
{
    _cleanup_(secret_clear) struct secret text = {0};
    const char *path = member(ask, SOURCE "file");
    const char *address = member(ask, SOURCE "url");
    bool is_aws = json_has(ask->credential->members, SOURCE "environment_id");
    if (*path != '\0')
        TRY(subject_from_file(ask, path, &text));
    else if (*address != '\0' && !is_aws)
        TRY(subject_from_url(ask, address, &text));
    else
        return fail_config(ask, "its credential_source is neither a file nor a url");
    return read_subject(ask, &text, ret_token);
}

/* ---- the service account ---- */

static CK_RV read_impersonated(const struct source_http *http, struct http_result *result,
                               struct access_token_grant *ret_grant)
{
    _cleanup_(secret_clear) struct secret text = {0};
    _cleanup_(json_free) struct json *rest = NULL;
    int64_t end_s;
    TRY(gcp_grant_take(http, result, "accessToken", &text, &rest));
    const char *end = json_text(rest, "expireTime");
    if (end == NULL || !gcp_grant_read_time(end, &end_s))
        return source_http_fail_reply(http, result, "it does not say when its access token ends");
    /* By the service's clock, which ours may be off. */
    int64_t now_s = result->date_s != 0 ? result->date_s : clock_utc_s();
    ret_grant->lifetime_s = end_s > now_s ? end_s - now_s : 0;
    ret_grant->text = secret_move(&text);
    return CKR_OK;
}

static CK_RV fail_impersonation(const struct source_http *http, const struct gcp_ask *ask,
                                const struct http_result *result)
{
    _cleanup_(json_free) struct json *reply = NULL;
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    const struct gcp_refusal *refusal = gcp_refusal_find(reply);
    if (refusal == NULL)
        return source_http_fail_status(http, result, "get a service account's access token");
    return FAIL_CAUSE(refusal->cause,
                      "token '%s': %s (%s, HTTP %ld %s) gives no access token for %s: %s; %s",
                      http->token, http->service, http->endpoint, result->status, refusal->status,
                      ask->credential->place, refusal->why, refusal->remedy);
}

static CK_RV make_impersonation(const struct gcp_ask *ask, struct secret *ret_body)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_array(&writer, "scope");
    json_write_text(&writer, NULL, ask->scope);
    json_write_end_array(&writer);
    json_write_end_object(&writer);
    return json_write_finish(&writer, ret_body);
}

static CK_RV impersonate(const struct gcp_ask *ask, char *url, const struct secret *federated,
                         struct access_token_grant *ret_grant)
{
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(secret_clear) struct secret value = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct gcp_provider provider = {"Google's IAM", url, IMPERSONATION};
    struct source_http http = gcp_grant_http(ask, &provider);
    TRY(make_impersonation(ask, &body));
    TRY(gcp_grant_bearer(gcp_grant_view(federated), &value));
    struct http_header headers[] = {
        {"Authorization", gcp_grant_view(&value)},
        {"Content-Type", view_text("application/json")},
    };
    struct http_request request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .body = gcp_grant_view(&body),
        .verdict = gcp_refusal_verdict,
    };
    TRY(source_http_send(&http, ask->call, &request, NULL, &result));
    if (result.status != STATUS_OK)
        return fail_impersonation(&http, ask, &result);
    return read_impersonated(&http, &result, ret_grant);
}

/* ---- both ---- */

static CK_RV exchange(const struct gcp_ask *ask, bool impersonates, const struct secret *subject,
                      struct access_token_grant *ret_grant)
{
    _cleanup_(mem_free_pointer) char *url = mem_strdup(member(ask, "token_url"));
    if (url == NULL)
        return gcp_grant_fail_memory(ask);
    struct gcp_provider provider = {"Google's Security Token Service", url, "token_url"};
    struct http_form_field fields[] = {
        {"grant_type", view_text(GRANT_EXCHANGE)},
        {"audience", view_text(member(ask, "audience"))},
        {"scope", view_text(impersonates ? SCOPE_IAM : ask->scope)},
        {"requested_token_type", view_text(TYPE_ACCESS_TOKEN)},
        {"subject_token_type", view_text(member(ask, "subject_token_type"))},
        {"subject_token", gcp_grant_view(subject)},
    };
    return gcp_grant_by_form(ask, &provider, fields, sizeof(fields) / sizeof(fields[0]), ret_grant);
}

CK_RV gcp_federation_ask(const struct gcp_ask *ask, struct access_token_grant *ret_grant)
{
    _cleanup_(secret_clear) struct secret subject = {0};
    _cleanup_(access_token_grant_clear) struct access_token_grant federated = {.lifetime_s = 0};
    const char *account = member(ask, IMPERSONATION);
    TRY(get_subject(ask, &subject));
    if (*account == '\0')
        return exchange(ask, false, &subject, ret_grant);
    TRY(exchange(ask, true, &subject, &federated));
    _cleanup_(mem_free_pointer) char *url = mem_strdup(account);
    if (url == NULL)
        return gcp_grant_fail_memory(ask);
    return impersonate(ask, url, &federated.text, ret_grant);
}
