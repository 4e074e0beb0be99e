/* What Azure Key Vault, or Managed HSM, says of a key and of one of its versions. */
#pragma once

#include "tokens/azure_request.h"

/* `version` is the one that wrapped; empty: the newest is looked at. */
CK_RV azure_inspect_key(struct azure *azure, const struct source_call *call, struct view version,
                        struct source_inspection *ret_inspection);
