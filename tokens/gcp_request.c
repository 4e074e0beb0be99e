#include "tokens/gcp_request.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "tokens/gcp_token.h"

#define WHERE_MAX 1024
#define QUOTA_PROJECT_LEN_MAX 128
#define HEADER_COUNT_MAX 3
#define CRC_DIGITS_MAX 10
#define STATUS_OK 200
#define STATUS_UNAUTHORIZED 401
#define STATUS_FORBIDDEN 403
#define STATUS_SERVER 500

/* ---- access tokens ---- */

/* A user's calls count against the project that the file names. It is kept with the access token,
 * since it changes with the file: "TOKEN\nPROJECT". */
static CK_RV add_quota_project(const struct gcp *gcp, const char *project,
                               struct access_token_grant *grant)
{
    _cleanup_(secret_clear) struct secret text = {0};
    struct view name = view_text(project);
    if (name.len == 0)
        return CKR_OK;
    if (name.len > QUOTA_PROJECT_LEN_MAX || !gcp_grant_is_token(name))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': quota_project_id of its Google credential is malformed; set "
                          "it with gcloud auth application-default set-quota-project",
                          gcp->http.token);
    TRY(secret_new(grant->text.len + 1 + name.len, &text));
    memcpy(text.bytes, grant->text.bytes, grant->text.len);
    text.bytes[grant->text.len] = '\n';
    memcpy(text.bytes + grant->text.len + 1, name.bytes, name.len);
    secret_clear(&grant->text);
    grant->text = secret_move(&text);
    return CKR_OK;
}

static CK_RV ask(const struct gcp *gcp, const struct gcp_ask *what,
                 struct access_token_grant *ret_grant)
{
    _cleanup_(access_token_grant_clear) struct access_token_grant grant = {.lifetime_s = 0};
    TRY(gcp_token_ask(what, &grant));
    TRY(add_quota_project(gcp, gcp_credential_text(what->credential, "quota_project_id", ""),
                          &grant));
    ret_grant->lifetime_s = grant.lifetime_s;
    ret_grant->text = secret_move(&grant.text);
    return CKR_OK;
}

static CK_RV fetch(const struct gcp *gcp, const struct source_call *call, const char *scope,
                   struct access_token_grant *ret_grant)
{
    _cleanup_(gcp_credential_clear) struct gcp_credential credential = {.place = NULL};
    TRY(gcp_credential_find(gcp->http.token, gcp->credentials_file, &credential));
    const struct gcp_ask what = {&gcp->http, call, &credential, scope};
    return ask(gcp, &what, ret_grant);
}

CK_RV gcp_request_fetch_token(void *context, const struct source_call *call,
                              struct access_token_grant *ret_grant)
{
    return fetch(context, call, GCP_SCOPE_KMS, ret_grant);
}

CK_RV gcp_request_fetch_secret_token(void *context, const struct source_call *call,
                                     struct access_token_grant *ret_grant)
{
    return fetch(context, call, GCP_SCOPE_PLATFORM, ret_grant);
}

static CK_RV token_of_pin(const struct gcp *gcp, const struct source_call *call, const char *scope,
                          struct secret *ret_text)
{
    _cleanup_(gcp_credential_clear) struct gcp_credential credential = {.place = NULL};
    _cleanup_(access_token_grant_clear) struct access_token_grant grant = {.lifetime_s = 0};
    if (!gcp_credential_is_json(call->credential)) {
        if (!gcp_grant_is_token(call->credential))
            return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                              "token '%s': what was given as its PIN is no Google credential; log "
                              "in with an access token, or with the JSON of a service account's "
                              "key or of a user's credentials",
                              gcp->http.token);
        return secret_from(call->credential.bytes, call->credential.len, ret_text);
    }
    TRY(gcp_credential_from_pin(gcp->http.token, call->credential, &credential));
    const struct gcp_ask what = {&gcp->http, call, &credential, scope};
    TRY(ask(gcp, &what, &grant));
    *ret_text = secret_move(&grant.text);
    return CKR_OK;
}

/* ---- one exchange ---- */

