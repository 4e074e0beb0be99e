/*
 * For the tests of `source = vault`: a fake Vault over TLS (tests/servers/fake_vault.py), tokens
 * that are configured for it, and logins through the C_* functions of the static library.
 */
#pragma once

#include <stdatomic.h>

#include "include/cryptoki.h"
#include "tests/support/fake_service.h"
#include "tests/support/token_fixture.h"

#define VAULT_TOKEN_GOOD "good-token"
#define VAULT_VARIABLE "INDEXKEY_TEST_VAULT_TOKEN"

/* One token's configuration; NULL and 0 are defaults that work. */
struct vault_settings {
    const char *addr;  /* the fake's */
    const char *ca;    /* "ca.pem", in the fake's folder of certificates; "/…": that file */
    const char *token; /* value of the environment variable; "": not set */
    const char *more;  /* lines */
    const char *key;   /* "index-keys" */
    int deadline_ms;   /* 5000 */
};

/* Writes the configuration file, sets the variable. */
void vault_configure(struct fake_service *fake, const struct vault_settings *settings);
/* The source of that configuration. */
CK_RV vault_try_open(struct source **ret_source);
struct source *vault_open(struct fake_service *fake, const struct vault_settings *settings);

/* A call with that context, to end after the settings' deadline. */
struct source_call vault_call(const struct vault_settings *settings, const char *context);

/* A checked fixture, to be added before fixture_run: the first C_Initialize of a process takes what
 * it finds for a forked parent's and leaves it behind, which must not be fixture_setup's work. */
void vault_first_call(void);
/* C_InitToken, the PINs FIXTURE_SO_PIN and FIXTURE_PIN (under login = pin), C_Finalize. */
void vault_init_token(void);
/* C_Initialize to C_Finalize around one C_Login of the user; the cause is ulDeviceError's. */
CK_RV vault_login(const char *pin, enum indexkey_cause *ret_cause);
