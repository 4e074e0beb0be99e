/* Rotation: the next version of a key, and what becomes of the former. */
#include "module/key_lifecycle.h"

#include <stdio.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "module/mechanism.h"

#define NEW_ID_LEN 16
#define VERSION_TEXT_MAX 24
#define LABEL_MAX 255

struct rotation {
    struct slot *slot;
    struct object *old;
    struct attributes old_attributes;
    struct attributes new_attributes;
    struct object *former;  /* `old` as it will be */
    struct object *version; /* the new one */
};

static void rotation_clear(struct rotation *rotation)
{
    attributes_clear(&rotation->old_attributes);
    attributes_clear(&rotation->new_attributes);
    object_release(&rotation->former);
    object_release(&rotation->version);
}

static struct view line_of(const struct object *key)
{
    struct view line = {key->id.bytes, OBJECT_ID_LEN};

    (void) attributes_bytes(&key->attributes, CKA_INDEXKEY_LINE, &line);
    return line;
}

static CK_ULONG version_of(const struct object *key)
{
    return lifecycle_get(&key->attributes, CKA_INDEXKEY_VERSION);
}

struct newer {
    const struct object *than;
    bool found;
};

static bool look_for_newer(void *context, struct object *object)
{
    struct newer *newer = context;
    struct view line;

    newer->found = object->owner == 0 && object->attributes.object_class == CKO_SECRET_KEY &&
                   attributes_bytes(&object->attributes, CKA_INDEXKEY_LINE, &line) &&
                   view_equal(line, line_of(newer->than)) &&
                   version_of(object) > version_of(newer->than);
    return !newer->found;
}

/* Only the newest version is rotated. What was rotated has its number in its label, even when the
 * version that followed is gone. */
static CK_RV check_is_newest(struct slot *slot, const struct object *key)
{
    struct newer newer = {.than = key};
    struct view label = {NULL, 0};
    struct view line;

    (void) attributes_bytes(&key->attributes, CKA_LABEL, &label);
    if (attributes_bytes(&key->attributes, CKA_INDEXKEY_LINE, &line) &&
        lifecycle_is_version_label(label))
        return CKR_ACTION_PROHIBITED;
    object_table_each(slot->objects, look_for_newer, &newer);
    return newer.found ? CKR_ACTION_PROHIBITED : CKR_OK;
}

/* A key without a label has none afterwards. */
static CK_RV add_version_to_label(const struct object *key, struct attributes *attributes)
{
    _cleanup_(writer_clear) struct writer label = {0};
    char number[VERSION_TEXT_MAX];
    struct view old = {NULL, 0};

    (void) attributes_bytes(&key->attributes, CKA_LABEL, &old);
    if (old.len == 0)
        return CKR_OK;
    (void) snprintf(number, sizeof(number), "@%lu", version_of(key));
    write_raw(&label, old);
    write_raw(&label, view_text(number));
    if (label.failed)
        return CKR_HOST_MEMORY;
    if (label.len > LABEL_MAX)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID,
                    "a label of %zu bytes leaves no room for a version's number: rename the key",
                    old.len);
    return attributes_set_bytes(attributes, CKA_LABEL, writer_view(&label));
}

/* Both keep the line. What the old version wrote stays readable; what is new comes from the new
 * one, so that no client goes on with the old by mistake. */
static CK_RV draft_former(struct rotation *rotation)
{
    struct attributes *attributes = &rotation->old_attributes;
    CK_ULONG state = lifecycle_shown(rotation->old, CKA_INDEXKEY_STATE);

    TRY(attributes_copy(&rotation->old->attributes, attributes));
    TRY(add_version_to_label(rotation->old, attributes));
    TRY(attributes_set_bytes(attributes, CKA_INDEXKEY_LINE, line_of(rotation->old)));
    if (state == INDEXKEY_STATE_PRE_ACTIVE || state == INDEXKEY_STATE_ACTIVE)
        return key_lifecycle_enter_state(attributes, INDEXKEY_STATE_DEACTIVATED);
    return CKR_OK;
}

/* As C_GenerateKey says it for a key of this type. */
static uint32_t generated_by(CK_KEY_TYPE type)
{
    size_t count;
    const struct mechanism *all = mechanisms_all(&count);

    for (size_t i = 0; i < count; i++)
        if (all[i].generate != NULL && all[i].generate->generate == NULL &&
            all[i].generate->key_type == type)
            return (uint32_t) all[i].type;
    return UINT32_MAX;
}

