/*
 * The token of the NSS test, in a file of its own: NSS's PKCS #11 header and ours do not go into
 * one translation unit.
 */
#pragma once

#define NSS_TOKEN_PIN "user-pin-1234"
#define NSS_TOKEN_KEY "payload key"

/* A configuration, and an initialised token "test" that holds an AES-256 token key, NSS_TOKEN_KEY;
 * finalised then. For checked fixtures. */
void nss_token_make(void);
void nss_token_remove(void);
