#include "module/admin.h"

#include <string.h>

#include "base/rv.h"
#include "module/audit_log.h"
#include "module/key_lifecycle.h"
#include "module/object_alter.h"

static CK_RV check_session(const struct session_view *view)
{
    TRY(slot_check_token(view->slot));
    if (!slot_may_administer(view->slot, view->role))
        return CKR_USER_NOT_LOGGED_IN;
    return (view->flags & CKF_RW_SESSION) == 0 ? CKR_SESSION_READ_ONLY : CKR_OK;
}

/* Looks at the session as C_* functions do; ended with session_look_end. */
static CK_RV enter(CK_SESSION_HANDLE session, struct session_view *ret_view)
{
    TRY(session_look(session, ret_view));
    CK_RV rv = check_session(ret_view);
    return rv == CKR_OK ? CKR_OK : session_look_end(ret_view, rv);
}

/* Every administrator's act sees to it that what is overdue goes. */
static CK_RV leave(const struct session_view *view, CK_RV rv)
{
    if (rv == CKR_OK) {
        slot_begin_admin(view->slot);
        key_lifecycle_purge_overdue(view->slot);
        slot_end_admin(view->slot);
    }
    return session_look_end(view, rv);
}

static CK_RV alter(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                   const struct alteration *alteration)
{
    struct session_view view;

    TRY(enter(session, &view));
    return leave(&view, object_alter(&view, key, alteration));
}

static CK_RV rotate(const struct session_view *view, CK_OBJECT_HANDLE handle,
                    CK_OBJECT_HANDLE *ret_new)
{
    _cleanup_(object_release) struct object *key = NULL;

    if (ret_new == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(object_alter_find_writable(view, handle, &key));
    const struct audit_act act = {.event = "rotate", .object = key};
    TRY(audit_log_intent(view->slot, &act));
    CK_RV rv = audit_log_outcome(view->slot, &act, key_lifecycle_rotate(view->slot, key, ret_new));
    /* Not tried again: the caller would rotate what somebody else has just rotated. */
    if (rv == CKR_OBJECT_HANDLE_INVALID)
        TRY(slot_objects_refresh(view->slot));
    return rv;
}

CK_RV admin_key_rotate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE *ret_new)
{
    struct session_view view;

    TRY(enter(session, &view));
    return leave(&view, rotate(&view, key, ret_new));
}

static CK_RV set_state(const struct session_view *view, struct object *key, const void *argument)
{
    return key_lifecycle_set_state(view->slot, key, *(const CK_ULONG *) argument);
}

CK_RV admin_key_set_state(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ULONG state)
{
    return alter(session, key, &(struct alteration){set_state, &state});
}

struct times {
    const CK_ULONG *activation;
    const CK_ULONG *deactivation;
};

static CK_RV set_times(const struct session_view *view, struct object *key, const void *argument)
{
    const struct times *times = argument;

    return key_lifecycle_set_times(view->slot, key, times->activation, times->deactivation);
}

CK_RV admin_key_set_times(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                          const CK_ULONG *activation, const CK_ULONG *deactivation)
{
    const struct times times = {activation, deactivation};

    return alter(session, key, &(struct alteration){set_times, &times});
}

static CK_RV set_hold(const struct session_view *view, struct object *key, const void *argument)
{
    return key_lifecycle_set_hold(view->slot, key, *(const bool *) argument);
}

CK_RV admin_key_set_hold(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, bool hold)
{
    return alter(session, key, &(struct alteration){set_hold, &hold});
}

struct listing {
    admin_pending_fn *each;
    void *context;
};

static CK_RV show_pending(void *context, struct object *key)
{
    const struct listing *listing = context;
    struct admin_pending pending = {
        .unique_id = {key->id.bytes, OBJECT_ID_LEN},
        .destroy_at = lifecycle_get(&key->attributes, CKA_INDEXKEY_DESTROY_AT),
        .hold = object_has(key, FLAG_INDEXKEY_HOLD),
    };

    (void) attributes_bytes(&key->attributes, CKA_LABEL, &pending.label);
    (void) attributes_bytes(&key->attributes, CKA_ID, &pending.id);
    listing->each(listing->context, &pending);
    return CKR_OK;
}

CK_RV admin_keys_pending(CK_SESSION_HANDLE session, admin_pending_fn *each, void *context)
{
    struct listing listing = {each, context};
    struct session_view view;

    if (each == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(enter(session, &view));
    return session_look_end(&view, slot_objects_refresh_pending(view.slot, show_pending, &listing));
}

CK_RV admin_key_undelete(CK_SESSION_HANDLE session, struct view unique_id,
                         CK_OBJECT_HANDLE *ret_key)
{
    struct object_id id;
    struct session_view view;

    if (unique_id.bytes == NULL || unique_id.len != sizeof(id.bytes) || ret_key == NULL)
        return CKR_ARGUMENTS_BAD;
    memcpy(id.bytes, unique_id.bytes, sizeof(id.bytes));
    TRY(enter(session, &view));
    return leave(&view, key_lifecycle_undelete(view.slot, &id, ret_key));
}

CK_RV admin_key_purge(CK_SESSION_HANDLE session, size_t *ret_count)
{
    struct session_view view;

    if (ret_count == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(enter(session, &view));
    slot_begin_admin(view.slot);
    CK_RV rv = key_lifecycle_purge(view.slot, ret_count);
    slot_end_admin(view.slot);
    return session_look_end(&view, rv);
}
