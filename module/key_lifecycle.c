#include "module/key_lifecycle.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rv.h"
#include "module/audit_log.h"
#include "module/gcm_counts.h"
#include "module/row_kinds.h"

#define MS_PER_S 1000

static CK_ULONG now_s(void)
{
    return (CK_ULONG) clock_utc_s();
}

CK_RV key_lifecycle_check(const struct object *key)
{
    /* Direct keys and built-in objects have no version. */
    bool is_stored = key->owner == 0 && key->version != 0 && key->purpose == PURPOSE_NONE;

    return is_stored && key->attributes.object_class == CKO_SECRET_KEY ? CKR_OK
                                                                       : CKR_ACTION_PROHIBITED;
}

static bool is_past(CK_ULONG time)
{
    return time != 0 && time <= now_s();
}

/* From which state which may follow (SP 800-57 part 1, 7). A deactivated key may be suspended too,
 * so that nobody reads for a time. */
static bool may_become(CK_ULONG now, CK_ULONG wanted)
{
    switch (wanted) {
    case INDEXKEY_STATE_ACTIVE:
        return now == INDEXKEY_STATE_SUSPENDED;
    case INDEXKEY_STATE_SUSPENDED:
        return now != INDEXKEY_STATE_COMPROMISED;
    case INDEXKEY_STATE_DEACTIVATED:
        return now != INDEXKEY_STATE_COMPROMISED;
    default:
        return true;
    }
}

/* A deactivation is for good: its time stays, so that a key that was suspended since is deactivated
 * again when it is resumed. */
CK_RV key_lifecycle_enter_state(struct attributes *attributes, CK_ULONG state)
{
    bool was_deactivated = is_past(lifecycle_get(attributes, CKA_INDEXKEY_DEACTIVATION));

    if (state == INDEXKEY_STATE_ACTIVE && was_deactivated)
        state = INDEXKEY_STATE_DEACTIVATED;
    bool deactivates = state == INDEXKEY_STATE_DEACTIVATED || state == INDEXKEY_STATE_COMPROMISED;
    if (deactivates && !was_deactivated)
        TRY(lifecycle_set(attributes, CKA_INDEXKEY_DEACTIVATION, now_s()));
    return lifecycle_set(attributes, CKA_INDEXKEY_STATE, state);
}

CK_RV key_lifecycle_set_state(struct slot *slot, struct object *key, CK_ULONG state)
{
    static const char *const events[] = {
        [INDEXKEY_STATE_ACTIVE] = "resume",
        [INDEXKEY_STATE_SUSPENDED] = "suspend",
        [INDEXKEY_STATE_DEACTIVATED] = "deactivate",
        [INDEXKEY_STATE_COMPROMISED] = "compromise",
    };
    _cleanup_(attributes_clear) struct attributes changed = {0};
    CK_ULONG now = lifecycle_shown(key, CKA_INDEXKEY_STATE);

    if (state < INDEXKEY_STATE_ACTIVE || state > INDEXKEY_STATE_COMPROMISED)
        return CKR_ARGUMENTS_BAD;
    TRY(key_lifecycle_check(key));
    if (state == now)
        return CKR_OK;
    if (!may_become(now, state))
        return CKR_ACTION_PROHIBITED;
    TRY(attributes_copy(&key->attributes, &changed));
    TRY(key_lifecycle_enter_state(&changed, state));
    return slot_objects_change(slot, key, &changed, events[state]);
}

/* A key that was deactivated once is not made active by a later time. */
static bool takes_times(const struct object *key)
{
    CK_ULONG now = lifecycle_shown(key, CKA_INDEXKEY_STATE);

    return now == INDEXKEY_STATE_PRE_ACTIVE || now == INDEXKEY_STATE_ACTIVE ||
           (now == INDEXKEY_STATE_SUSPENDED &&
            !is_past(lifecycle_get(&key->attributes, CKA_INDEXKEY_DEACTIVATION)));
}

CK_RV key_lifecycle_set_times(struct slot *slot, struct object *key, const CK_ULONG *activation,
                              const CK_ULONG *deactivation)
{
    _cleanup_(attributes_clear) struct attributes changed = {0};
    CK_ULONG begin =
        activation != NULL ? *activation : lifecycle_get(&key->attributes, CKA_INDEXKEY_ACTIVATION);
    CK_ULONG end = deactivation != NULL
                       ? *deactivation
                       : lifecycle_get(&key->attributes, CKA_INDEXKEY_DEACTIVATION);

    if (begin > INT64_MAX || end > INT64_MAX || (end != 0 && end <= begin))
        return CKR_ARGUMENTS_BAD;
    TRY(key_lifecycle_check(key));
    if (!takes_times(key))
        return CKR_ACTION_PROHIBITED;
    TRY(attributes_copy(&key->attributes, &changed));
    TRY(lifecycle_set(&changed, CKA_INDEXKEY_ACTIVATION, begin));
    TRY(lifecycle_set(&changed, CKA_INDEXKEY_DEACTIVATION, end));
    return slot_objects_change(slot, key, &changed, "set-times");
}

