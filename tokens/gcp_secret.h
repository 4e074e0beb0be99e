/*
 * Ciphertexts of direct keys in Google Secret Manager.
 *
 *   secretmanager:NAME                  the latest version of a secret of the token's project
 *   secretmanager:NAME/versions/V       that version, by its number or an alias
 *   secretmanager:projects/P/secrets/NAME[/versions/V]    of another project
 *
 * Its access token is of the scope cloud-platform, since Google has no narrower one for it, and is
 * asked for only where a key needs it.
 */
#pragma once

#include "tokens/source.h"

#define GCP_SECRET_SCHEMES "secretmanager:"
#define GCP_SECRET_ENDPOINT "https://secretmanager.googleapis.com"

/* For the `check` of the configuration key: NULL, or how it must be. */
const char *gcp_secret_endpoint_fault(const char *value);

/* read_parameter of struct source_ops: `source` is a struct gcp. */
CK_RV gcp_secret_read(struct source *source, const struct source_call *call, const char *place,
                      struct secret *ret_value);
