/*
 * Between aws_route.c and aws_route_roles.c.
 */
#pragma once

#include "tokens/aws_route.h"

/* As a profile or the environment has them. */
struct aws_role_views {
    struct view arn;
    struct view external_id;
    struct view session_name;
    struct view duration;
};

CK_RV aws_route_fail_memory(const char *token);
/* `place` names the profile or the variable. A malformed role and one too many are CAUSE_CONFIG. */
CK_RV aws_route_add_role(const char *token, const char *place, const struct aws_role_views *views,
                         struct aws_route *route);
CK_RV aws_route_copy_role(const struct aws_identity *identity, struct aws_route *route);
void aws_route_reverse_roles(struct aws_route *route);
