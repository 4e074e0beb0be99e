/*
 * Asking an identity provider for an access token: the token endpoint of OAuth 2.0 (RFC 6749), and
 * Google's Security Token Service (RFC 8693).
 */
#pragma once

#include "tokens/access_token.h"
#include "tokens/gcp_credential.h"
#include "tokens/http_form.h"
#include "tokens/source_http.h"

#define GCP_ACCESS_TOKEN_LEN_MAX ((size_t) 16384)
#define GCP_SCOPE_KMS "https://www.googleapis.com/auth/cloudkms"
#define GCP_SCOPE_PLATFORM "https://www.googleapis.com/auth/cloud-platform"

/* Who asks. */
struct gcp_ask {
    const struct source_http *http; /* the source's */
    const struct source_call *call;
    const struct gcp_credential *credential;
    const char *scope; /* that the access token is to have */
};

struct gcp_provider {
    const char *service; /* for log lines: "Google's token endpoint" */
    char *url;
    const char *url_member; /* where the URL is from: "token_uri" */
};

/* The source's client, with log lines that name the provider. Borrowed; nothing to free. */
struct source_http gcp_grant_http(const struct gcp_ask *ask, const struct gcp_provider *provider);

/* It goes into a header: printable and without blanks (RFC 9110, 5.5). */
bool gcp_grant_is_token(struct view text);

/* "2014-10-02T15:01:23.045Z": seconds of UTC since 1970, without the fraction. */
bool gcp_grant_read_time(const char *text, int64_t *ret_seconds);

struct view gcp_grant_view(const struct secret *secret);
/* "Bearer TOKEN", for the header Authorization. */
CK_RV gcp_grant_bearer(struct view token, struct secret *ret_value);
/* Logs and answers CKR_HOST_MEMORY. */
CK_RV gcp_grant_fail_memory(const struct gcp_ask *ask);

/* Takes `member` out of a reply as the token. A reply that has none is logged, CAUSE_SERVER;
 * `ret_rest` is freed with json_free. */
CK_RV gcp_grant_take(const struct source_http *http, struct http_result *result, const char *member,
                     struct secret *ret_text, struct json **ret_rest);

/* The reply of a token endpoint: access_token and expires_in. Logged as gcp_grant_take does. */
CK_RV gcp_grant_read(const struct source_http *http, struct http_result *result,
                     struct access_token_grant *ret_grant);

/* POST of a form, answered with access_token and expires_in. Refusals are logged with their
 * cause. */
CK_RV gcp_grant_by_form(const struct gcp_ask *ask, const struct gcp_provider *provider,
                        const struct http_form_field *fields, size_t field_count,
                        struct access_token_grant *ret_grant);
