/*
 * Addresses of a KMIP server's name. A resolver that hangs is left behind (tokens/apart.h).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/rv.h"

#define KMIP_ADDRESS_COUNT_MAX 8

struct kmip_address {
    struct sockaddr_storage bytes;
    socklen_t len;
};

struct kmip_addresses {
    struct kmip_address addresses[KMIP_ADDRESS_COUNT_MAX];
    size_t count;
};

struct kmip_question {
    const char *host;
    const char *port;
    int64_t deadline_ms;
    const atomic_bool *cancelled;
};

/* CKR_HOST_MEMORY; CKR_FUNCTION_FAILED, and why there are none, in words that live on. Not logged.
 */
CK_RV kmip_resolve(const struct kmip_question *question, struct kmip_addresses *ret_addresses,
                   const char **ret_why);
/* The text is an address, which needs no resolver. */
bool kmip_is_address(const char *host);
