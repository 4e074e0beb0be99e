#include "module/object_attributes.h"

#include <string.h>

#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_template.h"
#include "module/attributes_values.h"
#include "module/lifecycle.h"
#include "module/policy_rules.h"

/* PKCS #11 4.10.2, footnote 7, for session keys; the secret of a token key is never shown. */
static bool value_is_readable(const struct object *object, const char *rule)
{
    if (object->attributes.object_class == CKO_DATA || policy_allows_breach(rule))
        return true;
    return !object_has(object, FLAG_TOKEN) && !object_has(object, FLAG_SENSITIVE) &&
           object_has(object, FLAG_EXTRACTABLE);
}

void object_unique_id(const struct object *object, char ret_text[OBJECT_UNIQUE_ID_MAX + 1])
{
    static const char digits[] = "0123456789abcdef";
    const struct object *root = object->parent != NULL ? object->parent : object;
    char *at = ret_text;
    for (size_t i = 0; i < OBJECT_ID_LEN; i++) {
        *at++ = digits[root->id.bytes[i] >> 4];
        *at++ = digits[root->id.bytes[i] & 0xF];
    }
    if (object->purpose != PURPOSE_NONE) {
        *at++ = '-';
        *at++ = digits[object->purpose & 0xF];
    }
    *at = '\0';
}

static CK_RV read_value(struct object *object, const char *rule, struct view *ret_shown)
{
    const struct secret *value;
    if (!value_is_readable(object, rule))
        return CKR_ATTRIBUTE_SENSITIVE;
    TRY(object_value(object, &value));
    *ret_shown = (struct view){value->bytes, value->len};
    return CKR_OK;
}

static CK_RV read_check_value(struct object *object, struct attribute_room *room,
                              struct view *ret_shown)
{
    struct view suppressed;
    if (attributes_bytes(&object->attributes, CKA_CHECK_VALUE, &suppressed)) {
        *ret_shown = suppressed;
        return CKR_OK;
    }
    if (!object_check_value(object, room->bytes))
        return CKR_ATTRIBUTE_TYPE_INVALID;
    *ret_shown = (struct view){room->bytes, 3};
    return CKR_OK;
}

/* State and times are those of now; a subkey object has its index key's. */
static void read_wide(const struct object *root, const struct attribute_row *row,
                      struct attribute_room *room, struct view *ret_shown)
{
    bool is_moving = row->type == CKA_INDEXKEY_STATE || row->type == CKA_INDEXKEY_ACTIVATION ||
                     row->type == CKA_INDEXKEY_DEACTIVATION;
    CK_ULONG number =
        is_moving ? lifecycle_shown(root, row->type) : lifecycle_get(&root->attributes, row->type);
    memcpy(room->bytes, &number, sizeof(number));
    *ret_shown = (struct view){room->bytes, sizeof(number)};
}

