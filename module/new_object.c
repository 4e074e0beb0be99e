#include "module/new_object.h"

#include <string.h>

#include "base/rv.h"
#include "module/object_attributes.h"
#include "module/policy.h"
#include "module/policy_rules.h"
#include "module/slot_objects.h"

CK_RV new_object_check_administrator(const struct session_view *view)
{
    if (!view->slot->so_administers || slot_may_administer(view->slot, view->role))
        return CKR_OK;
    log_line(LOG_LEVEL_WARNING,
             "token %s: refused by policy rule the-so-administers: administer = so leaves token "
             "objects to the SO",
             view->slot->name);
    return CKR_ACTION_PROHIBITED;
}

CK_RV new_object_check_session(const struct session_view *view, const struct attributes *attributes)
{
    bool token = attributes_has(attributes, FLAG_TOKEN);

    if (token && (view->flags & CKF_RW_SESSION) == 0)
        return CKR_SESSION_READ_ONLY;
    if ((token || attributes_has(attributes, FLAG_PRIVATE)) &&
        !slot_shows_private(view->slot, view->role))
        return CKR_USER_NOT_LOGGED_IN;
    return token ? new_object_check_administrator(view) : CKR_OK;
}

/* A zero-length CKA_CHECK_VALUE asks for none. One for a derived or unwrapped key would be a guess:
 * the caller does not know its value. */
static CK_RV compare_check_value(enum attribute_origin origin, const struct template_result *result)
{
    unsigned char expected[3];

    if (result->check_value.len == 0)
        return CKR_OK;
    if ((origin == ORIGIN_DERIVE || origin == ORIGIN_UNWRAP) &&
        !policy_allows_breach("no-check-value-guesses"))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (!check_value_compute(result->attributes.key_type, &result->value, expected))
        return CKR_FUNCTION_FAILED;
    return view_equal(result->check_value, (struct view){expected, sizeof(expected)})
               ? CKR_OK
               : CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV new_object_check(const struct session_view *view, enum attribute_origin origin,
                       const struct object *base, struct template_result *result)
{
    TRY(policy_new_object(view->slot, origin, base, result));
    TRY(new_object_check_session(view, &result->attributes));
    return compare_check_value(origin, result);
}

CK_RV new_object_publish(const struct session_view *view, struct template_result *result,
                         CK_OBJECT_HANDLE *ret_handle)
{
    const struct object_draft draft = {
        .owner = view->handle,
        .attributes = &result->attributes,
        .value = &result->value,
        .life = result->life,
    };

    return slot_objects_create(view->slot, &draft, ret_handle);
}

CK_RV new_object(const struct session_view *view, enum attribute_origin origin,
                 const struct object *base, struct template_result *result,
                 CK_OBJECT_HANDLE *ret_handle)
{
    TRY(new_object_check(view, origin, base, result));
    return new_object_publish(view, result, ret_handle);
}
