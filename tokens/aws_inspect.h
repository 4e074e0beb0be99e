/* What AWS KMS says of a key: DescribeKey and GetKeyRotationStatus, which may be refused alone. */
#pragma once

#include "tokens/aws_session.h"

/* `arn` is the key's that wrapped; empty: the configured one, in the Region of its own. */
CK_RV aws_inspect_key(struct aws *aws, const struct source_call *call, struct view arn,
                      struct source_inspection *ret_inspection);
