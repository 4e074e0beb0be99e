#include "tokens/vault_login.h"

#include <string.h>

#include "base/alloc.h"

/* Vault gives 0 for a token without an end. */
#define LIFETIME_ENDLESS_S INT64_C(86400)

static const struct vault_refusal refusals[] = {
    {VAULT_BAD_REQUEST, "invalid role or secret ID", INDEXKEY_CAUSE_CREDENTIAL,
     "Vault does not know this role id, or this secret id of it, or the secret id has expired or "
     "was used up",
     "have a new secret id written, or correct the role id"},
    {VAULT_BAD_REQUEST, "missing secret_id", INDEXKEY_CAUSE_CONFIG,
     "the AppRole wants a secret id, and none is configured",
     "set vault_secret_id_file or vault_secret_id_env"},
    {VAULT_BAD_REQUEST, "missing role_id", INDEXKEY_CAUSE_CONFIG,
     "what is mounted there is an AppRole method", "set vault_auth = approle, with its keys"},
    {VAULT_BAD_REQUEST, "CIDR", INDEXKEY_CAUSE_DENIED,
     "this host's address is not among those that the role admits",
     "add it to the role's bound CIDRs"},
    {VAULT_BAD_REQUEST, "invalid role name", INDEXKEY_CAUSE_CONFIG, "there is no such role",
     "correct vault_role"},
    {VAULT_BAD_REQUEST, "could not be found", INDEXKEY_CAUSE_CONFIG, "there is no such role",
     "correct vault_role"},
    {VAULT_BAD_REQUEST, "missing role", INDEXKEY_CAUSE_CONFIG,
     "the auth method has no default role", "set vault_role"},
    {VAULT_BAD_REQUEST, "could not load", INDEXKEY_CAUSE_CONFIG,
     "the auth method itself is not configured", "write its config at Vault"},
    {VAULT_BAD_REQUEST, "validating claims", INDEXKEY_CAUSE_DENIED,
     "the JWT's claims are not those that the role admits", "correct the role's bound claims"},
    {VAULT_BAD_REQUEST, "validating token", INDEXKEY_CAUSE_CREDENTIAL,
     "the JWT has expired, or is not signed by whom the auth method trusts, or has another issuer, "
     "audience or subject than the role admits",
     "have a new one written, or correct the auth method's config and the role's bound_*"},
    {VAULT_BAD_REQUEST, "client certificate must be supplied", INDEXKEY_CAUSE_CONFIG,
     "Vault has seen no client certificate",
     "check client_cert, the proxy before Vault, and tls_disable_client_certs of its listener"},
    {VAULT_BAD_REQUEST, "certificate", INDEXKEY_CAUSE_CREDENTIAL,
     "no role admits this client certificate", "correct client_cert, vault_role or that role"},
    {VAULT_BAD_REQUEST, "", INDEXKEY_CAUSE_CREDENTIAL,
     "Vault refuses the login for a reason that this module does not know",
     "look for it in Vault's audit log"},
    {VAULT_FORBIDDEN, "not authorized", INDEXKEY_CAUSE_DENIED,
     "the role does not admit this service account or its namespace",
     "add it to the role's bound_service_account_names and _namespaces"},
    {VAULT_FORBIDDEN, "", INDEXKEY_CAUSE_CREDENTIAL,
     "Vault refuses what was shown, or has no auth method there",
     "check vault_auth_mount and vault_namespace; for kubernetes, that the service account exists "
     "and that Vault may review tokens"},
    {VAULT_NOT_FOUND, "namespace not found", INDEXKEY_CAUSE_CONFIG, "the namespace does not exist",
     "correct vault_namespace"},
    {VAULT_NOT_FOUND, "", INDEXKEY_CAUSE_CONFIG, "there is no auth method that logs in so",
     "correct vault_auth and vault_auth_mount"},
    {VAULT_BAD_METHOD, "", INDEXKEY_CAUSE_CONFIG, "there is no auth method that logs in so",
     "correct vault_auth and vault_auth_mount"},
    {.status = 0},
};

static const struct vault_refusal no_refusals[] = {{.status = 0}};

void vault_grant_clear(struct vault_grant *grant)
{
    secret_clear(&grant->token);
}

/* ---- what is shown ---- */

static CK_RV write_pin(const struct vault_login *login, struct view shown,
                       struct json_writer *writer)
{
    const unsigned char *colon = memchr(shown.bytes, ':', shown.len);
    size_t len = colon == NULL ? 0 : (size_t) (colon - shown.bytes);
    if (!vault_place_is_fit(shown) || len == 0 || len + 1 == shown.len)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN is no AppRole; log in with "
                          "role_id:secret_id as the PIN",
                          login->server->http.token);
    json_write_view(writer, "role_id", (struct view){shown.bytes, len});
    json_write_view(writer, "secret_id", (struct view){shown.bytes + len + 1, shown.len - len - 1});
    return CKR_OK;
}

