/*
 * Replicas of a multi-Region key (`replicas`): asked in their order when the key's own Region
 * cannot be reached. Never when somebody answered: a denial counts, wherever it was given.
 */
#pragma once

#include "tokens/aws_exchange.h"

#define AWS_REPLICA_COUNT_MAX 8

struct aws_replica {
    char region[AWS_REGION_LEN_MAX + 1];
    char *endpoint; /* NULL: the Region's own */
};

/* For the `check` of the key: NULL, or how it must be. */
const char *aws_replicas_fault(const char *value);
/* A value that has no fault. Freed with aws_replicas_free. CKR_HOST_MEMORY, not logged. */
CK_RV aws_replicas_read(const char *value, struct aws *aws);
void aws_replicas_free(struct aws *aws);

/* The request's body for the key in that Region; "" is the key's own. */
typedef CK_RV aws_replicas_compose(void *context, const char *region, struct secret *ret_body);

/* As aws_exchange_send, in the Region of `exchange`, then in the replicas'. Each Region has its
 * part of the time that is left. */
CK_RV aws_replicas_send(struct aws_exchange *exchange, const struct aws_act *act,
                        aws_replicas_compose *compose, void *context,
                        struct http_result *ret_result);