static CK_RV draft_version(struct rotation *rotation)
{
    struct attributes *attributes = &rotation->new_attributes;
    unsigned char id[NEW_ID_LEN];

    TRY(attributes_copy(&rotation->old->attributes, attributes));
    lifecycle_strip(attributes);
    attributes->flags &= ~OF_TOKEN_KEY;
    attributes->key_gen_mechanism = generated_by(attributes->key_type);
    attributes_set_flag(attributes, FLAG_LOCAL, true);
    attributes_set_flag(attributes, FLAG_ALWAYS_SENSITIVE,
                        attributes_has(attributes, FLAG_SENSITIVE));
    attributes_set_flag(attributes, FLAG_NEVER_EXTRACTABLE,
                        !attributes_has(attributes, FLAG_EXTRACTABLE));
    TRY(crypto_random(id, sizeof(id)));
    TRY(attributes_set_bytes(attributes, CKA_ID, (struct view){id, sizeof(id)}));
    TRY(lifecycle_set(attributes, CKA_INDEXKEY_VERSION, version_of(rotation->old) + 1));
    return attributes_set_bytes(attributes, CKA_INDEXKEY_LINE, line_of(rotation->old));
}

static CK_RV make_version(struct rotation *rotation)
{
    _cleanup_(secret_clear) struct secret value = {NULL, 0};

    TRY(crypto_random_secret(rotation->new_attributes.value_len, &value));
    TRY(object_new(rotation->slot, &rotation->new_attributes, &value, &rotation->version));
    return sealed_objects_new_id(&rotation->version->id);
}

static CK_RV commit(const struct rotation *rotation, struct view former, struct view version)
{
    const struct sealed_change changes[] = {
        {.id = &rotation->old->id, .version = rotation->old->version, .attributes = former},
        {
            .id = &rotation->version->id,
            .attributes = version,
            .value = &rotation->version->value,
        },
    };

    TRY(sealed_objects_commit(rotation->slot->custody, changes, 2));
    rotation->former->version = rotation->old->version + 1;
    rotation->version->version = 1;
    return CKR_OK;
}

/* For searches: both at once. */
static CK_RV publish(struct rotation *rotation, bool *ret_changes_states, CK_OBJECT_HANDLE *ret_new)
{
    _cleanup_(object_release) struct object *held = object_reference(rotation->version);
    struct object_swap swaps[] = {{NULL, rotation->version}, {rotation->old, rotation->former}};

    TRY(lifecycle_succeed(rotation->old, rotation->former, ret_changes_states));
    CK_RV rv = object_table_exchange(rotation->slot->objects, swaps, 2);
    rotation->version = swaps[0].fresh;
    rotation->former = swaps[1].fresh;
    TRY(rv);
    *ret_new = held->handle;
    return CKR_OK;
}

static CK_RV rotate_shared(struct slot *slot, struct object *key, bool *ret_changes_states,
                           CK_OBJECT_HANDLE *ret_new)
{
    _cleanup_(rotation_clear) struct rotation rotation = {.slot = slot, .old = key};
    _cleanup_(blob_clear) struct blob former = {NULL, 0};
    _cleanup_(blob_clear) struct blob version = {NULL, 0};

    TRY(check_is_newest(slot, key));
    TRY(draft_former(&rotation));
    TRY(draft_version(&rotation));
    TRY(attributes_encode(&rotation.old_attributes, &former));
    TRY(attributes_encode(&rotation.new_attributes, &version));
    TRY(slot_objects_successor(key, &rotation.old_attributes, &rotation.former));
    TRY(make_version(&rotation));
    TRY(commit(&rotation, blob_view(&former), blob_view(&version)));
    CK_RV rv = publish(&rotation, ret_changes_states, ret_new);
    /* What there is no memory for comes with the next look at the store. */
    if (rv != CKR_OK)
        atomic_store(&slot->is_stale, true);
    return rv;
}

CK_RV key_lifecycle_rotate(struct slot *slot, struct object *key, CK_OBJECT_HANDLE *ret_new)
{
    bool changes_states = false;

    TRY(key_lifecycle_check(key));
    pthread_rwlock_rdlock(&slot->changes);
    CK_RV rv = slot_may_administer(slot, slot_role(slot))
                   ? rotate_shared(slot, key, &changes_states, ret_new)
                   : CKR_USER_NOT_LOGGED_IN;
    pthread_rwlock_unlock(&slot->changes);
    if (changes_states)
        slot_enforce_states(slot);
    return rv;
}
