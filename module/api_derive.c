/*
 * PKCS #11 5.18.5: C_DeriveKey.
 *
 * A call makes one key, or with SP 800-108's additional keys several: all or none. Nothing is
 * published before every key has been computed and has passed every check. The base, and each key
 * that a handle in the parameters names, pass the same checks and bind the result alike.
 */
#include "module/api.h"

#include "base/alloc.h"
#include "module/attributes_table.h"
#include "module/audit_log.h"
#include "module/key_policy.h"
#include "module/key_use.h"
#include "module/lifecycle.h"
#include "module/new_object.h"
#include "module/policy.h"
#include "module/slot_objects.h"

/* A key, or data object, to be. */
struct derived {
    struct template_result result;
    CK_OBJECT_HANDLE_PTR out;
    CK_OBJECT_HANDLE handle; /* once it is published */
};

struct derivation {
    const struct session_view *view;
    CK_MECHANISM given; /* a copy: the caller's other threads may change theirs */
    const struct mechanism *mechanism;
    struct object *base;
    struct derive_keys further;
    struct derived *keys; /* C_DeriveKey's own first */
    size_t count;
};

static void derivation_clear(struct derivation *derivation)
{
    object_release(&derivation->base);
    for (size_t i = 0; i < derivation->further.count; i++)
        object_release(&derivation->further.keys[i]);
    for (size_t i = 0; derivation->keys != NULL && i < derivation->count; i++)
        template_result_clear(&derivation->keys[i].result);
    mem_free(derivation->keys);
}

/* The keys that enter: the base is number 0. NULL behind the last. */
static const struct object *input_key(const struct derivation *derivation, size_t i)
{
    if (i == 0)
        return derivation->base;
    return i <= derivation->further.count ? derivation->further.keys[i - 1] : NULL;
}

static bool any_has(const struct derivation *derivation, enum attribute_flag flag, bool value)
{
    const struct object *key;

    for (size_t i = 0; (key = input_key(derivation, i)) != NULL; i++)
        if (object_has(key, flag) == value)
            return true;
    return false;
}

/* What the template says, by itself. */
static CK_RV read_template(const struct derivation *derivation, const CK_DERIVED_KEY *source,
                           struct derived *derived)
{
    const struct derive_ops *ops = derivation->mechanism->derive;
    struct template_result *result = &derived->result;

    struct template_source templates = {
        .template = source->pTemplate,
        .count = source->ulAttributeCount,
    };

    (void) attributes_bytes(&derivation->base->attributes, CKA_DERIVE_TEMPLATE, &templates.imposed);
    TRY(attributes_from_templates(ORIGIN_DERIVE, &templates, ops->default_type, result));
    if (ops->makes_data && !result->has_class)
        return CKR_TEMPLATE_INCOMPLETE;
    if (result->attributes.object_class != (ops->makes_data ? CKO_DATA : CKO_SECRET_KEY))
        return CKR_TEMPLATE_INCONSISTENT;
    return CKR_OK;
}

static CK_RV read_templates(struct derivation *derivation, const CK_DERIVED_KEY *first)
{
    const struct derive_ops *ops = derivation->mechanism->derive;
    const CK_DERIVED_KEY *additional = NULL;
    size_t additional_count = 0;

    if (ops->additional != NULL)
        TRY(ops->additional(&derivation->given, &additional, &additional_count));
    derivation->keys = mem_calloc(additional_count + 1, sizeof(*derivation->keys));
    if (derivation->keys == NULL)
        return CKR_HOST_MEMORY;
    derivation->count = additional_count + 1;
    derivation->keys[0].out = first->phKey;
    for (size_t i = 0; i < additional_count; i++) {
        derivation->keys[i + 1].out = additional[i].phKey;
        if (derivation->keys[i + 1].out == NULL)
            return CKR_MECHANISM_PARAM_INVALID;
    }
    TRY(read_template(derivation, first, &derivation->keys[0]));
    for (size_t i = 0; i < additional_count; i++) {
        CK_DERIVED_KEY source = additional[i];
        TRY(read_template(derivation, &source, &derivation->keys[i + 1]));
    }
    return CKR_OK;
}

static CK_RV allow_prf_input(void *context, size_t output, struct view prf_input)
{
    const struct derivation *derivation = context;
    const struct object *key;

    for (size_t i = 0; (key = input_key(derivation, i)) != NULL; i++)
        TRY(key_policy_check_prf_input(key, prf_input));
    return policy_derivation(prf_input, &derivation->keys[output].result);
}

