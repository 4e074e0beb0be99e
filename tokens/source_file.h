/*
 * `source = file`: the root key is the content of a file, base64 of 32 bytes.
 */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_file_ops;
