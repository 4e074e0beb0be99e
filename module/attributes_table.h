/*
 * The table of attributes: one line for each that this module knows.
 *
 * What may be given, read and changed follows the attribute tables and footnotes of PKCS #11
 * chapters 4 and 6; where the standard leaves it to the token, the column says what this one does.
 * Everything here is constant.
 */
#pragma once

#include "module/attributes.h"

/* How the value looks at the API, and where it lives. */
enum attribute_kind {
    KIND_FLAG,  /* CK_BBOOL; a bit of attributes.flags */
    KIND_NEVER, /* CK_BBOOL that is always CK_FALSE */
    KIND_ULONG, /* CK_ULONG; a field of struct attributes */
    KIND_TEXT,  /* UTF-8; the kinds from here to KIND_TEMPLATE live in attributes.others */
    KIND_BYTES,
    KIND_DATE,        /* CK_DATE or nothing */
    KIND_WIDE,        /* CK_ULONG of 64 bits; in others unless it is `unset` */
    KIND_LINE,        /* INDEXKEY_LINE_LEN bytes; unset: those of the object's id */
    KIND_MECHANISMS,  /* CK_MECHANISM_TYPE list */
    KIND_TEMPLATE,    /* CK_ATTRIBUTE list */
    KIND_CHECK_VALUE, /* computed; in others only as an empty entry: suppressed by the template */
    KIND_UNIQUE_ID,   /* computed from the object's id */
    KIND_VALUE,       /* kept apart: secret */
};

enum attribute_class {
    CLASS_NONE = 0,
    CLASS_KEY = 1,
    CLASS_DATA = 2,
    CLASS_PROFILE = 4,
};

/* What C_SetAttributeValue and C_CopyObject may do to an attribute. */
enum attribute_change {
    CHANGE_NONE,
    CHANGE_FREE,
    CHANGE_TO_TRUE,  /* one way */
    CHANGE_TO_FALSE, /* one way */
    CHANGE_BY_SO,    /* to true by the SO only; to false by anybody */
};

#define ORIGIN_BIT(origin) ((uint8_t) (1U << (origin)))

struct attribute_row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    enum attribute_kind kind;
    uint8_t tag;     /* in encoded entries (docs/formats.md): a number for ever */
    uint8_t classes; /* CLASS_ bits of the objects that have it */
    uint8_t given;   /* ORIGIN_BITs of the templates that may name it */
    enum attribute_change set;
    enum attribute_change copy;
    enum attribute_flag flag; /* KIND_FLAG */
    size_t field;             /* KIND_ULONG: offset of the uint32_t in struct attributes */
    size_t max_len;           /* encoded bytes: KIND_TEXT, KIND_BYTES, KIND_DATE, KIND_MECHANISMS */
    uint64_t unset;           /* KIND_WIDE: what it is without an entry */
    uint64_t most;            /* KIND_WIDE: the largest number */
};

#define TEMPLATE_COUNT_MAX 256
#define ALLOWED_MECHANISMS_MAX 64
#define DATA_VALUE_MAX ((size_t) 64 << 10)
#define KEY_VALUE_MAX 512

/* NULL for a type that the module does not know. */
const struct attribute_row *attributes_table_find(CK_ATTRIBUTE_TYPE type);
const struct attribute_row *attributes_table_by_tag(uint8_t tag);
const struct attribute_row *attributes_table_all(size_t *ret_count);

/* CLASS_NONE for an object class that the module does not have. */
enum attribute_class attributes_table_class(CK_OBJECT_CLASS object_class);
/* FLAG_BITs of the booleans that objects of the class have. */
uint64_t attributes_table_flags(enum attribute_class class);

bool attributes_table_has_key_type(CK_KEY_TYPE key_type);
bool attributes_table_is_hmac_type(CK_KEY_TYPE key_type);
/* True when a key of the type may have this many bytes. */
bool attributes_table_key_len(CK_KEY_TYPE key_type, CK_ULONG len);
