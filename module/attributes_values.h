/*
 * The two forms of an attribute's value and the way between them.
 *
 *   shown    as Cryptoki's callers have it: CK_BBOOL, CK_ULONG, lists of CK_ULONGs in host order.
 *            attributes.others holds this form, so that it is read without a conversion.
 *   encoded  as docs/formats.md has it: a flag is one byte, a number four, big-endian. Entries of
 *            sealed attributes and of template attributes have this form.
 *
 * No function here logs: the caller knows which attribute of what it was. Nothing has shared state.
 */
#pragma once

#include "module/attributes_table.h"

/* Holds a converted value: the longest is a full CKA_ALLOWED_MECHANISMS. */
struct attribute_room {
    unsigned char bytes[ALLOWED_MECHANISMS_MAX * sizeof(CK_ULONG)];
};

/* Shown to encoded, and checked: CKR_ATTRIBUTE_VALUE_INVALID. `ret_encoded` points into `shown` or
 * `room`. Not for KIND_TEMPLATE. */
CK_RV attributes_values_encode(const struct attribute_row *row, struct view shown,
                               struct attribute_room *room, struct view *ret_encoded);
/* The same for an array of CK_ATTRIBUTEs; freed with blob_clear. An entry that a key's template may
 * not hold, or that is there twice with two values, is CKR_ATTRIBUTE_VALUE_INVALID. */
CK_RV attributes_values_encode_template(struct view shown, struct blob *ret_encoded);
/* True for what the two functions above make. Hostile input welcome. */
bool attributes_values_is_valid(const struct attribute_row *row, struct view encoded);
/* Valid encoded to shown; points into `encoded` or `room`. KIND_TEMPLATE stays encoded. */
struct view attributes_values_show(const struct attribute_row *row, struct view encoded,
                                   struct attribute_room *room);

/* What the attributes hold, shown; unset text, bytes and dates read as empty. False for an unset
 * list or template, and for kinds that struct attributes does not hold. */
bool attributes_values_read(const struct attributes *attributes, const struct attribute_row *row,
                            struct attribute_room *room, struct view *ret_shown);
/* Sets from a valid encoded value. CKR_HOST_MEMORY. */
CK_RV attributes_values_put(struct attributes *attributes, const struct attribute_row *row,
                            struct view encoded);

/* True for an encoded value that has no entry of its own, because it is the default. */
bool attributes_values_is_unset(const struct attribute_row *row, struct view encoded);
/* True for the kinds where empty and unset are the same. */
bool attributes_values_empty_is_unset(enum attribute_kind kind);
