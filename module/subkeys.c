#include "module/subkeys.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rv.h"
#include "module/key_policy.h"
#include "module/slot.h"

#define PURPOSE_FIRST INDEXKEY_PURPOSE_TOKEN
#define PURPOSE_LAST INDEXKEY_PURPOSE_QUERY

/* What every subkey object is, whatever its purpose. */
#define SUBKEY_FLAGS (FLAG_BIT(FLAG_TOKEN) | FLAG_BIT(FLAG_PRIVATE) | FLAG_BIT(FLAG_SENSITIVE))
#define MAC_FLAGS (FLAG_BIT(FLAG_SIGN) | FLAG_BIT(FLAG_VERIFY))
#define CIPHER_FLAGS (FLAG_BIT(FLAG_ENCRYPT) | FLAG_BIT(FLAG_DECRYPT))
#define INHERITED_FLAGS (FLAG_BIT(FLAG_ALWAYS_SENSITIVE) | FLAG_BIT(FLAG_NEVER_EXTRACTABLE))

bool subkeys_shown(const struct object *object, unsigned char purpose)
{
    return purpose >= PURPOSE_FIRST && purpose <= PURPOSE_LAST &&
           (object->slot->subkeys & (1U << (purpose - PURPOSE_FIRST))) != 0 &&
           key_policy_allows_purpose(object->attributes.policy, purpose) &&
           attributes_are_index_key(&object->attributes);
}

static bool is_cipher(unsigned char purpose)
{
    return purpose == INDEXKEY_PURPOSE_PAYLOAD || purpose == INDEXKEY_PURPOSE_ITEM;
}

static CK_RV set_label(const struct object *parent, unsigned char purpose,
                       struct attributes *attributes)
{
    const char *name = indexkey_purpose_name((enum indexkey_purpose) purpose);
    _cleanup_(writer_clear) struct writer label = {0};
    struct view parent_label = {NULL, 0};

    attributes_bytes(&parent->attributes, CKA_LABEL, &parent_label);
    write_raw(&label, parent_label);
    write_u8(&label, '/');
    write_raw(&label, view_text(name));
    if (label.failed)
        return CKR_HOST_MEMORY;
    return attributes_set_bytes(attributes, CKA_LABEL, writer_view(&label));
}

static CK_RV set_id(const struct object *parent, unsigned char purpose,
                    struct attributes *attributes)
{
    _cleanup_(writer_clear) struct writer id = {0};
    struct view parent_id = {NULL, 0};

    attributes_bytes(&parent->attributes, CKA_ID, &parent_id);
    write_raw(&id, parent_id);
    write_u8(&id, purpose);
    if (id.failed)
        return CKR_HOST_MEMORY;
    return attributes_set_bytes(attributes, CKA_ID, writer_view(&id));
}

CK_RV subkeys_attributes(const struct object *parent, unsigned char purpose,
                         struct attributes *ret_attributes)
{
    const CK_MECHANISM_TYPE *mechanisms;
    CK_ULONG mechanism_count;
    _cleanup_(attributes_clear) struct attributes attributes = {
        .flags = SUBKEY_FLAGS | (is_cipher(purpose) ? CIPHER_FLAGS : MAC_FLAGS) |
                 (parent->attributes.flags & INHERITED_FLAGS),
        .object_class = CKO_SECRET_KEY,
        .key_type = is_cipher(purpose) ? CKK_AES : CKK_GENERIC_SECRET,
        .value_len = INDEXKEY_KEY_LEN,
        .key_gen_mechanism = UINT32_MAX,
        .policy = parent->attributes.policy,
    };

    TRY(indexkey_mechanisms((enum indexkey_purpose) purpose, &mechanisms, &mechanism_count));
    TRY(set_label(parent, purpose, &attributes));
    TRY(set_id(parent, purpose, &attributes));
    TRY(attributes_set_allowed(&attributes, mechanisms, mechanism_count));
    *ret_attributes = attributes;
    attributes.others = (struct blob){NULL, 0};
    return CKR_OK;
}

