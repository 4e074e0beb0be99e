#include "tests/unit/attributes_fixture.h"

#include <check.h>
#include <string.h>

#include "module/lineage.h"

const CK_BBOOL yes = CK_TRUE;
const CK_BBOOL no = CK_FALSE;
const CK_OBJECT_CLASS class_key = CKO_SECRET_KEY;
const CK_OBJECT_CLASS class_data = CKO_DATA;
const CK_KEY_TYPE type_aes = CKK_AES;
const CK_KEY_TYPE type_generic = CKK_GENERIC_SECRET;
const CK_KEY_TYPE type_sha256_hmac = CKK_SHA256_HMAC;
const unsigned char key_bytes[32];

unsigned int values_opened;
bool index_key;

CK_RV object_value(struct object *object, const struct secret **ret_value)
{
    values_opened++;
    *ret_value = &object->value;
    return CKR_OK;
}

bool attributes_are_index_key(const struct attributes *attributes)
{
    (void) attributes;
    return index_key;
}

struct fixture_template fixture_with(struct fixture_template base, CK_ATTRIBUTE more)
{
    base.entries[base.count++] = more;
    return base;
}

struct fixture_template fixture_key(enum attribute_origin origin)
{
    struct fixture_template key = {
        .entries = {ATTRIBUTE(CKA_CLASS, class_key), ATTRIBUTE(CKA_KEY_TYPE, type_aes)},
        .count = 2,
    };
    if (origin != ORIGIN_CREATE)
        return key;
    return fixture_with(key, (CK_ATTRIBUTE) ATTRIBUTE(CKA_VALUE, key_bytes));
}

struct fixture_template fixture_data(void)
{
    return (struct fixture_template){
        .entries = {ATTRIBUTE(CKA_CLASS, class_data)},
        .count = 1,
    };
}

CK_RV fixture_build(enum attribute_origin origin, const struct fixture_template *template,
                    struct template_result *ret_result)
{
    return attributes_from_template(origin, template->entries, template->count,
                                    CK_UNAVAILABLE_INFORMATION, ret_result);
}

struct object fixture_object(enum attribute_origin origin, const struct fixture_template *template)
{
    struct template_result result;
    ck_assert_uint_eq(fixture_build(origin, template, &result), CKR_OK);
    struct object object = {.attributes = result.attributes, .value_is_open = true};
    object.value = secret_move(&result.value);
    for (size_t i = 0; i < OBJECT_ID_LEN; i++)
        object.id.bytes[i] = (unsigned char) (0xF0 + i);
    return object;
}

void fixture_release(struct object *object)
{
    attributes_clear(&object->attributes);
    secret_clear(&object->value);
    lineage_release(atomic_load(&object->lineage));
}

CK_RV fixture_get(struct object *object, CK_ATTRIBUTE_TYPE type, void *bytes, CK_ULONG *len)
{
    CK_ATTRIBUTE entry = {type, bytes, *len};
    CK_RV rv = object_get_attributes(object, &entry, 1);
    *len = entry.ulValueLen;
    return rv;
}

bool fixture_flag(struct object *object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL flag = 0x55;
    CK_ULONG len = sizeof(flag);
    ck_assert_uint_eq(fixture_get(object, type, &flag, &len), CKR_OK);
    ck_assert_uint_eq(len, 1);
    ck_assert(flag == CK_TRUE || flag == CK_FALSE);
    return flag == CK_TRUE;
}
