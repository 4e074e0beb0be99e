/*
 * Bodies of the type application/x-www-form-urlencoded, as OAuth 2.0's token endpoints want them.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

struct http_form_field {
    const char *name;  /* of unreserved characters */
    struct view value; /* may be secret */
};

/* CKR_HOST_MEMORY, not logged. */
CK_RV http_form_encode(const struct http_form_field *fields, size_t count, struct secret *ret_form);
