/* `source = azure`: a key of Azure Key Vault or Managed HSM. */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_azure_ops;
