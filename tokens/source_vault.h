/* `source = vault`: the transit engine of HashiCorp Vault and OpenBao. */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_vault_ops;
