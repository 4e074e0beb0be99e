/*
 * Parameters in Vault's key-value engine, version 2: MOUNT/PATH, with #FIELD behind it where the
 * field is not `ciphertext`. The mount is what stands before the first slash.
 */
#pragma once

#include "tokens/vault_request.h"

/* As source_ops.read_parameter, without the scheme. */
CK_RV vault_kv_read(const struct vault *vault, const struct source_call *call, const char *name,
                    struct secret *ret_value);
