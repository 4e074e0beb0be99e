/*
 * Direct keys from section to use, whichever the source: it wraps a key that is known here, a login
 * shows it, and what was encrypted under it without the token is decrypted by it. Twice, as after a
 * restart.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

/* The value of the direct keys. */
#define DIRECT_LOGIN_KEY "thirty-two bytes of a direct key"

/* Configures the token of the test, with these lines at the end. */
typedef void direct_login_configure(const char *more);

/* `source` wraps; `bare` is a ciphertext of DIRECT_LOGIN_KEY by the service's own hand, empty where
 * there is none. A third key, whose ciphertext was changed, hides only itself. */
void direct_login_check(struct source *source, struct view bare, direct_login_configure *configure);
