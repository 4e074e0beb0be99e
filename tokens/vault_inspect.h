/* What Vault says of a transit key. */
#pragma once

#include "tokens/vault_request.h"

/* `version` is the one that wrapped; 0: none did. */
CK_RV vault_inspect_key(const struct vault *vault, const struct source_call *call, int64_t version,
                        struct source_inspection *ret_inspection);
