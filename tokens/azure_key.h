/*
 * Names in Azure: keys, their versions, tenants, the algorithms. No I/O.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

#define AZURE_NAME_LEN_MAX 127
#define AZURE_VERSION_LEN_MAX 64
#define AZURE_TENANT_LEN_MAX 127

enum azure_algorithm {
    AZURE_RSA_OAEP_256,
    AZURE_A256KW,  /* Managed HSM */
    AZURE_A256GCM, /* Managed HSM; the only one that binds a context itself */
};
#define AZURE_ALGORITHM_COUNT 3
#define AZURE_ALGORITHM_NAMES "RSA-OAEP-256 A256KW A256GCM" /* in their order */

const char *azure_algorithm_name(enum azure_algorithm algorithm);
bool azure_algorithm_read(struct view name, enum azure_algorithm *ret_algorithm);

/* For the `check` of configuration keys: NULL, or how it must be. */
const char *azure_key_name_fault(const char *name);
const char *azure_key_version_fault(const char *version);
const char *azure_tenant_fault(const char *tenant);

bool azure_key_is_name(struct view name);
bool azure_key_is_version(struct view version);
/* Key Vault takes names for equal that differ in case. */
bool azure_key_names_equal(struct view name, struct view other);
bool azure_tenant_is_valid(struct view tenant);
/* A tenant may have names besides its GUID, so that two GUIDs alone can contradict each other. */
bool azure_tenants_differ(const char *tenant, const char *other);

/* Of "https://HOST/keys/NAME/VERSION", or of a secret ("/secrets/"): views into it. */
struct azure_key_id {
    struct view name;
    struct view version;
};

/* False: malformed, or of another vault than the one at that URL. */
bool azure_key_id_read(const char *text, const char *vault_url, struct azure_key_id *ret_id);
bool azure_secret_id_read(const char *text, const char *vault_url, struct azure_key_id *ret_id);
