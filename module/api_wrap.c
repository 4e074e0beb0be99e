/* PKCS #11 5.18: key management, wrapping and unwrapping. */
#include "module/api.h"

#include "module/attributes_table.h"
#include "module/audit_log.h"
#include "module/key_use.h"
#include "module/lifecycle.h"
#include "module/new_object.h"
#include "module/policy.h"

/* What the four functions have in common. */
struct wrap_request {
    CK_MECHANISM_PTR mechanism;
    CK_OBJECT_HANDLE key; /* that wraps or unwraps */
    bool authenticated;
    struct view associated_data;
};

/* What works on a request; ended with working_end. */
struct working {
    CK_MECHANISM mechanism; /* a copy: the caller's could change meanwhile */
    const struct wrap_ops *ops;
    struct wrap_call call;
};

static void working_end(struct working *working)
{
    object_release(&working->call.key);
}

static CK_RV as_wrapping_key(CK_RV rv)
{
    switch (rv) {
    case CKR_KEY_HANDLE_INVALID:
        return CKR_WRAPPING_KEY_HANDLE_INVALID;
    case CKR_KEY_TYPE_INCONSISTENT:
        return CKR_WRAPPING_KEY_TYPE_INCONSISTENT;
    default:
        return rv;
    }
}

static CK_RV as_unwrapping_key(CK_RV rv)
{
    switch (rv) {
    case CKR_KEY_HANDLE_INVALID:
        return CKR_UNWRAPPING_KEY_HANDLE_INVALID;
    case CKR_KEY_TYPE_INCONSISTENT:
        return CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT;
    default:
        return rv;
    }
}

static CK_RV take_key(const struct session_view *view, const struct wrap_request *request,
                      enum attribute_flag usage, struct working *working)
{
    const struct mechanism *mechanism = mechanism_find(working->mechanism.mechanism);
    struct wrap_call *call = &working->call;

    TRY(key_use_get(view->slot, request->key, usage, mechanism, &call->key));
    TRY(audit_log_use_once(view->slot, call->key, mechanism));
    return key_use_value(call->key, &call->key_value);
}

static CK_RV begin(const struct session_view *view, const struct wrap_request *request,
                   enum attribute_flag usage, struct working *working)
{
    if (request->mechanism == NULL ||
        api_bytes_are_bad(request->associated_data.bytes, request->associated_data.len))
        return CKR_ARGUMENTS_BAD;
    working->mechanism = *request->mechanism;
    const struct mechanism *mechanism = mechanism_find(working->mechanism.mechanism);
    if (mechanism == NULL || mechanism->wrap == NULL ||
        (request->authenticated && !mechanism->wrap->authenticates))
        return CKR_MECHANISM_INVALID;
    working->ops = mechanism->wrap;
    working->call.mechanism = &working->mechanism;
    working->call.authenticated = request->authenticated;
    working->call.associated_data = request->associated_data;
    working->call.callers_iv = policy_callers_iv(view->slot);
    CK_RV rv = take_key(view, request, usage, working);
    return usage == FLAG_WRAP ? as_wrapping_key(rv) : as_unwrapping_key(rv);
}

/* PKCS #11 4.10 and 5.18.3: what a key says about its leaving, and what the wrapping key says about
 * the keys it takes. */
static CK_RV check_departure(const struct slot *slot, const struct object *wrapping,
                             const struct object *key)
{
    struct view template;

    if (!object_has(key, FLAG_EXTRACTABLE))
        return CKR_KEY_UNEXTRACTABLE;
    if (!lifecycle_is_active(key)) /* it would come back without its state */
        return CKR_KEY_NOT_WRAPPABLE;
    if (object_has(key, FLAG_WRAP_WITH_TRUSTED) && !object_has(wrapping, FLAG_TRUSTED))
        return CKR_KEY_NOT_WRAPPABLE;
    if (attributes_bytes(&wrapping->attributes, CKA_WRAP_TEMPLATE, &template) &&
        !attributes_satisfy(&key->attributes, template))
        return CKR_KEY_NOT_WRAPPABLE;
    return policy_departure(slot, wrapping, key);
}

