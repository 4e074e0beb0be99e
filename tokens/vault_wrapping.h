/*
 * A secret id that came wrapped (Vault's response wrapping): the wrapping token can be opened once,
 * so what was in it is kept, in secret memory, until another wrapping token is in its place.
 *
 * No lock is held while Vault is asked. What is kept is not in the child of a fork.
 */
#pragma once

#include <pthread.h>

#include "tokens/vault_exchange.h"

struct vault_wrapping {
    const struct vault_server *server;
    const char *mount;    /* of the AppRole method */
    pthread_mutex_t lock; /* a leaf; for the rest */
    struct secret token;  /* that was opened; empty: none yet */
    struct secret secret_id;
};

/* Wiped with vault_wrapping_destroy, when nobody is inside. */
void vault_wrapping_init(struct vault_wrapping *wrapping, const struct vault_server *server);
void vault_wrapping_destroy(struct vault_wrapping *wrapping);

/* The secret id that `token` wraps. One that is not of the mount is refused unopened, since whoever
 * opened the right one could have put it there. Logged, with its cause. */
CK_RV vault_wrapping_open(struct vault_wrapping *wrapping, const struct source_call *call,
                          const struct secret *token, struct secret *ret_secret_id);