/* `rule` is the one that keeps a secret CKA_VALUE from being read, or from matching. */
static CK_RV read_attribute(struct object *object, const struct attribute_row *row,
                            const char *rule, struct attribute_room *room, struct view *ret_shown)
{
    const struct object *root = object->parent != NULL ? object->parent : object;
    char text[OBJECT_UNIQUE_ID_MAX + 1];
    switch (row->kind) {
    case KIND_VALUE:
        return read_value(object, rule, ret_shown);
    case KIND_CHECK_VALUE:
        return read_check_value(object, room, ret_shown);
    case KIND_UNIQUE_ID:
        object_unique_id(object, text);
        memcpy(room->bytes, text, sizeof(text));
        *ret_shown = (struct view){room->bytes, strlen(text)};
        return CKR_OK;
    case KIND_WIDE:
        read_wide(root, row, room, ret_shown);
        return CKR_OK;
    case KIND_LINE:
        if (!attributes_bytes(&root->attributes, row->type, ret_shown))
            *ret_shown = (struct view){root->id.bytes, OBJECT_ID_LEN};
        return CKR_OK;
    default:
        return attributes_values_read(&object->attributes, row, room, ret_shown)
                   ? CKR_OK
                   : CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

/* NULL when objects of its class do not have the attribute. */
static const struct attribute_row *find_row(const struct object *object, CK_ATTRIBUTE_TYPE type)
{
    const struct attribute_row *row = attributes_table_find(type);
    enum attribute_class class = attributes_table_class(object->attributes.object_class);
    return row != NULL && (row->classes & class) != 0 ? row : NULL;
}

/* PKCS #11 5.7.5: a missing address asks for the length. */
static CK_RV give(struct view shown, CK_ATTRIBUTE *entry)
{
    if (entry->pValue != NULL && entry->ulValueLen < shown.len) {
        entry->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    if (entry->pValue != NULL && shown.len > 0)
        memcpy(entry->pValue, shown.bytes, shown.len);
    entry->ulValueLen = shown.len;
    return CKR_OK;
}

/* PKCS #11 5.7.5, arrays of attributes: the types are set, and the caller's addresses inside the
 * array are filled under the same rules as the array's own. */
static CK_RV give_template(struct view encoded, CK_ATTRIBUTE *entry)
{
    struct reader reader = reader_of(encoded);
    struct entry inner;
    size_t count = 0;
    while (attributes_entries_next(&reader, &inner))
        count++;
    struct view lengths_only = {NULL, count * sizeof(CK_ATTRIBUTE)};
    if (entry->pValue == NULL || entry->ulValueLen < lengths_only.len)
        return give(lengths_only, entry);

    CK_RV rv = CKR_OK;
    unsigned char *at = entry->pValue;
    reader = reader_of(encoded);
    for (; attributes_entries_next(&reader, &inner); at += sizeof(CK_ATTRIBUTE)) {
        const struct attribute_row *row = attributes_table_by_tag(inner.tag);
        struct attribute_room room;
        CK_ATTRIBUTE shown;
        memcpy(&shown, at, sizeof(shown));
        shown.type = row->type;
        CK_RV inner_rv = give(attributes_values_show(row, inner.value, &room), &shown);
        memcpy(at, &shown, sizeof(shown));
        rv = inner_rv != CKR_OK ? inner_rv : rv;
    }
    entry->ulValueLen = lengths_only.len;
    return rv;
}

static CK_RV get_entry(struct object *object, CK_ATTRIBUTE *entry)
{
    const struct attribute_row *row = find_row(object, entry->type);
    struct attribute_room room;
    struct view shown;
    CK_RV rv = CKR_ATTRIBUTE_TYPE_INVALID;
    if (row != NULL)
        rv = read_attribute(object, row, "sensitive-values-are-not-read", &room, &shown);
    if (rv != CKR_OK) {
        entry->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return rv;
    }
    return row->kind == KIND_TEMPLATE ? give_template(shown, entry) : give(shown, entry);
}

/* Nothing of this is logged: asking and being told no is how clients find out what there is. */
CK_RV object_get_attributes(struct object *object, CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_RV first = CKR_OK;
    if ((template == NULL && count > 0) || count > TEMPLATE_COUNT_MAX)
        return FAIL(CKR_ARGUMENTS_BAD, "a template of %lu attributes", count);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_RV rv = get_entry(object, &template[i]);
        if (first == CKR_OK)
            first = rv;
    }
    return first;
}

CK_RV object_search_template(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    return attributes_template_bounds(template, count);
}

static bool template_matches(struct view held, struct view wanted)
{
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    return attributes_values_encode_template(wanted, &encoded) == CKR_OK &&
           view_equal(held, blob_view(&encoded));
}

/* A checksum is not compared: that would open the value of every key. */
static bool entry_matches(struct object *object, const CK_ATTRIBUTE *entry)
{
    const struct attribute_row *row = find_row(object, entry->type);
    struct view wanted = attributes_template_view(entry);
    struct attribute_room room;
    struct view held;
    if (row == NULL || row->kind == KIND_CHECK_VALUE ||
        read_attribute(object, row, "secrets-match-no-search", &room, &held) != CKR_OK)
        return false;
    if (row->kind == KIND_TEMPLATE)
        return template_matches(held, wanted);
    return view_equal(held, wanted);
}

bool object_matches(struct object *object, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++)
        if (!entry_matches(object, &template[i]))
            return false;
    return true;
}
