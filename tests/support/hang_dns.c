#include "tests/support/hang_dns.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static atomic_int waiting;

int hang_dns_waiting(void)
{
    return atomic_load(&waiting);
}

static bool ends_with(const char *name, const char *end)
{
    size_t name_len = name == NULL ? 0 : strlen(name);
    size_t end_len = strlen(end);
    return name_len > end_len && strcmp(name + name_len - end_len, end) == 0;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict ret_list)
{
    /* ISO C has no way to say this cast. */
    union {
        void *object;
        resolver *function;
    } next = {.object = dlsym(RTLD_NEXT, "getaddrinfo")};
    if (ends_with(name, ".hang")) {
        atomic_fetch_add(&waiting, 1);
        for (;;)
            (void) pause();
    }
    if (ends_with(name, ".absent"))
        return EAI_NONAME;
    if (ends_with(name, ".here"))
        name = "127.0.0.1";
    return next.function(name, service, hints, ret_list);
}
