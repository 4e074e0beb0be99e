/*
 * `source = kmip` at PyKMIP's server for a test program, by kmip_real.sh, which sets the variables.
 * Every failure ends the test.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

const char *real_kmip_variable(const char *name);
/* kms_settings: `key` is the Unique Identifier, `access` the client's certificate (by default
 * "client"). */
void real_kmip_configure(const struct kms_settings *settings);
/* By PyKMIP's own client (kmip_admin.py): what it prints, until the next; key may be "". */
const char *real_kmip_admin(const char *command, const char *key);
