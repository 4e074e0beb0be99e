/*
 * The end of a token whose source is gone for good, and with it every key of the token: what
 * C_InitToken does, for whoever owns the store and cannot prove the SO PIN any more, since that
 * takes the source. Not exported by the module.
 */
#pragma once

#include "base/bytes.h"

/* A new token with another serial, in place of the one in the slot, whose objects go; the source
 * that is configured now wraps its data key. `label` as in C_InitToken. No session may be open
 * (CKR_SESSION_EXISTS); approvals and audit as for C_InitToken; else the CKRs of C_InitToken. */
CK_RV admin_token_reset(CK_SLOT_ID slot_id, struct view so_pin, const unsigned char label[32]);
