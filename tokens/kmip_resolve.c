#include "tokens/kmip_resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

#include "base/alloc.h"
#include "tokens/apart.h"

struct lookup {
    struct apart apart;
    char *host;
    char *port;
    int result; /* of getaddrinfo */
    struct kmip_addresses addresses;
};

static void run(struct apart *apart)
{
    struct lookup *lookup = (struct lookup *) apart;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV,
    };
    struct addrinfo *found = NULL;
    lookup->result = getaddrinfo(lookup->host, lookup->port, &hints, &found);
    struct kmip_addresses *list = &lookup->addresses;
    for (const struct addrinfo *at = found; at != NULL && list->count < KMIP_ADDRESS_COUNT_MAX;
         at = at->ai_next) {
        struct kmip_address *address = &list->addresses[list->count];
        if (at->ai_addrlen > sizeof(address->bytes))
            continue;
        memcpy(&address->bytes, at->ai_addr, at->ai_addrlen);
        address->len = at->ai_addrlen;
        list->count++;
    }
    if (found != NULL)
        freeaddrinfo(found);
}

static void free_lookup(struct apart *apart)
{
    struct lookup *lookup = (struct lookup *) apart;
    mem_free(lookup->host);
    mem_free(lookup->port);
    mem_free(lookup);
}

bool kmip_is_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static CK_RV fail(const char **ret_why, const char *why)
{
    *ret_why = why;
    return CKR_FUNCTION_FAILED;
}

static CK_RV result_of(const struct lookup *lookup, struct kmip_addresses *ret_addresses,
                       const char **ret_why)
{
    if (lookup->result == EAI_MEMORY)
        return CKR_HOST_MEMORY;
    if (lookup->result != 0)
        return fail(ret_why, gai_strerror(lookup->result));
    if (lookup->addresses.count == 0)
        return fail(ret_why, "its name has no address");
    *ret_addresses = lookup->addresses;
    return CKR_OK;
}

/* The work is gone after a lookup that was left behind. */
static CK_RV look_up(struct lookup **lookup, const struct kmip_question *question,
                     struct kmip_addresses *ret_addresses, const char **ret_why)
{
    switch (apart_run(&(*lookup)->apart, question->deadline_ms, question->cancelled)) {
    case APART_DONE:
        return result_of(*lookup, ret_addresses, ret_why);
    case APART_NO_THREAD:
        return fail(ret_why, "no thread can be had to look its name up");
    default:
        *lookup = NULL;
        return fail(ret_why, "its name could not be resolved in time");
    }
}

static void end_lookup(struct lookup **lookup)
{
    if (*lookup != NULL)
        apart_free(&(*lookup)->apart);
}

CK_RV kmip_resolve(const struct kmip_question *question, struct kmip_addresses *ret_addresses,
                   const char **ret_why)
{
    _cleanup_(end_lookup) struct lookup *lookup = mem_calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return CKR_HOST_MEMORY;
    apart_init(&lookup->apart, run, free_lookup);
    lookup->host = mem_strdup(question->host);
    lookup->port = mem_strdup(question->port);
    if (lookup->host == NULL || lookup->port == NULL)
        return CKR_HOST_MEMORY;
    return look_up(&lookup, question, ret_addresses, ret_why);
}
