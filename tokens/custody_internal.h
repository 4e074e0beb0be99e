/*
 * What the custody_*.c files and sealed_*.c share. Nobody else includes it.
 *
 * Locks, outermost first; none is held while a source is asked:
 *   session_lock  opening and wiping: the keyring, its lease and `due` change together
 *   changes.lock, keyring.lock, lease.lock, direct_keys.lock, look_lock (leaves)
 */
#pragma once

#include <pthread.h>

#include "base/cause.h"
#include "tokens/anchor.h"
#include "tokens/audit.h"
#include "tokens/custody.h"
#include "tokens/direct_keys.h"
#include "tokens/group.h"
#include "tokens/keyring.h"
#include "tokens/lease.h"
#include "tokens/source.h"
#include "tokens/store.h"
#include "tokens/token_record.h"

struct custody {
    /* Fixed at custody_open. */
    char *name;
    enum custody_login login;
    struct source *source;
    struct store *store;
    struct anchor *anchor; /* NULL: none */
    struct blob context;
    int64_t deadline_ms;
    struct direct_keys *direct_keys; /* NULL: none */
    struct audit *audit;             /* NULL: neither audit nor metrics */

    atomic_bool cancelled;
    struct keyring keyring;
    struct lease lease;

    pthread_mutex_t session_lock;
    enum custody_role role;    /* of the login, by session_lock */
    uint64_t login_generation; /* the lease's, by session_lock */

    _Atomic int64_t due;
    _Atomic uint64_t store_changes;      /* the store's change_count as last seen */
    _Atomic uint64_t objects_generation; /* of the set of objects that the module knows */
    _Atomic uint64_t newest_generation;  /* that was seen in the store since the login */

    pthread_mutex_t look_lock;
    struct sealed_look *look; /* what the last load found (sealed_load.c), or NULL; by look_lock */
    uint64_t look_number;     /* more each time it is forgotten, by look_lock */

    struct group changes; /* of objects: those that are asked for at once are one commit */
};

/* The work of `changes`; the context is the custody (sealed_changes.c). */
group_work_fn sealed_changes_apply;

/* For the cleanup attribute on a locked mutex. */
void custody_unlock(pthread_mutex_t **mutex);

/* Freed with token_record_clear. STORE_ABSENT (not logged) when the token is not initialised. */
CK_RV custody_read_token(struct custody *custody, struct token_record *ret_record);
/* The same, logged then: CKR_USER_PIN_NOT_INITIALIZED. */
CK_RV custody_read_initialized(struct custody *custody, struct token_record *ret_record);
/* A record that must be there once the token is: CKR_FUNCTION_FAILED (tampered) when it is not. */
CK_RV custody_read_record(struct custody *custody, const char *name, struct blob *ret_bytes,
                          uint64_t *ret_version);
CK_RV custody_read_attempts(struct custody *custody, struct attempts *ret_attempts,
                            uint64_t *ret_version);
/* STORE_CONFLICT: the record has changed since it was read, and what was read with it belongs to
 * another token key, perhaps. */
CK_RV custody_check_current(struct custody *custody, const struct token_record *record);

/* What opens a token: a data key from the source, a token key from a role. */
struct proof {
    struct secret data_key;
    struct secret token_key;
    int64_t asked_ms; /* clock_boot_ms before the source was asked */
};

void proof_clear(struct proof *proof);

/* For a call into the source now. `credential` is empty but for the user under login = credential.
 * */
struct source_call custody_source_call(const struct custody *custody, struct view credential);
/* Checks source and context, asks the source, checks the record's MAC. */
CK_RV custody_unwrap(struct custody *custody, const struct token_record *record,
                     struct view credential, struct secret *ret_data_key);
/* The whole of C_Login up to the token key; counts the attempt. Freed with proof_clear. */
CK_RV custody_prove(struct custody *custody, const struct token_record *record,
                    enum custody_role role, struct view pin, struct proof *ret_proof);

/* What the login was given, if it was a credential. A copy: no lock is held while the source is
 * asked, and a logout may wipe the original. CKR_USER_NOT_LOGGED_IN. */
CK_RV custody_copy_credential(struct custody *custody, struct secret *ret_credential);

/* derive_refusal of a record that does not open. */
const char *custody_record_refusal(const struct custody *custody, const char *name);
/* Logs that the keys record does not open under the token key. */
CK_RV custody_fail_keys(const struct custody *custody);
/* CKR_OK while the keys record in the store opens with the keyring: the token that is open is the
 * one in the store. A newer epoch is taken up. CKR_ENCRYPTED_DATA_INVALID or STORE_ABSENT, not
 * logged, when it was initialised anew, has another token key, or was put back to an older
 * epoch. */
CK_RV custody_confirm_keys(struct custody *custody);
/* The token went away under those who are logged in; the next tick logs them out. */
CK_RV custody_fail_gone(const struct custody *custody);
