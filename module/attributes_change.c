#include "module/attributes.h"

#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_template.h"
#include "module/attributes_values.h"
#include "module/lifecycle.h"
#include "module/policy_rules.h"

/* Who changes: C_SetAttributeValue or C_CopyObject, the SO or another. */
struct changer {
    bool copies;
    bool is_so;
};

/* A one-way attribute may be given the value that it has already. */
static bool flag_may_become(const struct attributes *attributes, const struct attribute_row *row,
                            struct changer changer, bool wanted)
{
    bool now = attributes_has(attributes, row->flag);
    if (policy_allows_breach("one-way-attributes"))
        return true;
    switch (changer.copies ? row->copy : row->set) {
    case CHANGE_FREE:
        return true;
    case CHANGE_TO_TRUE:
        return wanted || !now;
    case CHANGE_TO_FALSE:
        return !wanted || now;
    case CHANGE_BY_SO:
        return changer.is_so || !wanted || now;
    default:
        return false;
    }
}

static CK_RV change_entry(struct attributes *attributes, struct changer changer,
                          const CK_ATTRIBUTE *entry)
{
    const struct attribute_row *row = attributes_table_find(entry->type);
    enum attribute_class class = attributes_table_class(attributes->object_class);
    struct attribute_room room;
    struct view encoded;
    if ((row->classes & class) == 0)
        return FAIL(CKR_ATTRIBUTE_TYPE_INVALID, "%s is no attribute of such an object", row->name);
    if ((changer.copies ? row->copy : row->set) == CHANGE_NONE &&
        !policy_allows_breach("fixed-attributes"))
        return FAIL(CKR_ATTRIBUTE_READ_ONLY, "%s does not change", row->name);
    if (attributes_values_encode(row, attributes_template_view(entry), &room, &encoded) != CKR_OK)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "%s: not a value for it", row->name);
    if (row->kind == KIND_FLAG &&
        !flag_may_become(attributes, row, changer, encoded.bytes[0] == CK_TRUE))
        return FAIL(CKR_ATTRIBUTE_READ_ONLY, "%s changes one way only", row->name);
    return attributes_values_put(attributes, row, encoded);
}

/* On a copy: everything or nothing. */
static CK_RV change_all(const struct attributes *old, const CK_ATTRIBUTE *template, CK_ULONG count,
                        struct changer changer, struct attributes *ret_changed)
{
    _cleanup_(attributes_clear) struct attributes changed = {0};
    TRY(attributes_template_check(template, count));
    TRY(attributes_copy(old, &changed));
    for (CK_ULONG i = 0; i < count; i++)
        TRY(change_entry(&changed, changer, &template[i]));
    *ret_changed = changed;
    ret_changed->others = blob_move(&changed.others);
    return CKR_OK;
}

CK_RV attributes_change(const struct attributes *old, const CK_ATTRIBUTE *template, CK_ULONG count,
                        bool as_so, struct attributes *ret_changed)
{
    struct changer changer = {.copies = false, .is_so = as_so};
    if (!attributes_has(old, FLAG_MODIFIABLE))
        return FAIL(CKR_ACTION_PROHIBITED, "the object is not modifiable");
    return change_all(old, template, count, changer, ret_changed);
}

CK_RV attributes_for_copy(const struct attributes *source, const CK_ATTRIBUTE *template,
                          CK_ULONG count, bool as_so, struct attributes *ret_copy)
{
    struct changer changer = {.copies = true, .is_so = as_so};
    if (!attributes_has(source, FLAG_COPYABLE))
        return FAIL(CKR_ACTION_PROHIBITED, "the object is not copyable");
    TRY(change_all(source, template, count, changer, ret_copy));
    lifecycle_strip(ret_copy);
    return CKR_OK;
}

static bool satisfies(const struct attributes *attributes, const struct entry *entry)
{
    const struct attribute_row *row = attributes_table_by_tag(entry->tag);
    struct attribute_room held;
    struct attribute_room wanted;
    struct view shown;
    return row != NULL && attributes_values_read(attributes, row, &held, &shown) &&
           view_equal(shown, attributes_values_show(row, entry->value, &wanted));
}

bool attributes_satisfy(const struct attributes *attributes, struct view canonical_template)
{
    struct reader reader = reader_of(canonical_template);
    struct entry entry;
    while (attributes_entries_next(&reader, &entry))
        if (!satisfies(attributes, &entry))
            return false;
    return reader_done(&reader);
}
