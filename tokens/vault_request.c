#include "tokens/vault_request.h"

#include "base/alloc.h"
#include "tokens/json_scan.h"

static const struct vault_refusal refusals[] = {
    {VAULT_BAD_REQUEST, "message authentication failed", INDEXKEY_CAUSE_TAMPERED,
     "the wrapped data key was changed, or was wrapped with another context or by another key",
     "restore the store from a backup, or set the former context.* and key_name"},
    {VAULT_BAD_REQUEST, "encryption key not found", INDEXKEY_CAUSE_DELETED,
     "Vault has no key of this name",
     "restore the key from a backup; for a new token make one with vault write -f MOUNT/keys/NAME"},
    {VAULT_BAD_REQUEST, "no such key version", INDEXKEY_CAUSE_DELETED,
     "Vault no longer has the key version that wrapped the data key",
     "restore the key from a backup"},
    {VAULT_BAD_REQUEST, "disallowed by policy (too old)", INDEXKEY_CAUSE_DISABLED,
     "the key version that wrapped the data key is below the key's min_decryption_version",
     "lower it with vault write MOUNT/keys/NAME/config min_decryption_version=N"},
    {VAULT_BAD_REQUEST, "invalid ciphertext", INDEXKEY_CAUSE_TAMPERED,
     "Vault does not take the wrapped data key for a ciphertext of this key",
     "restore the store from a backup, or set the former key_name"},
    {VAULT_BAD_REQUEST, "key derivation", INDEXKEY_CAUSE_CONFIG,
     "the key was made with derived=true",
     "set key_name to a key made with vault write -f MOUNT/keys/NAME"},
    {VAULT_BAD_REQUEST, "not supported for key type", INDEXKEY_CAUSE_CONFIG,
     "a key of this type encrypts nothing", "set key_name to a key of type aes256-gcm96"},
    {VAULT_BAD_REQUEST, "non-AEAD cipher", INDEXKEY_CAUSE_CONFIG,
     "a key of this type binds no context", "set key_name to a key of type aes256-gcm96"},
    {VAULT_BAD_REQUEST, "", INDEXKEY_CAUSE_INTERNAL,
     "it refuses the request for a reason that this module does not know",
     "look for it in Vault's audit log, and report it"},
    {VAULT_NOT_FOUND, "no handler for route", INDEXKEY_CAUSE_CONFIG, "nothing is mounted there",
     "correct transit_mount or vault_namespace, or mount it with vault secrets enable transit"},
    {VAULT_NOT_FOUND, "namespace not found", INDEXKEY_CAUSE_CONFIG, "the namespace does not exist",
     "correct vault_namespace"},
    {VAULT_NOT_FOUND, "", INDEXKEY_CAUSE_CONFIG, "what is mounted there is no transit engine",
     "correct transit_mount"},
    {VAULT_BAD_METHOD, "", INDEXKEY_CAUSE_CONFIG, "what is mounted there is no transit engine",
     "correct transit_mount"},
    {VAULT_NO_CONTENT, "", INDEXKEY_CAUSE_CONFIG,
     "what is mounted there is no transit engine: it stored what it was sent",
     "correct transit_mount"},
    {.status = 0},
};

/* What does not answer is no answer: the 403 that led here stands. So this is not logged. */
static bool token_is_refused(const struct vault *vault, const struct source_call *call,
                             const struct secret *token)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    const struct vault_exchange lookup = {
        .method = "GET",
        .path = "/v1/auth/token/lookup-self",
        .token = token,
    };
    return vault_exchange_try(&vault->server, call, &lookup, &result) == VAULT_FORBIDDEN;
}

/* Vault says "permission denied" of a token that it does not know, too. */
static CK_RV fail_forbidden(const struct vault *vault, const struct vault_request *request,
                            const struct http_result *result, bool token_refused)
{
    const struct source_http *http = &vault->server.http;
    const struct vault_act *act = request->act;
    const char *before = result->request_id[0] == '\0' ? "" : ", request ";
    if (token_refused)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': cannot %s by %s/%s at %s (HTTP %ld%s%s): Vault refuses its "
                          "Vault token, which is wrong, expired or revoked (lookup-self is refused "
                          "too); %s",
                          http->token, act->what, request->mount, request->name, http->endpoint,
                          result->status, before, result->request_id,
                          vault_auth_logs_in(vault->auth)
                              ? "so is the one of another login; look at the token_* settings of "
                                "its role"
                              : "give it a new one");
    return FAIL_CAUSE(INDEXKEY_CAUSE_DENIED,
                      "token '%s': cannot %s by %s/%s at %s (HTTP %ld%s%s): permission denied to "
                      "its Vault token; add to its policy: path \"%s/%s/%s\" { capabilities = "
                      "[\"%s\"] }",
                      http->token, act->what, request->mount, request->name, http->endpoint,
                      result->status, before, result->request_id, request->mount, act->path,
                      request->name, act->capability == NULL ? "update" : act->capability);
}

static CK_RV fail(const struct vault *vault, const struct vault_request *request,
                  const struct http_result *result)
{
    _cleanup_(mem_free_pointer) char *place = mem_format("%s/%s", request->mount, request->name);
    const struct vault_attempt attempt = {
        .what = request->act->what,
        .place = place == NULL ? request->mount : place,
        .refusals = request->refusals,
    };
    return vault_refusal_fail(&vault->server, result, &attempt);
}

/* A batch that failed in part is a 400 with results; what they hold must not go to json_parse. */
static bool is_answer(const struct vault_act *act, const struct http_result *result)
{
    struct reader scan = reader_of((struct view){result->body.bytes, result->body.len});
    return result->status == VAULT_OK || (act->is_batch && result->status == VAULT_BAD_REQUEST &&
                                          json_scan_to(&scan, "data.batch_results"));
}

CK_RV vault_request_run(const struct vault *vault, const struct source_call *call,
                        const struct vault_request *request, struct http_result *ret_result)
{
    _cleanup_(mem_free_pointer) char *path =
        mem_format("/v1/%s/%s/%s", request->mount, request->act->path, request->name);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", vault->server.http.token,
                    request->act->what);
    struct vault_exchange exchange = {
        .method = request->method,
        .path = path,
        .body = request->body,
    };
    /* A token of a login of ours that Vault refuses (revoked, or used up) costs a login more. */
    for (bool is_last = false;; is_last = true) {
        _cleanup_(secret_clear) struct secret token = {0};
        _cleanup_(http_result_clear) struct http_result result = {0};
        TRY(vault_auth_token(vault->auth, call, &token));
        exchange.token = &token;
        TRY(vault_exchange_send(&vault->server, call, &exchange, &result));
        if (is_answer(request->act, &result)) {
            *ret_result = result;
            result.body = (struct secret){0};
            return CKR_OK;
        }
        if (result.status != VAULT_FORBIDDEN || !vault_refusal_is_own(&result))
            return fail(vault, request, &result);
        bool is_refused = token_is_refused(vault, call, &token);
        if (is_last || !is_refused || !vault_auth_refuse(vault->auth, &token))
            return fail_forbidden(vault, request, &result, is_refused);
    }
}

CK_RV vault_request_send(const struct vault *vault, const struct source_call *call,
                         const struct vault_act *act, const struct secret *body,
                         struct http_result *ret_result)
{
    const struct vault_request request = {
        .method = "POST",
        .act = act,
        .mount = vault->mount,
        .name = vault->key,
        .body = {body->bytes, body->len},
        .refusals = refusals,
    };
    return vault_request_run(vault, call, &request, ret_result);
}
