/*
 * Forms (application/x-www-form-urlencoded) with secrets in them: "name=value&…", percent-encoded
 * into secret memory.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

struct azure_form_field {
    const char *name; /* goes as it is */
    struct view value;
};

/* CKR_HOST_MEMORY. */
CK_RV azure_form_make(const struct azure_form_field *fields, size_t count, struct secret *ret_form);
