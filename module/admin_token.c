#include "module/admin.h"

#include <string.h>

#include "module/approvals.h"
#include "module/audit_log.h"
#include "module/module.h"
#include "module/session.h"
#include "module/slot.h"

_Static_assert(ADMIN_KEY_TEXT_MAX == CUSTODY_KEY_TEXT_MAX, "what the custody tells has room");

/* ---- in a session ---- */

/* Looks at the session as C_* functions do, and begins the administrative act. */
static CK_RV begin(CK_SESSION_HANDLE session, CK_FLAGS needed, const struct audit_act *act,
                   struct session_view *ret_view)
{
    struct session_view view;

    TRY(session_look(session, &view));
    CK_RV rv = slot_check_token(view.slot);
    if (rv == CKR_OK && view.role == ROLE_PUBLIC)
        rv = CKR_USER_NOT_LOGGED_IN;
    if (rv == CKR_OK && (view.flags & needed) != needed)
        rv = CKR_SESSION_READ_ONLY;
    if (rv != CKR_OK)
        return session_look_end(&view, rv);
    slot_begin_admin(view.slot);
    rv = audit_log_intent(view.slot, act);
    if (rv != CKR_OK) {
        slot_end_admin(view.slot);
        return session_look_end(&view, rv);
    }
    *ret_view = view;
    return CKR_OK;
}

static CK_RV end(const struct session_view *view, const struct audit_act *act, CK_RV rv)
{
    CK_RV told = audit_log_outcome(view->slot, act, rv);

    slot_end_admin(view->slot);
    return session_look_end(view, told);
}

CK_RV admin_token_shred(CK_SESSION_HANDLE session)
{
    const struct audit_act act = {.event = "shred"};
    struct session_view view;

    TRY(begin(session, CKF_RW_SESSION, &act, &view));
    return end(&view, &act, custody_shred(view.slot->custody));
}

