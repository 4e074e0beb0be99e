#include "module/attributes_table.h"

#include <stddef.h>

#include "include/indexkey.h"

#define ANY_CLASS (CLASS_KEY | CLASS_DATA | CLASS_PROFILE)

#define IN_CREATE ORIGIN_BIT(ORIGIN_CREATE)
#define IN_GENERATE ORIGIN_BIT(ORIGIN_GENERATE)
#define IN_DERIVE ORIGIN_BIT(ORIGIN_DERIVE)
#define IN_UNWRAP ORIGIN_BIT(ORIGIN_UNWRAP)
#define IN_ALL (IN_CREATE | IN_GENERATE | IN_DERIVE | IN_UNWRAP)
#define IN_MADE (IN_GENERATE | IN_DERIVE | IN_UNWRAP)
#define IN_NONE 0

#define ROW(tag_, type_, kind_, classes_, given_, set_, copy_)                                     \
    .tag = (tag_), .type = (type_), .name = #type_, .kind = KIND_##kind_, .classes = (classes_),   \
    .given = (given_), .set = CHANGE_##set_, .copy = CHANGE_##copy_

#define FLAG(tag_, name_, classes_, given_, set_, copy_)                                           \
    {                                                                                              \
        ROW(tag_, CKA_##name_, FLAG, classes_, given_, set_, copy_), .flag = FLAG_##name_          \
    }
#define NUMBER(tag_, name_, field_, classes_, given_)                                              \
    {                                                                                              \
        ROW(tag_, CKA_##name_, ULONG, classes_, given_, NONE, NONE),                               \
            .field = offsetof(struct attributes, field_)                                           \
    }
#define OTHER(tag_, name_, kind_, classes_, given_, change_, max_len_)                             \
    {                                                                                              \
        ROW(tag_, CKA_##name_, kind_, classes_, given_, change_, change_), .max_len = (max_len_)   \
    }

/* What the token alone sets (module/lifecycle.h); no template names it. */
#define LIFE(tag_, name_, kind_, unset_, most_)                                                    \
    {                                                                                              \
        ROW(tag_, CKA_INDEXKEY_##name_, kind_, CLASS_KEY, IN_NONE, NONE, NONE), .unset = (unset_), \
                                                                                .most = (most_)    \
    }

#define MECHANISMS_LEN (ALLOWED_MECHANISMS_MAX * sizeof(uint32_t))

/* In the order of the types: attributes_table_find halves. A new line takes the next free tag.
 *
 * CKA_VALUE_LEN may come with C_UnwrapKey, which the standard leaves open for generic secrets
 * (footnotes 2, 3) and forbids for AES (6): NSS sends it for both. WRAP, UNWRAP and DERIVE_TEMPLATE
 * and ALLOWED_MECHANISMS are fixed at creation; so is the value of a data object. A private object
 * has no public copy.
 *
 *      tag  name                classes    given     set       copy */
static const struct attribute_row table[] = {
    NUMBER(1, CLASS, object_class, ANY_CLASS, IN_ALL),
    FLAG(2, TOKEN, ANY_CLASS, IN_ALL, NONE, FREE),
    FLAG(3, PRIVATE, ANY_CLASS, IN_ALL, NONE, TO_TRUE),
    OTHER(4, LABEL, TEXT, ANY_CLASS, IN_ALL, FREE, 255),
    OTHER(5, UNIQUE_ID, UNIQUE_ID, ANY_CLASS, IN_NONE, NONE, 0),
    OTHER(6, APPLICATION, TEXT, CLASS_DATA, IN_ALL, FREE, 255),
    OTHER(7, VALUE, VALUE, CLASS_KEY | CLASS_DATA, IN_CREATE, NONE, 0),
    OTHER(8, OBJECT_ID, BYTES, CLASS_DATA, IN_ALL, FREE, 255),
    FLAG(9, TRUSTED, CLASS_KEY, IN_ALL, BY_SO, BY_SO),
    OTHER(10, CHECK_VALUE, CHECK_VALUE, CLASS_KEY, IN_ALL, NONE, 0),
    NUMBER(11, KEY_TYPE, key_type, CLASS_KEY, IN_ALL),
    OTHER(12, ID, BYTES, CLASS_KEY, IN_ALL, FREE, 32),
    FLAG(13, SENSITIVE, CLASS_KEY, IN_ALL, TO_TRUE, TO_TRUE),
    FLAG(14, ENCRYPT, CLASS_KEY, IN_ALL, FREE, FREE),
    FLAG(15, DECRYPT, CLASS_KEY, IN_ALL, FREE, FREE),
    FLAG(16, WRAP, CLASS_KEY, IN_ALL, FREE, FREE),
    FLAG(17, UNWRAP, CLASS_KEY, IN_ALL, FREE, FREE),
    FLAG(18, SIGN, CLASS_KEY, IN_ALL, FREE, FREE),
    FLAG(19, VERIFY, CLASS_KEY, IN_ALL, FREE, FREE),
    FLAG(20, DERIVE, CLASS_KEY, IN_ALL, FREE, FREE),
    OTHER(21, START_DATE, DATE, CLASS_KEY, IN_ALL, FREE, 8),
    OTHER(22, END_DATE, DATE, CLASS_KEY, IN_ALL, FREE, 8),
    NUMBER(23, VALUE_LEN, value_len, CLASS_KEY, IN_MADE),
    FLAG(24, EXTRACTABLE, CLASS_KEY, IN_ALL, TO_FALSE, TO_FALSE),
    FLAG(25, LOCAL, CLASS_KEY, IN_NONE, NONE, NONE),
    FLAG(26, NEVER_EXTRACTABLE, CLASS_KEY, IN_NONE, NONE, NONE),
    FLAG(27, ALWAYS_SENSITIVE, CLASS_KEY, IN_NONE, NONE, NONE),
    NUMBER(28, KEY_GEN_MECHANISM, key_gen_mechanism, CLASS_KEY, IN_NONE),
    FLAG(29, MODIFIABLE, ANY_CLASS, IN_ALL, NONE, FREE),
    FLAG(30, COPYABLE, ANY_CLASS, IN_ALL, TO_FALSE, TO_FALSE),
    FLAG(31, DESTROYABLE, ANY_CLASS, IN_ALL, TO_FALSE, FREE),
    OTHER(32, ALWAYS_AUTHENTICATE, NEVER, CLASS_KEY, IN_ALL, NONE, 0),
    FLAG(33, WRAP_WITH_TRUSTED, CLASS_KEY, IN_ALL, TO_TRUE, TO_TRUE),
    OTHER(34, PROFILE_ID, BYTES, CLASS_PROFILE, IN_NONE, NONE, sizeof(CK_ULONG)),
    OTHER(35, WRAP_TEMPLATE, TEMPLATE, CLASS_KEY, IN_ALL, NONE, 0),
    OTHER(36, UNWRAP_TEMPLATE, TEMPLATE, CLASS_KEY, IN_ALL, NONE, 0),
    OTHER(37, DERIVE_TEMPLATE, TEMPLATE, CLASS_KEY, IN_ALL, NONE, 0),
    OTHER(38, ALLOWED_MECHANISMS, MECHANISMS, CLASS_KEY, IN_ALL, NONE, MECHANISMS_LEN),
    LIFE(39, STATE, WIDE, INDEXKEY_STATE_ACTIVE, INDEXKEY_STATE_COMPROMISED),
    LIFE(40, ACTIVATION, WIDE, 0, INT64_MAX),
    LIFE(41, DEACTIVATION, WIDE, 0, INT64_MAX),
    LIFE(42, DESTROY_AT, WIDE, 0, INT64_MAX),
    LIFE(43, VERSION, WIDE, 1, UINT32_MAX),
    LIFE(44, LINE, LINE, 0, 0),
    FLAG(45, INDEXKEY_HOLD, CLASS_KEY, IN_NONE, NONE, NONE),
};

#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))

struct key_type_row {
    CK_KEY_TYPE type;
    bool hmac;
};

static const struct key_type_row key_types[] = {
    {CKK_GENERIC_SECRET, false}, {CKK_AES, false},          {CKK_HKDF, false},
    {CKK_SHA_1_HMAC, true},      {CKK_SHA224_HMAC, true},   {CKK_SHA256_HMAC, true},
    {CKK_SHA384_HMAC, true},     {CKK_SHA512_HMAC, true},   {CKK_SHA512_224_HMAC, true},
    {CKK_SHA512_256_HMAC, true}, {CKK_SHA3_224_HMAC, true}, {CKK_SHA3_256_HMAC, true},
    {CKK_SHA3_384_HMAC, true},   {CKK_SHA3_512_HMAC, true},
};

const struct attribute_row *attributes_table_find(CK_ATTRIBUTE_TYPE type)
{
    size_t low = 0;
    size_t high = TABLE_COUNT;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table[middle].type == type)
            return &table[middle];
        if (table[middle].type < type)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* A login asks ten times a key: the tags were given in the order of the types, so far. */
const struct attribute_row *attributes_table_by_tag(uint8_t tag)
{
    if (tag >= 1 && tag <= TABLE_COUNT && table[tag - 1].tag == tag)
        return &table[tag - 1];
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].tag == tag)
            return &table[i];
    return NULL;
}

const struct attribute_row *attributes_table_all(size_t *ret_count)
{
    *ret_count = TABLE_COUNT;
    return table;
}

enum attribute_class attributes_table_class(CK_OBJECT_CLASS object_class)
{
    switch (object_class) {
    case CKO_SECRET_KEY:
        return CLASS_KEY;
    case CKO_DATA:
        return CLASS_DATA;
    case CKO_PROFILE:
        return CLASS_PROFILE;
    default:
        return CLASS_NONE;
    }
}

uint64_t attributes_table_flags(enum attribute_class class)
{
    uint64_t flags = 0;
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].kind == KIND_FLAG && (table[i].classes & class) != 0)
            flags |= FLAG_BIT(table[i].flag);
    return flags;
}

static const struct key_type_row *find_key_type(CK_KEY_TYPE key_type)
{
    for (size_t i = 0; i < sizeof(key_types) / sizeof(key_types[0]); i++)
        if (key_types[i].type == key_type)
            return &key_types[i];
    return NULL;
}

bool attributes_table_has_key_type(CK_KEY_TYPE key_type)
{
    return find_key_type(key_type) != NULL;
}

bool attributes_table_is_hmac_type(CK_KEY_TYPE key_type)
{
    const struct key_type_row *row = find_key_type(key_type);
    return row != NULL && row->hmac;
}

bool attributes_table_key_len(CK_KEY_TYPE key_type, CK_ULONG len)
{
    if (key_type == CKK_AES)
        return len == 16 || len == 24 || len == 32;
    return len >= 1 && len <= KEY_VALUE_MAX;
}
