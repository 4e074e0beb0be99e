/*
 * Objects: what a handle of a slot stands for.
 *
 * An object is immutable once it is in a slot's table, apart from its reference count, `retired`
 * and its value, which is opened at first use under the object's own lock (the last in the lock
 * order, slot → session → key). C_SetAttributeValue puts a new object under the old handle and
 * retires the old one; destruction retires too. A session that holds a retired object looks the
 * handle up again.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "include/indexkey.h"
#include "module/attributes.h"
#include "tokens/sealed_objects.h"

struct key_ledger;
struct life;
struct lineage;
struct slot;

/* A subkey's purpose byte, 1 to 5 (indexkey.h); 0 for an object that is no subkey. */
#define PURPOSE_NONE 0

/* The indexes of a slot's table (module/object_table.h) that an object is found by. */
enum object_index { INDEX_LABEL, INDEX_ID, INDEX_UNIQUE_ID, INDEX_COUNT };

/* What a search reads stands together at the end: of 100,000 objects few are in the caches. */
struct object {
    atomic_uint references;
    atomic_bool retired;
    unsigned char purpose;
    bool has_predecessor; /* made by C_SetAttributeValue: a session may hold what was before */
    bool value_is_open;
    bool has_life;          /* a state or times are sealed with it (lifecycle.h) */
    atomic_bool is_watched; /* it has, or follows, times: no use without a look at the clock */
    struct slot *slot;
    CK_SESSION_HANDLE owner; /* a session object's session; 0 for token objects */
    uint64_t version;        /* of the sealed row; 0 for session objects */
    struct object *parent;   /* a subkey object's index key (referenced), else NULL */
    struct object **subkeys; /* an index key's, made at first use (module/subkeys.h), else NULL */
    _Atomic(struct lineage *) lineage;   /* referenced; NULL until it is needed (lineage.h) */
    _Atomic(struct life *) life;         /* referenced; NULL until something follows it */
    _Atomic(struct key_ledger *) ledger; /* referenced; NULL until it is needed (key_ledger.h) */
    struct secret value;
    pthread_mutex_t lock; /* guards value, value_is_open and subkeys */
    CK_OBJECT_HANDLE handle;
    struct object_id id;          /* the source of CKA_UNIQUE_ID */
    struct attributes attributes; /* their bytes are `others` */
    unsigned char others[];
};

/* One reference, owned by the caller. Takes over attributes and value (both left empty). */
CK_RV object_new(struct slot *slot, struct attributes *attributes, struct secret *value,
                 struct object **ret_object);
struct object *object_reference(struct object *object);
/* Drops one; the last wipes and frees. For the cleanup attribute on a struct object *. */
void object_release(struct object **object);

/* The key bytes, opened on first use: from the sealed row, or derived for a subkey. They stay valid
 * while the caller holds its reference and the slot is logged in. */
CK_RV object_value(struct object *object, const struct secret **ret_value);

/* A 32-byte generic secret token key that derives by CKM_SP800_108_COUNTER_KDF and does nothing
 * else. */
bool attributes_are_index_key(const struct attributes *attributes);

static inline bool object_has(const struct object *object, enum attribute_flag flag)
{
    return attributes_has(&object->attributes, flag);
}