static CK_RV make(struct object *parent, unsigned char purpose, struct object **ret_subkey)
{
    _cleanup_(attributes_clear) struct attributes attributes = {0};
    struct object *subkey;

    TRY(subkeys_attributes(parent, purpose, &attributes));
    TRY(object_new(parent->slot, &attributes, NULL, &subkey));
    subkey->id = parent->id;
    subkey->version = parent->version;
    subkey->purpose = purpose;
    subkey->handle = parent->handle | purpose;
    subkey->parent = object_reference(parent);
    *ret_subkey = subkey;
    return CKR_OK;
}

static CK_RV get_locked(struct object *parent, unsigned char purpose, struct object **ret_subkey)
{
    if (atomic_load_explicit(&parent->retired, memory_order_acquire))
        return CKR_OBJECT_HANDLE_INVALID;
    if (parent->subkeys == NULL) {
        parent->subkeys = mem_calloc(PURPOSE_LAST + 1, sizeof(struct object *));
        if (parent->subkeys == NULL)
            return CKR_HOST_MEMORY;
    }
    if (parent->subkeys[purpose] == NULL)
        TRY(make(parent, purpose, &parent->subkeys[purpose]));
    *ret_subkey = object_reference(parent->subkeys[purpose]);
    return CKR_OK;
}

CK_RV subkeys_get(struct object *parent, unsigned char purpose, struct object **ret_subkey)
{
    if (!subkeys_shown(parent, purpose))
        return CKR_OBJECT_HANDLE_INVALID;
    pthread_mutex_lock(&parent->lock);
    CK_RV rv = get_locked(parent, purpose, ret_subkey);
    pthread_mutex_unlock(&parent->lock);
    return rv;
}

void subkeys_drop(struct object *parent)
{
    pthread_mutex_lock(&parent->lock);
    struct object **subkeys = TAKE(parent->subkeys);
    pthread_mutex_unlock(&parent->lock);
    if (subkeys == NULL)
        return;
    for (unsigned char purpose = PURPOSE_FIRST; purpose <= PURPOSE_LAST; purpose++) {
        if (subkeys[purpose] == NULL)
            continue;
        atomic_store_explicit(&subkeys[purpose]->retired, true, memory_order_release);
        object_release(&subkeys[purpose]);
    }
    mem_free(subkeys);
}

void subkeys_prf_input(unsigned char purpose, struct writer *input)
{
    write_u32(input, 1);
    write_raw(input, view_text(indexkey_label((enum indexkey_purpose) purpose)));
    write_u8(input, 0);
    write_u32(input, INDEXKEY_KEY_LEN * 8);
}

CK_RV subkeys_derive(const struct secret *index_key, unsigned char purpose,
                     struct secret *ret_value)
{
    _cleanup_(writer_clear) struct writer input = {0};
    _cleanup_(secret_clear) struct secret value = {NULL, 0};

    subkeys_prf_input(purpose, &input);
    if (input.failed)
        return CKR_HOST_MEMORY;
    TRY(secret_new(INDEXKEY_KEY_LEN, &value));
    TRY(crypto_hmac_sha256(index_key, writer_view(&input), value.bytes));
    *ret_value = secret_move(&value);
    return CKR_OK;
}

unsigned char subkeys_split_label(struct view label, struct view *ret_parent)
{
    for (unsigned char purpose = PURPOSE_FIRST; purpose <= PURPOSE_LAST; purpose++) {
        struct view name = view_text(indexkey_purpose_name((enum indexkey_purpose) purpose));
        if (label.len <= name.len)
            continue;
        size_t parent_len = label.len - name.len - 1;
        struct view end = {label.bytes + parent_len + 1, name.len};
        if (label.bytes[parent_len] == '/' && view_equal(end, name)) {
            *ret_parent = (struct view){label.bytes, parent_len};
            return purpose;
        }
    }
    return PURPOSE_NONE;
}