static CK_RV allow_info(void *context, struct view info)
{
    const struct derivation *derivation = context;
    const struct object *key;

    for (size_t i = 0; (key = input_key(derivation, i)) != NULL; i++) {
        TRY(key_policy_check_info(key, info));
        TRY(policy_hkdf_info(derivation->view->slot, derivation->mechanism, key, info));
    }
    return CKR_OK;
}

static CK_RV compute(struct derivation *derivation)
{
    struct derive_output outputs[DERIVE_FURTHER_MAX + 1];
    struct secret values[DERIVE_FURTHER_MAX + 1] = {{NULL, 0}};
    struct derive_call call = {
        .slot = derivation->view->slot,
        .mechanism = &derivation->given,
        .base = derivation->base,
        .outputs = outputs,
        .output_count = derivation->count,
        .further = &derivation->further,
        .allow = allow_prf_input,
        .allow_info = allow_info,
        .allow_context = derivation,
    };

    TRY(key_use_value(derivation->base, &call.base_value));
    for (size_t i = 0; i < derivation->count; i++) {
        const struct template_result *result = &derivation->keys[i].result;
        outputs[i].key_type = result->attributes.key_type;
        outputs[i].len = result->has_value_len ? result->attributes.value_len : 0;
    }
    TRY(derivation->mechanism->derive->derive(&call, values));
    for (size_t i = 0; i < derivation->count; i++)
        derivation->keys[i].result.value = secret_move(&values[i]);
    return CKR_OK;
}

static void set_unnamed(struct template_result *result, enum attribute_flag flag, bool value)
{
    if ((result->named & FLAG_BIT(flag)) == 0)
        attributes_set_flag(&result->attributes, flag, value);
}

static bool past_has(const struct derivation *derivation, enum attribute_flag flag)
{
    switch (derivation->mechanism->derive->history) {
    case HISTORY_OF_ANY_KEY:
        return any_has(derivation, flag, true);
    case HISTORY_OF_EVERY_KEY:
        return !any_has(derivation, flag, false);
    case HISTORY_OF_BASE:
    default:
        return object_has(derivation->base, flag);
    }
}

/* What the derived key takes from the keys that entered (PKCS #11 6, each mechanism's rules about
 * key sensitivity and extractability). */
static void inherit(const struct derivation *derivation, struct template_result *result)
{
    struct attributes *attributes = &result->attributes;
    const struct object *key;

    for (size_t i = 0; (key = input_key(derivation, i)) != NULL; i++)
        attributes->flags |=
            object_has(key, FLAG_TOKEN) ? OF_TOKEN_KEY : key->attributes.flags & OF_TOKEN_KEY;
    if (derivation->mechanism->derive->inherits_omitted) {
        set_unnamed(result, FLAG_SENSITIVE, any_has(derivation, FLAG_SENSITIVE, true));
        set_unnamed(result, FLAG_EXTRACTABLE, !any_has(derivation, FLAG_EXTRACTABLE, false));
    }
    attributes_set_flag(attributes, FLAG_ALWAYS_SENSITIVE,
                        past_has(derivation, FLAG_ALWAYS_SENSITIVE) &&
                            attributes_has(attributes, FLAG_SENSITIVE));
    attributes_set_flag(attributes, FLAG_NEVER_EXTRACTABLE,
                        past_has(derivation, FLAG_NEVER_EXTRACTABLE) &&
                            !attributes_has(attributes, FLAG_EXTRACTABLE));
}

/* A key follows the states of all token keys that entered. */
static CK_RV follow(const struct derivation *derivation, struct template_result *result)
{
    struct object *keys[DERIVE_FURTHER_MAX + 1];

    if (derivation->further.count == 0)
        return lifecycle_follow(&derivation->base, 1, &result->life);
    keys[0] = derivation->base;
    for (size_t i = 0; i < derivation->further.count; i++)
        keys[i + 1] = derivation->further.keys[i];
    return lifecycle_follow(keys, derivation->further.count + 1, &result->life);
}

/* Everything that can refuse the key before it is published. */
static CK_RV finish(const struct derivation *derivation, struct template_result *result)
{
    struct attributes *attributes = &result->attributes;
    const struct object *key;

    if (derivation->mechanism->derive->makes_data) {
        attributes->value_len = 0; /* a data object has no such attribute */
    } else {
        if (!attributes_table_key_len(attributes->key_type, result->value.len))
            return CKR_TEMPLATE_INCONSISTENT;
        attributes->value_len = (uint32_t) result->value.len;
        inherit(derivation, result);
        TRY(follow(derivation, result));
    }
    TRY(new_object_check(derivation->view, ORIGIN_DERIVE, derivation->base, result));
    for (size_t i = 0; (key = input_key(derivation, i)) != NULL; i++) {
        TRY(policy_derived_object(derivation->view->slot, derivation->mechanism, key, i > 0,
                                  result));
        TRY(key_policies_inherit(derivation->view->slot->key_policies, &key->attributes,
                                 attributes));
    }
    return CKR_OK;
}

