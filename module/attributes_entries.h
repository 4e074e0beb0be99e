/*
 * A list of entries, the form of attributes.others and of the three template attributes: for each
 * entry its tag (1 byte), the length of its value (2 bytes, big-endian) and the value. Tags rise,
 * so that a set of attributes has one form only.
 *
 * Lists that were not made here are hostile: a reader stops at the first entry that does not fit.
 */
#pragma once

#include "base/bytes.h"

#define ENTRY_OVERHEAD 3

struct entry {
    uint8_t tag;
    struct view value;
};

/* False at the end, and for good after an entry that is cut short. */
bool attributes_entries_next(struct reader *reader, struct entry *ret_entry);
bool attributes_entries_find(struct view entries, uint8_t tag, struct view *ret_value);
/* Adds or replaces. CKR_HOST_MEMORY; CKR_ATTRIBUTE_VALUE_INVALID for a value over 65535 bytes. The
 * value may lie inside `entries`. */
CK_RV attributes_entries_put(struct blob *entries, uint8_t tag, struct view value);
void attributes_entries_remove(struct blob *entries, uint8_t tag);
/* Writes one entry at `at`, which has room for it, and returns where the next begins. */
unsigned char *attributes_entries_write(unsigned char *at, uint8_t tag, struct view value);
