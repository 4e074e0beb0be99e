/*
 * Attributes of one object, by C_GetAttributeValue. Failures are told by failure.h.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "tools/token.h"

/* Freed with blob_clear. An attribute that the object has not is an empty one. */
CK_RV object_bytes(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                   struct blob *ret_value);
/* `fallback` where the object has no such attribute. */
CK_RV object_number(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                    CK_ULONG fallback, CK_ULONG *ret_value);
CK_RV object_flag(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                  bool *ret_value);
