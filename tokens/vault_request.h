/*
 * One request to Vault's transit engine, and what its refusals mean.
 *
 * A refusal is told by the status and by Vault's own error texts, of which only known ones are
 * looked for; log lines have our words, never the server's.
 */
#pragma once

#include "tokens/source_http.h"
#include "tokens/vault_token.h"

struct vault {
    struct source base;
    struct source_http http;
    struct vault_token_place token_place; /* its strings belong to this struct */
    char *mount;
    char *key;
    char *namespace; /* NULL: none */
};

struct vault_act {
    const char *path; /* "decrypt": between mount and key */
    const char *what; /* "unwrap the data key" */
};

/* CKR_OK: status 200, `*ret_result` to be cleared with http_result_clear. Everything else is logged
 * and has its cause. */
CK_RV vault_request_send(const struct vault *vault, const struct source_call *call,
                         const struct vault_act *act, const struct secret *body,
                         struct http_result *ret_result);
