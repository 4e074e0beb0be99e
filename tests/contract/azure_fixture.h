/*
 * For the tests of `source = azure`: kms_fixture.h with a fake Key Vault, Managed HSM and Entra ID
 * (tests/servers/fake_azure.py), and an environment without any other credentials of Azure.
 *
 * The fake's names end in .here: hang_dns.c finds them on loopback. Its python3 has the packages of
 * tests/servers/azure.sh.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

#define AZURE_VAULT_HOST "vectors.vault.here"
#define AZURE_HSM_HOST "vectors.managedhsm.here"
#define AZURE_KEY_GOOD "index-keys"
#define AZURE_TENANT_GOOD "72f988bf-86f1-41af-91ab-2d7cd011db47"
#define AZURE_CLIENT_GOOD "11112222-3333-4444-5555-666677778888"
#define AZURE_SECRET_GOOD "good~Secret+/.value"
#define AZURE_HEADER_GOOD "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"

/* As the `addr` of settings: the HSM of the fake. */
#define AZURE_AT_HSM "hsm"

/* Canonical contexts of a token `vectors`, of one `other`, and none. */
extern const struct view azure_context;
extern const struct view azure_context_other;
extern const struct view azure_context_none;

/* Writes the configuration file and sets the environment: the client secret is in its variable
 * (settings->secret, "": not set). */
void azure_configure(struct fake_service *fake, const struct kms_settings *settings);
struct source *azure_open(struct fake_service *fake, const struct kms_settings *settings);

void azure_start(struct fake_service *fake);
