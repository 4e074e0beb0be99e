/*
 * A key that an operation wants to use: looked up by handle and checked against everything that
 * decides whether it may. Every path to a key goes through here (C_*Init, derivation, further key
 * handles in mechanism parameters), so that no handle escapes a check.
 */
#pragma once

#include "module/mechanism.h"
#include "module/object.h"

/* In this order: visible to the logged-in role (CKR_KEY_HANDLE_INVALID), a secret key of a type
 * that the mechanism takes (CKR_KEY_TYPE_INCONSISTENT), `usage` true, allowed by the key's state
 * (lifecycle.h), and the mechanism among CKA_ALLOWED_MECHANISMS and of the key's family
 * (CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID). The caller releases `ret_key` with object_release. */
CK_RV key_use_get(struct slot *slot, CK_OBJECT_HANDLE handle, enum attribute_flag usage,
                  const struct mechanism *mechanism, struct object **ret_key);

/* The first of these checks alone, for a key that is not used but moved: CKR_KEY_HANDLE_INVALID
 * unless it is a secret key that the role may see. */
CK_RV key_use_find(struct slot *slot, CK_OBJECT_HANDLE handle, struct object **ret_key);

/* Its value, valid while `key` is held. CKR_KEY_HANDLE_INVALID when another process has destroyed
 * it since the last look at the store. */
CK_RV key_use_value(struct object *key, const struct secret **ret_value);
