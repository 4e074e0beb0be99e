#include "module/strengthen.h"

#include "base/rv.h"
#include "module/object.h"
#include "module/policy_rules.h"

#define MAC_OR_WRAP                                                                                \
    (FLAG_BIT(FLAG_SIGN) | FLAG_BIT(FLAG_VERIFY) | FLAG_BIT(FLAG_WRAP) | FLAG_BIT(FLAG_UNWRAP))
#define WRAPS (FLAG_BIT(FLAG_WRAP) | FLAG_BIT(FLAG_UNWRAP))
#define CIPHER (FLAG_BIT(FLAG_ENCRYPT) | FLAG_BIT(FLAG_DECRYPT))

static const CK_MECHANISM_TYPE index_key_allows[] = {CKM_SP800_108_COUNTER_KDF};
static const CK_MECHANISM_TYPE gcm_allows[] = {CKM_AES_GCM};
static const CK_MECHANISM_TYPE cbc_allows[] = {CKM_AES_CBC, CKM_AES_CBC_PAD};
static const CK_MECHANISM_TYPE wrap_allows[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD,
                                                CKM_AES_KEY_WRAP_KWP};

/* Sensitive, private, not extractable: what every token key is, unless its site lets some leave. */
static void strengthen_flags(struct attributes *attributes)
{
    if (policy_allows_breach("token-keys-are-strengthened"))
        return;
    attributes_set_flag(attributes, FLAG_SENSITIVE, true);
    attributes_set_flag(attributes, FLAG_PRIVATE, true);
    attributes_set_flag(attributes, FLAG_EXTRACTABLE, false);
}

static bool named_true(const struct template_result *result, enum attribute_flag flag)
{
    return (result->named & FLAG_BIT(flag)) != 0 && attributes_has(&result->attributes, flag);
}

static bool named_false(const struct template_result *result, enum attribute_flag flag)
{
    return (result->named & FLAG_BIT(flag)) != 0 && !attributes_has(&result->attributes, flag);
}

/* A derived token key stays what its template says, and an unwrapped one derives nothing (policy):
 * only created and generated ones become index keys. */
static bool becomes_index_key(enum attribute_origin origin, const struct attributes *attributes)
{
    struct view allowed;

    return origin != ORIGIN_DERIVE && origin != ORIGIN_UNWRAP &&
           attributes->key_type == CKK_GENERIC_SECRET &&
           attributes->value_len == INDEXKEY_KEY_LEN && (attributes->flags & MAC_OR_WRAP) == 0 &&
           !attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &allowed);
}

static CK_RV set_default_allowed(const struct slot *slot, struct attributes *attributes)
{
    struct view allowed;

    if (attributes->key_type != CKK_AES ||
        attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &allowed))
        return CKR_OK;
    if ((attributes->flags & WRAPS) != 0)
        return attributes_set_allowed(attributes, wrap_allows,
                                      sizeof(wrap_allows) / sizeof(wrap_allows[0]));
    return slot->aes_default == CONFIG_AES_CBC ? attributes_set_allowed(attributes, cbc_allows, 2)
                                               : attributes_set_allowed(attributes, gcm_allows, 1);
}

static CK_RV set_index_key(struct attributes *attributes)
{
    attributes->flags &= ~CIPHER;
    attributes_set_flag(attributes, FLAG_DERIVE, true);
    return attributes_set_allowed(attributes, index_key_allows, 1);
}

static CK_RV make_index_key(struct template_result *result)
{
    if (named_false(result, FLAG_DERIVE))
        return CKR_TEMPLATE_INCONSISTENT;
    return set_index_key(&result->attributes);
}

CK_RV strengthen_direct_key(const struct slot *slot, struct attributes *attributes)
{
    strengthen_flags(attributes);
    return becomes_index_key(ORIGIN_CREATE, attributes) ? set_index_key(attributes)
                                                        : set_default_allowed(slot, attributes);
}

static CK_RV refuse(const struct slot *slot, const char *why)
{
    log_line(LOG_LEVEL_WARNING, "token %s: a token key was refused: %s", slot->name, why);
    return CKR_TEMPLATE_INCONSISTENT;
}

static CK_RV check_strict(const struct slot *slot, const struct attributes *asked,
                          const struct attributes *strong)
{
    if (slot->policy != CONFIG_STRICT ||
        (asked->flags == strong->flags && asked->others.len == strong->others.len))
        return CKR_OK;
    return refuse(slot, "policy = strict, and the template is weaker than a token key must be "
                        "(SENSITIVE, PRIVATE, not EXTRACTABLE, CKA_ALLOWED_MECHANISMS)");
}

CK_RV strengthen_copied_key(const struct slot *slot, struct attributes *attributes)
{
    _cleanup_(attributes_clear) struct attributes asked = {0};

    TRY(attributes_copy(attributes, &asked));
    strengthen_flags(attributes);
    TRY(set_default_allowed(slot, attributes));
    return check_strict(slot, &asked, attributes);
}

CK_RV strengthen_token_key(const struct slot *slot, enum attribute_origin origin,
                           struct template_result *result)
{
    struct attributes *attributes = &result->attributes;
    _cleanup_(attributes_clear) struct attributes asked = {0};

    bool leaves = named_true(result, FLAG_EXTRACTABLE);
    if (leaves && (slot->relaxed & RELAX_TOKEN_KEYS_LEAVE) == 0 &&
        !policy_allows_breach("token-keys-are-strengthened"))
        return refuse(slot, "the template asks for CKA_EXTRACTABLE, and rule "
                            "token-keys-stay-inside holds");
    TRY(attributes_copy(attributes, &asked));
    strengthen_flags(attributes);
    attributes_set_flag(attributes, FLAG_EXTRACTABLE, leaves);
    /* It is so from its first moment on (PKCS #11 4.10). */
    if (origin == ORIGIN_GENERATE)
        attributes_set_flag(attributes, FLAG_ALWAYS_SENSITIVE, true);
    if (becomes_index_key(origin, attributes)) {
        if (make_index_key(result) != CKR_OK)
            return refuse(slot,
                          "a 32-byte generic secret without CKA_SIGN is an index key and needs "
                          "CKA_DERIVE, which the template denies");
    } else {
        TRY(set_default_allowed(slot, attributes));
    }
    return check_strict(slot, &asked, attributes);
}
