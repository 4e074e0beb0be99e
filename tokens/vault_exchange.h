/*
 * One exchange with Vault: its headers, which statuses are tried again, and what a refusal means.
 *
 * A refusal is told by the status and by Vault's own error texts, of which only known ones are
 * looked for; log lines have our words, never the server's. Any thread.
 */
#pragma once

#include "tokens/json.h"
#include "tokens/source_http.h"

enum {
    VAULT_OK = 200,
    VAULT_NO_CONTENT = 204,
    VAULT_BAD_REQUEST = 400,
    VAULT_UNAUTHORIZED = 401,
    VAULT_FORBIDDEN = 403,
    VAULT_NOT_FOUND = 404,
    VAULT_BAD_METHOD = 405,
};

struct vault_server {
    struct source_http http;
    char *namespace; /* NULL: none */
};

struct vault_exchange {
    const char *method;
    const char *path;           /* "/v1/auth/token/lookup-self" */
    const struct secret *token; /* NULL: none */
    struct view body;
};

/* A row of a table: "" for any text. The first row that fits is taken. */
struct vault_refusal {
    long status;
    const char *text;
    enum indexkey_cause cause;
    const char *why;
    const char *remedy;
};

/* What was tried, for log lines. */
struct vault_attempt {
    const char *what;  /* "unwrap the data key" */
    const char *place; /* "transit/index-keys" */
    /* What Vault says only there; ends with a row of status 0. What it says anywhere is looked for
     * after these. */
    const struct vault_refusal *refusals;
};

/* CKR_OK: a reply of whatever status, to be cleared with http_result_clear. Else logged. */
CK_RV vault_exchange_send(const struct vault_server *server, const struct source_call *call,
                          const struct vault_exchange *exchange, struct http_result *ret_result);
/* The same, and what goes wrong is not logged: 0 instead of a status. */
long vault_exchange_try(const struct vault_server *server, const struct source_call *call,
                        const struct vault_exchange *exchange, struct http_result *ret_result);

/* Vault has said so itself, and not a proxy before it: only its own 403 is a denial. */
bool vault_refusal_is_own(const struct http_result *result);
/* Logs why the reply is not what was asked for, and returns that. */
CK_RV vault_refusal_fail(const struct vault_server *server, const struct http_result *result,
                         const struct vault_attempt *attempt);
