/*
 * One profile of an AWS credentials or config file (~/.aws/credentials, ~/.aws/config).
 *
 * The reader knows what those files are: [sections], `key = value`, comments, and indented lines
 * that belong to the key before, which it leaves alone. What it does not know it passes over, as
 * the AWS tools do; of a key that comes twice the later one counts.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/secret.h"

#define AWS_PROFILE_FILE_LEN_MAX ((size_t) 256 << 10)

/* Freed with aws_profile_clear. The views point into `text`, and are empty where nothing is set. */
struct aws_profile {
    struct secret text;
    struct view access_key_id;
    struct view secret_access_key;
    struct view session_token;
    struct view region;
    struct view role_arn;
    struct view source_profile;
    struct view credential_source;
    struct view external_id;
    struct view role_session_name;
    struct view duration_seconds;
    struct view web_identity_token_file;
    struct view credential_process;
};

enum aws_profile_file {
    AWS_CREDENTIALS_FILE, /* its sections are [NAME] */
    AWS_CONFIG_FILE,      /* its sections are [profile NAME], and [default] */
};

void aws_profile_clear(struct aws_profile *profile);

/* All empty when there is no such file or profile. A file that others may write, or one with a
 * secret that others may read, is CAUSE_CONFIG; logged with the token's name. */
CK_RV aws_profile_read(const char *token, enum aws_profile_file kind, const char *path,
                       const char *name, struct aws_profile *ret_profile);

/* The text alone, without I/O: the views of `name` in it. What the profile has already, and the
 * text has not, stays. */
void aws_profile_parse(enum aws_profile_file kind, struct view text, const char *name,
                       struct aws_profile *profile);
