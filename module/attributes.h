/*
 * Attributes by the book: what an object carries apart from its value, and the rules of PKCS #11
 * section 4 about who may give, read and change each.
 *
 * One table (attributes_table.c) has a line for every attribute: its name, kind, the classes that
 * have it, when a template may give it, whether C_SetAttributeValue may change it. A struct
 * attributes is built from a template, then published inside an object and never changed again: a
 * change makes a new object (module/object.h), so readers need no lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/secret.h"
#include "include/cryptoki.h"

struct life;

/* The boolean attributes, one bit each in attributes.flags. The order is part of the sealed format
 * (docs/formats.md): new ones go to the end. */
enum attribute_flag {
    FLAG_TOKEN,
    FLAG_PRIVATE,
    FLAG_MODIFIABLE,
    FLAG_COPYABLE,
    FLAG_DESTROYABLE,
    FLAG_SENSITIVE,
    FLAG_ENCRYPT,
    FLAG_DECRYPT,
    FLAG_SIGN,
    FLAG_VERIFY,
    FLAG_WRAP,
    FLAG_UNWRAP,
    FLAG_DERIVE,
    FLAG_EXTRACTABLE,
    FLAG_LOCAL,
    FLAG_ALWAYS_SENSITIVE,
    FLAG_NEVER_EXTRACTABLE,
    FLAG_WRAP_WITH_TRUSTED,
    FLAG_TRUSTED,
    FLAG_INDEXKEY_HOLD,
    FLAG_COUNT
};

#define FLAG_BIT(flag) ((uint64_t) 1 << (flag))

/* No attribute, never stored: a session key that is a copy of a token key or derived from one, and
 * so can be had again after this process. Copies and derived keys inherit it. */
#define OF_TOKEN_KEY FLAG_BIT(63)

struct key_policy;

struct attributes {
    uint64_t flags;             /* by FLAG_BIT */
    uint32_t object_class;      /* CKO_ */
    uint32_t key_type;          /* CKK_, secret keys */
    uint32_t value_len;         /* bytes; secret keys */
    uint32_t key_gen_mechanism; /* CKM_, or UINT32_MAX: CK_UNAVAILABLE_INFORMATION */
    struct blob others;         /* the variable-length ones, canonical (attributes_codec.c) */
    /* No attribute and never sealed: a session key whose value can be had from the token again, so
     * that its AES-GCM invocations are counted in the store (gcm_counts.h). */
    bool counts_in_store;
    /* So too: C_DeriveKey made the key for a purpose that searches need (lifecycle.h). */
    bool serves_searches;
    /* No attribute either: what the configuration allows a key (key_policy.h). NULL: everything. */
    const struct key_policy *policy;
};

void attributes_clear(struct attributes *attributes);
CK_RV attributes_copy(const struct attributes *from, struct attributes *ret_copy);

static inline bool attributes_has(const struct attributes *attributes, enum attribute_flag flag)
{
    return (attributes->flags & FLAG_BIT(flag)) != 0;
}

/* Its value may not be had in the clear, or not be had at all. */
static inline bool attributes_stay_inside(const struct attributes *attributes)
{
    return attributes_has(attributes, FLAG_SENSITIVE) ||
           !attributes_has(attributes, FLAG_EXTRACTABLE);
}

void attributes_set_flag(struct attributes *attributes, enum attribute_flag flag, bool value);

/* A variable-length attribute's bytes (CKA_LABEL, CKA_ID, CKA_ALLOWED_MECHANISMS as CK_ULONGs in
 * host order, the three templates as canonical bytes, …). False when the object does not carry it:
 * for CKA_ALLOWED_MECHANISMS unset is not empty. */
bool attributes_bytes(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type,
                      struct view *ret_bytes);
CK_RV attributes_set_bytes(struct attributes *attributes, CK_ATTRIBUTE_TYPE type,
                           struct view bytes);

/* Takes its entry away. */
void attributes_unset(struct attributes *attributes, CK_ATTRIBUTE_TYPE type);

