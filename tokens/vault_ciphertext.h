/* Transit's ciphertexts: "vault:v3:BASE64". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* A direct key may have another length than a data key; source_unwrap insists on that. */
#define VAULT_PLAINTEXT_LEN_MAX 1024

/* False for what is no ciphertext, or too long for one of a key. */
bool vault_ciphertext_version(struct view text, int64_t *ret_version);
