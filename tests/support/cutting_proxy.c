#include "tests/support/cutting_proxy.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static int server_port;
static atomic_int planned; /* enum cut */
static atomic_uint cuts;
static atomic_bool is_away;
static atomic_bool is_silent;
static char wanted[64]; /* a Bind message's statement name between its NULs */
static size_t wanted_len;
static bool away_after;

struct pair {
    int client;
    int server;
};

static int make_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t) port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool pass(int from, int to, bool is_request, bool *ret_cut_after)
{
    char buffer[65536];
    ssize_t len = recv(from, buffer, sizeof(buffer), 0);
    if (len <= 0)
        return false;
    int cut = atomic_load(&planned);
    if (is_request && cut != CUT_NOTHING &&
        memmem(buffer, (size_t) len, wanted, wanted_len) != NULL &&
        atomic_compare_exchange_strong(&planned, &cut, CUT_NOTHING)) {
        atomic_store(&is_away, away_after);
        atomic_fetch_add(&cuts, 1);
        if (cut == CUT_SILENT)
            atomic_store(&is_silent, true);
        if (cut != CUT_AFTER)
            return cut == CUT_SILENT;
        *ret_cut_after = true;
    }
    return atomic_load(&is_silent) || send(to, buffer, (size_t) len, MSG_NOSIGNAL) == len;
}

static void *carry(void *context)
{
    struct pair pair = *(struct pair *) context;
    free(context);
    struct pollfd ends[2] = {{pair.client, POLLIN, 0}, {pair.server, POLLIN, 0}};
    bool cut_after = false;
    bool goes_on = true;
    while (goes_on && poll(ends, 2, -1) > 0) {
        if (ends[1].revents != 0 && cut_after)
            break;
        if (ends[0].revents != 0)
            goes_on = pass(pair.client, pair.server, true, &cut_after);
        if (goes_on && ends[1].revents != 0 && !cut_after)
            goes_on = pass(pair.server, pair.client, false, &cut_after);
    }
    (void) close(pair.client);
    (void) close(pair.server);
    return NULL;
}

static void *serve(void *context)
{
    (void) context;
    for (;;) {
        struct pair pair = {accept(listener, NULL, NULL), make_socket()};
        struct sockaddr_in address = loopback(server_port);
        pthread_t thread;
        if (pair.client < 0 || atomic_load(&is_away) ||
            connect(pair.server, (struct sockaddr *) &address, sizeof(address)) != 0) {
            (void) close(pair.client);
            (void) close(pair.server);
            continue;
        }
        struct pair *kept = malloc(sizeof(*kept));
        *kept = pair;
        ck_assert_int_eq(pthread_create(&thread, NULL, carry, kept), 0);
        (void) pthread_detach(thread);
    }
    return NULL;
}

int cutting_proxy_start(int port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    pthread_t thread;
    server_port = port;
    listener = make_socket();
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, len), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &len), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
    (void) pthread_detach(thread);
    return ntohs(address.sin_port);
}

void cutting_proxy_cut(enum cut cut, const char *statement, bool stays_away)
{
    wanted[0] = '\0';
    wanted_len = (size_t) snprintf(wanted + 1, sizeof(wanted) - 1, "%s", statement) + 2;
    away_after = stays_away;
    atomic_store(&is_away, false);
    atomic_store(&planned, cut);
}

unsigned int cutting_proxy_cuts(void)
{
    return atomic_load(&cuts);
}
