/*
 * A new connection to PostgreSQL, made in a thread of its own (tokens/apart.h): libpq resolves
 * names, which takes no deadline, and its TLS may load a provider that calls this module.
 */
#pragma once

#include <libpq-fe.h>

#include "base/rv.h"

struct postgres_dialled {
    PGconn *conn; /* freed with PQfinish; NULL: there is none */
    bool may_retry;
    char why[256];
};

/* CKR_OK with or without a connection. Else CKR_HOST_MEMORY, or what postgres_place_new says. */
CK_RV postgres_dial(const char *rest, struct postgres_dialled *ret_dialled);
