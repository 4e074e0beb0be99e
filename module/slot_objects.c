#include "module/slot_objects.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random_buffer.h"
#include "base/rv.h"
#include "module/approvals_used.h"
#include "module/gcm_counts.h"
#include "module/lineage.h"
#include "module/object_table.h"
#include "module/policy.h"
#include "module/policy_pin.h"
#include "module/session.h"

/* A row as an object of the table; its value stays sealed until first use. */
static CK_RV object_from_row(struct slot *slot, const struct sealed_object *row,
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

struct id_set {
    struct object_id *ids; /* of every row seen, for what is gone */
    size_t count;
    size_t capacity;
};

struct loading {
    struct slot *slot;
    struct id_set *seen; /* NULL at login: the table holds no private object yet */
};

static CK_RV remember(struct id_set *seen, const struct object_id *id)
{
    if (seen->count == seen->capacity) {
        size_t capacity = seen->capacity == 0 ? 64 : seen->capacity * 2;
        struct object_id *ids = mem_resize(seen->ids, capacity, sizeof(*ids));
        if (ids == NULL)
            return CKR_HOST_MEMORY;
        seen->ids = ids;
        seen->capacity = capacity;
    }
    seen->ids[seen->count++] = *id;
    return CKR_OK;
}

static CK_RV take_row(void *context, const struct sealed_object *row)
{
    struct loading *loading = context;
    _cleanup_(object_release) struct object *known = NULL;
    _cleanup_(object_release) struct object *object = NULL;

    if (loading->seen != NULL) {
        TRY(remember(loading->seen, &row->id));
        known = slot_objects_find(loading->slot, &row->id);
        if (known != NULL && known->version == row->version)
            return CKR_OK;
    }
    if (gcm_counts_is_row(row->attributes) || approvals_used_is_row(row->attributes) ||
        policy_pin_is_row(row->attributes))
        return CKR_OK;
    CK_RV rv = object_from_row(loading->slot, row, &object);
    if (rv == CKR_DATA_INVALID)
        return CKR_OK; /* one object isolated, and said so */
    TRY(rv);
    if (known != NULL)
        TRY(lineage_share(known, object));
    TRY(known == NULL ? object_table_add(loading->slot->objects, object)
                      : object_table_replace(loading->slot->objects, known, object));
    object = NULL; /* the table's now */
    return CKR_OK;
}

CK_RV slot_objects_load_locked(struct slot *slot)
{
    struct loading loading = {.slot = slot};

    atomic_store(&slot->is_stale, false);
    return sealed_objects_load(slot->custody, take_row, &loading);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct object_id));
}

static bool is_gone(void *context, struct object *object)
{
    const struct id_set *seen = context;

    return object->owner == 0 && object->version != 0 &&
           (seen->count == 0 ||
            bsearch(&object->id, seen->ids, seen->count, sizeof(object->id), compare_ids) == NULL);
}

