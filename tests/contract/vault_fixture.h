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