/* Who asks. It is not moved: `headers` point into it. */
struct caller {
    struct gcp *gcp;
    const struct source_call *call;
    const struct gcp_place *place;
    struct secret text;          /* as get_token gives it */
    struct secret authorization; /* "Bearer TOKEN" */
    struct http_header headers[HEADER_COUNT_MAX];
    size_t header_count;
};

static void caller_clear(struct caller *caller)
{
    secret_clear(&caller->text);
    secret_clear(&caller->authorization);
}

static CK_RV get_token(const struct caller *caller, struct secret *ret_text)
{
    const struct gcp_place *place = caller->place;
    return caller->call->credential.len > 0
               ? token_of_pin(caller->gcp, caller->call, place->scope, ret_text)
               : access_token_get(place->token, caller->call, ret_text);
}

static CK_RV identify(struct caller *caller)
{
    struct secret text = {0};
    TRY(get_token(caller, &text));
    caller_clear(caller);
    caller->text = text;
    const unsigned char *line = memchr(text.bytes, '\n', text.len);
    size_t len = line == NULL ? text.len : (size_t) (line - text.bytes);
    struct secret *value = &caller->authorization;
    TRY(gcp_grant_bearer((struct view){text.bytes, len}, value));
    caller->headers[0] = (struct http_header){"Authorization", gcp_grant_view(value)};
    caller->headers[1] = (struct http_header){"Content-Type", view_text("application/json")};
    caller->header_count = 2;
    if (line != NULL)
        caller->headers[caller->header_count++] =
            (struct http_header){"X-Goog-User-Project", {line + 1, text.len - len - 1}};
    return CKR_OK;
}

/* `body` NULL: a GET. */
static CK_RV send_as(const struct caller *caller, const struct secret *body, const char *path,
                     struct http_result *ret_result)
{
    struct http_request request = {
        .method = body == NULL ? "GET" : "POST",
        .headers = caller->headers,
        .header_count = caller->header_count,
        .verdict = gcp_refusal_verdict,
    };
    if (body != NULL)
        request.body = (struct view){body->bytes, body->len};
    return source_http_send(caller->place->http, caller->call, &request, path, ret_result);
}

/* The access token that is refused is replaced, once. */
static CK_RV exchange(struct caller *caller, const struct secret *body, const char *path,
                      struct http_result *ret_result)
{
    TRY(identify(caller));
    TRY(send_as(caller, body, path, ret_result));
    if (ret_result->status != STATUS_UNAUTHORIZED || caller->call->credential.len > 0)
        return CKR_OK;
    access_token_refuse(caller->place->token, &caller->text);
    http_result_clear(ret_result);
    TRY(identify(caller));
    return send_as(caller, body, path, ret_result);
}

/* ---- refusals ---- */

/* "projects/p/… at https://cloudkms.googleapis.com (HTTP 403 PERMISSION_DENIED)" */
static const char *where_of(const struct gcp_place *place, const struct http_result *result,
                            const struct gcp_refusal *refusal, char buffer[WHERE_MAX])
{
    (void) snprintf(buffer, WHERE_MAX, "%s at %s (HTTP %ld%s%s%s%s)", place->resource,
                    place->http->endpoint, result->status, refusal == NULL ? "" : " ",
                    refusal == NULL ? "" : refusal->status,
                    result->request_id[0] == '\0' ? "" : ", request ", result->request_id);
    return buffer;
}

/* What does not answer is no answer: the refusal that led here stands. So nothing is logged. */
static const struct gcp_refusal *refusal_by_state(const struct caller *caller, const char *version)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    _cleanup_(mem_free_pointer) char *url =
        mem_format("%s/v1/%s", caller->gcp->http.endpoint, version);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .headers = caller->headers,
        .header_count = caller->header_count,
        .deadline_ms = caller->call->deadline_ms,
        .cancelled = caller->call->cancelled,
        .verdict = gcp_refusal_verdict,
    };
    if (url == NULL || http_send(caller->gcp->http.client, &request, &result) != CKR_OK ||
        result.outcome != HTTP_OK || result.status != STATUS_OK ||
        json_parse((struct view){result.body.bytes, result.body.len}, &reply) != CKR_OK)
        return NULL;
    const char *name = json_text(reply, "name");
    const char *state = json_text(reply, "state");
    if (name == NULL || state == NULL || strcmp(name, version) != 0)
        return NULL;
    return gcp_refusal_of_state(state);
}

