#include "module/object.h"

#include "base/alloc.h"
#include "base/rv.h"
#include "module/slot.h"
#include "module/subkeys.h"

CK_RV object_new(struct slot *slot, struct attributes *attributes, struct secret *value,
                 struct object **ret_object)
{
    struct object *object = mem_calloc(1, sizeof(*object));

    if (object == NULL)
        return CKR_HOST_MEMORY;
    atomic_init(&object->references, 1);
    atomic_init(&object->retired, false);
    pthread_mutex_init(&object->lock, NULL);
    object->slot = slot;
    object->attributes = *attributes;
    *attributes = (struct attributes){.others = {NULL, 0}};
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
    if (last == NULL ||
        atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) != 1)
        return;
    secret_clear(&last->value);
    attributes_clear(&last->attributes);
    object_release(&last->parent);
    pthread_mutex_destroy(&last->lock);
    mem_free(last);
}

static CK_RV open_value_locked(struct object *object)
{
    if (object->purpose != PURPOSE_NONE) {
        const struct secret *index_key;
        TRY(object_value(object->parent, &index_key));
        return subkeys_derive(index_key, object->purpose, &object->value);
    }
    return sealed_objects_value(object->slot->custody, &object->id, object->version,
                                &object->value);
}

CK_RV object_value(struct object *object, const struct secret **ret_value)
{
    CK_RV rv = CKR_OK;

    pthread_mutex_lock(&object->lock);
    if (!object->value_is_open) {
        rv = open_value_locked(object);
        object->value_is_open = rv == CKR_OK;
    }
    pthread_mutex_unlock(&object->lock);
    if (rv == CKR_OK)
        *ret_value = &object->value;
    return rv;
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