static CK_RV read_place(struct vault_login *login, const struct source_call *call,
                        struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {0};
    TRY(vault_place_read(login->server->http.token, &login->place, &text));
    if (login->is_wrapped)
        return vault_wrapping_open(&login->wrapping, call, &text, ret_text);
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static CK_RV write_configured(struct vault_login *login, const struct source_call *call,
                              struct json_writer *writer)
{
    static const struct {
        const char *role;
        const char *proof;
    } names[] = {
        [VAULT_METHOD_APPROLE] = {"role_id", "secret_id"},
        [VAULT_METHOD_KUBERNETES] = {"role", "jwt"},
        [VAULT_METHOD_JWT] = {"role", "jwt"},
        [VAULT_METHOD_CERT] = {"name", NULL},
    };
    _cleanup_(secret_clear) struct secret proof = {0};
    if (login->method == VAULT_METHOD_APPROLE && login->role == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': this needs an AppRole of its own beside the user's PIN; set "
                          "vault_role_id and its secret id",
                          login->server->http.token);
    if (login->role != NULL)
        json_write_text(writer, names[login->method].role, login->role);
    if (login->place.file == NULL && login->place.variable == NULL)
        return CKR_OK;
    TRY(read_place(login, call, &proof));
    json_write_view(writer, names[login->method].proof, (struct view){proof.bytes, proof.len});
    return CKR_OK;
}

static CK_RV make_body(struct vault_login *login, const struct source_call *call, struct view shown,
                       struct secret *ret_body)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    if (shown.len > 0)
        TRY(write_pin(login, shown, &writer));
    else
        TRY(write_configured(login, call, &writer));
    json_write_end_object(&writer);
    if (json_write_finish(&writer, ret_body) != CKR_OK)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to log in to Vault",
                    login->server->http.token);
    return CKR_OK;
}

/* ---- what it brings ---- */

/* CKR_DATA_INVALID: no reply to a login. */
static CK_RV take_grant(struct http_result *result, struct vault_grant *ret_grant)
{
    _cleanup_(vault_grant_clear) struct vault_grant grant = {.lifetime_s = 0};
    _cleanup_(json_free) struct json *rest = NULL;
    TRY(json_secret_take(&result->body, "auth.client_token", &grant.token));
    TRY(json_parse((struct view){result->body.bytes, result->body.len}, &rest));
    if (!vault_place_is_fit((struct view){grant.token.bytes, grant.token.len}) ||
        !json_number(rest, "auth.lease_duration", &grant.lifetime_s) || grant.lifetime_s < 0)
        return CKR_DATA_INVALID;
    (void) json_flag(rest, "auth.renewable", &grant.is_renewable);
    if (grant.lifetime_s == 0)
        grant.lifetime_s = LIFETIME_ENDLESS_S;
    *ret_grant = grant;
    grant.token = (struct secret){0};
    return CKR_OK;
}

static CK_RV fail(const struct vault_login *login, const struct http_result *result)
{
    _cleanup_(mem_free_pointer) char *place = mem_format("auth/%s", login->mount);
    /* A gateway's 400 or 403 says nothing of what was shown. */
    const struct vault_attempt attempt = {
        .what = "log in",
        .place = place == NULL ? login->mount : place,
        .refusals = vault_refusal_is_own(result) ? refusals : no_refusals,
    };
    return vault_refusal_fail(login->server, result, &attempt);
}

CK_RV vault_login_send(struct vault_login *login, const struct source_call *call, struct view shown,
                       struct vault_grant *ret_grant)
{
    const struct source_http *http = &login->server->http;
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(mem_free_pointer) char *path = mem_format("/v1/auth/%s/login", login->mount);
    TRY(make_body(login, call, shown, &body));
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to log in to Vault", http->token);
    const struct vault_exchange exchange = {
        .method = "POST",
        .path = path,
        .body = {body.bytes, body.len},
    };
    TRY(vault_exchange_send(login->server, call, &exchange, &result));
    if (result.status != VAULT_OK)
        return fail(login, &result);
    CK_RV rv = take_grant(&result, ret_grant);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(http, &result,
                                      "it has no Vault token where a login puts it (a role that "
                                      "wants a second factor is of no use here)");
    return rv;
}

bool vault_login_renew(const struct vault_login *login, const struct source_call *call,
                       const struct secret *token, struct vault_grant *ret_grant)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    const struct vault_exchange exchange = {
        .method = "POST",
        .path = "/v1/auth/token/renew-self",
        .token = token,
        .body = view_text("{}"),
    };
    return vault_exchange_try(login->server, call, &exchange, &result) == VAULT_OK &&
           take_grant(&result, ret_grant) == CKR_OK;
}
