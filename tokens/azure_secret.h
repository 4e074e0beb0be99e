/*
 * Ciphertexts of direct keys in the secrets of the token's own Key Vault.
 *
 *   secret:NAME            the newest version
 *   secret:NAME/VERSION    that version
 *
 * A Managed HSM has no secrets.
 */
#pragma once

#include "tokens/source.h"

#define AZURE_SECRET_SCHEMES "secret:"

/* read_parameter of struct source_ops: `source` is a struct azure. */
CK_RV azure_secret_read(struct source *source, const struct source_call *call, const char *place,
                        struct secret *ret_value);
