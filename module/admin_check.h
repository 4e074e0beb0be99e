/*
 * What `indexkey check` asks of a token and Cryptoki has no call for. Not exported by the module.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "include/cryptoki.h"

/* Has the source unwrap the token's data key, or, while the token is not initialised, a fresh one;
 * nothing is kept. As C_* functions: CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SLOT_ID_INVALID,
 * CKR_TOKEN_NOT_PRESENT; else what C_Login would answer, with cause_last(). */
CK_RV admin_check_source(CK_SLOT_ID slot, bool *ret_initialized);

/* How far ahead of ours the clock of the source was at this thread's last admin_check_source, in
 * seconds. False when the source told none. */
bool admin_check_clock(int64_t *ret_ahead_s);

#define ADMIN_ROOT_KEY_TEXT_MAX 896

/* The root key that wrapped the token's data key, or would wrap one, in the source's words. Times
 * are seconds of UTC since 1970, 0: none. */
struct admin_root_key {
    char text[ADMIN_ROOT_KEY_TEXT_MAX]; /* printable */
    bool is_usable;                     /* it unwraps */
    int64_t deletion_s;                 /* when it is destroyed */
    int64_t expiry_s;                   /* from when on it serves no longer */
};

/* Results as of admin_check_source, and CKR_FUNCTION_NOT_SUPPORTED for a source that cannot tell.
 * Who may unwrap need not be permitted to ask this. */
CK_RV admin_check_root_key(CK_SLOT_ID slot, struct admin_root_key *ret_key);
