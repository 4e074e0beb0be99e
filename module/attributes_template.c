#include "module/attributes_template.h"

#include <string.h>

#include "base/rv.h"
#include "module/attributes_values.h"
#include "module/lifecycle.h"
#include "module/policy_rules.h"

#define CIPHER_FLAGS (FLAG_BIT(FLAG_ENCRYPT) | FLAG_BIT(FLAG_DECRYPT))
#define MAC_FLAGS (FLAG_BIT(FLAG_SIGN) | FLAG_BIT(FLAG_VERIFY))
#define USAGE_FLAGS                                                                                \
    (CIPHER_FLAGS | MAC_FLAGS | FLAG_BIT(FLAG_WRAP) | FLAG_BIT(FLAG_UNWRAP) | FLAG_BIT(FLAG_DERIVE))
#define STORAGE_DEFAULTS                                                                           \
    (FLAG_BIT(FLAG_PRIVATE) | FLAG_BIT(FLAG_MODIFIABLE) | FLAG_BIT(FLAG_COPYABLE) |                \
     FLAG_BIT(FLAG_DESTROYABLE))

struct build {
    enum attribute_origin origin;
    enum attribute_class class;
    struct template_result result;
};

CK_RV attributes_template_bounds(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    if (template == NULL && count > 0)
        return FAIL(CKR_ARGUMENTS_BAD, "a template of %lu attributes has no address", count);
    if (count > TEMPLATE_COUNT_MAX)
        return FAIL(CKR_ARGUMENTS_BAD, "a template of %lu attributes, at most %d are read", count,
                    TEMPLATE_COUNT_MAX);
    for (CK_ULONG i = 0; i < count; i++) {
        const CK_ATTRIBUTE *entry = &template[i];
        if (entry->pValue == NULL && entry->ulValueLen > 0)
            return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "attribute 0x%lx has no address", entry->type);
        if (entry->ulValueLen > DATA_VALUE_MAX)
            return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "attribute 0x%lx of %lu bytes is too long",
                        entry->type, entry->ulValueLen);
    }
    return CKR_OK;
}

CK_RV attributes_template_check(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    TRY(attributes_template_bounds(template, count));
    for (CK_ULONG i = 0; i < count; i++) {
        const CK_ATTRIBUTE *entry = &template[i];
        if (attributes_table_find(entry->type) == NULL)
            return FAIL(CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute 0x%lx", entry->type);
        for (CK_ULONG j = 0; j < i; j++)
            if (template[j].type == entry->type &&
                !view_equal(attributes_template_view(&template[j]),
                            attributes_template_view(entry)))
                return FAIL(CKR_TEMPLATE_INCONSISTENT, "attribute 0x%lx has two values",
                            entry->type);
    }
    return CKR_OK;
}

/* A number of the template; `ret_number` stays as it is when the template does not name it. */
static CK_RV find_number(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type,
                         uint32_t *ret_number)
{
    const struct attribute_row *row = attributes_table_find(type);
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type != type)
            continue;
        struct attribute_room room;
        struct view encoded;
        if (attributes_values_encode(row, attributes_template_view(&template[i]), &room,
                                     &encoded) != CKR_OK)
            return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "%s is no number that we know", row->name);
        struct reader reader = reader_of(encoded);
        *ret_number = read_u32(&reader);
    }
    return CKR_OK;
}

static CK_RV find_class(struct build *build, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    uint32_t given = UINT32_MAX;
    TRY(find_number(template, count, CKA_CLASS, &given));
    build->result.has_class = given != UINT32_MAX;
    if (!build->result.has_class && build->origin == ORIGIN_CREATE)
        return FAIL(CKR_TEMPLATE_INCOMPLETE, "the template has no CKA_CLASS");
    uint32_t object_class = build->result.has_class ? given : CKO_SECRET_KEY;
    build->class = attributes_table_class(object_class);
    if (build->class != CLASS_KEY && build->class != CLASS_DATA)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "objects of class 0x%x cannot be made here",
                    object_class);
    if (build->class == CLASS_DATA &&
        (build->origin == ORIGIN_GENERATE || build->origin == ORIGIN_UNWRAP))
        return FAIL(CKR_TEMPLATE_INCONSISTENT, "a key is no CKO_DATA");
    build->result.attributes.object_class = object_class;
    return CKR_OK;
}