/* CKA_ALLOWED_MECHANISMS: true when unset or when it lists the mechanism. */
bool attributes_allow(const struct attributes *attributes, CK_MECHANISM_TYPE mechanism);
CK_RV attributes_set_allowed(struct attributes *attributes, const CK_MECHANISM_TYPE *mechanisms,
                             size_t count);

/* Where a template comes from decides what it may hold and how LOCAL, ALWAYS_SENSITIVE, … begin. */
enum attribute_origin {
    ORIGIN_CREATE,
    ORIGIN_GENERATE,
    ORIGIN_DERIVE,
    ORIGIN_UNWRAP,
    ORIGIN_COUNT
};

/* What a template said: the attributes with defaults filled in, the value if it gave one, and which
 * booleans it named (policy tells an explicit FALSE from silence). */
struct template_result {
    struct attributes attributes;
    struct secret value; /* CKA_VALUE; empty when none was given */
    bool has_value;
    uint64_t named;    /* FLAG_BIT of each boolean that the template holds */
    struct life *life; /* what the key has to follow (lifecycle.h), referenced; NULL: nothing */
    bool has_value_len;
    bool has_key_type;
    bool has_class;
    struct view
        check_value; /* CKA_CHECK_VALUE as given (points into the template), or NULL bytes */
};

/* Checks a template (bounds, sizes, duplicates, applicability, read-only attributes) and builds
 * from it. CKR_ATTRIBUTE_TYPE_INVALID, _VALUE_INVALID, _READ_ONLY, CKR_TEMPLATE_INCOMPLETE,
 * _INCONSISTENT, CKR_ARGUMENTS_BAD. `implied_type` is the key type a mechanism implies (CKK_AES),
 * or CK_UNAVAILABLE_INFORMATION. Freed with template_result_clear. */
CK_RV attributes_from_template(enum attribute_origin origin, const CK_ATTRIBUTE *template,
                               CK_ULONG count, CK_KEY_TYPE implied_type,
                               struct template_result *ret_result);
void template_result_clear(struct template_result *result);

/* The caller's template, and the one that another key imposes on the new one (CKA_UNWRAP_TEMPLATE,
 * CKA_DERIVE_TEMPLATE: canonical bytes, empty for none). */
struct template_source {
    const CK_ATTRIBUTE *template;
    CK_ULONG count;
    struct view imposed;
};

/* attributes_from_template under an imposed template: what it says counts as said, and a caller's
 * entry that says otherwise, or a result that differs, is CKR_TEMPLATE_INCONSISTENT. */
CK_RV attributes_from_templates(enum attribute_origin origin, const struct template_source *source,
                                CK_KEY_TYPE implied_type, struct template_result *ret_result);

/* The sealed form (docs/formats.md, attributes) and back; hostile input gives CKR_DATA_INVALID. */
CK_RV attributes_encode(const struct attributes *attributes, struct blob *ret_bytes);
CK_RV attributes_decode(struct view bytes, struct attributes *ret_attributes);

/* C_SetAttributeValue: old attributes with the template applied. `as_so` may set CKA_TRUSTED.
 * Sticky ones (SENSITIVE, WRAP_WITH_TRUSTED to true, EXTRACTABLE to false, COPYABLE and DESTROYABLE
 * to false) go one way. */
CK_RV attributes_change(const struct attributes *old, const CK_ATTRIBUTE *template, CK_ULONG count,
                        bool as_so, struct attributes *ret_changed);

/* C_CopyObject: the copy's attributes; what a copy may change (TOKEN, PRIVATE, MODIFIABLE,
 * DESTROYABLE, COPYABLE to false and what C_SetAttributeValue may) and what it inherits; not the
 * state and the line (lifecycle.h). */
CK_RV attributes_for_copy(const struct attributes *source, const CK_ATTRIBUTE *template,
                          CK_ULONG count, bool as_so, struct attributes *ret_copy);

/* A template of WRAP/UNWRAP/DERIVE_TEMPLATE in canonical bytes: true when each entry is equal in
 * `attributes` (the wrapped key's, or the new key's after the template was merged). */
bool attributes_satisfy(const struct attributes *attributes, struct view canonical_template);
