/*
 * The AWS credentials of one call, and its Region: the first place that has them.
 *
 *   credentials: the PIN under `login = credential`, alone; else the environment
 *     (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), unless the token's section
 *     names a profile; else the profile in ~/.aws/credentials, then in ~/.aws/config
 *   Region: the token's section or key ARN, AWS_REGION, AWS_DEFAULT_REGION, the profile
 *
 * All of it is read anew at every call and wiped after it, so that rotated keys are seen. The
 * environment of a process with raised privileges is not believed (secure_getenv).
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"
#include "tokens/aws_key.h"

#define AWS_ACCESS_KEY_ID_LEN_MAX 128
#define AWS_SESSION_TOKEN_LEN_MAX ((size_t) 16384)

/* From the configuration. */
struct aws_identity {
    const char *token;   /* the token's name, for log lines */
    const char *profile; /* NULL: AWS_PROFILE, then "default" */
    const char *region;  /* "": to be found */
};

/* Freed with aws_credentials_clear. */
struct aws_credentials {
    char access_key_id[AWS_ACCESS_KEY_ID_LEN_MAX + 1];
    struct secret secret_access_key;
    struct secret session_token; /* empty: none */
    char region[AWS_REGION_LEN_MAX + 1];
};

void aws_credentials_clear(struct aws_credentials *credentials);

/* None anywhere, or a PIN that is none, is CAUSE_CREDENTIAL; malformed, partial or unsafe ones, and
 * no Region, CAUSE_CONFIG. Logged, never with what was read. */
CK_RV aws_credentials_read(const struct aws_identity *identity, struct view pin,
                           struct aws_credentials *ret_credentials);
