/*
 * What a login opens: the token key and everything under it, wiped together.
 *
 * A keyring is closed or open. Whoever uses its keys holds it (keyring_hold … keyring_release), any
 * number at once; opening and wiping wait for them. The lock is a leaf: no other lock of ours is
 * taken, no source or store is asked, while it is held.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/crypto.h"
#include "tokens/derive.h"

struct keyring {
    pthread_rwlock_t lock;
    bool is_open;
    unsigned char serial[SERIAL_LEN];
    struct secret token_key;
    struct secret keys_key;
    struct secret summary_key;
    struct secret set_key;
    struct secret value_id_key;
    uint32_t epoch;
    struct secret epoch_key;
    struct secret credential; /* `login = credential`: each renewal of the lease needs it again */

    pthread_mutex_t attribute_lock; /* over the two below, by whoever holds the keyring */
    struct aead *attribute_aead;    /* the attribute key used last: 100,000 rows share one */
    uint32_t attribute_number;
};

/* Closed. Freed with keyring_destroy. */
void keyring_init(struct keyring *keyring);
void keyring_destroy(struct keyring *keyring);

/* What opens it; `keys_record` is the record's bytes, `credential` may be empty. Borrowed. */
struct keyring_opening {
    const unsigned char *serial;
    const struct secret *token_key;
    struct view keys_record;
    struct view credential;
};

/* CKR_ENCRYPTED_DATA_INVALID, not logged, when the keys record does not open. */
CK_RV keyring_open(struct keyring *keyring, const struct keyring_opening *opening);
/* The same token's keys record as it is now: a newer epoch's key takes the former one's place.
 * CKR_ENCRYPTED_DATA_INVALID, not logged, when it does not open or its epoch is an older one;
 * CKR_USER_NOT_LOGGED_IN. */
CK_RV keyring_renew(struct keyring *keyring, struct view keys_record);
/* 0 while it is closed. */
uint32_t keyring_epoch(struct keyring *keyring);
/* Back to closed, from any state. */
void keyring_wipe(struct keyring *keyring);

/* CKR_USER_NOT_LOGGED_IN, not logged, when it is closed. */
CK_RV keyring_hold(struct keyring *keyring, struct keyring **ret_held);
/* Takes the pointer so that _cleanup_(keyring_release) works; NULL is nothing. */
void keyring_release(struct keyring **held);

/* On a held keyring, under the attribute key of that number. */
CK_RV keyring_seal_attributes(struct keyring *held, uint32_t number, struct view aad,
                              struct view plaintext, unsigned char *sealed);
/* CKR_ENCRYPTED_DATA_INVALID, not logged. */
CK_RV keyring_open_attributes(struct keyring *held, uint32_t number, struct view aad,
                              struct view sealed, unsigned char *plaintext);
