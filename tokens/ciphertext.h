/*
 * Where the ciphertext of a direct key stands: `ciphertext =` of a [key] section. It is read each
 * time it is needed, so that a file that was rotated is seen.
 *
 *   base64:TEXT   the bytes that the source made, in base64
 *   vault:vN:…    Vault's own text, as it stands
 *   env:NAME      a variable, file:/PATH a file, with either form in it; a file may also have the
 *                 bytes as they are
 *   kv:… ssm:…    a parameter of the source's own service, with either form in it, or, where it
 *                 holds bytes, the bytes as they are (also secretsmanager:, secretmanager:,
 * secret:)
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/secret.h"

/* A ciphertext of AWS KMS has at most 6,144 bytes, that of Vault's transit 4,096 here. */
#define CIPHERTEXT_LEN_MAX 16384

/* For log lines: the [key] section and its token. */
struct ciphertext_owner {
    const char *token;
    const char *key;
};

/* For the `check` of the configuration key: NULL, or how the value must be. */
const char *ciphertext_fault(const char *place);

/* It is a parameter's, which only the source can read. */
bool ciphertext_is_parameter(const char *place);
/* What the source read there. As ciphertext_read. */
CK_RV ciphertext_from_parameter(const struct ciphertext_owner *owner, struct view value,
                                struct secret *ret_ciphertext);

/* `place` is the configured value, not a parameter's. A ciphertext is not secret; a struct secret
 * is what the readers of small files give. Freed with secret_clear. INDEXKEY_CAUSE_CONFIG, _SERVER;
 * logged. */
CK_RV ciphertext_read(const struct ciphertext_owner *owner, const char *place,
                      struct secret *ret_ciphertext);
