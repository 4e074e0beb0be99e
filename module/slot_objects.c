#include "module/slot_objects.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random_buffer.h"
#include "base/rv.h"
#include "module/audit_log.h"
#include "module/gcm_counts.h"
#include "module/lineage.h"
#include "module/object_table.h"
#include "module/policy.h"
#include "module/row_kinds.h"
#include "module/session.h"

CK_RV slot_objects_from_row(struct slot *slot, const struct sealed_object *row,
                            struct object **ret_object)
{
    _cleanup_(attributes_clear) struct attributes attributes = {0};
    struct object *object;

    if (attributes_decode(row->attributes, &attributes) != CKR_OK)
        return FAIL(CKR_DATA_INVALID,
                    "token %s: an object's attributes are not of a known form; the object is left "
                    "out (written by a newer version?)",
                    slot->name);
    TRY(object_new(slot, &attributes, NULL, &object));
    object->id = row->id;
    object->version = row->version;
    object->has_life = lifecycle_is_begun(&object->attributes);
    *ret_object = object;
    return CKR_OK;
}

static bool find_same(void *context, struct object *object)
{
    if (object->owner == 0)
        *(struct object **) context = object_reference(object);
    return false;
}

struct object *slot_objects_find(struct slot *slot, const struct object_id *id)
{
    struct object *found = NULL;

    object_table_lookup(slot->objects, INDEX_UNIQUE_ID, (struct view){id->bytes, OBJECT_ID_LEN},
                        find_same, &found);
    return found;
}

bool slot_objects_is_gone(struct slot *slot, const struct object *object)
{
    _cleanup_(object_release) struct object *found = slot_objects_find(slot, &object->id);

    return found == NULL;
}

struct id_set {
    struct object_id *ids;
    size_t count;
    size_t capacity;
};

struct swap_list {
    struct object_swap *swaps; /* both objects referenced */
    size_t count;
    size_t capacity;
};

static void swap_list_clear(struct swap_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        object_release(&list->swaps[i].old);
        object_release(&list->swaps[i].fresh);
    }
    mem_free(list->swaps);
}

struct loading {
    struct slot *slot;
    bool is_first;          /* at login: the table holds no private object yet */
    bool is_partial;        /* only what changed comes, and only what is told gone goes */
    struct id_set seen;     /* but at login: of every object that came and is not hidden */
    struct id_set gone;     /* of a partial one */
    struct swap_list swaps; /* and what takes its place in the table when all rows are read */
    bool changes_states;
    pending_visit_fn *visit; /* NULL: hidden keys are passed by */
    void *context;
};

static void loading_clear(struct loading *loading)
{
    mem_free(loading->seen.ids);
    mem_free(loading->gone.ids);
    swap_list_clear(&loading->swaps);
}

static CK_RV remember(struct id_set *set, const struct object_id *id)
{
    if (set->count == set->capacity) {
        size_t capacity = set->capacity == 0 ? 64 : set->capacity * 2;
        struct object_id *ids = mem_resize(set->ids, capacity, sizeof(*ids));
        if (ids == NULL)
            return CKR_HOST_MEMORY;
        set->ids = ids;
        set->capacity = capacity;
    }
    set->ids[set->count++] = *id;
    return CKR_OK;
}

/* Takes both references over. */
static CK_RV add_swap(struct swap_list *list, struct object **old, struct object **fresh)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct object_swap *swaps = mem_resize(list->swaps, capacity, sizeof(*swaps));
        if (swaps == NULL)
            return CKR_HOST_MEMORY;
        list->swaps = swaps;
        list->capacity = capacity;
    }
    list->swaps[list->count++] = (struct object_swap){TAKE(*old), TAKE(*fresh)};
    return CKR_OK;
}

/* `known` is what the table has of the object, or NULL. */
static CK_RV take_object(struct loading *loading, struct object **known, struct object **object)
{
    if (loading->is_first) {
        TRY(object_table_add(loading->slot->objects, *object));
        *object = NULL; /* the table's now */
        return CKR_OK;
    }
    TRY(remember(&loading->seen, &(*object)->id));
    return add_swap(&loading->swaps, known, object);
}