CK_RV key_lifecycle_set_hold(struct slot *slot, struct object *key, bool hold)
{
    _cleanup_(attributes_clear) struct attributes changed = {0};

    TRY(key_lifecycle_check(key));
    if (object_has(key, FLAG_INDEXKEY_HOLD) == hold)
        return CKR_OK;
    TRY(attributes_copy(&key->attributes, &changed));
    attributes_set_flag(&changed, FLAG_INDEXKEY_HOLD, hold);
    return slot_objects_change(slot, key, &changed, hold ? "hold" : "release");
}

static CK_RV hide_shared(struct slot *slot, struct object *key)
{
    _cleanup_(attributes_clear) struct attributes changed = {0};
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    CK_ULONG until = now_s() + (CK_ULONG) ((slot->undo_window_ms + MS_PER_S - 1) / MS_PER_S);
    uint64_t version;

    TRY(attributes_copy(&key->attributes, &changed));
    TRY(lifecycle_set(&changed, CKA_INDEXKEY_DESTROY_AT, until));
    TRY(attributes_encode(&changed, &encoded));
    TRY(sealed_objects_update(slot->custody, &key->id, key->version, blob_view(&encoded),
                              &version));
    slot_objects_note_pending(slot, until);
    lifecycle_end(key);
    return object_table_remove(slot->objects, key);
}

CK_RV key_lifecycle_destroy(struct slot *slot, struct object *object)
{
    const struct audit_act act = {.event = "destroy", .object = object};

    if (slot->undo_window_ms == 0 || key_lifecycle_check(object) != CKR_OK)
        return slot_objects_destroy(slot, object);
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = audit_log_intent(slot, &act);
    if (rv == CKR_OK)
        rv = audit_log_outcome(slot, &act, hide_shared(slot, object));
    pthread_rwlock_unlock(&slot->changes);
    if (rv == CKR_OK || slot_objects_is_gone(slot, object)) {
        slot_forget_key(slot, object);
        slot_enforce_states(slot);
    }
    return rv;
}

/* The hidden key with this id, as it is in the store. */
static CK_RV read_pending(struct slot *slot, const struct object_id *id, struct object **ret_key)
{
    _cleanup_(blob_clear) struct blob bytes = {NULL, 0};
    _cleanup_(object_release) struct object *key = NULL;
    struct sealed_object row = {.id = *id};

    TRY(sealed_objects_attributes(slot->custody, id, &row.version, &bytes));
    row.attributes = blob_view(&bytes);
    if (row_is_no_object(row.attributes))
        return CKR_OBJECT_HANDLE_INVALID;
    TRY(slot_objects_from_row(slot, &row, &key));
    CK_ULONG until = lifecycle_get(&key->attributes, CKA_INDEXKEY_DESTROY_AT);
    if (until == 0 || until <= now_s())
        return CKR_OBJECT_HANDLE_INVALID;
    *ret_key = TAKE(key);
    return CKR_OK;
}

static CK_RV show_again(struct slot *slot, struct object *hidden, CK_OBJECT_HANDLE *ret_key)
{
    _cleanup_(object_release) struct object *shown = NULL;
    _cleanup_(attributes_clear) struct attributes changed = {0};
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};

    TRY(attributes_copy(&hidden->attributes, &changed));
    TRY(lifecycle_set(&changed, CKA_INDEXKEY_DESTROY_AT, 0));
    TRY(attributes_encode(&changed, &encoded));
    TRY(slot_objects_successor(hidden, &changed, &shown));
    TRY(sealed_objects_update(slot->custody, &hidden->id, hidden->version, blob_view(&encoded),
                              &shown->version));
    return slot_objects_publish(slot, &shown, ret_key);
}

static CK_RV undelete_shared(struct slot *slot, const struct object_id *id,
                             CK_OBJECT_HANDLE *ret_key)
{
    _cleanup_(object_release) struct object *hidden = NULL;

    TRY(read_pending(slot, id, &hidden));
    const struct audit_act act = {.event = "undelete", .object = hidden};
    TRY(audit_log_intent(slot, &act));
    return audit_log_outcome(slot, &act, show_again(slot, hidden, ret_key));
}