CK_RV slot_objects_refresh(struct slot *slot)
{
    struct id_set seen = {NULL, 0, 0};
    struct loading loading = {.slot = slot, .seen = &seen};

    pthread_rwlock_wrlock(&slot->changes);
    CK_RV rv = slot_shows_private(slot, slot_role(slot))
                   ? sealed_objects_load(slot->custody, take_row, &loading)
                   : CKR_USER_NOT_LOGGED_IN;
    if (rv == CKR_OK) {
        if (seen.count > 0)
            qsort(seen.ids, seen.count, sizeof(*seen.ids), compare_ids);
        object_table_remove_matching(slot->objects, is_gone, &seen);
    }
    atomic_store(&slot->is_stale, rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN);
    pthread_rwlock_unlock(&slot->changes);
    mem_free(seen.ids);
    return rv;
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

/* Into the table, which takes the reference. A session that was closed meanwhile has looked for its
 * objects already. */
static CK_RV publish(struct slot *slot, struct object **object, CK_OBJECT_HANDLE *ret_handle)
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

/* What a new object is made of. */
struct draft {
    CK_SESSION_HANDLE owner;
    struct attributes *attributes; /* taken over, and so is the value */
    struct secret *value;
    struct object *source; /* the copy's; else NULL */
};

/* No secret: a session object's may come from the buffer. */
static CK_RV new_id(struct object *object)
{
    return object->owner == 0 ? sealed_objects_new_id(&object->id)
                              : random_buffer_read((uint32_t) object->owner, object->id.bytes,
                                                   sizeof(object->id.bytes));
}

static CK_RV draft_object(struct slot *slot, const struct draft *draft, struct object **ret_object)
{
    _cleanup_(object_release) struct object *object = NULL;
    bool is_token = attributes_has(draft->attributes, FLAG_TOKEN);

    TRY(object_new(slot, draft->attributes, draft->value, &object));
    object->owner = is_token ? 0 : draft->owner;
    TRY(new_id(object));
    if (draft->source != NULL)
        TRY(lineage_share(draft->source, object));
    if (draft->source != NULL && is_token)
        TRY(gcm_counts_copied(draft->source));
    *ret_object = TAKE(object);
    return CKR_OK;
}

static CK_RV create_shared(struct slot *slot, const struct draft *draft,
                           CK_OBJECT_HANDLE *ret_handle)
{
    _cleanup_(object_release) struct object *object = NULL;
    bool is_token = attributes_has(draft->attributes, FLAG_TOKEN);

    TRY(draft_object(slot, draft, &object));
    if (is_token)
        TRY(seal_new(slot, object));
    struct object_id id = object->id;
    CK_RV rv = publish(slot, &object, ret_handle);
    /* What the caller is told has failed must not turn up with the next refresh. */
    if (rv != CKR_OK && is_token)
        (void) sealed_objects_destroy(slot->custody, &id, 1);
    return rv;
}

/* The role may have ended since the caller's checks: private objects must not outlive a logout. */
static CK_RV check_still_allowed(const struct slot *slot, const struct attributes *attributes)
{
    if (!attributes_has(attributes, FLAG_PRIVATE))
        return CKR_OK;
    return slot_shows_private(slot, slot_role(slot)) ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

static CK_RV create(struct slot *slot, const struct draft *draft, CK_OBJECT_HANDLE *ret_handle)
{
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = check_still_allowed(slot, draft->attributes);
    if (rv == CKR_OK)
        rv = create_shared(slot, draft, ret_handle);
    pthread_rwlock_unlock(&slot->changes);
    return rv;
}

CK_RV slot_objects_create(struct slot *slot, CK_SESSION_HANDLE owner, struct attributes *attributes,
                          struct secret *value, CK_OBJECT_HANDLE *ret_handle)
{
    const struct draft draft = {.owner = owner, .attributes = attributes, .value = value};

    return create(slot, &draft, ret_handle);
}

CK_RV slot_objects_copy(struct object *source, CK_SESSION_HANDLE owner,
                        struct attributes *attributes, CK_OBJECT_HANDLE *ret_handle)
{
    _cleanup_(secret_clear) struct secret value = {NULL, 0};
    const struct draft draft = {owner, attributes, &value, source};
    const struct secret *source_value;

    TRY(object_value(source, &source_value));
    TRY(secret_from(source_value->bytes, source_value->len, &value));
    attributes->counts_in_store |= object_has(source, FLAG_TOKEN);
    return create(source->slot, &draft, ret_handle);
}

/* A session object's value moves on to its successor; a token object's is opened again at need. */
static CK_RV successor(struct object *object, struct attributes *attributes,
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

static CK_RV change_shared(struct slot *slot, struct object *object, struct attributes *attributes)
{
    _cleanup_(object_release) struct object *changed = NULL;
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    uint64_t version = object->version;

    TRY(attributes_encode(attributes, &encoded));
    TRY(successor(object, attributes, &changed));
    if (object->owner == 0)
        TRY(sealed_objects_update(slot->custody, &object->id, object->version, blob_view(&encoded),
                                  &version));
    changed->has_predecessor = true;
    changed->id = object->id;
    changed->version = version;
    changed->owner = object->owner;
    TRY(lineage_share(object, changed));
    TRY(object_table_replace(slot->objects, object, changed));
    changed = NULL; /* the table's now */
    return CKR_OK;
}

CK_RV slot_objects_change(struct slot *slot, struct object *object, struct attributes *attributes)
{
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = change_shared(slot, object, attributes);
    pthread_rwlock_unlock(&slot->changes);
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
    return object_table_remove(slot->objects, object);
}

CK_RV slot_objects_destroy(struct slot *slot, struct object *object)
{
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = destroy_shared(slot, object);
    pthread_rwlock_unlock(&slot->changes);
    /* Another process may have changed a token object. */
    if (rv == CKR_OK && (object->owner == 0 || may_be_in_use(object)))
        slot_forget_key(slot, object);
    return rv;
}
