#include "tokens/gcp_token.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/gcp_federation.h"
#include "tokens/http_url.h"
#include "tokens/jwt_assertion.h"

#define TOKEN_ENDPOINT "https://oauth2.googleapis.com/token"
#define GRANT_BY_JWT "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define METADATA_HOST "metadata.google.internal"
#define METADATA_PATH "/computeMetadata/v1/instance/service-accounts/default/token"
#define STATUS_OK 200
#define STATUS_NOT_FOUND 404
/* Google takes no JWT that is good for longer. */
#define JWT_LIFETIME_S 3600

static struct view view_member(const struct gcp_ask *ask, const char *path)
{
    return view_text(gcp_credential_text(ask->credential, path, ""));
}

/* ---- a service account ---- */

static CK_RV make_claims(const struct gcp_ask *ask, struct secret *ret_claims)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    int64_t now_s = clock_utc_s();
    json_write_object(&writer, NULL);
    json_write_view(&writer, "iss", view_member(ask, "client_email"));
    json_write_text(&writer, "scope", ask->scope);
    /* Always this, wherever token_uri is: as Google documents it, and its own libraries do. */
    json_write_text(&writer, "aud", TOKEN_ENDPOINT);
    json_write_number(&writer, "iat", now_s);
    json_write_number(&writer, "exp", now_s + JWT_LIFETIME_S);
    json_write_end_object(&writer);
    return json_write_finish(&writer, ret_claims);
}

static CK_RV sign(const struct gcp_ask *ask, struct secret *ret_jwt)
{
    _cleanup_(secret_clear) struct secret claims = {0};
    struct jwt_field kid = {"kid", gcp_credential_text(ask->credential, "private_key_id", "")};
    TRY(make_claims(ask, &claims));
    struct jwt_assertion assertion = {
        .algorithm = JWT_RS256,
        .fields = &kid,
        .field_count = 1,
        .claims = gcp_grant_view(&claims),
        .key_pem = gcp_grant_view(&ask->credential->key),
    };
    CK_RV rv = jwt_assertion_sign(&assertion, ret_jwt);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(ask->credential->is_pin ? INDEXKEY_CAUSE_CREDENTIAL
                                                  : INDEXKEY_CAUSE_CONFIG,
                          "token '%s': private_key in %s is no RSA key in PEM; make a new key for "
                          "the service account",
                          ask->http->token, ask->credential->place);
    return rv;
}

static CK_RV by_service_account(const struct gcp_ask *ask, const struct gcp_provider *provider,
                                struct access_token_grant *ret_grant)
{
    _cleanup_(secret_clear) struct secret jwt = {0};
    TRY(sign(ask, &jwt));
    struct http_form_field fields[] = {
        {"grant_type", view_text(GRANT_BY_JWT)},
        {"assertion", gcp_grant_view(&jwt)},
    };
    return gcp_grant_by_form(ask, provider, fields, sizeof(fields) / sizeof(fields[0]), ret_grant);
}

/* ---- a user ---- */

static CK_RV by_user(const struct gcp_ask *ask, const struct gcp_provider *provider,
                     struct access_token_grant *ret_grant)
{
    struct http_form_field fields[] = {
        {"grant_type", view_text("refresh_token")},
        {"client_id", view_member(ask, "client_id")},
        {"client_secret", gcp_grant_view(&ask->credential->client_secret)},
        {"refresh_token", gcp_grant_view(&ask->credential->key)},
    };
    return gcp_grant_by_form(ask, provider, fields, sizeof(fields) / sizeof(fields[0]), ret_grant);
}

/* ---- a machine ---- */

static CK_RV read_metadata(const struct source_http *http, struct http_result *result,
                           struct access_token_grant *ret_grant)
{
    if (!result->is_google_metadata)
        return source_http_fail_reply(http, result,
                                      "it has not the header Metadata-Flavor: Google");
    if (result->status == STATUS_NOT_FOUND)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': no Google credential: credentials_file and "
                          "GOOGLE_APPLICATION_CREDENTIALS are not set, gcloud has none, and this "
                          "machine has no service account; give it one of these",
                          http->token);
    if (result->status != STATUS_OK)
        return source_http_fail_status(http, result, "get an access token");
    return gcp_grant_read(http, result, ret_grant);
}

static CK_RV by_metadata_server(const struct gcp_ask *ask, struct access_token_grant *ret_grant)
{
    static const struct http_header header = {"Metadata-Flavor",
                                              {(const unsigned char *) "Google", 6}};
    const char *named = secure_getenv("GCE_METADATA_HOST");
    const char *host = named == NULL || *named == '\0' ? METADATA_HOST : named;
    _cleanup_(mem_free_pointer) char *url = mem_format("http://%s" METADATA_PATH, host);
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct http_target target;
    if (url == NULL)
        return gcp_grant_fail_memory(ask);
    if (http_url_read_near(url, &target) != NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': GCE_METADATA_HOST is no metadata server; it must be a "
                          "loopback or link-local address, or unset",
                          ask->http->token);
    struct gcp_provider provider = {"the machine's metadata server", url,
                                    "asked since no other Google credential is there"};
    struct source_http http = gcp_grant_http(ask, &provider);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .headers = &header,
        .header_count = 1,
        .plain_near = true,
    };
    TRY(source_http_send(&http, ask->call, &request, NULL, &result));
    return read_metadata(&http, &result, ret_grant);
}

CK_RV gcp_token_ask(const struct gcp_ask *ask, struct access_token_grant *ret_grant)
{
    const struct gcp_credential *credential = ask->credential;
    if (credential->type == GCP_METADATA_SERVER)
        return by_metadata_server(ask, ret_grant);
    if (credential->type == GCP_EXTERNAL_ACCOUNT)
        return gcp_federation_ask(ask, ret_grant);
    _cleanup_(mem_free_pointer) char *url =
        mem_strdup(gcp_credential_text(credential, "token_uri", TOKEN_ENDPOINT));
    if (url == NULL)
        return gcp_grant_fail_memory(ask);
    struct gcp_provider provider = {"Google's token endpoint", url, "token_uri"};
    return credential->type == GCP_SERVICE_ACCOUNT ? by_service_account(ask, &provider, ret_grant)
                                                   : by_user(ask, &provider, ret_grant);
}
