/* `source = aws`: AWS KMS. */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_aws_ops;