CK_RV admin_token_rewrap(CK_SESSION_HANDLE session, struct admin_rewrap *ret_report)
{
    const struct audit_act act = {.event = "rewrap"};
    struct session_view view;
    struct custody_rewrap report;

    if (ret_report == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(begin(session, CKF_RW_SESSION, &act, &view));
    CK_RV rv = custody_rewrap(view.slot->custody, &report);
    if (rv == CKR_OK) {
        memcpy(ret_report->old_key, report.old_key, sizeof(ret_report->old_key));
        memcpy(ret_report->new_key, report.new_key, sizeof(ret_report->new_key));
    }
    return end(&view, &act, rv);
}

/* Where a backup goes, and whether any of it has gone there. */
struct backup_target {
    admin_write_fn *write;
    void *context;
    bool is_begun;
};

static CK_RV write_backup(void *context, struct view bytes)
{
    struct backup_target *target = context;

    target->is_begun = true;
    return target->write(target->context, bytes);
}

/* The approval is of the token, not of a file: SHA-256 of the serial number. What was handed over
 * is out, whatever became of it there. */
static CK_RV backup_approved(struct slot *slot, admin_write_fn *write, void *context)
{
    struct backup_target target = {write, context, false};
    struct custody_info info;
    unsigned char digest[SHA256_LEN];
    struct approval_grant grant;

    TRY(custody_info(slot->custody, &info));
    TRY(crypto_sha256((struct view){info.serial, sizeof(info.serial)}, digest));
    const struct approval_request request = {
        .operation = APPROVAL_BACKUP,
        .subject = {digest, sizeof(digest)},
    };
    TRY(approvals_take(slot, &request, &grant));
    CK_RV rv = custody_backup(slot->custody, write_backup, &target);
    if (rv != CKR_OK && !target.is_begun)
        approvals_give_back(slot, &grant);
    return rv;
}

CK_RV admin_backup(CK_SESSION_HANDLE session, admin_write_fn *write, void *context)
{
    const struct audit_act act = {.event = "backup"};
    struct session_view view;

    if (write == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(begin(session, 0, &act, &view));
    return end(&view, &act, backup_approved(view.slot, write, context));
}

/* ---- at a slot ---- */

typedef CK_RV slot_act_fn(struct slot *slot, void *context);

static CK_RV act_at_slot(CK_SLOT_ID slot_id, slot_act_fn *act, void *context)
{
    struct slot *slot;

    TRY(module_enter());
    CK_RV rv = module_slot(slot_id, &slot);
    if (rv == CKR_OK)
        rv = slot_check_token(slot);
    if (rv == CKR_OK)
        rv = act(slot, context);
    module_leave();
    return rv;
}

struct pins {
    struct view so;
    struct view user;
};

static CK_RV rotate_key(struct slot *slot, void *context)
{
    const struct audit_act act = {.event = "rotate-token-key"};
    const struct pins *pins = context;

    slot_begin_admin(slot);
    CK_RV rv = audit_log_intent(slot, &act);
    if (rv == CKR_OK)
        rv = audit_log_outcome(slot, &act,
                               custody_rotate_token_key(slot->custody, pins->so, pins->user));
    slot_end_admin(slot);
    /* Its keyring is the former token key's. The tick would find it, too. */
    if (rv == CKR_OK && slot_role(slot) != ROLE_PUBLIC)
        (void) slot_logout(slot);
    return rv;
}

CK_RV admin_token_rotate_key(CK_SLOT_ID slot_id, struct view so_pin, struct view user_pin)
{
    struct pins pins = {so_pin, user_pin};

    return act_at_slot(slot_id, rotate_key, &pins);
}

static CK_RV read_status(struct slot *slot, void *context)
{
    struct admin_status *status = context;
    struct custody_status found;

    slot_begin_admin(slot);
    CK_RV rv = custody_status(slot->custody, &found);
    slot_end_admin(slot);
    TRY(rv);
    *status = (struct admin_status){
        .is_initialized = found.info.initialized,
        .source = found.source,
        .store = found.store,
        .is_open = found.is_open,
        .epoch = found.epoch,
        .generation = found.generation,
        .row_count = found.row_count,
    };
    memcpy(status->label, found.info.label, TOKEN_LABEL_LEN);
    memcpy(status->serial, found.info.serial, TOKEN_SERIAL_LEN);
    memcpy(status->wrapping_key, found.wrapping_key, sizeof(status->wrapping_key));
    return CKR_OK;
}

CK_RV admin_token_status(CK_SLOT_ID slot_id, struct admin_status *ret_status)
{
    return ret_status == NULL ? CKR_ARGUMENTS_BAD : act_at_slot(slot_id, read_status, ret_status);
}

/* What is there goes by it, and comes back as it was once: holds, states, approvals used. */
static CK_RV restore_allowed(const struct slot *slot, const struct custody_restore *what)
{
    if (what->force && approvals_guard(slot->approvals, APPROVAL_DESTROY))
        return FAIL(CKR_ACTION_PROHIBITED,
                    "token %s: two_person = destroy, so a backup is restored into an empty store "
                    "only",
                    slot->name);
    return custody_restore(slot->custody, what);
}

static CK_RV restore(struct slot *slot, void *context)
{
    const struct audit_act act = {.event = "restore"};
    const struct admin_restore *what = context;
    const struct custody_restore inner = {
        .read = what->read,
        .context = what->context,
        .role = what->is_so ? CUSTODY_SO : CUSTODY_USER,
        .pin = what->pin,
        .force = what->force,
    };

    slot_begin_admin(slot);
    /* No login comes in between: it is an administrative act, too. */
    CK_RV rv =
        slot_role(slot) == ROLE_PUBLIC ? audit_log_intent(slot, &act) : CKR_USER_ALREADY_LOGGED_IN;
    if (rv == CKR_OK)
        rv = audit_log_outcome(slot, &act, restore_allowed(slot, &inner));
    slot_end_admin(slot);
    return rv;
}

CK_RV admin_restore(CK_SLOT_ID slot_id, const struct admin_restore *what)
{
    struct admin_restore copy;

    if (what == NULL || what->read == NULL)
        return CKR_ARGUMENTS_BAD;
    copy = *what;
    return act_at_slot(slot_id, restore, &copy);
}
