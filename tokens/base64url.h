/*
 * Base64url (RFC 4648, 5) into secret memory. The other way is jwt_assertion_base64url.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

/* min_len to max_len bytes; padding is taken, and the standard alphabet too. CKR_DATA_INVALID, not
 * logged. Constant time in the content. */
CK_RV base64url_decode(struct view text, size_t min_len, size_t max_len, struct secret *ret_bytes);
