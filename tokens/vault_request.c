#include "tokens/vault_request.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tokens/json.h"

#define LOOKUP_PATH "/v1/auth/token/lookup-self"
#define ERRORS_MAX 8
#define WHERE_MAX 512

enum {
    STATUS_OK = 200,
    STATUS_NO_CONTENT = 204,
    STATUS_BAD_REQUEST = 400,
    STATUS_UNAUTHORIZED = 401,
    STATUS_FORBIDDEN = 403,
    STATUS_NOT_FOUND = 404,
    STATUS_BAD_METHOD = 405,
    STATUS_LAGS_BEHIND = 412,
    STATUS_NOT_INITIALISED = 501,
    STATUS_UNAVAILABLE = 503,
};

/* Vault's words for a refusal; "" for any. The first row that fits is taken. */
struct refusal {
    long status;
    const char *text;
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
};

static const struct refusal refusals[] = {
    {STATUS_BAD_REQUEST, "message authentication failed", INDEXKEY_CAUSE_TAMPERED,
     "the wrapped data key was changed, or was wrapped with another context or by another key",
     "restore the store from a backup, or set the former context.* and key_name"},
    {STATUS_BAD_REQUEST, "encryption key not found", INDEXKEY_CAUSE_DELETED,
     "Vault has no key of this name",
     "restore the key from a backup; for a new token make one with vault write -f MOUNT/keys/NAME"},
    {STATUS_BAD_REQUEST, "no such key version", INDEXKEY_CAUSE_DELETED,
     "Vault no longer has the key version that wrapped the data key",
     "restore the key from a backup"},
    {STATUS_BAD_REQUEST, "disallowed by policy (too old)", INDEXKEY_CAUSE_DISABLED,
     "the key version that wrapped the data key is below the key's min_decryption_version",
     "lower it with vault write MOUNT/keys/NAME/config min_decryption_version=N"},
    {STATUS_BAD_REQUEST, "invalid ciphertext", INDEXKEY_CAUSE_TAMPERED,
     "Vault does not take the wrapped data key for a ciphertext of this key",
     "restore the store from a backup, or set the former key_name"},
    {STATUS_BAD_REQUEST, "key derivation", INDEXKEY_CAUSE_CONFIG,
     "the key was made with derived=true",
     "set key_name to a key made with vault write -f MOUNT/keys/NAME"},
    {STATUS_BAD_REQUEST, "not supported for key type", INDEXKEY_CAUSE_CONFIG,
     "a key of this type encrypts nothing", "set key_name to a key of type aes256-gcm96"},
    {STATUS_BAD_REQUEST, "non-AEAD cipher", INDEXKEY_CAUSE_CONFIG,
     "a key of this type binds no context", "set key_name to a key of type aes256-gcm96"},
    {STATUS_BAD_REQUEST, "", INDEXKEY_CAUSE_INTERNAL,
     "it refuses the request for a reason that this module does not know",
     "look for it in Vault's audit log, and report it"},
    /* Vault itself never says 401, and a 403 of its own has come elsewhere (fail). */
    {STATUS_UNAUTHORIZED, "", INDEXKEY_CAUSE_SERVER, "something that is not Vault refuses",
     "check vault_addr, and the proxy or gateway before Vault"},
    {STATUS_FORBIDDEN, "", INDEXKEY_CAUSE_SERVER, "something that is not Vault refuses",
     "check vault_addr, and the proxy or gateway before Vault"},
    {STATUS_NOT_FOUND, "no handler for route", INDEXKEY_CAUSE_CONFIG, "nothing is mounted there",
     "correct transit_mount or vault_namespace, or mount it with vault secrets enable transit"},
    {STATUS_NOT_FOUND, "namespace not found", INDEXKEY_CAUSE_CONFIG, "the namespace does not exist",
     "correct vault_namespace"},
    {STATUS_NOT_FOUND, "", INDEXKEY_CAUSE_CONFIG, "what is mounted there is no transit engine",
     "correct transit_mount"},
    {STATUS_BAD_METHOD, "", INDEXKEY_CAUSE_CONFIG, "what is mounted there is no transit engine",
     "correct transit_mount"},
    {STATUS_NO_CONTENT, "", INDEXKEY_CAUSE_CONFIG,
     "what is mounted there is no transit engine: it stored what it was sent",
     "correct transit_mount"},
    {STATUS_LAGS_BEHIND, "", INDEXKEY_CAUSE_SERVER,
     "this node of Vault has not yet what the token needs", "try again"},
    {STATUS_NOT_INITIALISED, "", INDEXKEY_CAUSE_SERVER, "Vault is not initialised",
     "run vault operator init"},
    {STATUS_UNAVAILABLE, "sealed", INDEXKEY_CAUSE_SERVER, "Vault is sealed",
     "run vault operator unseal"},
};
#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

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
static const struct refusal *refusal_of(long status, const struct json *errors)
{
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        if (refusals[i].status == status && says(errors, refusals[i].text))
            return &refusals[i];
    }
    return NULL;
}

