/*
 * The `pkcs11:` URI (RFC 7512) of a parent HSM's wrapping key: which module, which token of it,
 * which key, and where the PIN stands.
 *
 * Read by libp11-kit's parser, whose uri functions take no lock of p11-kit's: they may be called
 * while the host holds it, in C_Initialize too.
 */
#pragma once

#include "include/cryptoki.h"

#include <p11-kit/uri.h>

#include "base/rv.h"

#define HSM_ID_LEN_MAX 255

struct hsm_uri {
    P11KitUri *parsed;
    char *module;   /* path of the parent's module */
    char *pin_file; /* by pin-source; NULL: none */
};

/* For the `check` of the configuration key: NULL, or how the URI must be. */
const char *hsm_uri_fault(const char *text);
/* Of a text without fault. Freed with hsm_uri_clear. CKR_HOST_MEMORY, not logged. */
CK_RV hsm_uri_read(const char *text, struct hsm_uri *ret_uri);
/* For a struct that is all zero too. */
void hsm_uri_clear(struct hsm_uri *uri);

/* An attribute of the key that the URI names: NULL when it does not. */
const CK_ATTRIBUTE *hsm_uri_attribute(const struct hsm_uri *uri, CK_ATTRIBUTE_TYPE type);
