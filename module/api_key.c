/* PKCS #11 5.18: key generation. */
#include "module/api.h"

#include "base/crypto.h"
#include "module/mechanism.h"
#include "module/new_object.h"
#include "module/policy.h"

/* PKCS #11 6: generic secrets are measured in bits, AES and HMAC keys in bytes. */
static bool size_fits(const struct mechanism *mechanism, size_t len)
{
    size_t size = mechanism->generate->key_type == CKK_GENERIC_SECRET ? len * 8 : len;

    return size >= mechanism->min_key && size <= mechanism->max_key;
}

/* What a template says is not enough where the mechanism computes the value from its parameter:
 * whoever knows that knows the key, which then counts as one that came from outside (policy.h). */
static CK_RV make_value(const struct mechanism *mechanism, const CK_MECHANISM *given,
                        struct template_result *result)
{
    struct attributes *attributes = &result->attributes;

    attributes->key_gen_mechanism = (uint32_t) mechanism->type;
    if (mechanism->generate->generate == NULL)
        return crypto_random_secret(attributes->value_len, &result->value);
    attributes_set_flag(attributes, FLAG_ALWAYS_SENSITIVE, false);
    attributes_set_flag(attributes, FLAG_NEVER_EXTRACTABLE, false);
    return mechanism->generate->generate(given, attributes->value_len, &result->value);
}

static CK_RV generate(const struct session_view *view, CK_MECHANISM_PTR given,
                      CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
    _cleanup_(template_result_clear) struct template_result result = {0};

    if (given == NULL || out == NULL || api_bytes_are_bad(template, count))
        return CKR_ARGUMENTS_BAD;
    const struct mechanism *mechanism = mechanism_find(given->mechanism);
    if (mechanism == NULL || mechanism->generate == NULL || !policy_offers(view->slot, mechanism))
        return CKR_MECHANISM_INVALID;
    const struct generate_ops *ops = mechanism->generate;
    if (ops->generate == NULL && given->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    TRY(attributes_from_template(ORIGIN_GENERATE, template, count, ops->key_type, &result));
    if (result.attributes.object_class != CKO_SECRET_KEY)
        return CKR_TEMPLATE_INCONSISTENT;
    if (!result.has_value_len) {
        if (ops->default_len == 0)
            return CKR_TEMPLATE_INCOMPLETE;
        result.attributes.value_len = (uint32_t) ops->default_len;
    }
    if (!size_fits(mechanism, result.attributes.value_len))
        return CKR_KEY_SIZE_RANGE;
    TRY(make_value(mechanism, given, &result));
    return new_object(view, ops->generate == NULL ? ORIGIN_GENERATE : ORIGIN_CREATE, NULL, &result,
                      out);
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                    CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey)
{
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, generate(&view, pMechanism, pTemplate, ulCount, phKey));
}
