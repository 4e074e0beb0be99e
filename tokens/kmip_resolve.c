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

static const char *result_of(const struct lookup *lookup, struct kmip_addresses *ret_addresses)
{
    if (lookup->result != 0)
        return gai_strerror(lookup->result);
    if (lookup->addresses.count == 0)
        return "its name has no address";
    *ret_addresses = lookup->addresses;
    return NULL;
}

const char *kmip_resolve(const char *host, const char *port, int64_t deadline_ms,
                         const atomic_bool *cancelled, struct kmip_addresses *ret_addresses)
{
    struct lookup *lookup = mem_calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return "no memory";
    apart_init(&lookup->apart, run, free_lookup);
    lookup->host = mem_strdup(host);
    lookup->port = mem_strdup(port);
    const char *why = "no memory";
    if (lookup->host != NULL && lookup->port != NULL) {
        switch (apart_run(&lookup->apart, deadline_ms, cancelled)) {
        case APART_DONE:
            why = result_of(lookup, ret_addresses);
            break;
        case APART_NO_THREAD:
            why = "no thread can be had";
            break;
        default:
            return "its name could not be resolved in time";
        }
    }
    apart_free(&lookup->apart);
    return why;
}
