/*
 * The Vault token of one call: the credential that came with it, else the one in the configured
 * file or environment variable.
 *
 * File and variable are read anew at every call and wiped after it, so that Vault Agent may replace
 * the token at any time. One that is missing or unfit is CAUSE_CONFIG: nobody at Vault refused
 * anything, so that a lease is not ended by a file that is being replaced.
 */
#pragma once

#include "tokens/source.h"

#define VAULT_TOKEN_LEN_MAX 8192

/* Where the ambient token is: one of the two is NULL. */
struct vault_token_place {
    char *variable;
    char *file;
};

/* Failures are logged with the name of the token section, never with what was read. */
CK_RV vault_token_read(const char *section, const struct vault_token_place *place,
                       const struct source_call *call, struct secret *ret_token);
