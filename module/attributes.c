#include "module/attributes.h"

#include <string.h>

#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_values.h"

void attributes_clear(struct attributes *attributes)
{
    blob_clear(&attributes->others);
    *attributes = (struct attributes){0};
}

CK_RV attributes_copy(const struct attributes *from, struct attributes *ret_copy)
{
    struct attributes copy = *from;
    TRY(blob_from(from->others.bytes, from->others.len, &copy.others));
    *ret_copy = copy;
    return CKR_OK;
}

void attributes_set_flag(struct attributes *attributes, enum attribute_flag flag, bool value)
{
    if (value)
        attributes->flags |= FLAG_BIT(flag);
    else
        attributes->flags &= ~FLAG_BIT(flag);
}

/* NULL for what `others` does not hold. */
static const struct attribute_row *find_other(CK_ATTRIBUTE_TYPE type)
{
    const struct attribute_row *row = attributes_table_find(type);
    if (row == NULL || row->kind < KIND_TEXT || row->kind > KIND_CHECK_VALUE)
        return NULL;
    return row;
}

bool attributes_bytes(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type,
                      struct view *ret_bytes)
{
    if (attributes->others.len == 0)
        return false;
    const struct attribute_row *row = find_other(type);
    return row != NULL &&
           attributes_entries_find(blob_view(&attributes->others), row->tag, ret_bytes);
}

CK_RV attributes_set_bytes(struct attributes *attributes, CK_ATTRIBUTE_TYPE type, struct view bytes)
{
    const struct attribute_row *row = find_other(type);
    if (row == NULL)
        return FAIL(CKR_ATTRIBUTE_TYPE_INVALID, "attribute 0x%lx has no bytes to set", type);
    if (bytes.len == 0 && attributes_values_empty_is_unset(row->kind)) {
        attributes_entries_remove(&attributes->others, row->tag);
        return CKR_OK;
    }
    return attributes_entries_put(&attributes->others, row->tag, bytes);
}

void attributes_unset(struct attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    const struct attribute_row *row = find_other(type);
    if (row != NULL)
        attributes_entries_remove(&attributes->others, row->tag);
}

bool attributes_allow(const struct attributes *attributes, CK_MECHANISM_TYPE mechanism)
{
    struct view allowed;
    if (!attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &allowed))
        return true;
    for (size_t at = 0; at + sizeof(mechanism) <= allowed.len; at += sizeof(mechanism))
        if (memcmp(allowed.bytes + at, &mechanism, sizeof(mechanism)) == 0)
            return true;
    return false;
}

CK_RV attributes_set_allowed(struct attributes *attributes, const CK_MECHANISM_TYPE *mechanisms,
                             size_t count)
{
    struct attribute_room room;
    struct view shown = {(const unsigned char *) mechanisms, count * sizeof(*mechanisms)};
    struct view encoded;
    if (count > ALLOWED_MECHANISMS_MAX)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "%zu allowed mechanisms, at most %d fit", count,
                    ALLOWED_MECHANISMS_MAX);
    const struct attribute_row *row = attributes_table_find(CKA_ALLOWED_MECHANISMS);
    TRY(attributes_values_encode(row, shown, &room, &encoded));
    return attributes_set_bytes(attributes, CKA_ALLOWED_MECHANISMS, shown);
}
