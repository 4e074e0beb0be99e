/* One request to an engine of Vault, transit above all, and what its refusals mean. */
#pragma once

#include "tokens/vault_auth.h"
#include "tokens/vault_exchange.h"

struct vault {
    struct source base;
    struct vault_server server;
    struct vault_auth *auth;
    char *mount;
    char *key;
};

struct vault_act {
    const char *path;       /* "decrypt": between mount and key */
    const char *what;       /* "unwrap the data key" */
    bool is_batch;          /* a 400 with results is an answer too */
    const char *capability; /* that the policy needs; NULL: "update" */
};

/* Anything of an engine. */
struct vault_request {
    const char *method;
    const struct vault_act *act;
    const char *mount;
    const char *name; /* behind the act's path */
    struct view body;
    const struct vault_refusal *refusals;
};

/* CKR_OK: a reply that is to be cleared with http_result_clear, of status 200, or of 400 with
 * results to a batch. Everything else is logged and has its cause. */
CK_RV vault_request_run(const struct vault *vault, const struct source_call *call,
                        const struct vault_request *request, struct http_result *ret_result);
/* The same to transit, about the source's key. */
CK_RV vault_request_send(const struct vault *vault, const struct source_call *call,
                         const struct vault_act *act, const struct secret *body,
                         struct http_result *ret_result);
