/*
 * What the direct_keys*.c files share. Nobody else includes it.
 */
#pragma once

#include <pthread.h>

#include "base/crypto.h"
#include "tokens/direct_keys.h"

enum direct_key_state {
    DIRECT_KEY_OFF,    /* refused: not asked for until the next login */
    DIRECT_KEY_CLOSED, /* to be asked for */
    DIRECT_KEY_OPEN,
};

struct direct_key {
    /* Fixed at direct_keys_new. */
    char *name;
    char *place;
    struct blob id;
    struct blob context;
    enum custody_key_type type;
    bool is_pinned;
    unsigned char pinned[CUSTODY_CHECK_VALUE_LEN];

    /* By direct_keys.lock. */
    enum direct_key_state state;
    struct object_id object_id;
    int64_t confirmed_ms; /* when the request that confirmed it was sent */
    int64_t next_ms;      /* when it is to be asked for again */
    int64_t backoff_ms;
    bool told;                      /* the check value to pin was logged */
    unsigned char mark[SHA256_LEN]; /* tells one value from another; its begin is the check value */
    struct secret value;            /* open, and not yet taken by the module */
};

struct direct_keys {
    char *token;
    int64_t lease_ms;
    int64_t grace_ms;
    const atomic_bool *cancelled;
    bool may_create_threads;
    size_t count;
    struct direct_key *keys;

    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t answered;
    bool is_running;
    bool is_asking;
    /* Of the login, so that a late answer cannot touch the next one. Changes under the lock. */
    _Atomic uint64_t generation;
    _Atomic uint64_t version;
};

/* What a request brought. */
struct direct_answer {
    enum indexkey_cause cause; /* INDEXKEY_CAUSE_NONE: the value */
    int64_t asked_ms;
    struct secret value;
    unsigned char mark[SHA256_LEN];
};

/* What it changes. */
enum direct_outcome {
    DIRECT_STALE,     /* of a former login */
    DIRECT_CONFIRMED, /* as before */
    DIRECT_OPENED,
    DIRECT_REPLACED, /* another value than before */
    DIRECT_USED_ON,  /* unanswered, within the grace */
    DIRECT_MISSING,  /* unanswered, and not open */
    DIRECT_EXPIRED,  /* unanswered until the grace ended */
    DIRECT_REFUSED,
};

/* Takes the answer's value where it is new. `ret_is_first` says that its check value was not yet
 * told. */
enum direct_outcome direct_keys_settle(struct direct_keys *keys, struct direct_key *key,
                                       uint64_t generation, struct direct_answer *answer,
                                       bool *ret_is_first);

/* The configuration of one key; on failure what it has is freed by direct_keys_free. */
CK_RV direct_key_configure(const struct conf_section *section, struct direct_key *key);
