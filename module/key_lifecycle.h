/*
 * The acts of a key's life cycle (docs/life-cycle.md), below the boundary of C_DestroyObject and of
 * the admin_key_* functions (admin.h), which say what each answers. The caller has looked at
 * session and role.
 *
 * Like slot_objects.h, they take the slot's `changes` themselves and wait for the store.
 * CKR_OBJECT_HANDLE_INVALID: another process was first.
 */
#pragma once

#include "module/slot_objects.h"

/* CKR_ACTION_PROHIBITED unless it is a secret key with a row in the token's store. */
CK_RV key_lifecycle_check(const struct object *key);

/* Enters one of the states of admin_key_set_state in a key's attributes. */
CK_RV key_lifecycle_enter_state(struct attributes *attributes, CK_ULONG state);
CK_RV key_lifecycle_set_state(struct slot *slot, struct object *key, CK_ULONG state);
CK_RV key_lifecycle_set_times(struct slot *slot, struct object *key, const CK_ULONG *activation,
                              const CK_ULONG *deactivation);
CK_RV key_lifecycle_set_hold(struct slot *slot, struct object *key, bool hold);

/* A new version takes the key's label; `key` becomes an older one (key_rotation.c). */
CK_RV key_lifecycle_rotate(struct slot *slot, struct object *key, CK_OBJECT_HANDLE *ret_new);

/* Takes an object away: a stored key is hidden first where the slot has an `undo_window`. */
CK_RV key_lifecycle_destroy(struct slot *slot, struct object *object);
CK_RV key_lifecycle_undelete(struct slot *slot, const struct object_id *id,
                             CK_OBJECT_HANDLE *ret_key);
/* Removes what was hidden for as long as it had to be. The caller has slot_begin_admin. */
CK_RV key_lifecycle_purge(struct slot *slot, size_t *ret_count);
/* The same where something seems to be overdue. A failure is logged: the next one tries again. */
void key_lifecycle_purge_overdue(struct slot *slot);
