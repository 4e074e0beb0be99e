/*
 * `indexkey migrate`: an index key on another module that derives as this one does
 * (CKM_SP800_108_COUNTER_KDF), under its label and id. It goes wrapped to the other module's RSA
 * key, which `migrate_to` pins, and is not extractable there. Modules that cannot derive get the
 * subkeys (tools/provision.h).
 */
#pragma once

#include "tools/provision.h"

/* CKR_MECHANISM_INVALID, logged, when the other module does not derive. */
CK_RV migrate_transfer(const struct provision_job *job);
/* Both sides derive each purpose, and the derived keys are compared as by
 * provision_check. */
CK_RV migrate_check(const struct provision_job *job);
