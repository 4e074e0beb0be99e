/* What Vault takes for names, for the `check` of configuration keys: NULL, or how a value must be.
 */
#pragma once

const char *vault_check_name(const char *value);
/* Names with slashes between them: a mount, a namespace. */
const char *vault_check_path(const char *value);
/* Text that goes to Vault as it stands: printable, without blanks. */
const char *vault_check_text(const char *value);
/* The name of an environment variable. */
const char *vault_check_variable(const char *value);
