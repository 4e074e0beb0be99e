/*
 * A slot's objects as they come from and go to the store: loading at login, following other
 * processes' changes, creation, change and destruction.
 */
#pragma once

#include "module/slot.h"

/* After the user's login: every object that opens. The caller has slot->changes alone. */
CK_RV slot_objects_load_locked(struct slot *slot);
/* After news of a change: what is new, changed or gone. After a failure the next tick tries again.
 */
CK_RV slot_objects_refresh(struct slot *slot);
/* The token object with this id, referenced, or NULL. */
struct object *slot_objects_find(struct slot *slot, const struct object_id *id);
/* At logout: private objects go, their handles are dead for ever. */
void slot_objects_drop_private(struct slot *slot);
/* At a session's end. */
void slot_objects_drop_owned(struct slot *slot, CK_SESSION_HANDLE owner);

/* A new object with these attributes and this value (both are taken over): sealed in the store
 * first when it is a token object. `owner` is the session, for session objects. */
CK_RV slot_objects_create(struct slot *slot, CK_SESSION_HANDLE owner, struct attributes *attributes,
                          struct secret *value, CK_OBJECT_HANDLE *ret_handle);
/* The same with the value of another object. */
CK_RV slot_objects_copy(struct object *source, CK_SESSION_HANDLE owner,
                        struct attributes *attributes, CK_OBJECT_HANDLE *ret_handle);
/* New attributes (taken over) for an object, under the same handle. */
CK_RV slot_objects_change(struct slot *slot, struct object *object, struct attributes *attributes);
CK_RV slot_objects_destroy(struct slot *slot, struct object *object);
