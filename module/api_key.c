/* PKCS #11 5.18: key management. */
#include "module/api.h"

#include "base/crypto.h"
#include "module/key_use.h"
#include "module/new_object.h"
#include "module/policy.h"

/* PKCS #11 6: generic secrets are measured in bits, AES and HMAC keys in bytes. */
static bool size_fits(const struct mechanism *mechanism, size_t len)
{
    size_t size = mechanism->generate->key_type == CKK_GENERIC_SECRET ? len * 8 : len;

    return size >= mechanism->min_key && size <= mechanism->max_key;
}

static CK_RV generate(const struct session_view *view, CK_MECHANISM_PTR given,
                      CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
    _cleanup_(template_result_clear) struct template_result result = {0};

    if (given == NULL || out == NULL || api_bytes_are_bad(template, count))
        return CKR_ARGUMENTS_BAD;
    const struct mechanism *mechanism = mechanism_find(given->mechanism);
    if (mechanism == NULL || mechanism->generate == NULL)
        return CKR_MECHANISM_INVALID;
    if (given->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    TRY(attributes_from_template(ORIGIN_GENERATE, template, count, mechanism->generate->key_type,
                                 &result));
    if (result.attributes.object_class != CKO_SECRET_KEY)
        return CKR_TEMPLATE_INCONSISTENT;
    if (!result.has_value_len) {
        if (mechanism->generate->default_len == 0)
            return CKR_TEMPLATE_INCOMPLETE;
        result.attributes.value_len = (uint32_t) mechanism->generate->default_len;
    }
    if (!size_fits(mechanism, result.attributes.value_len))
        return CKR_KEY_SIZE_RANGE;
    result.attributes.key_gen_mechanism = (uint32_t) mechanism->type;
    TRY(crypto_random_secret(result.attributes.value_len, &result.value));
    return new_object(view, ORIGIN_GENERATE, NULL, &result, out);
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                    CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, generate(&view, pMechanism, pTemplate, ulCount, phKey));
}

/* What the derived key takes from its base (PKCS #11 6, each mechanism's "inherits" list). */
static void inherit(const struct object *base, struct attributes *attributes)
{
    attributes_set_flag(attributes, FLAG_ALWAYS_SENSITIVE,
                        object_has(base, FLAG_ALWAYS_SENSITIVE) &&
                            attributes_has(attributes, FLAG_SENSITIVE));
    attributes_set_flag(attributes, FLAG_NEVER_EXTRACTABLE,
                        object_has(base, FLAG_NEVER_EXTRACTABLE) &&
                            !attributes_has(attributes, FLAG_EXTRACTABLE));
    if (object_has(base, FLAG_TOKEN))
        attributes->flags |= OF_TOKEN_KEY;
    attributes->flags |= base->attributes.flags & OF_TOKEN_KEY;
}

static CK_RV allow_prf_input(void *context, struct view prf_input)
{
    return policy_derivation(prf_input, context);
}

static bool length_fits(CK_KEY_TYPE type, size_t len)
{
    return type != CKK_AES || len == 16 || len == 24 || len == 32;
}

static CK_RV derive_from(const struct session_view *view, const struct mechanism *mechanism,
                         const struct derive_call *call, struct template_result *result,
                         CK_OBJECT_HANDLE_PTR out)
{
    TRY(mechanism->derive->derive(call, &result->value));
    if (!length_fits(result->attributes.key_type, result->value.len))
        return CKR_TEMPLATE_INCONSISTENT;
    result->attributes.value_len = (uint32_t) result->value.len;
    inherit(call->base, &result->attributes);
    return new_object(view, ORIGIN_DERIVE, call->base, result, out);
}

static CK_RV derive(const struct session_view *view, CK_MECHANISM_PTR given,
                    CK_OBJECT_HANDLE handle, struct template_source *source,
                    CK_OBJECT_HANDLE_PTR out)
{
    _cleanup_(template_result_clear) struct template_result result = {0};
    _cleanup_(object_release) struct object *base = NULL;
    const struct secret *base_value;

    if (given == NULL || out == NULL || api_bytes_are_bad(source->template, source->count))
        return CKR_ARGUMENTS_BAD;
    const struct mechanism *mechanism = mechanism_find(given->mechanism);
    if (mechanism == NULL || mechanism->derive == NULL)
        return CKR_MECHANISM_INVALID;
    TRY(key_use_get(view->slot, handle, FLAG_DERIVE, mechanism, &base));
    TRY(key_use_value(base, &base_value));
    (void) attributes_bytes(&base->attributes, CKA_DERIVE_TEMPLATE, &source->imposed);
    TRY(attributes_from_templates(ORIGIN_DERIVE, source, mechanism->derive->default_type, &result));
    if (result.attributes.object_class != CKO_SECRET_KEY)
        return CKR_TEMPLATE_INCONSISTENT;
    struct derive_call call = {
        .slot = view->slot,
        .mechanism = given,
        .base = base,
        .base_value = base_value,
        .key_type = result.attributes.key_type,
        .len = result.has_value_len ? result.attributes.value_len : 0,
        .flags = result.attributes.flags,
        .allow = allow_prf_input,
        .allow_context = &result,
    };
    return derive_from(view, mechanism, &call, &result, out);
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                  CK_OBJECT_HANDLE hBaseKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey)
{
    struct template_source source = {.template = pTemplate, .count = ulAttributeCount};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, derive(&view, pMechanism, hBaseKey, &source, phKey));
}
