/* For the tests of `source = vault`: kms_fixture.h with a fake Vault (tests/servers/fake_vault.py).
 */
#pragma once

#include "tests/contract/kms_fixture.h"

#define VAULT_TOKEN_GOOD "good-token"
#define VAULT_VARIABLE "INDEXKEY_TEST_VAULT_TOKEN"

/* Writes the configuration file, sets the variable. */
void vault_configure(struct fake_service *fake, const struct kms_settings *settings);
struct source *vault_open(struct fake_service *fake, const struct kms_settings *settings);

void vault_start(struct fake_service *fake);

#define VAULT_CONTEXT "context"

/* A source of these settings, at a Vault as it was saved, with something of VAULT_CONTEXT to
 * unwrap; ended by vault_end. */
struct source *vault_begin(struct fake_service *fake, const struct kms_settings *settings,
                           struct blob *ret_wrapped);
void vault_end(struct source *source, struct blob *wrapped);
/* "": without a credential. */
CK_RV vault_unwrap_as(struct source *source, const char *pin, const struct blob *wrapped);
/* "logins", "renewals" or "unwraps" that the fake has seen. */
int vault_auth_count(struct fake_service *fake, const char *what);
