/*
 * The five subkey objects of an index key (design: "Index keys and their five purposes").
 *
 * A token lists L/token, L/centroid, L/payload, L/item and L/query for each index key L. They are
 * made when something first asks for them, their values derived at first use, never stored; they go
 * with their index key. Their handles are the index key's with the purpose in the low bits.
 */
#pragma once

#include "module/object.h"

/* True when the slot shows this purpose for this object (an index key). */
bool subkeys_shown(const struct object *object, unsigned char purpose);

/* A reference to the subkey. CKR_OBJECT_HANDLE_INVALID when `parent` is no index key or the purpose
 * is not shown. */
CK_RV subkeys_get(struct object *parent, unsigned char purpose, struct object **ret_subkey);

/* The index key is gone: retires its subkeys and breaks the ring of references. */
void subkeys_drop(struct object *parent);

/* The subkey's attributes; freed with attributes_clear. */
CK_RV subkeys_attributes(const struct object *parent, unsigned char purpose,
                         struct attributes *ret_attributes);
/* The input of the one PRF call that derives the purpose's key (SP 800-108, 4.1): counter, label,
 * zero byte, length in bits. The public builder in indexkey.h says the same in a CK_MECHANISM; a
 * test holds the two together. */
void subkeys_prf_input(unsigned char purpose, struct writer *input);
/* Its value, from the index key's. */
CK_RV subkeys_derive(const struct secret *index_key, unsigned char purpose,
                     struct secret *ret_value);

/* "L/payload" gives purpose 3 and the view "L"; PURPOSE_NONE when the label has no such ending. */
unsigned char subkeys_split_label(struct view label, struct view *ret_parent);
