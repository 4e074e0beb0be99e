/*
 * The direct keys of one token: keys that are themselves ciphertexts of the source, named in [key]
 * sections (docs/decisions/0005-direct-keys.md).
 *
 * Each is unwrapped by a call of its own at login, and confirmed by the same call when its lease
 * ran out. A denial, or a value that is not the pinned one, takes that key away until the next
 * login; any other failure is asked again with a growing pause, and a key that is open is used on
 * within the grace. One log line an event, by the key's name.
 *
 * Any thread. No lock is held while the source is asked. NULL stands for a token without direct
 * keys.
 */
#pragma once

#include "tokens/custody.h"
#include "tokens/derive.h"
#include "tokens/source.h"

/* Fixed for the life of the token; the strings are copied, `cancelled` is not. */
struct direct_keys_options {
    const char *token;
    int64_t lease_ms;
    int64_t grace_ms;
    const atomic_bool *cancelled;
    bool may_create_threads;
};

/* How the source is asked. Borrowed for one call of direct_keys_ask. */
struct direct_keys_source {
    struct source *source;
    struct view credential;
    int64_t deadline_ms; /* of each request, from when it is sent */
};

struct direct_keys;

/* Takes the good [key] sections of that token; NULL when there are none. A bad one is left out, as
 * the log says. Freed with direct_keys_free. CKR_HOST_MEMORY. */
CK_RV direct_keys_new(const struct conf *conf, const struct direct_keys_options *options,
                      struct direct_keys **ret_keys);
/* Nobody is inside. Sets NULL. */
void direct_keys_free(struct direct_keys **keys);

/* A login begins: all are to be asked for. */
void direct_keys_start(struct direct_keys *keys, const unsigned char serial[SERIAL_LEN]);
/* It ends: values are wiped, answers that are under way come to nothing. */
void direct_keys_stop(struct direct_keys *keys);
/* Wakes who waits, after `*cancelled` was set. */
void direct_keys_wake(struct direct_keys *keys);

/* True when the caller has to ask now. Beyond the grace of some key it waits while another caller
 * asks. */
bool direct_keys_are_due(struct direct_keys *keys);
/* Asks for those that are due, many at once, unless another caller does. */
void direct_keys_ask(struct direct_keys *keys, const struct direct_keys_source *source);

/* Goes up with each key that opens, changes or goes. */
uint64_t direct_keys_version(const struct direct_keys *keys);
size_t direct_keys_count(const struct direct_keys *keys);
/* See custody_direct_key_take and custody_direct_key_lost. */
void direct_keys_take(struct direct_keys *keys, size_t index, struct custody_direct_key *ret_key);
void direct_keys_lost(struct direct_keys *keys, size_t index);
