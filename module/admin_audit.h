/*
 * The audit log for the `indexkey` command: what the token itself adds to tokens/audit_verify.h,
 * which needs no token. Called like C_* functions, with a session whose user or SO is logged in.
 */
#pragma once

#include "tokens/audit_verify.h"

/* What a third party needs once: the token's audit public key. CKR_USER_NOT_LOGGED_IN. */
CK_RV admin_audit_public_key(CK_SESSION_HANDLE session,
                             unsigned char ret_public[ED25519_PUBLIC_LEN]);

/* audit_verify under the token's public key and MAC key, in place of those in `verification`. */
CK_RV admin_audit_verify(CK_SESSION_HANDLE session, const struct audit_verification *verification,
                         struct audit_verdict *ret_verdict);
