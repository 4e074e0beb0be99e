/*
 * Credentials of the machine's role: the container's (ECS, EKS Pod Identity) and the instance's
 * (EC2's metadata service, version 2 alone: version 1 gives them to whoever can make a process on
 * the machine send a GET).
 */
#pragma once

#include "tokens/aws_sts.h"

/* Logged, with the cause. `*ret_lifetime_s` is 0 for those that have ended already. */
CK_RV aws_metadata_ask_container(const struct aws_fetch *fetch, const char *url,
                                 struct aws_credentials *credentials, int64_t *ret_lifetime_s);
CK_RV aws_metadata_ask_instance(const struct aws_fetch *fetch, const char *endpoint,
                                struct aws_credentials *credentials, int64_t *ret_lifetime_s);
