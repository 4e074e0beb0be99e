/*
 * A connection to a KMIP server: TLS 1.2 or better with both sides' certificates, verified, under
 * one deadline; a message out, a message back.
 *
 * For one call and one thread. Sockets do not block; a name is looked up in a thread that may be
 * left behind (tokens/apart.h). TLS runs in the module's own OpenSSL context, on memory: the host's
 * signals (SIGPIPE) are not touched. OpenSSL's error queue of the thread is empty afterwards.
 */
#pragma once

#include "base/cause.h"
#include "base/secret.h"
#include "tokens/source.h"

#define KMIP_DETAIL_MAX 160

struct kmip_server {
    char *host; /* a name, or an address without brackets */
    char *port;
    char *ca_file; /* NULL: the system's */
    char *client_cert;
    char *client_key; /* NULL: in client_cert */
};

struct kmip_wire;

/* Why it failed; not logged. */
struct kmip_trouble {
    enum indexkey_cause cause; /* NONE: no memory */
    char detail[KMIP_DETAIL_MAX];
};

/* Closed with kmip_wire_close. CKR_FUNCTION_FAILED, `ret_trouble`. */
CK_RV kmip_wire_open(const struct kmip_server *server, const struct source_call *call,
                     struct kmip_wire **ret_wire, struct kmip_trouble *ret_trouble);
/* Sets NULL. NULL is nothing. */
void kmip_wire_close(struct kmip_wire **wire);
/* Sends a message and receives one, a structure with that tag. */
CK_RV kmip_wire_exchange(struct kmip_wire *wire, struct view message, uint32_t tag,
                         struct secret *ret_reply, struct kmip_trouble *ret_trouble);
