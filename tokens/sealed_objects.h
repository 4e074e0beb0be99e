/*
 * The store side of a token: token objects, sealed. module/ includes this and custody.h, nothing
 * else of tokens/.
 *
 * An object is an id, a version, its attributes (the canonical bytes of module/attributes.h, not
 * secret to the logged-in user) and its value (secret). Each row has two AES-256-GCM seals: the
 * attributes under the token's attribute key, the value under a random sealing key of its own that
 * is wrapped under the epoch key and bound to the attribute seal's tag; associated data binds
 * format, serial, id and version. The summary record carries generation, count and the sum of keyed
 * HMACs, so that a dropped or restored row is noticed at login.
 *
 * The custody must be logged in (else CKR_USER_NOT_LOGGED_IN). Any thread. A change is durable when
 * the function returns CKR_OK, and has not happened otherwise.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"
#include "tokens/custody.h"
#include "tokens/store.h"

struct sealed_object {
    struct object_id id;
    uint64_t version;
    struct view attributes;
    size_t value_len; /* bytes of the sealed value; 0: the object has none */
};

typedef CK_RV sealed_object_fn(void *context, const struct sealed_object *object);

/* Hands over every object that opens. A bad row is logged with its id and left out; a set that does
 * not match the summary is logged once with what is known about it. Stops when `each` fails. */
CK_RV sealed_objects_load(struct custody *custody, sealed_object_fn *each, void *context);

typedef CK_RV sealed_gone_fn(void *context, const struct object_id *id);

struct sealed_reader {
    sealed_object_fn *each;
    sealed_gone_fn *gone; /* the object is no longer there, unless `each` gets it afterwards */
    void *context;
};

/* Everything is read this often, where loads are asked for: what was put back behind the token's
 * back, without a word of it in the store, is noticed then. */
#define SEALED_WHOLE_EVERY_MS (60 * 1000)

/* The same with what changed since the last load of this login, at a cost that goes by what
 * changed. False: what was handed over is not to be trusted, and a sealed_objects_load has to
 * follow. For one thread at a time; after a failure of the caller's own, sealed_objects_forget. */
CK_RV sealed_objects_load_changes(struct custody *custody, const struct sealed_reader *reader,
                                  bool *ret_is_known);
/* The next load has to be of everything. */
void sealed_objects_forget(struct custody *custody);

/* Opens one value. CKR_OBJECT_HANDLE_INVALID when the row is gone or has an older version;
 * CKR_DEVICE_ERROR (cause TAMPERED) when it does not open. */
CK_RV sealed_objects_value(struct custody *custody, const struct object_id *id, uint64_t version,
                           struct secret *ret_value);

/* `id` is fresh, from sealed_objects_new_id. The first version is 1. */
CK_RV sealed_objects_new_id(struct object_id *ret_id);
CK_RV sealed_objects_create(struct custody *custody, const struct object_id *id,
                            struct view attributes, const struct secret *value);

/* The id of a row that belongs to a key's value, whatever object holds it: a MAC of the value under
 * a key of the token's. sealed_objects_create with such an id gives CKR_OBJECT_HANDLE_INVALID when
 * the row is there already. */
CK_RV sealed_objects_value_id(struct custody *custody, const struct secret *value,
                              struct object_id *ret_id);
/* One row's version and attributes. CKR_OBJECT_HANDLE_INVALID when there is no such row. */
CK_RV sealed_objects_attributes(struct custody *custody, const struct object_id *id,
                                uint64_t *ret_version, struct blob *ret_attributes);

/* One change among several. */
struct sealed_change {
    const struct object_id *id;
    uint64_t version; /* as it is now; 0: a new object */
    bool remove;
    struct view attributes;
    const struct secret *value; /* of a new object; any other keeps its own */
};

/* All of them, durably, or none: each object once. What changes goes from `version` to the next.
 * CKR_OBJECT_HANDLE_INVALID when another process changed or destroyed one of them first. */
CK_RV sealed_objects_commit(struct custody *custody, const struct sealed_change *changes,
                            size_t count);

/* New attributes, same value; compare-and-swap on `version`, new one in `ret_version`.
 * CKR_OBJECT_HANDLE_INVALID when another process changed or destroyed it first. */
CK_RV sealed_objects_update(struct custody *custody, const struct object_id *id, uint64_t version,
                            struct view attributes, uint64_t *ret_version);
CK_RV sealed_objects_destroy(struct custody *custody, const struct object_id *id, uint64_t version);

/* sealed_objects_attributes of a row whose going back would do harm that nothing mends: only while
 * all rows together are what the summary says, and the store is not older than its anchor. Reads
 * every row. CKR_DEVICE_ERROR (TAMPERED). */
CK_RV sealed_objects_verified_attributes(struct custody *custody, const struct object_id *id,
                                         uint64_t *ret_version, struct blob *ret_attributes);
