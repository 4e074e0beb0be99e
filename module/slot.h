/*
 * A slot: one configured token, who is logged in, its sessions and its objects.
 *
 * slot->lock guards the list of sessions and the counts. What the configuration says is read
 * without it. Work that may wait for a source or a store (login, PINs, initialisation) is admitted
 * one at a time by slot_begin_admin, which waits on a condition and then holds no lock.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "module/config.h"
#include "module/gcm_registry.h"
#include "module/object_table.h"
#include "tokens/custody.h"

struct approvals;
struct key_policies;
struct session;

enum slot_role { ROLE_PUBLIC, ROLE_USER, ROLE_SO };

struct slot {
    CK_SLOT_ID id;
    const char *name;           /* of the [token NAME] section */
    struct custody *custody;    /* NULL: the section is bad, the slot holds no token */
    const _Atomic int64_t *due; /* custody_due */
    struct audit *audit;        /* custody_audit: NULL, nothing is recorded or counted */
    unsigned int subkeys;       /* purposes shown, bit p-1 */
    enum config_policy policy;
    enum config_aes_default aes_default;
    unsigned int relaxed;              /* RELAX_ bits: rules of the policy that do not hold */
    bool extract_key;                  /* CKM_EXTRACT_KEY_FROM_KEY is offered */
    uint64_t undo_window_ms;           /* how long a destroyed key can be had back */
    const char *hkdf_data_info;        /* info strings, config_info_is_listed */
    bool so_administers;               /* the SO alone makes, changes and destroys token objects */
    struct key_policies *key_policies; /* NULL: the configuration has none */
    bool has_migrate_to;
    unsigned char migrate_to[32];    /* fingerprint of the RSA key that index keys migrate to */
    unsigned char policy_digest[32]; /* of what the configuration says about this token's policy */
    const char *approvals_folder;
    struct approvals *approvals; /* NULL: nothing takes two persons */

    /* Creating, changing and destroying objects share it; loading, refreshing and logout have it
     * alone, so that they see each commit together with its table entry. Never taken under a
     * session's lock. */
    pthread_rwlock_t changes;
    /* Over a login's beginning and end; after `changes`, before `lock`. A denial takes it alone:
     * who has `changes` may be waiting for another process at the store. */
    pthread_mutex_t login_lock;
    pthread_mutex_t lock;
    pthread_cond_t admin_done;
    bool admin_busy;
    _Atomic int role;                     /* enum slot_role; changes under lock */
    _Atomic uint64_t direct_keys_version; /* custody_direct_keys_version as shown */
    atomic_bool is_stale;                 /* a refresh failed: the next tick has to repeat it */
    _Atomic uint64_t overdue_from; /* when the first hidden key's undo window is over; 0: none */
    struct session *sessions;
    CK_ULONG session_count;
    CK_ULONG rw_session_count;
    struct object_table *objects;
    struct gcm_registry gcm_counts;
};

/* One section of the configuration, with the [key] sections that name it. A custody that cannot be
 * opened leaves the slot without a token (CKR_OK). Freed with slot_close. */
CK_RV slot_open(struct slot *slot, const struct conf *conf, const struct conf_section *section,
                bool may_create_threads);
/* No session is left and no call is inside. */
void slot_close(struct slot *slot);

/* CKR_TOKEN_NOT_PRESENT for a slot without a token. */
CK_RV slot_check_token(const struct slot *slot);

/* One administrative act at a time. */
void slot_begin_admin(struct slot *slot);
void slot_end_admin(struct slot *slot);

static inline enum slot_role slot_role(const struct slot *slot)
{
    return (enum slot_role) atomic_load_explicit(&slot->role, memory_order_acquire);
}

/* Whether the role sees private objects: the user, and an SO who administers them. To use a key
 * takes the user. */
static inline bool slot_shows_private(const struct slot *slot, enum slot_role role)
{
    return role == ROLE_USER || (role == ROLE_SO && slot->so_administers);
}

/* Whether the role may make, change and destroy token objects. */
static inline bool slot_may_administer(const struct slot *slot, enum slot_role role)
{
    return role == (slot->so_administers ? ROLE_SO : ROLE_USER);
}

/* C_Login, C_Logout, C_InitToken, C_InitPIN, C_SetPIN below their checks of session and arguments.
 */
CK_RV slot_login(struct slot *slot, CK_USER_TYPE user, struct view pin);
CK_RV slot_logout(struct slot *slot);
/* Logs out if no session is left. */
void slot_logout_unused(struct slot *slot);
CK_RV slot_init_token(struct slot *slot, struct view so_pin,
                      const unsigned char label[TOKEN_LABEL_LEN]);
/* As slot_init_token, without a proof of the former SO PIN (custody_reset_token). */
CK_RV slot_reset_token(struct slot *slot, struct view so_pin,
                       const unsigned char label[TOKEN_LABEL_LEN]);
CK_RV slot_init_pin(struct slot *slot, struct view pin);
CK_RV slot_set_pin(struct slot *slot, struct view old_pin, struct view new_pin);

/* True when the next call into the token has to run slot_tick first. */
static inline bool slot_is_due(const struct slot *slot)
{
    return clock_coarse_ms() >= atomic_load_explicit(slot->due, memory_order_relaxed);
}

/* Lease and view: renews, reloads, or logs out. The caller is inside (module_enter) and holds no
 * lock. */
void slot_tick(struct slot *slot);

/* Ends the operations of sessions on this key and wipes what they kept; the same for every private
 * key, and for the keys that a session owns. */
void slot_forget_key(struct slot *slot, const struct object *key);
void slot_forget_private(struct slot *slot);
void slot_forget_owned(struct slot *slot, CK_SESSION_HANDLE owner);
/* The state of a key has changed: ends the operations that it, and what follows it, may no longer
 * be used for. */
void slot_enforce_states(struct slot *slot);
