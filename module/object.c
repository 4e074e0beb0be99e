#include "module/object.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "module/key_ledger.h"
#include "module/key_policy.h"
#include "module/lifecycle.h"
#include "module/lineage.h"
#include "module/slot.h"
#include "module/subkeys.h"

CK_RV object_new(struct slot *slot, struct attributes *attributes, struct secret *value,
                 struct object **ret_object)
{
    TRY(key_policies_apply(slot->key_policies, attributes));
    struct view others = blob_view(&attributes->others);
    struct object *object = mem_calloc(1, sizeof(*object) + others.len);

    if (object == NULL)
        return CKR_HOST_MEMORY;
    atomic_init(&object->references, 1);
    atomic_init(&object->retired, false);
    pthread_mutex_init(&object->lock, NULL);
    object->slot = slot;
    object->attributes = *attributes;
    object->attributes.others.bytes = object->others;
    if (others.len > 0)
        memcpy(object->others, others.bytes, others.len);
    attributes_clear(attributes);
    if (value != NULL) {
        object->value = secret_move(value);
        object->value_is_open = true;
    }
    *ret_object = object;
    return CKR_OK;
}

struct object *object_reference(struct object *object)
{
    atomic_fetch_add_explicit(&object->references, 1, memory_order_relaxed);
    return object;
}

void object_release(struct object **object)
{
    struct object *last = *object;

    *object = NULL;
    if (last == NULL || atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) != 1)
        return;
    secret_clear(&last->value);
    key_ledger_release(atomic_load(&last->ledger));
    object_release(&last->parent);
    lineage_release(atomic_load(&last->lineage));
    struct life *life = atomic_load(&last->life);
    if (life != NULL)
        life_release(&life);
    pthread_mutex_destroy(&last->lock);
    mem_free(last);
}

static CK_RV open_value(struct object *object, struct secret *ret_value)
{
    if (object->purpose != PURPOSE_NONE) {
        const struct secret *index_key;
        TRY(object_value(object->parent, &index_key));
        return subkeys_derive(index_key, object->purpose, ret_value);
    }
    return sealed_objects_value(object->slot->custody, &object->id, object->version, ret_value);
}

static bool value_is_open(struct object *object)
{
    pthread_mutex_lock(&object->lock);
    bool is_open = object->value_is_open;
    pthread_mutex_unlock(&object->lock);
    return is_open;
}

/* Of two that opened it at once, the first to come back wins. */
static void keep_value(struct object *object, struct secret *value)
{
    pthread_mutex_lock(&object->lock);
    if (!object->value_is_open)
        object->value = secret_move(value);
    object->value_is_open = true;
    pthread_mutex_unlock(&object->lock);
}

/* The store is asked without the object's lock: it holds a lock of its own while it hands rows to
 * take_row, which waits for the table's and for objects' locks. */
CK_RV object_value(struct object *object, const struct secret **ret_value)
{
    if (!value_is_open(object)) {
        _cleanup_(secret_clear) struct secret value = {NULL, 0};
        TRY(open_value(object, &value));
        keep_value(object, &value);
    }
    *ret_value = &object->value;
    return CKR_OK;
}

bool attributes_are_index_key(const struct attributes *attributes)
{
    const CK_MECHANISM_TYPE only = CKM_SP800_108_COUNTER_KDF;
    struct view allowed;

    return attributes->object_class == CKO_SECRET_KEY &&
           attributes->key_type == CKK_GENERIC_SECRET &&
           attributes->value_len == INDEXKEY_KEY_LEN && attributes_has(attributes, FLAG_TOKEN) &&
           attributes_has(attributes, FLAG_DERIVE) &&
           attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &allowed) &&
           view_equal(allowed, (struct view){(const unsigned char *) &only, sizeof(only)});
}
