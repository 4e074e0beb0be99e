/*
 * The list of keys that were destroyed and can be had back.
 */
#pragma once

#include "tools/output.h"
#include "tools/token.h"

/* A list `pending` in the document. Failures are told by failure.h. */
CK_RV pending_show(const struct token *token, struct output *output);