/* A generation mechanism makes keys of its type alone; a derivation falls back to its type. */
static CK_RV find_key_type(struct build *build, const CK_ATTRIBUTE *template, CK_ULONG count,
                           CK_KEY_TYPE implied_type)
{
    uint32_t given = UINT32_MAX;
    if (build->class != CLASS_KEY)
        return CKR_OK;
    TRY(find_number(template, count, CKA_KEY_TYPE, &given));
    build->result.has_key_type = given != UINT32_MAX;
    CK_KEY_TYPE key_type = build->result.has_key_type ? given : implied_type;
    if (key_type == CK_UNAVAILABLE_INFORMATION)
        return FAIL(CKR_TEMPLATE_INCOMPLETE, "the template has no CKA_KEY_TYPE");
    if (build->origin == ORIGIN_GENERATE && implied_type != CK_UNAVAILABLE_INFORMATION &&
        key_type != implied_type)
        return FAIL(CKR_TEMPLATE_INCONSISTENT, "the mechanism makes no keys of type 0x%lx",
                    key_type);
    if (!attributes_table_has_key_type(key_type))
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "there are no secret keys of type 0x%lx",
                    key_type);
    build->result.attributes.key_type = (uint32_t) key_type;
    return CKR_OK;
}

static void set_defaults(struct build *build)
{
    struct attributes *attributes = &build->result.attributes;
    attributes->key_gen_mechanism = UINT32_MAX;
    attributes->flags = STORAGE_DEFAULTS;
    if (build->class != CLASS_KEY)
        return;
    attributes_set_flag(attributes, FLAG_SENSITIVE, true);
    /* PKCS #11 5.18.4: an unwrapped key is extractable unless the template says otherwise. */
    attributes_set_flag(attributes, FLAG_EXTRACTABLE, build->origin == ORIGIN_UNWRAP);
}

static CK_RV put_value(struct build *build, struct view bytes)
{
    struct template_result *result = &build->result;
    if (build->class == CLASS_KEY) {
        if (!attributes_table_key_len(result->attributes.key_type, bytes.len))
            return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "a key of type 0x%x has no %zu bytes",
                        result->attributes.key_type, bytes.len);
        result->attributes.value_len = (uint32_t) bytes.len;
    }
    secret_clear(&result->value);
    result->has_value = true;
    return bytes.len == 0 ? CKR_OK : secret_from(bytes.bytes, bytes.len, &result->value);
}

static CK_RV put_template(struct build *build, const struct attribute_row *row, struct view shown)
{
    _cleanup_(blob_clear) struct blob encoded = {NULL, 0};
    CK_RV rv = attributes_values_encode_template(shown, &encoded);
    if (rv != CKR_OK)
        return FAIL(rv, "%s: not a template that a key can follow", row->name);
    return attributes_values_put(&build->result.attributes, row, blob_view(&encoded));
}

/* Kept for the comparison with the finished key; empty, it asks for none (PKCS #11 4.9.1). */
static CK_RV put_check_value(struct build *build, struct view given)
{
    build->result.check_value = given;
    if (given.len > 0)
        return CKR_OK;
    return attributes_set_bytes(&build->result.attributes, CKA_CHECK_VALUE, given);
}

/* Everything that is no secret, list of attributes or checksum. */
static CK_RV put_scalar(struct build *build, const struct attribute_row *row, struct view shown)
{
    struct template_result *result = &build->result;
    struct attribute_room room;
    struct view encoded;
    if (attributes_values_encode(row, shown, &room, &encoded) != CKR_OK)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "%s: not a value for it", row->name);
    bool is_true = row->kind <= KIND_NEVER && encoded.bytes[0] == CK_TRUE;
    if (row->kind == KIND_NEVER)
        return is_true ? FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "%s is always false", row->name)
                       : CKR_OK;
    if (is_true && row->set == CHANGE_BY_SO && !policy_allows_breach("only-the-so-trusts"))
        return FAIL(CKR_ATTRIBUTE_READ_ONLY, "%s is set by the SO", row->name);
    if (row->kind == KIND_FLAG)
        result->named |= FLAG_BIT(row->flag);
    return attributes_values_put(&result->attributes, row, encoded);
}

static CK_RV check_value_len(struct build *build)
{
    const struct attributes *attributes = &build->result.attributes;
    bool fits = build->class == CLASS_KEY
                    ? attributes_table_key_len(attributes->key_type, attributes->value_len)
                    : attributes->value_len <= DATA_VALUE_MAX;
    if (!fits)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE_LEN %u does not fit the object",
                    attributes->value_len);
    build->result.has_value_len = true;
    return CKR_OK;
}

