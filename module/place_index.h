/*
 * One index of an object table: from the hash of an attribute to the places that have it.
 *
 * Each hash stands once in an open-addressed array, beside the first of its places, which are
 * linked through the table's own array. So a look-up of what is not there, and growing, touch no
 * object, and 100,000 objects with one label are as cheap to add and to take out as with 100,000.
 * Two keys of one hash share a chain: the reader compares.
 *
 * No lock of its own: the table's guards it.
 */
#pragma once

#include "module/object.h"

#define NO_PLACE UINT32_MAX

struct place_links {
    uint32_t next;
    uint32_t previous;
};

struct place {
    struct object *object; /* NULL: free */
    uint32_t serial;
    uint32_t next_free;
    struct place_links links[INDEX_COUNT];
};

struct place_slot {
    uint32_t hash;
    uint32_t first; /* NO_PLACE: the slot is free */
};

struct place_index {
    enum object_index which;
    struct place_slot *slots;
    size_t slot_count; /* a power of two */
};

CK_RV place_index_init(struct place_index *index, enum object_index which);
void place_index_clear(struct place_index *index);

uint32_t place_index_hash(struct view key);

/* Room for so many objects, whatever their keys become. CKR_HOST_MEMORY. */
CK_RV place_index_reserve(struct place_index *index, size_t object_count);
void place_index_add(struct place_index *index, struct place *places, uint32_t place,
                     uint32_t hash);
/* It was added with this hash. */
void place_index_remove(struct place_index *index, struct place *places, uint32_t place,
                        uint32_t hash);
/* The first place with this hash, or NO_PLACE; the others by the links. */
uint32_t place_index_first(const struct place_index *index, uint32_t hash);