static CK_RV fail_unknown(const struct source_http *http, const struct gcp_act *act,
                          bool is_googles, const struct http_result *result, const char *where)
{
    if (!is_googles &&
        (result->status == STATUS_UNAUTHORIZED || result->status == STATUS_FORBIDDEN))
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': cannot %s by %s: something that is not %s refuses; check "
                          "%s, and the proxy or gateway before it",
                          http->token, act->what, where, http->service, http->endpoint_key);
    if (!is_googles || result->status >= STATUS_SERVER)
        return source_http_fail_status(http, result, act->what);
    return FAIL_CAUSE(INDEXKEY_CAUSE_INTERNAL,
                      "token '%s': cannot %s by %s: %s refuses the request for a reason that this "
                      "module does not know; look for it in Cloud Audit Logs, and report it",
                      http->token, act->what, where, http->service);
}

static CK_RV fail(const struct caller *caller, const struct gcp_act *act,
                  const struct http_result *result)
{
    char buffer[WHERE_MAX];
    const struct gcp_place *place = caller->place;
    const char *token = place->http->token;
    _cleanup_(json_free) struct json *reply = NULL;
    /* An answer that is no JSON has no status to look for. */
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    const char *status = gcp_refusal_status(reply);
    const struct gcp_refusal *refusal = gcp_refusal_find_in(place->refusals, reply);
    if (refusal == NULL && act->version != NULL && status != NULL &&
        strcmp(status, GCP_REFUSAL_PRECONDITION) == 0)
        refusal = refusal_by_state(caller, act->version);
    const char *where = where_of(place, result, refusal, buffer);
    if (refusal == NULL)
        return fail_unknown(place->http, act, status != NULL, result, where);
    if (refusal->cause == INDEXKEY_CAUSE_DENIED)
        return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s: %s (%s); %s", token,
                          act->what, where, refusal->why, act->permission, refusal->remedy);
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s: %s; %s", token, act->what,
                      where, refusal->why, refusal->remedy);
}

static CK_RV run(struct caller *caller, const struct gcp_act *act, const struct secret *body,
                 struct http_result *ret_result)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(mem_free_pointer) char *path =
        mem_format("/v1/%s%s%s", caller->place->resource, act->method == NULL ? "" : ":",
                   act->method == NULL ? "" : act->method);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", caller->place->http->token,
                    act->what);
    TRY(exchange(caller, body, path, &result));
    if (result.status != STATUS_OK)
        return fail(caller, act, &result);
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}

CK_RV gcp_request_send(struct gcp *gcp, const struct source_call *call, const struct gcp_act *act,
                       const struct secret *body, struct http_result *ret_result)
{
    const struct gcp_place place = {
        .http = &gcp->http,
        .token = gcp->token,
        .scope = GCP_SCOPE_KMS,
        .resource = gcp->key,
    };
    _cleanup_(caller_clear) struct caller caller = {.gcp = gcp, .call = call, .place = &place};
    return run(&caller, act, body, ret_result);
}

CK_RV gcp_request_get(struct gcp *gcp, const struct source_call *call, const struct gcp_act *act,
                      const struct gcp_place *place, struct http_result *ret_result)
{
    _cleanup_(caller_clear) struct caller caller = {.gcp = gcp, .call = call, .place = place};
    return run(&caller, act, NULL, ret_result);
}

bool gcp_request_crc_is_right(const struct json *reply, const char *path, struct view bytes)
{
    char wanted[CRC_DIGITS_MAX + 1];
    const char *text = json_text(reply, path);
    (void) snprintf(wanted, sizeof(wanted), "%lu", (unsigned long) crc32c(bytes));
    return text != NULL && strcmp(text, wanted) == 0;
}
