/*
 * An access token for a Google credential: for a service account's key by a JWT that the key signs
 * (RFC 7523), for a user by the refresh token, for a federation by its subject token
 * (gcp_federation.h), for a machine of Google's by its metadata server.
 */
#pragma once

#include "tokens/gcp_grant.h"

/* Failures are logged, with their cause; `*ret_grant` is then untouched. */
CK_RV gcp_token_ask(const struct gcp_ask *ask, struct access_token_grant *ret_grant);
