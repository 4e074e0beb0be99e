/*
 * For the tests of direct keys by the thousand: a token that has them, and its login at a fake KMS
 * that takes no more than so many requests a second. One token at a time, by the fixtures of
 * kms_fixture.h.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

#define MANY_KEYS 1000

/* Initialises the token that is configured, and adds [key k0] to [key k999] with ciphertexts of the
 * fake, written behind `before`: "base64:". */
void many_keys_make(struct fake_service *fake, const char *before);
/* The section [key k`index`], up to the next, to be changed before the login. */
char *many_keys_section(int index);
/* C_Initialize to C_Login, which succeeds; prints what it cost. `rate` 0: any number. */
CK_SESSION_HANDLE many_keys_log_in(struct fake_service *fake, const char *name, int rate);
bool many_keys_is_shown(CK_SESSION_HANDLE session, int index);
int many_keys_count_shown(CK_SESSION_HANDLE session);
/* The error lines since the login. */
const char *many_keys_errors(void);
