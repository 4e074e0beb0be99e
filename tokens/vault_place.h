/*
 * Where a credential for Vault is: a file or an environment variable.
 *
 * Both are read anew at every need and wiped after it, so that Vault Agent or Kubernetes may
 * replace them at any time. One that is missing or unfit is CAUSE_CONFIG: nobody at Vault refused
 * anything, so that a lease is not ended by a file that is being replaced.
 */
#pragma once

#include <sys/types.h>

#include "tokens/source.h"

#define VAULT_TEXT_LEN_MAX 8192

/* One of the two is NULL. They belong to who has this struct; the rest are literals. */
struct vault_place {
    char *variable;
    char *file;
    const char *what;     /* "Vault token" */
    const char *file_key; /* of the configuration: "vault_token_file" */
    mode_t refused;       /* permission bits that the file must not have */
    bool follows_links;
};

/* It goes into a header or a JSON text: printable, without blanks, not too long. */
bool vault_place_is_fit(struct view text);
/* Failures are logged with the name of the token section, never with what was read. */
CK_RV vault_place_read(const char *section, const struct vault_place *place,
                       struct secret *ret_text);
