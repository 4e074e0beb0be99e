#include "tokens/azure_request.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tokens/json.h"

#define API_VERSION "?api-version=7.4"
#define PROBE_PATH "/keys" API_VERSION
#define BEARER "Bearer "
#define WHERE_MAX 512
#define HEADER_COUNT 2

enum {
    STATUS_OK = 200,
    STATUS_BAD_REQUEST = 400,
    STATUS_UNAUTHORIZED = 401,
    STATUS_FORBIDDEN = 403,
    STATUS_NOT_FOUND = 404,
    STATUS_CONFLICT = 409,
};

struct sending {
    struct azure *azure;
    const struct source_call *call;
    const struct azure_act *act;
    const char *resource; /* for log lines */
    const char *path;
    const struct secret *body;            /* NULL: a GET */
    const struct azure_refusal *refusals; /* NULL: the general ones alone */
};

/* ---- refusals ---- */

struct failed {
    long status;
    enum azure_side side;
};

static const char former_key[] = "restore the store from a backup, or set the former key_name";
static const char recover[] = "az keyvault key recover, before its retention ends";

static const struct azure_refusal refusals[] = {
    {STATUS_UNAUTHORIZED, "AKV10032", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CREDENTIAL,
     "the access token is of another tenant than the vault's",
     "use an identity of the vault's tenant, and check tenant_id"},
    {STATUS_UNAUTHORIZED, "AKV10022", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CREDENTIAL,
     "the access token is for another resource", "check vault_url and authority_host"},
    {STATUS_UNAUTHORIZED, "", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CREDENTIAL,
     "the access token is refused, a new one too", "check that the identity is not disabled"},

    {STATUS_FORBIDDEN, "disabled", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DISABLED,
     "the key, or the version that wrapped the data key, is disabled",
     "az keyvault key set-attributes --enabled true"},
    {STATUS_FORBIDDEN, "KeyDisabled", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DISABLED,
     "the key, or the version that wrapped the data key, is disabled",
     "az keyvault key set-attributes --enabled true"},
    {STATUS_FORBIDDEN, "expired", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DISABLED, "the key has expired",
     "az keyvault key set-attributes --expires, or rotate it"},
    {STATUS_FORBIDDEN, "not yet valid", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DISABLED,
     "the key is not valid yet", "az keyvault key set-attributes --not-before"},
    {STATUS_FORBIDDEN, "ForbiddenByFirewall", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DENIED,
     "the vault's firewall does not let this address in",
     "add the address or a private endpoint to the vault's network rules"},
    {STATUS_FORBIDDEN, "ForbiddenByConnection", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DENIED,
     "the vault takes no connections from the public network", "reach it by its private endpoint"},
    {STATUS_FORBIDDEN, "not permitted on this key", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CONFIG,
     "the key's key_ops do not have the operation",
     "add it with az keyvault key set-attributes "
     "--ops"},
    {STATUS_FORBIDDEN, "", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DENIED,
     "the identity has not the permission", NULL},

    {STATUS_NOT_FOUND, "KeyNotFound", AZURE_WHEN_OPENING, INDEXKEY_CAUSE_DELETED,
     "the key, or the version that wrapped the data key, is deleted", recover},
    {STATUS_NOT_FOUND, "KeyNotFound", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DELETED,
     "the vault has no such key or version", "check key_name and key_version"},
    {STATUS_NOT_FOUND, "", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CONFIG, "there is no such vault",
     "check vault_url"},
    {STATUS_CONFLICT, "Recovered", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_SERVER,
     "the key is being recovered", "try again in a minute"},
    {STATUS_CONFLICT, "Deleted", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DELETED, "the key is deleted",
     recover},

    {STATUS_BAD_REQUEST, "lgorithm", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CONFIG,
     "the key's type does not have this algorithm",
     "set algorithm to one of the key: RSA-OAEP-256 for RSA keys, A256KW or A256GCM for the AES "
     "keys of a Managed HSM"},
    {STATUS_BAD_REQUEST, "BadParameter", AZURE_WHEN_OPENING, INDEXKEY_CAUSE_TAMPERED,
     "the wrapped data key was changed, or is of another key or context", former_key},
    {STATUS_BAD_REQUEST, "BadParameter", AZURE_WHEN_CLOSING, INDEXKEY_CAUSE_CONFIG,
     "it does not take the names that were sent, or the key's type does not have the algorithm",
     "check algorithm, key_name and key_version"},
    {STATUS_BAD_REQUEST, "", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_INTERNAL,
     "it refuses the request for a reason that this module does not know",
     "look for it in the vault's diagnostic log, and report it"},
};
#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

