/* Many ciphertexts in one request to transit's `decrypt`. */
#pragma once

#include "tokens/vault_request.h"

/* As source_ops.unwrap_many. */
CK_RV vault_batch_unwrap(const struct vault *vault, const struct source_call *call,
                         struct source_item *items, size_t count);
