/*
 * Asking for an access token to the vault's resource: at Entra ID (OAuth 2.0 client credentials,
 * RFC 6749, 4.4), or at the endpoint of a managed identity.
 *
 * A refusal is told by Entra ID's AADSTS code; log lines have the code and our words, never the
 * server's.
 */
#pragma once

#include "tokens/access_token.h"
#include "tokens/azure_identity.h"
#include "tokens/source_http.h"

struct azure_token_request {
    const struct source_http *http; /* the vault's: token's name and client are taken */
    const struct azure_identity *identity;
    const struct azure_challenge *challenge;
};

/* One request. Failures are logged and have their cause. */
CK_RV azure_token_ask(const struct azure_token_request *request, const struct source_call *call,
                      struct access_token_grant *ret_grant);