void slot_objects_note_pending(struct slot *slot, uint64_t until)
{
    uint64_t from = atomic_load(&slot->overdue_from);

    while ((from == 0 || until < from) &&
           !atomic_compare_exchange_weak(&slot->overdue_from, &from, until))
        ;
}

static CK_RV take_gone(void *context, const struct object_id *id)
{
    struct loading *loading = context;

    return remember(&loading->gone, id);
}

/* There is a row, and no object to be seen. */
static CK_RV pass_by(struct loading *loading, const struct object_id *id)
{
    return loading->is_partial ? remember(&loading->gone, id) : CKR_OK;
}

static CK_RV take_row(void *context, const struct sealed_object *row)
{
    struct loading *loading = context;
    _cleanup_(object_release) struct object *known = NULL;
    _cleanup_(object_release) struct object *object = NULL;

    if (!loading->is_first) {
        known = slot_objects_find(loading->slot, &row->id);
        if (known != NULL && known->version == row->version)
            return remember(&loading->seen, &row->id);
    }
    if (row_is_no_object(row->attributes))
        return pass_by(loading, &row->id);
    CK_RV rv = slot_objects_from_row(loading->slot, row, &object);
    if (rv == CKR_DATA_INVALID)
        return known == NULL ? CKR_OK : remember(&loading->seen, &row->id); /* one isolated */
    TRY(rv);
    uint64_t until =
        object->has_life ? lifecycle_get(&object->attributes, CKA_INDEXKEY_DESTROY_AT) : 0;
    if (until != 0) {
        slot_objects_note_pending(loading->slot, until);
        TRY(pass_by(loading, &row->id));
        return loading->visit == NULL ? CKR_OK : loading->visit(loading->context, object);
    }
    return take_object(loading, &known, &object);
}

CK_RV slot_objects_load_locked(struct slot *slot)
{
    struct loading loading = {.slot = slot, .is_first = true};

    atomic_store(&slot->is_stale, false);
    atomic_store(&slot->overdue_from, 0);
    return sealed_objects_load(slot->custody, take_row, &loading);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct object_id));
}

static bool is_seen(const struct loading *loading, const struct object_id *id)
{
    const struct id_set *seen = &loading->seen;

    return seen->count > 0 && bsearch(id, seen->ids, seen->count, sizeof(*id), compare_ids) != NULL;
}

static bool is_gone(void *context, struct object *object)
{
    struct loading *loading = context;

    if (object->owner != 0 || object->version == 0 || is_seen(loading, &object->id))
        return false;
    lifecycle_end(object);
    loading->changes_states = true;
    return true;
}

static void remove_gone(struct loading *loading)
{
    struct object_table *objects = loading->slot->objects;

    if (loading->seen.count > 0)
        qsort(loading->seen.ids, loading->seen.count, sizeof(struct object_id), compare_ids);
    if (!loading->is_partial)
        object_table_remove_matching(objects, is_gone, loading);
    for (size_t i = 0; i < loading->gone.count; i++) {
        _cleanup_(object_release) struct object *known =
            slot_objects_find(loading->slot, &loading->gone.ids[i]);
        if (known != NULL && is_gone(loading, known))
            (void) object_table_remove(objects, known);
    }
}

static CK_RV succeed_all(struct loading *loading)
{
    for (size_t i = 0; i < loading->swaps.count; i++) {
        struct object_swap *swap = &loading->swaps.swaps[i];
        if (swap->old == NULL)
            continue;
        TRY(lineage_share(swap->old, swap->fresh));
        TRY(lifecycle_succeed(swap->old, swap->fresh, &loading->changes_states));
    }
    return CKR_OK;
}