/* "transit/index-keys at https://vault.example:8200 (HTTP 403, request 5f3c)". */
static const char *where_of(const struct vault *vault, const struct http_result *result,
                            char buffer[WHERE_MAX])
{
    (void) snprintf(buffer, WHERE_MAX, "%s/%s at %s (HTTP %ld%s%s)", vault->mount, vault->key,
                    vault->http.endpoint, result->status,
                    result->request_id[0] == '\0' ? "" : ", request ", result->request_id);
    return buffer;
}

static enum http_verdict verdict(long status, struct view body)
{
    return status == STATUS_LAGS_BEHIND ? HTTP_TRANSIENT : http_default_verdict(status, body);
}

#define HEADER_COUNT_MAX 4

/* X-Vault-Request: an agent or proxy of Vault's may insist on it. */
static size_t make_headers(const struct vault *vault, const struct secret *token,
                           struct http_header ret_headers[HEADER_COUNT_MAX])
{
    size_t count = 0;
    struct view value = {token->bytes, token->len};
    ret_headers[count++] = (struct http_header){"X-Vault-Token", value};
    ret_headers[count++] = (struct http_header){"X-Vault-Request", view_text("true")};
    ret_headers[count++] = (struct http_header){"Content-Type", view_text("application/json")};
    if (vault->namespace != NULL)
        ret_headers[count++] =
            (struct http_header){"X-Vault-Namespace", view_text(vault->namespace)};
    return count;
}

/* What does not answer is no answer: the 403 that led here stands. So this is not logged. */
static bool token_is_refused(const struct vault *vault, const struct source_call *call,
                             const struct secret *token)
{
    struct http_header headers[HEADER_COUNT_MAX];
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(mem_free_pointer) char *url = mem_format("%s" LOOKUP_PATH, vault->http.endpoint);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .headers = headers,
        .header_count = make_headers(vault, token, headers),
        .deadline_ms = call->deadline_ms,
        .cancelled = call->cancelled,
        .verdict = verdict,
    };
    return url != NULL && http_send(vault->http.client, &request, &result) == CKR_OK &&
           result.outcome == HTTP_OK && result.status == STATUS_FORBIDDEN;
}

/* Vault says "permission denied" of a token that it does not know, too. */
static CK_RV fail_forbidden(const struct vault *vault, const struct source_call *call,
                            const struct secret *token, const struct vault_act *act,
                            const char *where)
{
    if (token_is_refused(vault, call, token))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': cannot %s by %s: Vault refuses its Vault token, which is "
                          "wrong, expired or revoked (lookup-self is refused too); give it a new "
                          "one",
                          vault->http.token, act->what, where);
    return FAIL_CAUSE(INDEXKEY_CAUSE_DENIED,
                      "token '%s': cannot %s by %s: permission denied to its Vault token; add to "
                      "its policy: path \"%s/%s/%s\" { capabilities = [\"update\"] }",
                      vault->http.token, act->what, where, vault->mount, act->path, vault->key);
}

static CK_RV fail(const struct vault *vault, const struct source_call *call,
                  const struct secret *token, const struct vault_act *act,
                  const struct http_result *result)
{
    char buffer[WHERE_MAX];
    const char *where = where_of(vault, result, buffer);
    _cleanup_(json_free) struct json *errors = NULL;
    /* An answer that is no JSON (a load balancer's) has no text to look for. */
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &errors);
    /* Only Vault's own 403 is a denial. */
    bool is_vaults = errors != NULL && json_count(errors, "errors") > 0;
    if (result->status == STATUS_FORBIDDEN && is_vaults)
        return fail_forbidden(vault, call, token, act, where);
    const struct refusal *refusal = refusal_of(result->status, errors);
    if (refusal == NULL)
        return source_http_fail_status(&vault->http, result, act->what);
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s: %s; %s", vault->http.token,
                      act->what, where, refusal->why, refusal->remedy);
}

CK_RV vault_request_send(const struct vault *vault, const struct source_call *call,
                         const struct vault_act *act, const struct secret *body,
                         struct http_result *ret_result)
{
    struct http_header headers[HEADER_COUNT_MAX];
    _cleanup_(secret_clear) struct secret token = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    TRY(vault_token_read(vault->http.token, &vault->token_place, call, &token));
    _cleanup_(mem_free_pointer) char *path =
        mem_format("/v1/%s/%s/%s", vault->mount, act->path, vault->key);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", vault->http.token, act->what);
    struct http_request request = {
        .method = "POST",
        .headers = headers,
        .header_count = make_headers(vault, &token, headers),
        .body = {body->bytes, body->len},
        .verdict = verdict,
    };
    TRY(source_http_send(&vault->http, call, &request, path, &result));
    if (result.status != STATUS_OK)
        return fail(vault, call, &token, act, &result);
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}
