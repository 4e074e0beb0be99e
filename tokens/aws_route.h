/*
 * How one call comes to AWS credentials, and its Region: the first place that has them.
 *
 *   1. the PIN under `login = credential`, alone
 *   2. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN  } unless the token's section
 *   3. AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN                 } names a profile
 *   4. the profile in ~/.aws/credentials, then in ~/.aws/config: role_arn (with source_profile,
 *      credential_source or web_identity_token_file), keys, credential_process
 *   5. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, _FULL_URI  } unless the token's section names a
 *   6. the instance's metadata service                    } profile
 *
 * role_arn of the token's section is assumed last, with what was found. The Region is the token's
 * section's or key ARN's, AWS_REGION, AWS_DEFAULT_REGION, the profile's.
 *
 * Only the environment and the two files are read here, anew at every call, so that rotated keys
 * are seen. The environment of a process with raised privileges is not believed (secure_getenv).
 */
#pragma once

#include "base/crypto.h"
#include "tokens/aws_credentials.h"

#define AWS_ROLE_COUNT_MAX 4
#define AWS_ROUTE_MARK_SIZE (2 * SHA256_LEN + 1)
#define AWS_ROLE_DURATION_S 3600
#define AWS_ROLE_DURATION_MIN_S 900 /* as STS bounds it */
#define AWS_ROLE_DURATION_MAX_S 43200

/* NULL: not set. */
struct aws_role {
    char *arn;
    char *external_id;
    char *session_name;
    int64_t duration_s;
};

/* From the configuration. */
struct aws_identity {
    const char *token;    /* the token's name, for log lines */
    const char *profile;  /* NULL: AWS_PROFILE, then "default" */
    const char *region;   /* "": to be found */
    struct aws_role role; /* its arn NULL: none is assumed */
};

enum aws_base {
    AWS_BASE_KEYS,
    AWS_BASE_WEB_IDENTITY, /* `where` is the token's file, for the first of the roles */
    AWS_BASE_PROCESS,      /* `where` is the command */
    AWS_BASE_CONTAINER,    /* `where` is the URL */
    AWS_BASE_INSTANCE,     /* `where` is the metadata service */
};

/* Freed with aws_route_clear. */
struct aws_route {
    enum aws_base base;
    char *where;
    struct aws_credentials keys;               /* AWS_BASE_KEYS; of the others, the Region alone */
    struct aws_role roles[AWS_ROLE_COUNT_MAX]; /* in the order in which they are assumed */
    size_t role_count;
};

void aws_route_clear(struct aws_route *route);
void aws_role_clear(struct aws_role *role);

/* For the `check` of configuration keys: NULL, or how it must be. */
const char *aws_role_arn_fault(const char *arn);
const char *aws_role_external_id_fault(const char *external_id);
const char *aws_role_session_name_fault(const char *name);

/* None anywhere is CAUSE_CONFIG, and a PIN that is none CAUSE_CREDENTIAL; malformed, partial or
 * unsafe ones, and no Region, CAUSE_CONFIG. Logged, never with what was read. */
CK_RV aws_route_find(const struct aws_identity *identity, struct view pin,
                     struct aws_route *ret_route);

/* The environment's value, NULL where it is not set or empty. */
const char *aws_route_variable(const char *name);

/* The keys alone serve: nothing needs to be fetched. */
bool aws_route_is_direct(const struct aws_route *route);

/* A digest of all that is in the route, in hexadecimal. CKR_FUNCTION_FAILED; logged. */
CK_RV aws_route_mark(const struct aws_route *route, char ret_mark[AWS_ROUTE_MARK_SIZE]);