static CK_RV wrap(const struct session_view *view, const struct wrap_request *request,
                  CK_OBJECT_HANDLE handle, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
    _cleanup_(working_end) struct working working = {0};
    _cleanup_(object_release) struct object *key = NULL;
    const struct secret *value;
    size_t needed;
    CK_RV rv;

    if (out_len == NULL)
        return CKR_ARGUMENTS_BAD;
    TRY(begin(view, request, FLAG_WRAP, &working));
    TRY(key_use_find(view->slot, handle, &key));
    const struct audit_act act = {"wrap", key, mechanism_find(working.mechanism.mechanism)};
    rv = check_departure(view->slot, working.call.key, key);
    if (rv != CKR_OK)
        return audit_log_outcome(view->slot, &act, rv);
    TRY(key_use_value(key, &value));
    TRY(working.ops->wrapped_len(&working.call, value->len, &needed));
    if (api_only_size(out, out_len, needed, &rv))
        return rv;
    TRY(audit_log_intent(view->slot, &act));
    TRY(audit_log_outcome(view->slot, &act, working.ops->wrap(&working.call, value, out)));
    *out_len = needed;
    return CKR_OK;
}

CK_RV C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey,
                CK_ULONG_PTR pulWrappedKeyLen)
{
    struct wrap_request request = {.mechanism = pMechanism, .key = hWrappingKey};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, wrap(&view, &request, hKey, pWrappedKey, pulWrappedKeyLen));
}

CK_RV C_WrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                             CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey,
                             CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                             CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
    struct wrap_request request = {
        .mechanism = pMechanism,
        .key = hWrappingKey,
        .authenticated = true,
        .associated_data = api_view(pAssociatedData, ulAssociatedDataLen),
    };
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, wrap(&view, &request, hKey, pWrappedKey, pulWrappedKeyLen));
}

/* The key is as long as what was wrapped: a length in the template is compared, and truncates
 * nothing. */
static CK_RV measure(struct template_result *result)
{
    size_t len = result->value.len;

    if (!attributes_table_key_len(result->attributes.key_type, len))
        return CKR_WRAPPED_KEY_INVALID;
    if (result->has_value_len && result->attributes.value_len != len)
        return CKR_TEMPLATE_INCONSISTENT;
    result->attributes.value_len = (uint32_t) len;
    return CKR_OK;
}

static CK_RV unwrap(const struct session_view *view, const struct wrap_request *request,
                    struct view wrapped, struct template_source *source, CK_OBJECT_HANDLE_PTR out)
{
    _cleanup_(template_result_clear) struct template_result result = {0};
    _cleanup_(working_end) struct working working = {0};

    if (wrapped.bytes == NULL || out == NULL || api_bytes_are_bad(source->template, source->count))
        return CKR_ARGUMENTS_BAD;
    TRY(begin(view, request, FLAG_UNWRAP, &working));
    (void) attributes_bytes(&working.call.key->attributes, CKA_UNWRAP_TEMPLATE, &source->imposed);
    TRY(attributes_from_templates(ORIGIN_UNWRAP, source, CK_UNAVAILABLE_INFORMATION, &result));
    TRY(working.ops->unwrap(&working.call, wrapped, &result.value));
    TRY(measure(&result));
    return new_object(view, ORIGIN_UNWRAP, NULL, &result, out);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                  CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey,
                  CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey)
{
    struct wrap_request request = {.mechanism = pMechanism, .key = hUnwrappingKey};
    struct template_source source = {.template = pTemplate, .count = ulAttributeCount};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(
        &view, unwrap(&view, &request, api_view(pWrappedKey, ulWrappedKeyLen), &source, phKey));
}

CK_RV C_UnwrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                               CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey,
                               CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE_PTR pTemplate,
                               CK_ULONG ulAttributeCount, CK_BYTE_PTR pAssociatedData,
                               CK_ULONG ulAssociatedDataLen, CK_OBJECT_HANDLE_PTR phKey)
{
    struct wrap_request request = {
        .mechanism = pMechanism,
        .key = hUnwrappingKey,
        .authenticated = true,
        .associated_data = api_view(pAssociatedData, ulAssociatedDataLen),
    };
    struct template_source source = {.template = pTemplate, .count = ulAttributeCount};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(
        &view, unwrap(&view, &request, api_view(pWrappedKey, ulWrappedKeyLen), &source, phKey));
}