CK_RV key_lifecycle_undelete(struct slot *slot, const struct object_id *id,
                             CK_OBJECT_HANDLE *ret_key)
{
    /* Another process may have hidden what this one still shows. */
    TRY(slot_objects_refresh(slot));
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = slot_may_administer(slot, slot_role(slot)) ? undelete_shared(slot, id, ret_key)
                                                          : CKR_USER_NOT_LOGGED_IN;
    pthread_rwlock_unlock(&slot->changes);
    return rv;
}

struct overdue {
    CK_ULONG now;
    struct object **keys; /* referenced */
    size_t count;
    size_t capacity;
};

static void overdue_clear(struct overdue *overdue)
{
    for (size_t i = 0; i < overdue->count; i++)
        object_release(&overdue->keys[i]);
    mem_free(overdue->keys);
}

static CK_RV add_overdue(void *context, struct object *key)
{
    struct overdue *overdue = context;

    if (lifecycle_get(&key->attributes, CKA_INDEXKEY_DESTROY_AT) > overdue->now ||
        object_has(key, FLAG_INDEXKEY_HOLD))
        return CKR_OK;
    if (overdue->count == overdue->capacity) {
        size_t capacity = overdue->capacity == 0 ? 16 : overdue->capacity * 2;
        struct object **keys = mem_resize(overdue->keys, capacity, sizeof(struct object *));
        if (keys == NULL)
            return CKR_HOST_MEMORY;
        overdue->keys = keys;
        overdue->capacity = capacity;
    }
    overdue->keys[overdue->count++] = object_reference(key);
    return CKR_OK;
}

/* Together with the change of epoch, so that no older copy of a row that has gone opens with what
 * the store still has. The counts of AES-GCM invocations go by the values, which are read while
 * they can be. */
static CK_RV remove_all(struct slot *slot, const struct overdue *overdue)
{
    struct custody_row *rows = mem_calloc(overdue->count, sizeof(*rows));
    const struct secret *value;

    if (rows == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < overdue->count; i++) {
        struct object *key = overdue->keys[i];
        (void) object_value(key, &value);
        rows[i] = (struct custody_row){key->id, key->version};
    }
    CK_RV rv = custody_shred_rows(slot->custody, rows, overdue->count);
    mem_free(rows);
    for (size_t i = 0; i < overdue->count && rv == CKR_OK; i++)
        gcm_counts_destroyed(overdue->keys[i]);
    return rv;
}

static CK_RV remove_recorded(struct slot *slot, const struct overdue *overdue)
{
    for (size_t i = 0; i < overdue->count; i++)
        TRY(audit_log_intent(slot, &(struct audit_act){"purge", overdue->keys[i], NULL}));
    CK_RV removed = remove_all(slot, overdue);
    CK_RV rv = removed;
    for (size_t i = 0; i < overdue->count; i++) {
        const struct audit_act act = {.event = "purge", .object = overdue->keys[i]};
        CK_RV told = audit_log_outcome(slot, &act, removed);
        rv = rv == CKR_OK ? told : rv;
    }
    return rv;
}

/* CKR_OBJECT_HANDLE_INVALID: somebody else has had one back, or removed it; the caller looks again.
 */
static CK_RV purge_once(struct slot *slot, size_t *ret_count)
{
    _cleanup_(overdue_clear) struct overdue overdue = {.now = now_s()};

    TRY(slot_objects_refresh_pending(slot, add_overdue, &overdue));
    if (overdue.count > 0)
        TRY(remove_recorded(slot, &overdue));
    *ret_count = overdue.count;
    return CKR_OK;
}

CK_RV key_lifecycle_purge(struct slot *slot, size_t *ret_count)
{
    CK_RV rv;

    do
        rv = purge_once(slot, ret_count);
    while (rv == CKR_OBJECT_HANDLE_INVALID);
    return rv;
}

void key_lifecycle_purge_overdue(struct slot *slot)
{
    uint64_t from = atomic_load(&slot->overdue_from);
    size_t count = 0;

    if (from == 0 || from > now_s())
        return;
    CK_RV rv = key_lifecycle_purge(slot, &count);
    if (rv != CKR_OK)
        log_line(LOG_LEVEL_WARNING,
                 "token %s: destroyed keys whose undo window is over could not be removed for "
                 "good (0x%lx); the next login tries again, and so does indexkey shred",
                 slot->name, rv);
}
