/* What Google Cloud KMS says of a key and of one of its versions. */
#pragma once

#include "tokens/gcp_request.h"

/* `version` is the full name of the one that wrapped, of the configured key; empty: the primary one
 * is looked at. */
CK_RV gcp_inspect_key(struct gcp *gcp, const struct source_call *call, struct view version,
                      struct source_inspection *ret_inspection);
