#include "tokens/azure_token.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/http_form.h"
#include "tokens/json.h"

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define IMDS_VERSION "2018-02-01"
#define APP_SERVICE_VERSION "2019-08-01"
#define TOKEN_LEN_MAX ((size_t) 32768)
#define FIELD_COUNT_MAX 5

enum {
    STATUS_OK = 200,
    STATUS_NOT_FOUND = 404,
    STATUS_GONE = 410,
    STATUS_TOO_MANY = 429,
    STATUS_SERVER = 500,
};

/* Of one request for a token. */
struct asking {
    const struct azure_token_request *request;
    const struct source_call *call;
    const struct azure_proof *proof;
    struct source_http http; /* the client, at the token endpoint */
};

/* ---- refusals ---- */

struct refusal {
    int64_t code;      /* AADSTS…; 0: any */
    const char *error; /* RFC 6749, 5.2; NULL: any */
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
};

static const char new_secret[] = "add a new client secret to the application, and use its value";
static const char check_client[] = "check client_id and tenant_id";
static const char federate[] =
    "add a federated credential to the application: issuer, subject and audience of the token";

/* The first row that fits is taken. */
static const struct refusal refusals[] = {
    {7000215, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the client secret is wrong", new_secret},
    {7000222, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the client secret has expired", new_secret},
    {700016, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the tenant has no such application", check_client},
    {7000112, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the application is disabled",
     "enable it in Entra ID"},
    {700027, NULL, INDEXKEY_CAUSE_CREDENTIAL,
     "the certificate is not the application's, or its key is another one",
     "add the certificate to the application"},
    {700024, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the assertion is not within its time",
     "set this machine's clock; a federated token must be renewed before it expires"},
    {700021, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the federated token is not trusted", federate},
    {70021, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the federated token is not trusted", federate},
    {700211, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the federated token's issuer is not trusted",
     federate},
    {700212, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the federated token's audience is not trusted",
     federate},
    {700213, NULL, INDEXKEY_CAUSE_CREDENTIAL, "the federated token's subject is not trusted",
     federate},
    {53003, NULL, INDEXKEY_CAUSE_DENIED, "a conditional access policy blocks it",
     "let the policy allow this application from here"},
    {90002, NULL, INDEXKEY_CAUSE_CONFIG, "there is no such tenant", "correct tenant_id"},
    {900023, NULL, INDEXKEY_CAUSE_CONFIG, "there is no such tenant", "correct tenant_id"},
    {500011, NULL, INDEXKEY_CAUSE_CONFIG, "the vault's resource is not known there",
     "check vault_url and authority_host: they must be of the same cloud"},
    {0, "invalid_resource", INDEXKEY_CAUSE_CONFIG, "the vault's resource is not known there",
     "check vault_url: it must be of the same cloud"},
    {0, "invalid_client", INDEXKEY_CAUSE_CREDENTIAL, "it does not accept the application's proof",
     "check client_id and the credential"},
    {0, "unauthorized_client", INDEXKEY_CAUSE_CREDENTIAL, "it does not accept the application",
     check_client},
    {0, "invalid_grant", INDEXKEY_CAUSE_CREDENTIAL, "it does not accept the application's proof",
     "check client_id and the credential"},
    {0, "access_denied", INDEXKEY_CAUSE_DENIED, "the application may have no token",
     "look into the sign-in logs of Entra ID"},
    {0, "temporarily_unavailable", INDEXKEY_CAUSE_SERVER, "it is not available just now",
     "try later; see Azure's status page if it lasts"},
};
#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

/* What a managed identity's endpoint refuses is said in texts that differ from host to host. */
static const struct refusal managed_refusals[] = {
    {0, "invalid_resource", INDEXKEY_CAUSE_CONFIG, "the vault's resource is not known there",
     "check vault_url: it must be of the same cloud"},
    {0, NULL, INDEXKEY_CAUSE_CREDENTIAL, "this machine has no such identity",
     "assign the managed identity to it, and check client_id"},
};
#define MANAGED_REFUSAL_COUNT (sizeof(managed_refusals) / sizeof(managed_refusals[0]))

static bool is_managed(const struct asking *asking)
{
    return asking->proof->way == AZURE_BY_IMDS || asking->proof->way == AZURE_BY_APP_SERVICE;
}

static const struct refusal *refusal_of(const struct asking *asking, int64_t code,
                                        const char *error)
{
    const struct refusal *rows = is_managed(asking) ? managed_refusals : refusals;
    size_t count = is_managed(asking) ? MANAGED_REFUSAL_COUNT : REFUSAL_COUNT;
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].code == 0 || rows[i].code == code) &&
            (rows[i].error == NULL || strcmp(rows[i].error, error) == 0))
            return &rows[i];
    }
    return NULL;
}

static CK_RV fail(const struct asking *asking, const struct http_result *result)
{
    _cleanup_(json_free) struct json *reply = NULL;
    const struct source_http *http = &asking->http;
    const char *id = result->request_id;
    int64_t code = 0;
    (void) json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    const char *error = reply == NULL ? NULL : json_text(reply, "error");
    /* App Service has no `error`, but a status and a text. */
    bool is_its_own = error != NULL || (is_managed(asking) && reply != NULL);
    if (result->status >= STATUS_SERVER || result->status == STATUS_TOO_MANY || !is_its_own)
        return result->status >= STATUS_SERVER || result->status == STATUS_TOO_MANY
                   ? source_http_fail_status(http, result, "get an access token")
                   : source_http_fail_reply(http, result,
                                            "something that is no token endpoint "
                                            "refuses");
    if (!json_number(reply, "error_codes.0", &code))
        code = 0;
    const struct refusal *refusal = refusal_of(asking, code, error == NULL ? "" : error);
    if (refusal == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_INTERNAL,
                          "token '%s': cannot log in to Azure by its %s: %s (%s, HTTP %ld, "
                          "AADSTS%lld%s%s) refuses for a reason that this module does not know; "
                          "look for the code at login.microsoftonline.com/error, and report it",
                          http->token, asking->proof->what, http->service, http->endpoint,
                          result->status, (long long) code, *id == '\0' ? "" : ", request ", id);
    return FAIL_CAUSE(refusal->cause,
                      "token '%s': cannot log in to Azure by its %s: %s (%s, HTTP %ld, "
                      "AADSTS%lld%s%s): %s; %s",
                      http->token, asking->proof->what, http->service, http->endpoint,
                      result->status, (long long) code, *id == '\0' ? "" : ", request ", id,
                      refusal->why, refusal->remedy);
}

/* ---- replies ---- */

/* A number of seconds; the managed identities say it as text. */
static bool read_seconds(const struct json *reply, const char *name, int64_t *ret_seconds)
{
    const char *text = json_text(reply, name);
    if (text == NULL)
        return json_number(reply, name, ret_seconds);
    char *end;
    if (!isdigit((unsigned char) *text))
        return false;
    long long seconds = strtoll(text, &end, 10);
    if (*end != '\0')
        return false;
    *ret_seconds = seconds;
    return true;
}

static int64_t lifetime_of(const struct json *reply)
{
    int64_t seconds = 0;
    if (read_seconds(reply, "expires_in", &seconds))
        return seconds;
    /* App Service has the end alone, in seconds of UTC. */
    return read_seconds(reply, "expires_on", &seconds) ? seconds - clock_utc_s() : 0;
}

static bool is_token(const struct secret *text)
{
    for (size_t i = 0; i < text->len; i++) {
        if (text->bytes[i] <= ' ' || text->bytes[i] > '~')
            return false;
    }
    return text->len > 0 && text->len <= TOKEN_LEN_MAX;
}

static CK_RV take_token(const struct asking *asking, struct http_result *result,
                        struct access_token_grant *ret_grant)
{
    _cleanup_(secret_clear) struct secret text = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    CK_RV rv = json_secret_take(&result->body, "access_token", &text);
    if (rv == CKR_OK)
        rv = json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    if (rv == CKR_DATA_INVALID || (rv == CKR_OK && !is_token(&text)))
        return source_http_fail_reply(&asking->http, result, "it has no access token");
    TRY(rv);
    int64_t lifetime_s = lifetime_of(reply);
    if (lifetime_s <= 0)
        return source_http_fail_reply(&asking->http, result,
                                      "its access token has expired, or has no end");
    ret_grant->text = secret_move(&text);
    ret_grant->lifetime_s = lifetime_s;
    return CKR_OK;
}

/* ---- requests ---- */

static enum http_verdict managed_verdict(long status, struct view body)
{
    /* While the metadata service is updated. */
    if (status == STATUS_NOT_FOUND || status == STATUS_GONE)
        return HTTP_TRANSIENT;
    return http_default_verdict(status, body);
}

static CK_RV ask_managed(struct asking *asking, struct http_result *result)
{
    const struct azure_proof *proof = asking->proof;
    bool is_imds = proof->way == AZURE_BY_IMDS;
    _cleanup_(mem_free_pointer) char *resource =
        source_http_escape(asking->request->challenge->resource);
    _cleanup_(mem_free_pointer) char *url =
        resource == NULL ? NULL
                         : mem_format("%s?api-version=%s&resource=%s%s%s", proof->url,
                                      is_imds ? IMDS_VERSION : APP_SERVICE_VERSION, resource,
                                      proof->client == NULL ? "" : "&client_id=",
                                      proof->client == NULL ? "" : proof->client);
    if (url == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a request", asking->http.token);
    const struct view secret = {proof->secret.bytes, proof->secret.len};
    const struct http_header header = {is_imds ? "Metadata" : "X-IDENTITY-HEADER",
                                       is_imds ? view_text("true") : secret};
    const struct http_request request = {
        .method = "GET",
        .url = url,
        .headers = &header,
        .header_count = 1,
        .plain_near = true,
        .verdict = managed_verdict,
    };
    return source_http_send(&asking->http, asking->call, &request, NULL, result);
}

static CK_RV ask_entra(struct asking *asking, struct http_result *result)
{
    const struct azure_proof *proof = asking->proof;
    const struct view secret = {proof->secret.bytes, proof->secret.len};
    struct http_form_field fields[FIELD_COUNT_MAX];
    size_t count = 0;
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(mem_free_pointer) char *scope =
        mem_format("%s/.default", asking->request->challenge->resource);
    if (scope == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a request", asking->http.token);
    fields[count++] = (struct http_form_field){"grant_type", view_text("client_credentials")};
    fields[count++] = (struct http_form_field){"client_id", view_text(proof->client)};
    fields[count++] = (struct http_form_field){"scope", view_text(scope)};
    if (proof->way == AZURE_BY_ASSERTION)
        fields[count++] =
            (struct http_form_field){"client_assertion_type", view_text(ASSERTION_TYPE)};
    fields[count++] = (struct http_form_field){
        proof->way == AZURE_BY_ASSERTION ? "client_assertion" : "client_secret", secret};
    TRY(http_form_encode(fields, count, &body));
    const struct http_header header = {"Content-Type",
                                       view_text("application/x-www-form-urlencoded")};
    const struct http_request request = {
        .method = "POST",
        .url = proof->url,
        .headers = &header,
        .header_count = 1,
        .body = {body.bytes, body.len},
    };
    return source_http_send(&asking->http, asking->call, &request, NULL, result);
}

/* How the endpoint came to be asked, for log lines. */
static const char *endpoint_key(const struct azure_identity *identity, enum azure_way way)
{
    switch (way) {
    case AZURE_BY_APP_SERVICE:
        return "IDENTITY_ENDPOINT";
    case AZURE_BY_IMDS:
        return identity->auth == AZURE_AUTH_AUTO
                   ? "azure_auth = auto has found neither client secret nor certificate nor "
                     "federated token"
                   : "azure_auth = managed";
    default:
        return "authority_host";
    }
}

CK_RV azure_token_ask(const struct azure_token_request *request, const struct source_call *call,
                      struct access_token_grant *ret_grant)
{
    _cleanup_(azure_proof_clear) struct azure_proof proof = {.url = NULL};
    _cleanup_(http_result_clear) struct http_result result = {0};
    TRY(azure_identity_prove(request->http->token, request->identity, call, request->challenge,
                             &proof));
    struct asking asking = {request, call, &proof, *request->http};
    asking.http.endpoint = proof.url;
    asking.http.service = is_managed(&asking) ? "the managed identity's endpoint" : "Entra ID";
    asking.http.endpoint_key = endpoint_key(request->identity, proof.way);
    if (is_managed(&asking))
        TRY(ask_managed(&asking, &result));
    else
        TRY(ask_entra(&asking, &result));
    if (result.status != STATUS_OK)
        return fail(&asking, &result);
    return take_token(&asking, &result, ret_grant);
}
