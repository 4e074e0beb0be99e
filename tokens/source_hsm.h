/* `source = hsm`: the root key is a key of a parent PKCS #11 token (docs/sources-hsm.md). */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_hsm_ops;
