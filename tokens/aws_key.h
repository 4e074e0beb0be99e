/*
 * Names of AWS KMS keys: a key's id or ARN, an alias or its ARN; ARNs of other services. No I/O.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

/* As AWS bounds the KeyId of a request. */
#define AWS_KEY_LEN_MAX 2048
#define AWS_REGION_LEN_MAX 32

/* For the `check` of configuration keys: NULL, or how it must be. */
const char *aws_key_fault(const char *key);
const char *aws_region_fault(const char *region);

bool aws_region_is_valid(struct view region);

/* arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, taken apart. */
struct aws_arn {
    struct view partition;
    struct view region;
    struct view account;
    struct view resource;
};

/* False: malformed, or of another service. */
bool aws_arn_read(struct view text, const char *service, struct aws_arn *ret_arn);

/* Of an ARN; empty for other names. */
struct view aws_key_region(const char *key);
bool aws_key_is_alias(const char *key);

/* By id or ARN, of a key that may have replicas in other Regions. */
bool aws_key_is_multi_region(const char *key);
/* The same multi-Region key in that Region. Freed with mem_free; NULL when memory is short. */
char *aws_key_in_region(const char *key, const char *region);

/* arn:PARTITION:kms:REGION:ACCOUNT:key/ID */
bool aws_key_is_key_arn(struct view text);

/* Whether this key ARN is what was configured: it is that ARN, has that id, or is the same
 * multi-Region key elsewhere. An alias says only where its key is: an alias ARN names partition,
 * Region and account, a bare alias nothing. */
bool aws_key_matches(const char *configured, struct view arn);
