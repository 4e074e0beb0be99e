/*
 * One request to Google Cloud KMS with an access token, and what its refusals mean.
 *
 * The ambient credential's access token is kept for all calls (access_token.h). One that KMS does
 * not take (401) is dropped and asked for anew, once a call. Under `login = credential` the PIN is
 * an access token itself, or the JSON of a credential, for which each call asks for its own.
 */
#pragma once

#include "tokens/access_token.h"
#include "tokens/source_http.h"

struct gcp {
    struct source base;
    struct source_http http;
    struct access_token *token;
    char *key;              /* "projects/P/locations/L/keyRings/R/cryptoKeys/K" */
    char *credentials_file; /* NULL: not configured */
};

struct gcp_act {
    const char *method; /* "decrypt" */
    const char *permission;
    const char *what; /* "unwrap the data key" */
    /* That of the wrapped data key, whose state tells more where KMS does not; NULL: not known. */
    const char *version;
};

/* For access_token_new; `context` is the struct gcp. */
CK_RV gcp_request_fetch_token(void *context, const struct source_call *call,
                              struct access_token_grant *ret_grant);

/* CKR_OK: status 200, `*ret_result` to be cleared with http_result_clear. Everything else is logged
 * and has its cause. */
CK_RV gcp_request_send(struct gcp *gcp, const struct source_call *call, const struct gcp_act *act,
                       const struct secret *body, struct http_result *ret_result);
