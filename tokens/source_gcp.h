/* `source = gcp`: the root key is a symmetric key of Google Cloud KMS. See docs/sources-gcp.md. */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_gcp_ops;