/* What was published goes again. */
static void withdraw(struct derivation *derivation)
{
    struct slot *slot = derivation->view->slot;

    for (size_t i = 0; i < derivation->count; i++) {
        _cleanup_(object_release) struct object *object = NULL;
        CK_OBJECT_HANDLE handle = derivation->keys[i].handle;
        if (handle == CK_INVALID_HANDLE)
            continue;
        CK_RV rv = object_table_get(slot->objects, handle, &object);
        if (rv == CKR_OK)
            rv = slot_objects_destroy(slot, object);
        if (rv != CKR_OK)
            log_line(LOG_LEVEL_ERROR,
                     "token %s: C_DeriveKey failed, and a key that it had made stays: destroy it",
                     slot->name);
    }
}

static CK_RV publish_some(struct derivation *derivation, bool token)
{
    for (size_t i = 0; i < derivation->count; i++) {
        struct derived *derived = &derivation->keys[i];
        if (attributes_has(&derived->result.attributes, FLAG_TOKEN) == token &&
            derived->handle == CK_INVALID_HANDLE)
            TRY(new_object_publish(derivation->view, &derived->result, &derived->handle));
    }
    return CKR_OK;
}

/* Token objects last, since what is in the store is the hardest to withdraw. */
static CK_RV publish(struct derivation *derivation)
{
    CK_RV rv = publish_some(derivation, false);

    if (rv == CKR_OK)
        rv = publish_some(derivation, true);
    if (rv != CKR_OK)
        withdraw(derivation);
    return rv;
}

static CK_RV derive_keys(struct derivation *derivation, const CK_DERIVED_KEY *first)
{
    TRY(read_templates(derivation, first));
    TRY(compute(derivation));
    for (size_t i = 0; i < derivation->count; i++)
        TRY(finish(derivation, &derivation->keys[i].result));
    return publish(derivation);
}

/* PKCS #11 6, "Deriving Additional Keys": CK_INVALID_HANDLE for an additional key that failed; with
 * one they all have. */
static void give_handles(const struct derivation *derivation, CK_RV rv)
{
    for (size_t i = 0; i < derivation->count; i++) {
        const struct derived *derived = &derivation->keys[i];
        if (rv == CKR_OK)
            *derived->out = derived->handle;
        else if (i > 0 && derived->out != NULL)
            *derived->out = CK_INVALID_HANDLE;
    }
}

static CK_RV find_mechanism(const struct slot *slot, CK_MECHANISM_TYPE type,
                            const struct mechanism **ret_mechanism)
{
    const struct mechanism *mechanism = mechanism_find(type);

    if (mechanism == NULL || mechanism->derive == NULL)
        return CKR_MECHANISM_INVALID;
    if (!key_policies_offer(slot->key_policies, mechanism))
        return CKR_MECHANISM_INVALID;
    if (!policy_offers(slot, mechanism)) {
        log_line(LOG_LEVEL_WARNING,
                 "token %s: refused by policy rule no-slices-of-keys: %s is off; "
                 "extract_key = yes offers it",
                 slot->name, mechanism->name);
        return CKR_MECHANISM_INVALID;
    }
    *ret_mechanism = mechanism;
    return CKR_OK;
}

static CK_RV derive(const struct session_view *view, CK_MECHANISM_PTR given,
                    CK_OBJECT_HANDLE handle, const CK_DERIVED_KEY *first)
{
    _cleanup_(derivation_clear) struct derivation derivation = {.view = view};

    if (given == NULL || first->phKey == NULL ||
        api_bytes_are_bad(first->pTemplate, first->ulAttributeCount))
        return CKR_ARGUMENTS_BAD;
    derivation.given = *given;
    TRY(find_mechanism(view->slot, derivation.given.mechanism, &derivation.mechanism));
    TRY(key_use_get(view->slot, handle, FLAG_DERIVE, derivation.mechanism, &derivation.base));
    TRY(audit_log_use_once(view->slot, derivation.base, derivation.mechanism));
    CK_RV rv = derive_keys(&derivation, first);
    give_handles(&derivation, rv);
    return rv;
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                  CK_OBJECT_HANDLE hBaseKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey)
{
    const CK_DERIVED_KEY first = {pTemplate, ulAttributeCount, phKey};
    struct session_view view;

    TRY(session_look(hSession, &view));
    return session_look_end(&view, derive(&view, pMechanism, hBaseKey, &first));
}
