/*
 * Key Vault's challenge: the WWW-Authenticate header of a request without a token (RFC 6750, 3)
 * names the vault's tenant and the resource that a token must be for. No I/O.
 *
 *   Bearer authorization="https://login.microsoftonline.com/TENANT",
 * resource="https://vault.azure.net"
 *
 * Whoever answers for the vault could name another service's resource and use the token there. So
 * the vault's host must lie within the resource's domain, as Azure's own clients insist. Of
 * `authorization` the tenant alone is taken, never the host: credentials go to the configured
 * authority.
 */
#pragma once

#include "tokens/azure_key.h"

#define AZURE_RESOURCE_LEN_MAX 255

struct azure_challenge {
    char tenant[AZURE_TENANT_LEN_MAX + 1];
    char resource[AZURE_RESOURCE_LEN_MAX + 1]; /* without a slash at its end */
};

/* NULL, or what is wrong with it, in our words. */
const char *azure_challenge_read(const char *header, const char *vault_url,
                                 struct azure_challenge *ret_challenge);
