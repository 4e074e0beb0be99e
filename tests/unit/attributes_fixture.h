/*
 * What the tests of attributes share: templates, and objects that stand in no slot.
 *
 * The fixture has its own object_value, which counts, so that a test can say that nothing was
 * opened.
 */
#pragma once

#include "base/bytes.h"
#include "module/object.h"
#include "module/object_attributes.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ATTRIBUTE(type, value)                                                                     \
    {                                                                                              \
        (type), (void *) &(value), sizeof(value)                                                   \
    }

extern const CK_BBOOL yes;
extern const CK_BBOOL no;
extern const CK_OBJECT_CLASS class_key;
extern const CK_OBJECT_CLASS class_data;
extern const CK_KEY_TYPE type_aes;
extern const CK_KEY_TYPE type_generic;
extern const CK_KEY_TYPE type_sha256_hmac;
extern const unsigned char key_bytes[32];

/* How often a value was opened since the test began. */
extern unsigned int values_opened;
/* What attributes_are_index_key answers. */
extern bool index_key;

/* What the origin accepts for an AES-256 key: CLASS, KEY_TYPE, and VALUE for ORIGIN_CREATE. */
struct fixture_template {
    CK_ATTRIBUTE entries[8];
    CK_ULONG count;
};
struct fixture_template fixture_key(enum attribute_origin origin);
struct fixture_template fixture_data(void);
struct fixture_template fixture_with(struct fixture_template base, CK_ATTRIBUTE more);

CK_RV fixture_build(enum attribute_origin origin, const struct fixture_template *template,
                    struct template_result *ret_result);
/* Asserts that it works; the object takes what the result holds. Freed with fixture_release. */
struct object fixture_object(enum attribute_origin origin, const struct fixture_template *template);
void fixture_release(struct object *object);

/* One attribute; `ret_bytes` has room for `*len`. */
CK_RV fixture_get(struct object *object, CK_ATTRIBUTE_TYPE type, void *bytes, CK_ULONG *len);
bool fixture_flag(struct object *object, CK_ATTRIBUTE_TYPE type);
