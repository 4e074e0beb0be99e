/*
 * The two seals of an object's row, byte for byte as in docs/formats.md.
 *
 * The attributes are sealed under a numbered attribute key. The value is sealed under a random key
 * of its own, which is wrapped under the epoch key and bound to the tag of the attribute seal. The
 * attributes' associated data names the value's length, so that a value can neither be exchanged
 * nor dropped. All functions work on a held keyring.
 *
 * What does not open is CKR_ENCRYPTED_DATA_INVALID, not logged: the caller names the row.
 */
#pragma once

#include "tokens/keyring.h"
#include "tokens/store.h"

/* Longest attributes and value that still fit a row. */
#define SEAL_ATTRIBUTES_MAX (STORE_BLOB_MAX - 5 - AEAD_OVERHEAD)
#define SEAL_VALUE_OVERHEAD (5 + SEAL_KEY_LEN + 2 * AEAD_OVERHEAD)
#define SEAL_VALUE_MAX (STORE_BLOB_MAX - SEAL_VALUE_OVERHEAD)

/* What goes into a row; borrowed. */
struct seal_content {
    const struct object_id *id;
    uint64_t version;
    uint32_t attribute_key; /* number of the attribute key */
    struct view attributes;
    const struct secret *value; /* NULL or empty: the object has none */
};

struct sealed_row {
    struct blob attributes;
    struct blob value;
};

void sealed_row_clear(struct sealed_row *row);

/* Freed with sealed_row_clear. */
CK_RV seal_row(struct keyring *held, const struct seal_content *content,
               struct sealed_row *ret_row);

/* Of a value's seal, and the serial of its token; borrowed. */
struct seal_epoch {
    const unsigned char *serial;
    uint32_t number;
    const struct secret *key;
};

/* The value of a row that has its sealed attributes, under a fresh sealing key. */
CK_RV seal_value(const struct seal_epoch *epoch, const struct store_row *row,
                 const struct secret *value, struct blob *ret_sealed);

/* Length of the value that a row holds; 0 for none. */
size_t seal_value_len(const struct store_row *row);
/* True when a newer version of the module seems to have sealed it. */
bool seal_is_newer(const struct store_row *row);
CK_RV seal_open_attributes(struct keyring *held, const struct store_row *row,
                           struct blob *ret_attributes);
/* Empty for an object without a value: then it is the attributes' seal that vouches for it. */
CK_RV seal_open_value(struct keyring *held, const struct store_row *row, struct secret *ret_value);

/* What a row adds to the sum in the summary: an HMAC of its id, its version and the tag of its
 * attribute seal. CKR_ENCRYPTED_DATA_INVALID when `attributes` is too short to have one. */
CK_RV seal_set_mac(struct keyring *held, const struct store_row *row,
                   unsigned char ret_mac[SHA256_LEN]);
/* The same under the set key that `set_key` holds, for many rows. */
CK_RV seal_set_mac_of(struct hmac *set_key, const struct store_row *row,
                      unsigned char ret_mac[SHA256_LEN]);
