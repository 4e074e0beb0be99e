/*
 * How the C_* functions tell the audit log (tokens/audit.h) what they do.
 *
 * A change of token objects, of PINs or of the token itself writes two lines: the intent, which
 * has to be on disk before anything is done, and the outcome, before the result is returned. So
 * nothing happens unrecorded: what a kill or a full disk leaves behind is an intent at least. A
 * login or a denial is one line. Uses of keys are counted in blocks that are written ahead.
 *
 *     TRY(audit_log_intent(slot, &act));
 *     return audit_log_outcome(slot, &act, do_it());
 *
 * Without `audit` all of this is one look at a pointer. Any lock but the log's own may be held.
 */
#pragma once

#include "base/rv.h"
#include "module/object.h"
#include "module/slot.h"
#include "tokens/audit.h"

/* What is done, and to which object. `event` is a word of docs/audit.md. */
struct audit_act {
    const char *event;
    const struct object *object;       /* NULL: none; session objects are not audited */
    const struct mechanism *mechanism; /* NULL: none */
};

/* CKR_DEVICE_ERROR: not on disk, do not do it. */
CK_RV audit_log_intent(const struct slot *slot, const struct audit_act *act);
/* The result to return: `rv`, or CKR_DEVICE_ERROR in place of CKR_OK when the line is not on disk.
 * Without an intent before it: for what is refused, and for what changes nothing. */
CK_RV audit_log_outcome(const struct slot *slot, const struct audit_act *act, CK_RV rv);
/* As audit_log_outcome; the caller undoes a login whose line is not on disk. */
CK_RV audit_log_login(const struct slot *slot, enum slot_role role, CK_RV rv);
/* "logout", "lease-over". */
void audit_log_logout(const struct slot *slot, const char *event);

/* One use of a key: the share is filled when it is empty. */
_long_way_ CK_RV audit_log_fill(const struct slot *slot, const struct object *key,
                                const struct mechanism *mechanism, struct audit_share *share);
static inline CK_RV audit_log_use(const struct slot *slot, const struct object *key,
                                  const struct mechanism *mechanism, struct audit_share *share)
{
    if (__builtin_expect(slot->audit == NULL, 1))
        return CKR_OK;
    if (share->left == 0)
        TRY(audit_log_fill(slot, key, mechanism, share));
    share->left--;
    return CKR_OK;
}
/* The same for calls that keep no operation. */
CK_RV audit_log_use_once(const struct slot *slot, const struct object *key,
                         const struct mechanism *mechanism);

/* A call on this slot has failed: for the metrics. */
void audit_log_error(const struct slot *slot, CK_RV rv);
/* Writes the metrics file when it is due, or at once. The caller holds no lock. */
void audit_log_metrics(struct slot *slot, bool at_once);