static CK_RV read_changes(struct loading *loading)
{
    struct slot *slot = loading->slot;
    const struct sealed_reader reader = {take_row, take_gone, loading};

    loading->is_partial = loading->visit == NULL;
    if (loading->is_partial)
        TRY(sealed_objects_load_changes(slot->custody, &reader, &loading->is_partial));
    if (loading->is_partial)
        return CKR_OK;
    loading_clear(loading);
    *loading = (struct loading){
        .slot = slot,
        .visit = loading->visit,
        .context = loading->context,
    };
    atomic_store(&slot->overdue_from, 0);
    return sealed_objects_load(slot->custody, take_row, loading);
}

static CK_RV refresh_locked(struct loading *loading)
{
    struct slot *slot = loading->slot;

    if (!slot_shows_private(slot, slot_role(slot)))
        return CKR_USER_NOT_LOGGED_IN;
    TRY(read_changes(loading));
    TRY(succeed_all(loading));
    TRY(object_table_exchange(slot->objects, loading->swaps.swaps, loading->swaps.count));
    remove_gone(loading);
    return CKR_OK;
}

CK_RV slot_objects_refresh_pending(struct slot *slot, pending_visit_fn *visit, void *context)
{
    _cleanup_(loading_clear) struct loading loading = {
        .slot = slot,
        .visit = visit,
        .context = context,
    };

    pthread_rwlock_wrlock(&slot->changes);
    CK_RV rv = refresh_locked(&loading);
    if (rv != CKR_OK)
        sealed_objects_forget(slot->custody); /* what has come is lost */
    atomic_store(&slot->is_stale, rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN);
    pthread_rwlock_unlock(&slot->changes);
    if (loading.changes_states)
        slot_enforce_states(slot);
    return rv;
}

CK_RV slot_objects_refresh(struct slot *slot)
{
    return slot_objects_refresh_pending(slot, NULL, NULL);
}

static bool is_private(void *context, struct object *object)
{
    (void) context;
    return object_has(object, FLAG_PRIVATE);
}

void slot_objects_drop_private(struct slot *slot)
{
    object_table_remove_matching(slot->objects, is_private, NULL);
}

/* By a session that has kept the key's context, besides the one reference that the caller knows. */
static bool may_be_in_use(const struct object *object)
{
    return object->has_predecessor || atomic_load(&object->references) > 1;
}

struct ownership {
    CK_SESSION_HANDLE owner;
    bool is_in_use; /* something of it is held outside the table */
};

static bool is_owned(void *context, struct object *object)
{
    struct ownership *ownership = context;

    if (object->owner != ownership->owner)
        return false;
    ownership->is_in_use |= may_be_in_use(object);
    return true;
}

/* Session objects go "even if the application has other sessions using the objects" (PKCS #11
 * 5.6.2). */
void slot_objects_drop_owned(struct slot *slot, CK_SESSION_HANDLE owner)
{
    struct ownership ownership = {.owner = owner};

    if (!object_table_has_owned(slot->objects))
        return;
    object_table_remove_matching(slot->objects, is_owned, &ownership);
    if (ownership.is_in_use)
        slot_forget_owned(slot, owner);
}

/* A session that was closed meanwhile has looked for its objects already. */
CK_RV slot_objects_publish(struct slot *slot, struct object **object, CK_OBJECT_HANDLE *ret_handle)
{
    CK_SESSION_HANDLE owner = (*object)->owner;
    _cleanup_(object_release) struct object *held = object_reference(*object);

    TRY(object_table_add(slot->objects, *object));
    *object = NULL;
    if (owner != 0 && !session_is_open(owner)) {
        object_table_remove(slot->objects, held);
        return CKR_SESSION_HANDLE_INVALID;
    }
    *ret_handle = held->handle;
    return CKR_OK;
}

/* The object's row, before anybody can find the object. */
static CK_RV seal_new(struct slot *slot, struct object *object)
{
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};

    TRY(attributes_encode(&object->attributes, &encoded));
    TRY(sealed_objects_create(slot->custody, &object->id, blob_view(&encoded), &object->value));
    object->version = 1;
    return CKR_OK;
}

/* No secret: a session object's may come from the buffer. */
static CK_RV new_id(struct object *object)
{
    return object->owner == 0 ? sealed_objects_new_id(&object->id)
                              : random_buffer_read((uint32_t) object->owner, object->id.bytes,
                                                   sizeof(object->id.bytes));
}

