/*
 * One request to Google Cloud KMS, or to Secret Manager, with an access token, and what its
 * refusals mean.
 *
 * The ambient credential's access token is kept for all calls (access_token.h). One that is
 * not taken (401) is dropped and asked for anew, once a call. Under `login = credential` the PIN is
 * an access token itself, or the JSON of a credential, for which each call asks for its own.
 */
#pragma once

#include "tokens/access_token.h"
#include "tokens/gcp_refusal.h"
#include "tokens/source_http.h"

struct gcp {
    struct source base;
    struct source_http http;
    struct access_token *token;        /* for KMS alone */
    struct access_token *secret_token; /* for Secret Manager, which has no scope of its own */
    char *secret_endpoint;             /* without a slash at its end */
    char *project;
    char *key;              /* "projects/P/locations/L/keyRings/R/cryptoKeys/K" */
    char *credentials_file; /* NULL: not configured */
};

struct gcp_act {
    const char *method; /* "decrypt": the end of the path; NULL: a GET of the resource itself */
    const char *permission;
    const char *what; /* "unwrap the data key" */
    /* That of the wrapped data key, whose state tells more where KMS does not; NULL: not known. */
    const char *version;
};

/* What a request is about. */
struct gcp_place {
    const struct source_http *http; /* where it goes */
    struct access_token *token;
    const char *scope;
    const char *resource;               /* its name in the path, and in log lines */
    const struct gcp_refusal *refusals; /* of the service alone: see gcp_refusal_find_in */
};

/* For access_token_new; `context` is the struct gcp. */
CK_RV gcp_request_fetch_token(void *context, const struct source_call *call,
                              struct access_token_grant *ret_grant);
CK_RV gcp_request_fetch_secret_token(void *context, const struct source_call *call,
                                     struct access_token_grant *ret_grant);

/* A POST about the token's key. CKR_OK: status 200, `*ret_result` to be cleared with
 * http_result_clear. Everything else is logged and has its cause. */
CK_RV gcp_request_send(struct gcp *gcp, const struct source_call *call, const struct gcp_act *act,
                       const struct secret *body, struct http_result *ret_result);
/* The same as a GET about something else. */
CK_RV gcp_request_get(struct gcp *gcp, const struct source_call *call, const struct gcp_act *act,
                      const struct gcp_place *place, struct http_result *ret_result);

/* The member is the CRC-32C of the bytes: JSON has an int64 as a string. */
bool gcp_request_crc_is_right(const struct json *reply, const char *path, struct view bytes);
