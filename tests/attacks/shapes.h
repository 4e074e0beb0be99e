/* The small templates that an attacker gives: to create, generate, derive, unwrap, copy and change.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "include/cryptoki.h"
#include "module/attributes.h"

#define SHAPE_ATTRIBUTES_MAX 24
#define UNSAID CK_UNAVAILABLE_INFORMATION

struct shape {
    const char *name;
    CK_KEY_TYPE type; /* UNSAID: a change, or a data object */
    CK_ULONG len;     /* CKA_VALUE_LEN; 0: not said */
    uint64_t yes;     /* booleans that it gives, by FLAG_BIT */
    uint64_t no;
    CK_MECHANISM_TYPE allows; /* the one of CKA_ALLOWED_MECHANISMS; 0: not said */
    const char *label;
    unsigned char value; /* CKA_VALUE: 32 bytes of world_constant(value); 0: none */
    bool derives;        /* CKA_DERIVE_TEMPLATE: derived keys have CKA_DERIVE */
    bool is_data;
    bool of_target; /* of no use for keys that do not come from the target */
    bool is_guess;  /* with the CKA_CHECK_VALUE that the key would have */
};

struct shape_list {
    const struct shape *shapes;
    size_t count;
};

extern const struct shape_list shapes_create, shapes_generate, shapes_derive, shapes_unwrap,
    shapes_change;

/* The first of shapes_change. */
enum { CHANGE_NOTHING, CHANGE_LABEL, CHANGE_TO_SUBKEY_LABEL };

/* A template as a call takes it; points into itself and into the shape. */
struct shape_template {
    CK_ATTRIBUTE attributes[SHAPE_ATTRIBUTES_MAX];
    CK_ULONG count;
    CK_OBJECT_CLASS object_class;
    CK_KEY_TYPE type;
    CK_ULONG len;
    CK_MECHANISM_TYPE allows;
    unsigned char value[32];
};

void shape_fill(const struct shape *shape, struct shape_template *ret_template);
void shape_add(struct shape_template *template, CK_ATTRIBUTE_TYPE type, const void *value,
               CK_ULONG len);

/* 32 bytes that the attacker knows. */
void shape_constant(unsigned char number, unsigned char ret_bytes[32]);
