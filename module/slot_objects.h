/*
 * A slot's objects as they come from and go to the store: loading at login, following other
 * processes' changes, creation, change and destruction.
 */
#pragma once

#include "module/lifecycle.h"
#include "module/slot.h"
#include "tokens/sealed_objects.h"

/* After the user's login: every object that opens. The caller has slot->changes alone. */
CK_RV slot_objects_load_locked(struct slot *slot);
/* After news of a change: what is new, changed or gone. After a failure the next tick tries again.
 */
CK_RV slot_objects_refresh(struct slot *slot);
/* Called for each key whose destruction is pending; it has no handle and is in no table. */
typedef CK_RV pending_visit_fn(void *context, struct object *key);
/* The same, showing what is hidden: for an administrator's call, under no lock. */
CK_RV slot_objects_refresh_pending(struct slot *slot, pending_visit_fn *visit, void *context);
/* A row as an object with one reference, in no table; its value stays sealed until first use.
 * CKR_DATA_INVALID, logged, for attributes of no known form. */
CK_RV slot_objects_from_row(struct slot *slot, const struct sealed_object *row,
                            struct object **ret_object);
/* The token object with this id, referenced, or NULL. */
struct object *slot_objects_find(struct slot *slot, const struct object_id *id);
/* A token object whose destruction has happened, whatever failed afterwards: no version of it is
 * in the table. */
bool slot_objects_is_gone(struct slot *slot, const struct object *object);
/* At logout: private objects go, their handles are dead for ever. */
void slot_objects_drop_private(struct slot *slot);
/* At a session's end. */
void slot_objects_drop_owned(struct slot *slot, CK_SESSION_HANDLE owner);

/* Into the table, which takes the reference. CKR_SESSION_HANDLE_INVALID for an object of a session
 * that was closed meanwhile. */
CK_RV slot_objects_publish(struct slot *slot, struct object **object, CK_OBJECT_HANDLE *ret_handle);
/* A key waits, hidden, until then: slot.overdue_from. */
void slot_objects_note_pending(struct slot *slot, uint64_t until);

/* What a new object is made of. */
struct object_draft {
    CK_SESSION_HANDLE owner;       /* the session, for session objects */
    struct attributes *attributes; /* taken over, and so is the value */
    struct secret *value;
    struct object *source; /* the copy's; else NULL */
    struct life *life;     /* what it has to follow (lifecycle.h), or NULL */
};

/* A new object: sealed in the store first when it is a token object. */
CK_RV slot_objects_create(struct slot *slot, const struct object_draft *draft,
                          CK_OBJECT_HANDLE *ret_handle);
/* The same with the value of another object. */
CK_RV slot_objects_copy(struct object *source, CK_SESSION_HANDLE owner,
                        struct attributes *attributes, CK_OBJECT_HANDLE *ret_handle);
/* The next version of an object, with these attributes (taken over) and its value; in no table. */
CK_RV slot_objects_successor(struct object *object, struct attributes *attributes,
                             struct object **ret_successor);
/* New attributes (taken over) for an object, under the same handle. `event`: the audit log's word
 * for it. */
CK_RV slot_objects_change(struct slot *slot, struct object *object, struct attributes *attributes,
                          const char *event);
CK_RV slot_objects_destroy(struct slot *slot, struct object *object);