static CK_RV draft_object(struct slot *slot, const struct object_draft *draft,
                          struct object **ret_object)
{
    _cleanup_(object_release) struct object *object = NULL;
    bool is_token = attributes_has(draft->attributes, FLAG_TOKEN);

    if (is_token)
        TRY(lifecycle_inherit(draft->life, draft->attributes));
    TRY(object_new(slot, draft->attributes, draft->value, &object));
    object->owner = is_token ? 0 : draft->owner;
    if (!is_token)
        atomic_init(&object->life, life_reference(draft->life));
    else if (draft->life != NULL)
        object->has_life = lifecycle_is_begun(&object->attributes);
    TRY(new_id(object));
    if (draft->source != NULL)
        TRY(lineage_share(draft->source, object));
    if (draft->source != NULL && is_token)
        TRY(gcm_counts_copied(draft->source));
    *ret_object = TAKE(object);
    return CKR_OK;
}

/* Into the store, then the table. */
static CK_RV add_token_object(struct slot *slot, struct object *object,
                              CK_OBJECT_HANDLE *ret_handle)
{
    TRY(seal_new(slot, object));
    struct object *published = object_reference(object);
    CK_RV rv = slot_objects_publish(slot, &published, ret_handle);
    object_release(&published);
    /* What the caller is told has failed must not turn up with the next refresh. */
    if (rv != CKR_OK)
        (void) sealed_objects_destroy(slot->custody, &object->id, 1);
    return rv;
}

/* The same for what could not be recorded. */
static void withdraw(struct slot *slot, struct object *object)
{
    (void) sealed_objects_destroy(slot->custody, &object->id, object->version);
    (void) object_table_remove(slot->objects, object);
}

static CK_RV create_shared(struct slot *slot, const struct object_draft *draft,
                           CK_OBJECT_HANDLE *ret_handle)
{
    _cleanup_(object_release) struct object *object = NULL;
    bool is_token = attributes_has(draft->attributes, FLAG_TOKEN);

    TRY(draft_object(slot, draft, &object));
    if (!is_token)
        return slot_objects_publish(slot, &object, ret_handle);
    const struct audit_act act = {.event = draft->source == NULL ? "create" : "copy",
                                  .object = object};
    CK_OBJECT_HANDLE handle;
    TRY(audit_log_intent(slot, &act));
    CK_RV added = add_token_object(slot, object, &handle);
    CK_RV rv = audit_log_outcome(slot, &act, added);
    if (added == CKR_OK && rv != CKR_OK)
        withdraw(slot, object);
    if (rv == CKR_OK)
        *ret_handle = handle;
    return rv;
}

