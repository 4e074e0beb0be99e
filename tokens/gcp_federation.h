/*
 * Workload identity federation (a credentials file of the type external_account): a token of
 * another identity provider, from a file or an address, for one of Google's Security Token Service,
 * and that, if the file says so, for one of a service account.
 */
#pragma once

#include "tokens/gcp_grant.h"

/* As gcp_token_ask. */
CK_RV gcp_federation_ask(const struct gcp_ask *ask, struct access_token_grant *ret_grant);
