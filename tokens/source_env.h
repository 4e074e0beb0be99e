/*
 * `source = env`: the root key is the value of an environment variable, base64 of 32 bytes.
 */
#pragma once

#include "tokens/source.h"

extern const struct source_ops source_env_ops;
