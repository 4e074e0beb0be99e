#include "tokens/vault_exchange.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define ERRORS_MAX 8
#define HEADER_COUNT_MAX 4

enum {
    STATUS_LAGS_BEHIND = 412,
    STATUS_NOT_INITIALISED = 501,
    STATUS_UNAVAILABLE = 503,
};

static const struct vault_refusal everywhere[] = {
    /* Vault itself never says 401, and a 403 of its own has come elsewhere. */
    {VAULT_UNAUTHORIZED, "", INDEXKEY_CAUSE_SERVER, "something that is not Vault refuses",
     "check vault_addr, and the proxy or gateway before Vault"},
    {VAULT_FORBIDDEN, "", INDEXKEY_CAUSE_SERVER, "something that is not Vault refuses",
     "check vault_addr, and the proxy or gateway before Vault"},
    {STATUS_LAGS_BEHIND, "", INDEXKEY_CAUSE_SERVER,
     "this node of Vault has not yet what the token needs", "try again"},
    {STATUS_NOT_INITIALISED, "", INDEXKEY_CAUSE_SERVER, "Vault is not initialised",
     "run vault operator init"},
    {STATUS_UNAVAILABLE, "sealed", INDEXKEY_CAUSE_SERVER, "Vault is sealed",
     "run vault operator unseal"},
    {.status = 0},
};

/* ---- the exchange ---- */

static enum http_verdict verdict(long status, struct view body)
{
    return status == STATUS_LAGS_BEHIND ? HTTP_TRANSIENT : http_default_verdict(status, body);
}

/* X-Vault-Request: an agent or proxy of Vault's may insist on it. */
static size_t make_headers(const struct vault_server *server, const struct secret *token,
                           struct http_header ret_headers[HEADER_COUNT_MAX])
{
    size_t count = 0;
    if (token != NULL)
        ret_headers[count++] =
            (struct http_header){"X-Vault-Token", (struct view){token->bytes, token->len}};
    ret_headers[count++] = (struct http_header){"X-Vault-Request", view_text("true")};
    ret_headers[count++] = (struct http_header){"Content-Type", view_text("application/json")};
    if (server->namespace != NULL)
        ret_headers[count++] =
            (struct http_header){"X-Vault-Namespace", view_text(server->namespace)};
    return count;
}

CK_RV vault_exchange_send(const struct vault_server *server, const struct source_call *call,
                          const struct vault_exchange *exchange, struct http_result *ret_result)
{
    struct http_header headers[HEADER_COUNT_MAX];
    struct http_request request = {
        .method = exchange->method,
        .headers = headers,
        .header_count = make_headers(server, exchange->token, headers),
        .body = exchange->body,
        .verdict = verdict,
    };
    return source_http_send(&server->http, call, &request, exchange->path, ret_result);
}

long vault_exchange_try(const struct vault_server *server, const struct source_call *call,
                        const struct vault_exchange *exchange, struct http_result *ret_result)
{
    struct http_header headers[HEADER_COUNT_MAX];
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(mem_free_pointer) char *url =
        mem_format("%s%s", server->http.endpoint, exchange->path);
    struct http_request request = {
        .method = exchange->method,
        .url = url,
        .headers = headers,
        .header_count = make_headers(server, exchange->token, headers),
        .body = exchange->body,
        .deadline_ms = call->deadline_ms,
        .cancelled = call->cancelled,
        .verdict = verdict,
    };
    if (url == NULL || http_send(server->http.client, &request, &result) != CKR_OK ||
        result.outcome != HTTP_OK)
        return 0;
    *ret_result = result;
    result.body = (struct secret){0};
    return ret_result->status;
}

/* ---- refusals ---- */

static bool says(const struct json *errors, const char *text)
{
    if (*text == '\0')
        return true;
    for (int i = 0; i < ERRORS_MAX && errors != NULL; i++) {
        char path[sizeof("errors.0")];
        (void) snprintf(path, sizeof(path), "errors.%d", i);
        const char *error = json_text(errors, path);
        if (error != NULL && strstr(error, text) != NULL)
            return true;
    }
    return false;
}

/* NULL when no row fits. */
static const struct vault_refusal *find(const struct vault_refusal *rows, long status,
                                        const struct json *errors)
{
    for (; rows->status != 0; rows++) {
        if (rows->status == status && says(errors, rows->text))
            return rows;
    }
    return NULL;
}

bool vault_refusal_is_own(const struct http_result *result)
{
    _cleanup_(json_free) struct json *errors = NULL;
    return json_parse((struct view){result->body.bytes, result->body.len}, &errors) == CKR_OK &&
           json_count(errors, "errors") > 0;
}

CK_RV vault_refusal_fail(const struct vault_server *server, const struct http_result *result,
                         const struct vault_attempt *attempt)
{
    _cleanup_(json_free) struct json *errors = NULL;
    /* An answer that is no JSON (a load balancer's) has no text to look for. */
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &errors);
    const struct vault_refusal *refusal = find(attempt->refusals, result->status, errors);
    if (refusal == NULL)
        refusal = find(everywhere, result->status, errors);
    if (refusal == NULL)
        return source_http_fail_status(&server->http, result, attempt->what);
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s at %s (HTTP %ld%s%s): %s; %s",
                      server->http.token, attempt->what, attempt->place, server->http.endpoint,
                      result->status, result->request_id[0] == '\0' ? "" : ", request ",
                      result->request_id, refusal->why, refusal->remedy);
}
