/* `source = kmip`: a key of a KMIP server (docs/sources-kmip.md). */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_kmip_ops;
