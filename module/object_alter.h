/*
 * How C_* and admin_* functions get at the object that they change: C_SetAttributeValue,
 * C_DestroyObject, admin_key_set_state and the like.
 */
#pragma once

#include "module/session.h"

/* An object that this session may see: private ones need the user. CKR_OBJECT_HANDLE_INVALID. */
CK_RV object_alter_find(const struct session_view *view, CK_OBJECT_HANDLE handle,
                        struct object **ret_object);
/* The same for one that it may change too: CKR_SESSION_READ_ONLY for a token object. */
CK_RV object_alter_find_writable(const struct session_view *view, CK_OBJECT_HANDLE handle,
                                 struct object **ret_object);

/* What a call wants to do to an object. */
struct alteration {
    CK_RV (*apply)(const struct session_view *view, struct object *object, const void *argument);
    const void *argument;
};

/* CKR_OBJECT_HANDLE_INVALID may mean that somebody else changed the object between the look and the
 * act; then the handle has another object by now, and the alteration is tried on that one. Each
 * round lost is one that somebody else has won. */
CK_RV object_alter(const struct session_view *view, CK_OBJECT_HANDLE handle,
                   const struct alteration *alteration);
