/*
 * The credentials of one call: those of its route (aws_route.h), or temporary ones that are fetched
 * on it: from a command, a metadata service, and from STS for each role.
 *
 * What was fetched is kept for all calls on the same route and fetched anew shortly before it ends,
 * by one thread at a time (access_token.h). Nothing is kept that comes from a PIN.
 */
#pragma once

#include "tokens/aws_request.h"

/* Begins with zeros, freed with aws_session_clear. */
struct aws_session {
    struct aws_credentials credentials;
    struct secret kept; /* as access_token.h keeps them; empty: they are not kept */
};

void aws_session_clear(struct aws_session *session);

/* Failures are logged, with their cause. */
CK_RV aws_session_get(struct aws *aws, const struct source_call *call, struct aws_session *session);
/* KMS has refused them. Fetches others where these were kept; `*ret_changed` tells whether others
 * came. The Region stays. */
CK_RV aws_session_renew(struct aws *aws, const struct source_call *call,
                        struct aws_session *session, bool *ret_changed);

/* For access_token_new, with the source as its context. */
CK_RV aws_session_fetch(void *context, const struct source_call *call,
                        struct access_token_grant *ret_grant);
