/*
 * A slot's objects by handle, and the indexes that make a search as fast with 100,000 of them as
 * with 100.
 *
 * A handle is a place in the table, a serial number of that place, and in its lowest three bits a
 * subkey's purpose; a place that is used again gets a new serial, so a dead handle stays dead. The
 * table holds one reference to each object. Its lock is a leaf: no callback takes another one but
 * an object's own.
 */
#pragma once

#include "module/object.h"

struct object_table;

CK_RV object_table_new(struct object_table **ret_table);
/* Retires and releases everything. */
void object_table_free(struct object_table **table);

/* Gives the object its handle; the table takes the caller's reference. On failure the caller keeps
 * it. */
CK_RV object_table_add(struct object_table *table, struct object *object);
/* `changed` takes the place and handle of `old` (which is retired), if that is still there; takes
 * the reference on success. CKR_OBJECT_HANDLE_INVALID. */
CK_RV object_table_replace(struct object_table *table, const struct object *old,
                           struct object *changed);
/* Retires it and drops the table's reference. CKR_OBJECT_HANDLE_INVALID when it is not there. */
CK_RV object_table_remove(struct object_table *table, const struct object *object);

/* One step of object_table_exchange: `fresh` takes the place of `old`, or comes new if that is
 * NULL. */
struct object_swap {
    struct object *old;
    struct object *fresh;
};

/* All of it at once, as a search sees it. Takes the references to `fresh` (and sets them to NULL);
 * what has lost its place meanwhile is left out. CKR_HOST_MEMORY or CKR_DEVICE_MEMORY, before
 * anything has changed its place; what was taken until then has come. */
CK_RV object_table_exchange(struct object_table *table, struct object_swap *swaps, size_t count);

/* A reference to the object that the handle stands for; a subkey handle gives the parent's subkey.
 * CKR_OBJECT_HANDLE_INVALID. */
CK_RV object_table_get(struct object_table *table, CK_OBJECT_HANDLE handle,
                       struct object **ret_object);

typedef bool object_visit_fn(void *context, struct object *object);

/* Calls `visit` for each object (subkeys are not in the table) under the read lock until it answers
 * false. */
void object_table_each(struct object_table *table, object_visit_fn *visit, void *context);
/* For the objects whose indexed attribute equals `key`. INDEX_UNIQUE_ID takes the 16 bytes of an
 * object_id. */
void object_table_lookup(struct object_table *table, enum object_index index, struct view key,
                         object_visit_fn *visit, void *context);
/* Removes and retires each object for which `match` is true. */
void object_table_remove_matching(struct object_table *table, object_visit_fn *match,
                                  void *context);

size_t object_table_count(struct object_table *table);

/* False when there is no session object at all: closing a session then costs no walk of the table.
 */
bool object_table_has_owned(struct object_table *table);

/* The purpose in a handle's low bits. */
static inline unsigned char object_handle_purpose(CK_OBJECT_HANDLE handle)
{
    return (unsigned char) (handle & 7);
}