static bool says(const struct json *reply, const char *text)
{
    static const char *const places[] = {"error.code", "error.innererror.code", "error.message"};
    if (*text == '\0' || reply == NULL)
        return *text == '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *found = json_text(reply, places[i]);
        if (found != NULL && strstr(found, text) != NULL)
            return true;
    }
    return false;
}

static const struct azure_refusal *find(const struct azure_refusal *row, size_t count,
                                        const struct json *reply, const struct failed *failed)
{
    for (; count > 0 && row->status != 0; row++, count--) {
        if (row->status == failed->status && says(reply, row->text) &&
            (row->side == AZURE_EITHER_SIDE || row->side == failed->side))
            return row;
    }
    return NULL;
}

static const struct azure_refusal *refusal_of(const struct sending *sending, long status,
                                              const struct json *reply)
{
    const struct failed failed = {status,
                                  sending->act->opens ? AZURE_WHEN_OPENING : AZURE_WHEN_CLOSING};
    const struct azure_refusal *own =
        sending->refusals == NULL ? NULL : find(sending->refusals, SIZE_MAX, reply, &failed);
    return own != NULL ? own : find(refusals, REFUSAL_COUNT, reply, &failed);
}

static CK_RV fail(const struct sending *sending, const struct http_result *result)
{
    char where[WHERE_MAX];
    const struct source_http *http = &sending->azure->http;
    const struct azure_act *act = sending->act;
    _cleanup_(json_free) struct json *reply = NULL;
    const char *id = result->request_id;
    /* An answer that is no JSON (a load balancer's) has no code to look for. */
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    /* Managed HSM says no more than its challenge. */
    bool is_azures = (reply != NULL && json_text(reply, "error.code") != NULL) ||
                     (result->status == STATUS_UNAUTHORIZED && result->challenge[0] != '\0');
    (void) snprintf(where, sizeof(where), "%s at %s (HTTP %ld%s%s)", sending->resource,
                    http->endpoint, result->status, *id == '\0' ? "" : ", request ", id);
    /* Only Azure's own 401 and 403 are denials. */
    if (!is_azures && (result->status == STATUS_UNAUTHORIZED || result->status == STATUS_FORBIDDEN))
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': cannot %s by %s: something that is not Key Vault refuses; "
                          "check vault_url, and the proxy or gateway before it",
                          http->token, act->what, where);
    const struct azure_refusal *refusal =
        is_azures ? refusal_of(sending, result->status, reply) : NULL;
    if (refusal == NULL)
        return source_http_fail_status(http, result, act->what);
    bool is_denied = refusal->cause == INDEXKEY_CAUSE_DENIED;
    return FAIL_CAUSE(refusal->cause, "token '%s': cannot %s by %s: %s%s%s; %s", http->token,
                      act->what, where, refusal->why, is_denied ? ": " : "",
                      is_denied ? act->permission : "",
                      refusal->remedy != NULL ? refusal->remedy : act->grant);
}

/* ---- the challenge ---- */

static bool recall(struct azure *azure, struct azure_challenge *challenge)
{
    (void) pthread_mutex_lock(&azure->lock);
    bool is_there = azure->is_challenged;
    *challenge = azure->challenge;
    (void) pthread_mutex_unlock(&azure->lock);
    return is_there;
}

static CK_RV learn(struct azure *azure, const struct http_result *result)
{
    struct azure_challenge challenge;
    const char *fault = azure_challenge_read(result->challenge, azure->http.endpoint, &challenge);
    if (fault != NULL)
        return source_http_fail_reply(&azure->http, result, fault);
    (void) pthread_mutex_lock(&azure->lock);
    azure->challenge = challenge;
    azure->is_challenged = true;
    (void) pthread_mutex_unlock(&azure->lock);
    return CKR_OK;
}

static CK_RV discover(const struct sending *sending)
{
    struct azure *azure = sending->azure;
    _cleanup_(http_result_clear) struct http_result result = {0};
    const struct http_request request = {.method = "GET"};
    TRY(source_http_send(&azure->http, sending->call, &request, PROBE_PATH, &result));
    if (result.status == STATUS_OK)
        return source_http_fail_reply(&azure->http, &result, "it answers who has no token");
    if (result.status != STATUS_UNAUTHORIZED)
        return fail(sending, &result);
    if (result.challenge[0] == '\0')
        return source_http_fail_reply(&azure->http, &result, "it refuses without a challenge");
    return learn(azure, &result);
}

