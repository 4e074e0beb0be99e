/*
 * The assertion by which an application with a certificate logs in to Entra ID: a JWT signed with
 * the certificate's key (RFC 7523, 3), which names the certificate by its SHA-256 (RFC
 * 7515, 4.1.8).
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#define AZURE_PEM_LEN_MAX ((size_t) 32768)

/* `pem` has the certificate (the first one counts) and its key, in either order. CKR_DATA_INVALID,
 * not logged: it has not. Other failures are logged. */
CK_RV azure_assertion_make(struct view pem, const char *client, const char *audience,
                           struct secret *ret_assertion);