/* The role may have ended since the caller's checks: private objects must not outlive a logout. */
static CK_RV check_still_allowed(const struct slot *slot, const struct attributes *attributes)
{
    if (!attributes_has(attributes, FLAG_PRIVATE))
        return CKR_OK;
    return slot_shows_private(slot, slot_role(slot)) ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

CK_RV slot_objects_create(struct slot *slot, const struct object_draft *draft,
                          CK_OBJECT_HANDLE *ret_handle)
{
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = check_still_allowed(slot, draft->attributes);
    if (rv == CKR_OK)
        rv = create_shared(slot, draft, ret_handle);
    pthread_rwlock_unlock(&slot->changes);
    return rv;
}

CK_RV slot_objects_copy(struct object *source, CK_SESSION_HANDLE owner,
                        struct attributes *attributes, CK_OBJECT_HANDLE *ret_handle)
{
    _cleanup_(secret_clear) struct secret value = {NULL, 0};
    _cleanup_(life_release) struct life *life = NULL;
    const struct secret *source_value;

    TRY(object_value(source, &source_value));
    TRY(secret_from(source_value->bytes, source_value->len, &value));
    if (source->attributes.object_class == CKO_SECRET_KEY)
        TRY(lifecycle_follow(&source, 1, &life));
    attributes->counts_in_store |= object_has(source, FLAG_TOKEN);
    const struct object_draft draft = {owner, attributes, &value, source, life};
    return slot_objects_create(source->slot, &draft, ret_handle);
}

/* A session object's value moves on to its successor; a token object's is opened again at need. */
static CK_RV new_version(struct object *object, struct attributes *attributes,
                         struct object **ret_object)
{
    _cleanup_(secret_clear) struct secret value = {NULL, 0};
    const struct secret *old_value;

    if (object->owner == 0)
        return object_new(object->slot, attributes, NULL, ret_object);
    TRY(object_value(object, &old_value));
    TRY(secret_from(old_value->bytes, old_value->len, &value));
    return object_new(object->slot, attributes, &value, ret_object);
}

CK_RV slot_objects_successor(struct object *object, struct attributes *attributes,
                             struct object **ret_successor)
{
    _cleanup_(object_release) struct object *successor = NULL;

    TRY(new_version(object, attributes, &successor));
    successor->has_predecessor = true;
    successor->id = object->id;
    successor->owner = object->owner;
    if (object->owner != 0)
        atomic_init(&successor->life, life_reference(atomic_load(&object->life)));
    else
        successor->has_life = lifecycle_is_begun(&successor->attributes);
    TRY(lineage_share(object, successor));
    *ret_successor = TAKE(successor);
    return CKR_OK;
}

static CK_RV change_shared(struct slot *slot, struct object *object, struct attributes *attributes,
                           bool *ret_changes_states)
{
    _cleanup_(object_release) struct object *changed = NULL;
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    uint64_t version = object->version;
    CK_RV rv = CKR_OK;

    TRY(attributes_encode(attributes, &encoded));
    TRY(slot_objects_successor(object, attributes, &changed));
    if (object->owner == 0) {
        TRY(sealed_objects_update(slot->custody, &object->id, object->version, blob_view(&encoded),
                                  &version));
        rv = lifecycle_succeed(object, changed, ret_changes_states);
    }
    changed->version = version;
    if (rv == CKR_OK)
        rv = object_table_replace(slot->objects, object, changed);
    if (rv == CKR_OK)
        changed = NULL; /* the table's now */
    else
        atomic_store(&slot->is_stale, true); /* the store has it: it comes with the next look */
    return rv;
}

CK_RV slot_objects_change(struct slot *slot, struct object *object, struct attributes *attributes,
                          const char *event)
{
    const struct audit_act act = {.event = event, .object = object};
    bool changes_states = false;

    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = audit_log_intent(slot, &act);
    if (rv == CKR_OK)
        rv =
            audit_log_outcome(slot, &act, change_shared(slot, object, attributes, &changes_states));
    pthread_rwlock_unlock(&slot->changes);
    if (changes_states)
        slot_enforce_states(slot);
    return rv;
}

static CK_RV destroy_shared(struct slot *slot, struct object *object)
{
    const struct secret *value;

    if (object->owner == 0) {
        /* Its count is found by its value; one that does not open can be destroyed all the same. */
        bool is_open = object_value(object, &value) == CKR_OK;
        TRY(sealed_objects_destroy(slot->custody, &object->id, object->version));
        if (is_open)
            gcm_counts_destroyed(object);
    }
    lifecycle_end(object);
    return object_table_remove(slot->objects, object);
}

static CK_RV destroy_recorded(struct slot *slot, struct object *object)
{
    const struct audit_act act = {.event = "destroy", .object = object};

    TRY(audit_log_intent(slot, &act));
    return audit_log_outcome(slot, &act, destroy_shared(slot, object));
}

CK_RV slot_objects_destroy(struct slot *slot, struct object *object)
{
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = destroy_recorded(slot, object);
    pthread_rwlock_unlock(&slot->changes);
    bool is_done = rv == CKR_OK || slot_objects_is_gone(slot, object);
    /* Another process may have changed a token object. */
    if (is_done && (object->owner == 0 || may_be_in_use(object)))
        slot_forget_key(slot, object);
    if (is_done && object->owner == 0)
        slot_enforce_states(slot);
    return rv;
}