/* ---- the token ---- */

CK_RV azure_request_fetch(void *context, const struct source_call *call,
                          struct access_token_grant *ret_grant)
{
    struct azure *azure = context;
    struct azure_challenge challenge;
    (void) recall(azure, &challenge);
    const struct azure_token_request request = {&azure->http, &azure->identity, &challenge};
    return azure_token_ask(&request, call, ret_grant);
}

static CK_RV get_token(struct azure *azure, const struct source_call *call, struct secret *ret_text)
{
    _cleanup_(access_token_grant_clear) struct access_token_grant grant = {.lifetime_s = 0};
    if (call->credential.len == 0)
        return access_token_get(azure->token, call, ret_text);
    TRY(azure_request_fetch(azure, call, &grant));
    *ret_text = secret_move(&grant.text);
    return CKR_OK;
}

/* ---- the request ---- */

static CK_RV send_with(const struct sending *sending, const struct secret *token,
                       struct http_result *ret_result)
{
    _cleanup_(secret_clear) struct secret bearer = {0};
    size_t begin_len = strlen(BEARER);
    TRY(secret_new(begin_len + token->len, &bearer));
    memcpy(bearer.bytes, BEARER, begin_len);
    memcpy(bearer.bytes + begin_len, token->bytes, token->len);
    const struct http_header headers[HEADER_COUNT] = {
        {"Authorization", {bearer.bytes, bearer.len}},
        {"Content-Type", view_text("application/json")},
    };
    struct http_request request = {
        .method = sending->body == NULL ? "GET" : "POST",
        .headers = headers,
        .header_count = HEADER_COUNT,
    };
    if (sending->body != NULL)
        request.body = (struct view){sending->body->bytes, sending->body->len};
    return source_http_send(&sending->azure->http, sending->call, &request, sending->path,
                            ret_result);
}

/* A 401 with a challenge is answered once with a new token. */
static CK_RV send_twice(const struct sending *sending, struct http_result *result)
{
    struct azure *azure = sending->azure;
    _cleanup_(secret_clear) struct secret token = {0};
    TRY(get_token(azure, sending->call, &token));
    TRY(send_with(sending, &token, result));
    if (result->status != STATUS_UNAUTHORIZED || result->challenge[0] == '\0')
        return CKR_OK;
    TRY(learn(azure, result));
    access_token_refuse(azure->token, &token);
    secret_clear(&token);
    http_result_clear(result);
    TRY(get_token(azure, sending->call, &token));
    return send_with(sending, &token, result);
}

void azure_operation_clear(struct azure_operation *operation)
{
    secret_clear(&operation->body);
}

static CK_RV run(const struct sending *sending, struct http_result *ret_result)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct azure_challenge challenge;
    if (!recall(sending->azure, &challenge))
        TRY(discover(sending));
    TRY(send_twice(sending, &result));
    if (result.status != STATUS_OK)
        return fail(sending, &result);
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}

CK_RV azure_request_send(struct azure *azure, const struct source_call *call,
                         const struct azure_operation *operation, struct http_result *ret_result)
{
    const struct azure_act *act = operation->act;
    struct view version = operation->version;
    _cleanup_(mem_free_pointer) char *path =
        mem_format("/keys/%s/%.*s/%s" API_VERSION, azure->key, (int) version.len,
                   (const char *) version.bytes, act->operation);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", azure->http.token, act->what);
    const struct sending sending = {
        .azure = azure,
        .call = call,
        .act = act,
        .resource = azure->key,
        .path = path,
        .body = &operation->body,
    };
    return run(&sending, ret_result);
}

CK_RV azure_request_get(struct azure *azure, const struct source_call *call,
                        const struct azure_reading *reading, struct http_result *ret_result)
{
    const struct azure_act *act = reading->act;
    _cleanup_(mem_free_pointer) char *path = mem_format("%s" API_VERSION, reading->path);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", azure->http.token, act->what);
    const struct sending sending = {
        .azure = azure,
        .call = call,
        .act = act,
        .resource = reading->resource,
        .path = path,
        .refusals = reading->refusals,
    };
    return run(&sending, ret_result);
}