/* CKM_HKDF_DATA makes a data object whose length comes in CKA_VALUE_LEN; Java's provider sends a
 * CKA_KEY_TYPE with it. Neither is an attribute of the result. */
static bool describes_derived_data(const struct build *build, const struct attribute_row *row)
{
    return build->origin == ORIGIN_DERIVE && build->class == CLASS_DATA &&
           (row->type == CKA_VALUE_LEN || row->type == CKA_KEY_TYPE);
}

/* CKR_ATTRIBUTE_READ_ONLY for all that the standard forbids in this call (footnotes 2, 4 and 6): so
 * SoftHSM answers, and so clients expect. */
static CK_RV put_entry(struct build *build, const CK_ATTRIBUTE *entry)
{
    const struct attribute_row *row = attributes_table_find(entry->type);
    struct view shown = attributes_template_view(entry);
    if ((row->classes & build->class) == 0 && !describes_derived_data(build, row))
        return FAIL(CKR_ATTRIBUTE_TYPE_INVALID, "%s is no attribute of such an object", row->name);
    if ((row->given & ORIGIN_BIT(build->origin)) == 0)
        return FAIL(CKR_ATTRIBUTE_READ_ONLY, "%s may not be in this template", row->name);
    switch (row->kind) {
    case KIND_VALUE:
        return put_value(build, shown);
    case KIND_TEMPLATE:
        return put_template(build, row, shown);
    case KIND_CHECK_VALUE:
        return put_check_value(build, shown);
    default:
        break;
    }
    if (row->type == CKA_CLASS || row->type == CKA_KEY_TYPE)
        return CKR_OK; /* read before, by find_class and find_key_type */
    TRY(put_scalar(build, row, shown));
    return row->type == CKA_VALUE_LEN ? check_value_len(build) : CKR_OK;
}

/* What the standard leaves to the token (footnote 9): a template that names no use gets the one
 * that its key type is for. */
static void set_usage(struct template_result *result)
{
    if ((result->named & USAGE_FLAGS) != 0)
        return;
    if (result->attributes.key_type == CKK_AES)
        result->attributes.flags |= CIPHER_FLAGS;
    else if (attributes_table_is_hmac_type(result->attributes.key_type))
        result->attributes.flags |= MAC_FLAGS;
}

/* PKCS #11 4.10 and 5.18: a key that was outside this token has no known past. For a derived key
 * these say what its template asks; the base key's history narrows it. */
static void set_history(struct build *build)
{
    struct attributes *attributes = &build->result.attributes;
    bool inside = build->origin == ORIGIN_GENERATE || build->origin == ORIGIN_DERIVE;
    attributes_set_flag(attributes, FLAG_LOCAL, build->origin == ORIGIN_GENERATE);
    attributes_set_flag(attributes, FLAG_ALWAYS_SENSITIVE,
                        inside && attributes_has(attributes, FLAG_SENSITIVE));
    attributes_set_flag(attributes, FLAG_NEVER_EXTRACTABLE,
                        inside && !attributes_has(attributes, FLAG_EXTRACTABLE));
}

static CK_RV build_all(struct build *build, const CK_ATTRIBUTE *template, CK_ULONG count,
                       CK_KEY_TYPE implied_type)
{
    TRY(attributes_template_check(template, count));
    TRY(find_class(build, template, count));
    TRY(find_key_type(build, template, count, implied_type));
    set_defaults(build);
    for (CK_ULONG i = 0; i < count; i++)
        TRY(put_entry(build, &template[i]));
    if (build->class != CLASS_KEY)
        return CKR_OK;
    if (build->origin == ORIGIN_CREATE && !build->result.has_value)
        return FAIL(CKR_TEMPLATE_INCOMPLETE, "the template has no CKA_VALUE");
    set_usage(&build->result);
    set_history(build);
    return CKR_OK;
}

CK_RV attributes_from_template(enum attribute_origin origin, const CK_ATTRIBUTE *template,
                               CK_ULONG count, CK_KEY_TYPE implied_type,
                               struct template_result *ret_result)
{
    struct build build = {.origin = origin};
    CK_RV rv = build_all(&build, template, count, implied_type);
    if (rv != CKR_OK) {
        template_result_clear(&build.result);
        return rv;
    }
    *ret_result = build.result;
    return CKR_OK;
}

void template_result_clear(struct template_result *result)
{
    attributes_clear(&result->attributes);
    secret_clear(&result->value);
    if (result->life != NULL)
        life_release(&result->life);
    *result = (struct template_result){0};
}
