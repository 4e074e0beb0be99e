#include "module/key_use.h"

#include "base/rv.h"
#include "module/audit_log.h"
#include "module/key_policy.h"
#include "module/lifecycle.h"
#include "module/policy.h"
#include "module/policy_rules.h"
#include "module/slot.h"

static bool accepts_type(const struct mechanism *mechanism, const struct object *key)
{
    CK_KEY_TYPE type = key->attributes.key_type;

    if (mechanism->accepts_key != NULL)
        return mechanism->accepts_key(mechanism, type);
    return mechanism->key_type == type;
}

static CK_RV check(const struct object *key, enum attribute_flag usage,
                   const struct mechanism *mechanism)
{
    if (!accepts_type(mechanism, key))
        return CKR_KEY_TYPE_INCONSISTENT;
    if (key->attributes.policy != NULL)
        TRY(key_policy_check_use(key, mechanism));
    if (!object_has(key, usage) && !policy_allows_breach("usage-flags"))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    /* The standard's code for a mechanism outside CKA_ALLOWED_MECHANISMS (4.8). */
    if (!attributes_allow(&key->attributes, mechanism->type) &&
        !policy_allows_breach("allowed-mechanisms"))
        return CKR_MECHANISM_INVALID;
    return CKR_OK;
}

CK_RV key_use_find(struct slot *slot, CK_OBJECT_HANDLE handle, struct object **ret_key)
{
    _cleanup_(object_release) struct object *key = NULL;

    CK_RV rv = object_table_get(slot->objects, handle, &key);
    TRY(rv == CKR_OBJECT_HANDLE_INVALID ? CKR_KEY_HANDLE_INVALID : rv);
    if (object_has(key, FLAG_PRIVATE) && slot_role(slot) != ROLE_USER)
        return CKR_KEY_HANDLE_INVALID;
    if (key->attributes.object_class != CKO_SECRET_KEY)
        return CKR_KEY_HANDLE_INVALID;
    *ret_key = TAKE(key);
    return CKR_OK;
}

CK_RV key_use_get(struct slot *slot, CK_OBJECT_HANDLE handle, enum attribute_flag usage,
                  const struct mechanism *mechanism, struct object **ret_key)
{
    _cleanup_(object_release) struct object *key = NULL;

    TRY(key_use_find(slot, handle, &key));
    CK_RV rv = check(key, usage, mechanism);
    if (rv == CKR_OK)
        rv = lifecycle_check(key, usage);
    if (rv != CKR_OK)
        return audit_log_outcome(slot, &(struct audit_act){"refused", key, mechanism}, rv);
    TRY(policy_claim_family(key, mechanism));
    *ret_key = TAKE(key);
    return CKR_OK;
}

CK_RV key_use_value(struct object *key, const struct secret **ret_value)
{
    CK_RV rv = object_value(key, ret_value);

    return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_KEY_HANDLE_INVALID : rv;
}
