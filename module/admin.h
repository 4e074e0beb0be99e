/*
 * What a token's administrators do and Cryptoki has no call for: the `indexkey` command and the
 * tests are linked with the module's sources and call these beside the C_* functions. The shared
 * library does not export them.
 *
 * They take a session or slot as C_* functions do, check it as those do, and return a CK_RV: the
 * common ones (CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_ERROR, …)
 * besides those that are named. A failure leaves its cause in the session's ulDeviceError and
 * changes nothing. Any thread; nothing of the caller's is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "include/indexkey.h"

/*
 * Keys (admin_keys.c): states, times, versions, holds, destruction; docs/life-cycle.md has the
 * rules. All need a read/write session of the user: CKR_SESSION_READ_ONLY, CKR_USER_NOT_LOGGED_IN.
 * `key` is a secret key of the token's store: CKR_OBJECT_HANDLE_INVALID for a handle that is none;
 * CKR_ACTION_PROHIBITED for a session object, a subkey object, a direct key, a data object, and for
 * what the key's state does not allow.
 */

/* A new version with a fresh value and CKA_ID takes the label L and everything else; `key` becomes
 * L@N under its own handle and CKA_ID, and is deactivated if it was pre-active or active. One
 * commit. Of two who rotate one key at once one wins; the other has CKR_OBJECT_HANDLE_INVALID, or
 * CKR_ACTION_PROHIBITED when it comes so late that `key` is no longer the newest version. */
CK_RV admin_key_rotate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE *ret_new);

/* INDEXKEY_STATE_SUSPENDED, _ACTIVE (resumes what is suspended; the key is deactivated again if it
 * was before), _DEACTIVATED or _COMPROMISED, the last two for good. The state that the key has
 * already is CKR_OK. CKR_ARGUMENTS_BAD for any other; CKR_ACTION_PROHIBITED for a way that
 * docs/life-cycle.md does not have. */
CK_RV admin_key_set_state(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ULONG state);

/* Seconds of UTC since 1970 from which on the key is active, and no longer; 0: none. NULL leaves
 * one as it is. CKR_ARGUMENTS_BAD when the end does not come after the beginning. */
CK_RV admin_key_set_times(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                          const CK_ULONG *activation, const CK_ULONG *deactivation);

/* Legal hold: while it is on, nothing destroys the key. */
CK_RV admin_key_set_hold(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, bool hold);

/* A key that C_DestroyObject has taken away under `undo_window`. The views live until the callback
 * returns. */
struct admin_pending {
    struct view unique_id; /* 16 bytes: CKA_UNIQUE_ID is their text */
    struct view label;
    struct view id;      /* CKA_ID */
    CK_ULONG destroy_at; /* seconds of UTC since 1970: until then admin_key_undelete has it back */
    bool hold;
};

typedef void admin_pending_fn(void *context, const struct admin_pending *key);

/* Calls `each` for every such key, in no order. `each` calls no C_* or admin_* function. */
CK_RV admin_keys_pending(CK_SESSION_HANDLE session, admin_pending_fn *each, void *context);

/* The key with these 16 bytes is as it was, under a new handle. CKR_OBJECT_HANDLE_INVALID when none
 * such is pending. */
CK_RV admin_key_undelete(CK_SESSION_HANDLE session, struct view unique_id,
                         CK_OBJECT_HANDLE *ret_key);

/* Removes the keys whose window is over and that have no hold, and changes the epoch if there were
 * any. A login does the same. */
CK_RV admin_key_purge(CK_SESSION_HANDLE session, size_t *ret_count);

/*
 * The token (admin_token.c); docs/operations.md says when each is wanted. None of them runs beside
 * a login, a logout or another of them on the same token.
 */

#define ADMIN_KEY_TEXT_MAX 512

/* Changes the epoch, so that what was destroyed opens no longer, whatever copies of its rows there
 * are; other keys and all processes go on. A read/write session of either role:
 * CKR_SESSION_READ_ONLY, CKR_USER_NOT_LOGGED_IN. CKR_DEVICE_ERROR (cause STORE) also when only the
 * former key's traces in the store's files could not be removed: to be done again. */
CK_RV admin_token_shred(CK_SESSION_HANDLE session);

/* Key and version at the source; "" where the source does not tell. */
struct admin_rewrap {
    char old_key[ADMIN_KEY_TEXT_MAX];
    char new_key[ADMIN_KEY_TEXT_MAX];
};

/* Wraps the data key under the newest version of the source's key. Sessions as above. */
CK_RV admin_token_rewrap(CK_SESSION_HANDLE session, struct admin_rewrap *ret_report);

/* Another token key: everything in the store is sealed anew. Both PINs are proved and counted as at
 * C_Login; `user_pin` is ignored where the user has none. Nobody needs to be logged in; who is, in
 * any process, is logged out. CKR_PIN_INCORRECT, CKR_PIN_LOCKED; CKR_DEVICE_ERROR as above. */
CK_RV admin_token_rotate_key(CK_SLOT_ID slot_id, struct view so_pin, struct view user_pin);

struct admin_status {
    bool is_initialized;
    char label[33];
    char serial[17];
    const char *source; /* "vault"; until C_Finalize, as the next */
    const char *store;  /* "sqlite" */
    char wrapping_key[ADMIN_KEY_TEXT_MAX];
    bool is_open; /* somebody is logged in in this process; else the rest is 0 */
    uint32_t epoch;
    uint64_t generation;
    uint64_t row_count; /* objects, and keys' invocation counts */
};

/* Does not ask the source. CKR_TOKEN_NOT_PRESENT. */
CK_RV admin_token_status(CK_SLOT_ID slot_id, struct admin_status *ret_status);

/* Takes all of the bytes; else the backup fails with what it answers. */
typedef CK_RV admin_write_fn(void *context, struct view bytes);
/* At most `len` bytes; `ret_len` 0 is the end. */
typedef CK_RV admin_read_fn(void *context, unsigned char *bytes, size_t len, size_t *ret_len);

/* The whole token, sealed, as it is at one moment. A session of either role. */
CK_RV admin_backup(CK_SESSION_HANDLE session, admin_write_fn *write, void *context);

struct admin_restore {
    admin_read_fn *read;
    void *context;
    bool is_so;      /* whose PIN it is */
    struct view pin; /* of the day of the backup */
    bool force;      /* over the same token, which is then as old as the backup */
};

/* Into an empty store, in one commit, once all of the backup has been proved.
 * CKR_USER_ALREADY_LOGGED_IN in this process; CKR_PIN_INCORRECT (not counted); CKR_FUNCTION_FAILED
 * (cause TAMPERED, or CONFIG for a store that holds a token). An anchor is told of it by
 * admin_anchor_accept. */
CK_RV admin_restore(CK_SLOT_ID slot_id, const struct admin_restore *what);

/*
 * The anchor (admin_anchor.c): the token's generation outside its store, `anchor = file:PATH`.
 */

/* Takes the store as it is for the newest, after a restore on purpose or the loss of the anchor:
 * logins that were refused are possible again. The SO's PIN is proved and counted as at C_Login;
 * nobody needs to be logged in. CKR_FUNCTION_FAILED (cause CONFIG) for a token without an anchor;
 * the CKRs of C_Login besides. */
CK_RV admin_anchor_accept(CK_SLOT_ID slot_id, struct view so_pin, uint64_t *ret_generation);
