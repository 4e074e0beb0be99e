/*
 * One key as the commands show it.
 */
#pragma once

#include "tools/output.h"
#include "tools/token.h"

#define KEY_TEXT_COLUMNS "label id kind bits state version subkeys"

/* Its values, into the open record. Failures are told by failure.h. */
CK_RV key_text_show(const struct token *token, CK_OBJECT_HANDLE key, struct output *output);
