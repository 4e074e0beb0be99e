/*
 * One request to Azure Key Vault or Managed HSM: the challenge that says for which tenant and
 * resource a token must be, the token, and what the refusals mean.
 *
 * The challenge is asked for once, by a request without a token and body, and kept. A request whose
 * token is refused (401) is sent once more with a new token for the challenge that came with the
 * refusal: a vault may move to another tenant, and tokens may be revoked. A credential that was
 * given as the PIN gets a token of its own for each request, which nobody else uses.
 *
 * A refusal is told by the status and by Azure's own codes, of which only known ones are looked
 * for; log lines have our words, never the server's.
 */
#pragma once

#include <pthread.h>

#include "tokens/azure_token.h"

struct azure {
    struct source base;
    struct source_http http; /* the vault */
    struct azure_identity identity;
    char *key;
    char *version; /* that wraps; NULL: the newest */
    enum azure_algorithm algorithm;
    struct access_token *token;
    pthread_mutex_t lock; /* over the next two */
    bool is_challenged;
    struct azure_challenge challenge;
};

struct azure_act {
    const char *operation;  /* "unwrapkey": the end of the path */
    const char *permission; /* "keys/unwrapKey": of access policies */
    const char *what;       /* "unwrap the data key" */
    const char *grant;      /* how the permission is given */
    bool opens;             /* a ciphertext */
};

enum azure_side { AZURE_EITHER_SIDE, AZURE_WHEN_OPENING, AZURE_WHEN_CLOSING };

/* `text` is to be found in Azure's codes or message; "" for any. The first row that fits is
 * taken. */
struct azure_refusal {
    long status; /* 0: the end of a table */
    const char *text;
    enum azure_side side;
    enum indexkey_cause cause;
    const char *why;
    const char *remedy; /* NULL: the act's grant */
};

/* For access_token_new: `context` is the struct azure. */
access_token_fetch azure_request_fetch;

/* One operation with the key. */
struct azure_operation {
    const struct azure_act *act;
    struct view version; /* empty: the newest */
    struct secret body;
};

/* What is read by a GET. */
struct azure_reading {
    const struct azure_act *act;
    const char *path;                     /* without a query */
    const char *resource;                 /* for log lines */
    const struct azure_refusal *refusals; /* its own, before the general ones */
};

void azure_operation_clear(struct azure_operation *operation);

/* CKR_OK: status 200, `*ret_result` to be cleared with http_result_clear. Everything else is logged
 * and has its cause. */
CK_RV azure_request_send(struct azure *azure, const struct source_call *call,
                         const struct azure_operation *operation, struct http_result *ret_result);
CK_RV azure_request_get(struct azure *azure, const struct source_call *call,
                        const struct azure_reading *reading, struct http_result *ret_result);
