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

#include "base/bytes.h"
#include "include/indexkey.h"

/*
 * The anchor (admin_anchor.c): the token's generation outside its store, `anchor = file:PATH`.
 */

/* Takes the store as it is for the newest, after a restore on purpose or the loss of the anchor:
 * logins that were refused are possible again. The SO's PIN is proved and counted as at C_Login;
 * nobody needs to be logged in. CKR_FUNCTION_FAILED (cause CONFIG) for a token without an anchor;
 * the CKRs of C_Login besides. */
CK_RV admin_anchor_accept(CK_SLOT_ID slot_id, struct view so_pin, uint64_t *ret_generation);
