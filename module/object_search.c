#include "module/object_search.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "module/object_attributes.h"
#include "module/object_table.h"
#include "module/slot.h"
#include "module/subkeys.h"

/* What a session keeps from one search to the next. */
#define HANDLES_KEPT 16

struct visitor {
    const CK_ATTRIBUTE *template;
    CK_ULONG count;
    bool with_private;
    unsigned char
        purpose; /* of the subkeys that are looked for; PURPOSE_NONE: the objects themselves */
    struct search *found;
    CK_RV rv;
};

void search_clear(struct search *search)
{
    mem_free(search->handles);
    *search = (struct search){NULL, 0, 0, 0};
}

void search_end(struct search *search)
{
    if (search->capacity > HANDLES_KEPT)
        search_clear(search);
    search->count = 0;
    search->next = 0;
}

static bool add_handle(struct visitor *visitor, CK_OBJECT_HANDLE handle)
{
    struct search *found = visitor->found;

    if (found->count == found->capacity) {
        size_t capacity = found->capacity == 0 ? HANDLES_KEPT / 4 : found->capacity * 2;
        CK_OBJECT_HANDLE *handles = mem_resize(found->handles, capacity, sizeof(*handles));
        if (handles == NULL) {
            visitor->rv = CKR_HOST_MEMORY;
            return false;
        }
        found->handles = handles;
        found->capacity = capacity;
    }
    found->handles[found->count++] = handle;
    return true;
}

/* CKA_VALUE is left for keep_by_value: to compare it may mean to ask the store, which must not be
 * done under the table's lock. */
static bool matches(const struct visitor *visitor, struct object *object)
{
    for (CK_ULONG i = 0; i < visitor->count; i++)
        if (visitor->template[i].type != CKA_VALUE &&
            !object_matches(object, &visitor->template[i], 1))
            return false;
    return true;
}

static bool visit_object(struct visitor *visitor, struct object *object)
{
    if (object_has(object, FLAG_PRIVATE) && !visitor->with_private)
        return true;
    return !matches(visitor, object) || add_handle(visitor, object->handle);
}

/* The subkey stands on the stack for the comparison only: a scan makes no objects. */
static bool visit_subkey(struct visitor *visitor, struct object *parent, unsigned char purpose)
{
    struct object subkey = {
        .slot = parent->slot,
        .id = parent->id,
        .purpose = purpose,
        .parent = parent,
    };

    if (!subkeys_shown(parent, purpose) || !visitor->with_private)
        return true;
    visitor->rv = subkeys_attributes(parent, purpose, &subkey.attributes);
    if (visitor->rv != CKR_OK)
        return false;
    bool found = matches(visitor, &subkey);
    attributes_clear(&subkey.attributes);
    return !found || add_handle(visitor, parent->handle | purpose);
}

static bool visit_one(void *context, struct object *object)
{
    struct visitor *visitor = context;

    return visitor->purpose == PURPOSE_NONE ? visit_object(visitor, object)
                                            : visit_subkey(visitor, object, visitor->purpose);
}

static bool visit_with_subkeys(void *context, struct object *object)
{
    struct visitor *visitor = context;

    if (!visit_object(visitor, object))
        return false;
    if (!attributes_are_index_key(&object->attributes))
        return true;
    for (unsigned char purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++)
        if (!visit_subkey(visitor, object, purpose))
            return false;
    return true;
}

static const CK_ATTRIBUTE *find(const struct visitor *visitor, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < visitor->count; i++)
        if (visitor->template[i].type == type && visitor->template[i].ulValueLen > 0)
            return &visitor->template[i];
    return NULL;
}

static struct view attribute_view(const CK_ATTRIBUTE *attribute)
{
    return (struct view){attribute->pValue, attribute->ulValueLen};
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text of object_unique_id back into id and purpose. */
static bool parse_unique_id(struct view text, struct object_id *ret_id, unsigned char *ret_purpose)
{
    bool subkey = text.len == 2 * OBJECT_ID_LEN + 2;

    if (!subkey && text.len != 2 * OBJECT_ID_LEN)
        return false;
    for (size_t i = 0; i < OBJECT_ID_LEN; i++) {
        int high = hex_digit(text.bytes[2 * i]);
        int low = hex_digit(text.bytes[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_id->bytes[i] = (unsigned char) (high << 4 | low);
    }
    *ret_purpose = subkey ? (unsigned char) (text.bytes[text.len - 1] - '0') : PURPOSE_NONE;
    return !subkey || text.bytes[text.len - 2] == '-';
}

static void look_up(struct object_table *table, enum object_index index, struct view key,
                    unsigned char purpose, struct visitor *visitor)
{
    visitor->purpose = purpose;
    object_table_lookup(table, index, key, visit_one, visitor);
}

static void search_unique_id(struct object_table *table, struct view text, struct visitor *visitor)
{
    struct object_id id;
    unsigned char purpose;

    if (parse_unique_id(text, &id, &purpose))
        look_up(table, INDEX_UNIQUE_ID, (struct view){id.bytes, OBJECT_ID_LEN}, purpose, visitor);
}

static void search_label(struct object_table *table, struct view label, struct visitor *visitor)
{
    struct view parent;
    unsigned char purpose = subkeys_split_label(label, &parent);

    look_up(table, INDEX_LABEL, label, PURPOSE_NONE, visitor);
    if (purpose != PURPOSE_NONE)
        look_up(table, INDEX_LABEL, parent, purpose, visitor);
}

static void search_id(struct object_table *table, struct view id, struct visitor *visitor)
{
    unsigned char last = id.bytes[id.len - 1];

    look_up(table, INDEX_ID, id, PURPOSE_NONE, visitor);
    if (last >= 1 && last <= INDEXKEY_PURPOSE_COUNT)
        look_up(table, INDEX_ID, (struct view){id.bytes, id.len - 1}, last, visitor);
}

static bool still_matches(struct object_table *table, const struct visitor *visitor,
                          CK_OBJECT_HANDLE handle)
{
    _cleanup_(object_release) struct object *object = NULL;

    return object_table_get(table, handle, &object) == CKR_OK &&
           object_matches(object, visitor->template, visitor->count);
}

static void keep_by_value(struct object_table *table, struct visitor *visitor)
{
    struct search *found = visitor->found;
    size_t kept = 0;

    for (size_t i = 0; i < found->count; i++)
        if (still_matches(table, visitor, found->handles[i]))
            found->handles[kept++] = found->handles[i];
    found->count = kept;
}

static bool asks_for_value(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++)
        if (template[i].type == CKA_VALUE)
            return true;
    return false;
}

CK_RV object_search(struct slot *slot, const CK_ATTRIBUTE *template, CK_ULONG count,
                    bool with_private, struct search *search)
{
    struct visitor visitor = {template, count, with_private, PURPOSE_NONE, search, CKR_OK};
    const CK_ATTRIBUTE *attribute;

    TRY(object_search_template(template, count));
    if ((attribute = find(&visitor, CKA_UNIQUE_ID)) != NULL)
        search_unique_id(slot->objects, attribute_view(attribute), &visitor);
    else if ((attribute = find(&visitor, CKA_LABEL)) != NULL)
        search_label(slot->objects, attribute_view(attribute), &visitor);
    else if ((attribute = find(&visitor, CKA_ID)) != NULL)
        search_id(slot->objects, attribute_view(attribute), &visitor);
    else
        object_table_each(slot->objects, visit_with_subkeys, &visitor);
    if (visitor.rv != CKR_OK)
        search_end(search);
    else if (asks_for_value(template, count))
        keep_by_value(slot->objects, &visitor);
    return visitor.rv;
}
