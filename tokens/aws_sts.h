/*
 * Roles by AWS STS: AssumeRole and AssumeRoleWithWebIdentity (Query API, version 2011-06-15).
 */
#pragma once

#include "tokens/aws_request.h"

/* What every fetch of temporary credentials needs. */
struct aws_fetch {
    struct aws *aws;
    const struct source_call *call;
    const char *region;
};

/* `credentials` sign, and are then the role's. `*ret_lifetime_s` is 0 for those that have ended
 * already. Logged, with the cause. */
CK_RV aws_sts_assume(const struct aws_fetch *fetch, const struct aws_role *role,
                     struct aws_credentials *credentials, int64_t *ret_lifetime_s);
/* The file has the web identity: a JWT of Kubernetes or another identity provider. */
CK_RV aws_sts_assume_by_file(const struct aws_fetch *fetch, const struct aws_role *role,
                             const char *path, struct aws_credentials *credentials,
                             int64_t *ret_lifetime_s);

/* By the service's clock where the reply tells it, else by ours; 0 when it has passed. */
int64_t aws_sts_lifetime_s(const struct http_result *result, int64_t expires_s);
