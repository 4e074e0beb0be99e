/*
 * A module that derives and has an RSA key pair: the built module, loaded beside the one in the
 * test program, behind a table of functions that adds the pair in software. SoftHSM has the pair
 * and does not derive.
 */
#pragma once

#include <openssl/evp.h>

#include "include/cryptoki.h"

#define OTHER_HSM_LABEL "import" /* of the pair */

/* The table of functions alone, over a loaded module. Takes the pair. */
void other_hsm_wrap(CK_FUNCTION_LIST *inner, EVP_PKEY *key, CK_FUNCTION_LIST **ret_functions);

/* Loaded and initialised with the configuration at `conf`; a token, its user logged in. */
void other_hsm_open(const char *conf, CK_FUNCTION_LIST **ret_functions,
                    CK_SESSION_HANDLE *ret_session);
void other_hsm_close(void);
/* SHA-256 of the SubjectPublicKeyInfo, 64 digits. */
void other_hsm_fingerprint(char ret_text[65]);
