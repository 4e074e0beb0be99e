#include "module/direct_objects.h"

#include "base/rv.h"
#include "module/slot_objects.h"
#include "module/strengthen.h"

#define FLAGS (FLAG_BIT(FLAG_TOKEN) | FLAG_BIT(FLAG_PRIVATE) | FLAG_BIT(FLAG_SENSITIVE))
#define MAC_USE (FLAG_BIT(FLAG_SIGN) | FLAG_BIT(FLAG_VERIFY))
#define CIPHER_USE (FLAG_BIT(FLAG_ENCRYPT) | FLAG_BIT(FLAG_DECRYPT))

static void clear_key(struct custody_direct_key *key)
{
    secret_clear(&key->value);
}

/* Not LOCAL, ALWAYS_SENSITIVE or NEVER_EXTRACTABLE: whoever made the ciphertext may have seen the
 * key. */
static uint64_t flags_of(const struct custody_direct_key *key)
{
    if (key->type == CUSTODY_KEY_AES)
        return FLAGS | CIPHER_USE;
    return key->value.len == INDEXKEY_KEY_LEN ? FLAGS : FLAGS | MAC_USE;
}

/* Takes the key's value over. */
static CK_RV make(struct slot *slot, struct custody_direct_key *key, struct object **ret_object)
{
    _cleanup_(attributes_clear) struct attributes attributes = {
        .flags = flags_of(key),
        .object_class = CKO_SECRET_KEY,
        .key_type = key->type == CUSTODY_KEY_AES ? CKK_AES : CKK_GENERIC_SECRET,
        .value_len = (uint32_t) key->value.len,
        .key_gen_mechanism = UINT32_MAX,
    };
    struct object *object;

    TRY(attributes_set_bytes(&attributes, CKA_LABEL, view_text(key->name)));
    if (key->id.len > 0)
        TRY(attributes_set_bytes(&attributes, CKA_ID, key->id));
    TRY(strengthen_direct_key(slot, &attributes));
    TRY(object_new(slot, &attributes, &key->value, &object));
    object->id = key->object_id;
    *ret_object = object;
    return CKR_OK;
}

static bool note(void *context, struct object *object)
{
    bool *is_stored = context;

    *is_stored = object->owner == 0;
    return !*is_stored;
}

static void warn_of_clash(struct slot *slot, const char *name)
{
    bool is_stored = false;

    object_table_lookup(slot->objects, INDEX_LABEL, view_text(name), note, &is_stored);
    if (is_stored)
        log_line(LOG_LEVEL_WARNING,
                 "token %s: a stored object has the label '%s' of a direct key: applications that "
                 "search by label find two; rename the one or the other",
                 slot->name, name);
}

static CK_RV show(struct slot *slot, struct custody_direct_key *key, struct object *known)
{
    _cleanup_(object_release) struct object *object = NULL;

    TRY(make(slot, key, &object));
    if (known == NULL)
        warn_of_clash(slot, key->name);
    TRY(known == NULL ? object_table_add(slot->objects, object)
                      : object_table_replace(slot->objects, known, object));
    object = NULL; /* the table's now */
    return CKR_OK;
}

static void hide(struct slot *slot, struct object *known)
{
    if (known == NULL)
        return;
    object_table_remove(slot->objects, known);
    slot_forget_key(slot, known);
}

static void follow(struct slot *slot, size_t index)
{
    _cleanup_(clear_key) struct custody_direct_key key = {.name = NULL};

    custody_direct_key_take(slot->custody, index, &key);
    _cleanup_(object_release) struct object *known = slot_objects_find(slot, &key.object_id);
    if (!key.is_open) {
        hide(slot, known);
        return;
    }
    if (key.value.len == 0)
        return; /* shown already */
    if (show(slot, &key, known) == CKR_OK) {
        if (known != NULL)
            slot_forget_key(slot, known);
        return;
    }
    log_line(LOG_LEVEL_ERROR, "token %s: no memory to show [key %s]; it will be asked for again",
             slot->name, key.name);
    hide(slot, known);
    custody_direct_key_lost(slot->custody, index);
}

void direct_objects_load_locked(struct slot *slot)
{
    uint64_t version = custody_direct_keys_version(slot->custody);

    for (size_t i = 0; i < custody_direct_keys_count(slot->custody); i++)
        follow(slot, i);
    atomic_store(&slot->direct_keys_version, version);
}

static bool is_current(struct slot *slot)
{
    return atomic_load(&slot->direct_keys_version) == custody_direct_keys_version(slot->custody);
}

void direct_objects_refresh(struct slot *slot)
{
    if (is_current(slot))
        return;
    pthread_rwlock_wrlock(&slot->changes);
    /* Before the login is whole they are not to be seen, and it will load them. */
    if (slot_role(slot) == ROLE_USER && !is_current(slot))
        direct_objects_load_locked(slot);
    pthread_rwlock_unlock(&slot->changes);
}
