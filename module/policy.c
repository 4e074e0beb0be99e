#include "module/policy.h"

#include <string.h>

#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_table.h"
#include "module/key_policy.h"
#include "module/lifecycle.h"
#include "module/lineage.h"
#include "module/policy_rules.h"
#include "module/strengthen.h"
#include "module/subkeys.h"

#define BITS_2(a, b) (FLAG_BIT(a) | FLAG_BIT(b))
#define BITS_4(a, b, c, d) (BITS_2(a, b) | BITS_2(c, d))

#define DERIVE_EXCLUDES                                                                            \
    (BITS_4(FLAG_SIGN, FLAG_VERIFY, FLAG_ENCRYPT, FLAG_DECRYPT) | BITS_2(FLAG_WRAP, FLAG_UNWRAP))
#define USAGE_FLAGS (DERIVE_EXCLUDES | FLAG_BIT(FLAG_DERIVE))

#define DERIVED_LEN_MIN 16
/* HMAC hashes a longer key first; the shortest block of those hashes (FIPS 198-1, 4). */
#define HMAC_BLOCK_MIN 64

/* What a rule looks at. */
struct proposal {
    const struct attributes *attributes;
    enum attribute_origin origin;
    uint64_t named;                /* booleans that the template holds */
    const struct attributes *base; /* derived from, copied from or changed from; NULL: none */
    bool is_change;                /* base is the former self */
    unsigned int relaxed;          /* RELAX_ bits of the token */
    const struct mechanism *by;    /* of a derivation, while each key that enters it is looked at */
    bool is_further;               /* such a key that is not the base */
};

struct rule {
    const char *name;
    const char *reason;
    bool (*broken)(const struct proposal *proposal);
    bool for_data; /* data objects obey it too */
};

static bool mixes(const struct proposal *proposal, enum attribute_flag flag, uint64_t excluded)
{
    return attributes_has(proposal->attributes, flag) &&
           (proposal->attributes->flags & excluded) != 0;
}

static bool derive_is_mixed(const struct proposal *proposal)
{
    return mixes(proposal, FLAG_DERIVE, DERIVE_EXCLUDES);
}

static bool wrap_decrypts(const struct proposal *proposal)
{
    return mixes(proposal, FLAG_WRAP, FLAG_BIT(FLAG_DECRYPT));
}

static bool wrap_encrypts(const struct proposal *proposal)
{
    return mixes(proposal, FLAG_WRAP, FLAG_BIT(FLAG_ENCRYPT));
}

static bool unwrap_encrypts(const struct proposal *proposal)
{
    return mixes(proposal, FLAG_UNWRAP, FLAG_BIT(FLAG_ENCRYPT));
}

/* A value that was never outside is one that was generated here and was sensitive from then on. A
 * derived one is not: the same derivation gives it a second time, with another role. */
static bool known_key_wraps(const struct proposal *proposal)
{
    const uint64_t secret = BITS_2(FLAG_LOCAL, FLAG_ALWAYS_SENSITIVE);

    return (proposal->relaxed & RELAX_KNOWN_KEYS_WRAP) == 0 && !proposal->is_change &&
           proposal->origin != ORIGIN_UNWRAP && (proposal->attributes->flags & secret) != secret &&
           (proposal->attributes->flags & BITS_2(FLAG_WRAP, FLAG_TRUSTED)) != 0;
}

static bool unwrapped_key_wraps(const struct proposal *proposal)
{
    return proposal->origin == ORIGIN_UNWRAP && !proposal->is_change &&
           (proposal->attributes->flags & BITS_2(FLAG_WRAP, FLAG_TRUSTED)) != 0;
}

static bool unwrapped_key_derives(const struct proposal *proposal)
{
    return proposal->origin == ORIGIN_UNWRAP && !proposal->is_change &&
           attributes_has(proposal->attributes, FLAG_DERIVE);
}

static bool unwrapped_key_is_readable(const struct proposal *proposal)
{
    return proposal->origin == ORIGIN_UNWRAP && !proposal->is_change &&
           !attributes_has(proposal->attributes, FLAG_SENSITIVE);
}

/* Readable ones have no secret to lose. */
static bool opener_leaves(const struct proposal *proposal)
{
    const uint64_t opens = BITS_2(FLAG_WRAP, FLAG_UNWRAP) | FLAG_BIT(FLAG_DERIVE);

    return attributes_has(proposal->attributes, FLAG_SENSITIVE) &&
           mixes(proposal, FLAG_EXTRACTABLE, opens);
}

static bool token_key_is_readable(const struct proposal *proposal)
{
    return attributes_has(proposal->attributes, FLAG_TOKEN) &&
           (!attributes_has(proposal->attributes, FLAG_SENSITIVE) ||
            !attributes_has(proposal->attributes, FLAG_PRIVATE));
}

static bool token_key_leaves(const struct proposal *proposal)
{
    return (proposal->relaxed & RELAX_TOKEN_KEYS_LEAVE) == 0 &&
           attributes_has(proposal->attributes, FLAG_TOKEN) &&
           attributes_has(proposal->attributes, FLAG_EXTRACTABLE);
}

static bool loosens_base(const struct proposal *proposal)
{
    const struct attributes *base = proposal->base;

    return base != NULL && ((attributes_has(base, FLAG_SENSITIVE) &&
                             !attributes_has(proposal->attributes, FLAG_SENSITIVE)) ||
                            (!attributes_has(base, FLAG_EXTRACTABLE) &&
                             attributes_has(proposal->attributes, FLAG_EXTRACTABLE)));
}

static bool gains_role(const struct proposal *proposal)
{
    return proposal->is_change &&
           (proposal->attributes->flags & ~proposal->base->flags & USAGE_FLAGS) != 0;
}

static bool mixes_families(const struct proposal *proposal)
{
    unsigned int family = FAMILY_NONE;
    struct view allowed;

    if (!attributes_bytes(proposal->attributes, CKA_ALLOWED_MECHANISMS, &allowed))
        return false;
    for (size_t at = 0; at + sizeof(CK_MECHANISM_TYPE) <= allowed.len;
         at += sizeof(CK_MECHANISM_TYPE)) {
        CK_MECHANISM_TYPE type;
        memcpy(&type, allowed.bytes + at, sizeof(type));
        const struct mechanism *mechanism = mechanism_find(type);
        if (mechanism == NULL || mechanism->family == FAMILY_NONE)
            continue;
        if (family != FAMILY_NONE && family != mechanism->family)
            return true;
        family = mechanism->family;
    }
    return false;
}

/* A prefix of a few bytes is found by trying them all; a longer one then tells the next byte. */
static bool is_short_piece(const struct proposal *proposal)
{
    const struct attributes *base = proposal->base;

    return proposal->origin == ORIGIN_DERIVE && base != NULL && !proposal->is_change &&
           attributes_stay_inside(base) && proposal->attributes->value_len < DERIVED_LEN_MIN;
}

static bool is_by(const struct proposal *proposal, enum derive_form form)
{
    return proposal->by != NULL && proposal->by->derive->form == form;
}

/* The base says that what it derives derives: then nothing that it derives signs. */
static bool template_derives(const struct attributes *base)
{
    struct view imposed;
    struct view derives;

    return attributes_bytes(base, CKA_DERIVE_TEMPLATE, &imposed) &&
           attributes_entries_find(imposed, attributes_table_find(CKA_DERIVE)->tag, &derives) &&
           derives.len == sizeof(CK_BBOOL) && derives.bytes[0] == CK_TRUE;
}

/* Joined keys and slices have no use but their base's (copy_gains_role). The template of a second
 * key binds nobody, so that it allows nothing. A derived key that derives
 * chooses no CKA_DERIVE_TEMPLATE: the same key derived again could choose another. */
static bool derived_key_derives(const struct proposal *proposal)
{
    struct view own;

    return (proposal->relaxed & RELAX_DERIVED_KEYS_DERIVE) == 0 && proposal->by != NULL &&
           !is_by(proposal, DERIVE_JOINS) && !is_by(proposal, DERIVE_SLICES) &&
           attributes_stay_inside(proposal->base) &&
           attributes_has(proposal->attributes, FLAG_DERIVE) &&
           (proposal->is_further || !template_derives(proposal->base) ||
            attributes_bytes(proposal->attributes, CKA_DERIVE_TEMPLATE, &own));
}

static bool is_short_slice(const struct proposal *proposal)
{
    return is_by(proposal, DERIVE_SLICES) && proposal->attributes->value_len < DERIVED_LEN_MIN;
}

static bool cuts_base(const struct proposal *proposal)
{
    return is_by(proposal, DERIVE_JOINS) && attributes_stay_inside(proposal->base) &&
           proposal->attributes->value_len < proposal->base->value_len;
}

static bool derives_as_base(const struct proposal *proposal)
{
    struct view own = {NULL, 0};
    struct view bases = {NULL, 0};

    (void) attributes_bytes(proposal->attributes, CKA_DERIVE_TEMPLATE, &own);
    (void) attributes_bytes(proposal->base, CKA_DERIVE_TEMPLATE, &bases);
    return !attributes_has(proposal->attributes, FLAG_DERIVE) || view_equal(own, bases);
}

/* K with zeros behind it, and the hash of a long K, are the same key to HMAC as K is. With another
 * CKA_DERIVE_TEMPLATE it would derive K's keys for other roles. */
static bool copy_gains_role(const struct proposal *proposal)
{
    bool is_copy = is_by(proposal, DERIVE_JOINS) || is_by(proposal, DERIVE_SLICES) ||
                   (is_by(proposal, DERIVE_HASHES) && proposal->base->value_len > HMAC_BLOCK_MIN);

    return is_copy && attributes_stay_inside(proposal->base) &&
           ((proposal->attributes->flags & ~proposal->base->flags & USAGE_FLAGS) != 0 ||
            !derives_as_base(proposal));
}

static bool xor_changes_type(const struct proposal *proposal)
{
    return proposal->by != NULL && proposal->by->type == CKM_XOR_BASE_AND_DATA &&
           attributes_stay_inside(proposal->base) &&
           proposal->attributes->key_type != proposal->base->key_type;
}

/* An older version has such a label by right. A copy of it has not: it is of another line. Nor has
 * a copy into the token of a session key, whose label is its own affair. */
static bool keeps_label(const struct proposal *proposal, struct view label)
{
    struct view former;
    struct view line;

    return proposal->is_change && attributes_has(proposal->base, FLAG_TOKEN) &&
           attributes_bytes(proposal->base, CKA_LABEL, &former) && view_equal(former, label) &&
           attributes_bytes(proposal->base, CKA_INDEXKEY_LINE, &line) ==
               attributes_bytes(proposal->attributes, CKA_INDEXKEY_LINE, &line);
}

static bool label_is_reserved(const struct proposal *proposal)
{
    struct view label;
    struct view parent;

    if (!attributes_has(proposal->attributes, FLAG_TOKEN) ||
        !attributes_bytes(proposal->attributes, CKA_LABEL, &label))
        return false;
    return subkeys_split_label(label, &parent) != PURPOSE_NONE ||
           (lifecycle_is_version_label(label) && !keeps_label(proposal, label));
}

static const struct rule rules[] = {
    {"derive-stands-alone",
     "a key with CKA_DERIVE may not sign, verify, encrypt, decrypt, wrap or unwrap",
     derive_is_mixed, false},
    {"wrap-excludes-decrypt", "a wrapping key may not decrypt", wrap_decrypts, false},
    {"wrap-excludes-encrypt", "a wrapping key may not encrypt", wrap_encrypts, false},
    {"unwrap-excludes-encrypt", "an unwrapping key may not encrypt", unwrap_encrypts, false},
    {"known-keys-do-not-wrap",
     "only a key that was generated here, sensitive from the start, may wrap or be trusted",
     known_key_wraps, false},
    {"unwrapped-keys-do-not-wrap", "an unwrapped key may neither wrap nor be trusted",
     unwrapped_key_wraps, false},
    {"unwrapped-keys-do-not-derive", "an unwrapped key may not derive", unwrapped_key_derives,
     false},
    {"unwrapped-keys-are-sensitive", "an unwrapped key is sensitive", unwrapped_key_is_readable,
     false},
    {"openers-stay-inside", "a sensitive key that wraps, unwraps or derives is not extractable",
     opener_leaves, false},
    {"token-keys-are-sensitive", "a token key is sensitive and private", token_key_is_readable,
     false},
    {"token-keys-stay-inside", "a token key is not extractable", token_key_leaves, false},
    {"as-sensitive-as-its-base",
     "a key is at least as sensitive and as little extractable as the one it comes from",
     loosens_base, false},
    {"no-short-pieces", "a key that is derived from a sensitive one has at least 16 bytes",
     is_short_piece, false},
    {"derived-keys-do-not-derive",
     "what a sensitive key derives may derive only if its CKA_DERIVE_TEMPLATE has CKA_DERIVE true",
     derived_key_derives, false},
    {"slices-have-16-bytes", "CKM_EXTRACT_KEY_FROM_KEY makes keys of at least 16 bytes",
     is_short_slice, false},
    {"no-truncation", "a key that is joined or combined with others does not get shorter",
     cuts_base, false},
    {"copies-keep-roles",
     "a key that holds another's bytes, or their hash as HMAC takes it, has no use that this one "
     "has not, and derives under the same CKA_DERIVE_TEMPLATE",
     copy_gains_role, false},
    {"xor-keeps-the-type", "CKM_XOR_BASE_AND_DATA makes a key of its base's type", xor_changes_type,
     false},
    {"roles-are-fixed", "a key gains no usage after its creation", gains_role, false},
    {"one-mode-family", "CKA_ALLOWED_MECHANISMS may name mechanisms of one family only",
     mixes_families, false},
    {"subkey-labels-are-reserved",
     "labels that end in /token, /centroid, /payload, /item or /query belong to subkey objects, "
     "those that end in @ and a number to older versions of keys",
     label_is_reserved, true},
};

static CK_RV apply_rules(const struct slot *slot, const struct proposal *proposal)
{
    bool is_key = proposal->attributes->object_class == CKO_SECRET_KEY;

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if ((!is_key && !rules[i].for_data) || policy_allows_breach(rules[i].name) ||
            !rules[i].broken(proposal))
            continue;
        log_line(LOG_LEVEL_WARNING, "token %s: refused by policy rule %s: %s", slot->name,
                 rules[i].name, rules[i].reason);
        return CKR_TEMPLATE_INCONSISTENT;
    }
    return CKR_OK;
}

/* Every stored object is private. */
static CK_RV strengthen_data(const struct slot *slot, struct attributes *attributes)
{
    if (!attributes_has(attributes, FLAG_TOKEN) || attributes_has(attributes, FLAG_PRIVATE))
        return CKR_OK;
    if (slot->policy == CONFIG_STRICT)
        return CKR_TEMPLATE_INCONSISTENT;
    attributes_set_flag(attributes, FLAG_PRIVATE, true);
    return CKR_OK;
}

/* After a restart the label is all that tells which rules of the configuration hold. */
static CK_RV check_policies_stay(const struct slot *slot, const struct object *source,
                                 const struct attributes *attributes)
{
    if (key_policies_keep(slot->key_policies, &source->attributes, attributes))
        return CKR_OK;
    log_line(LOG_LEVEL_WARNING,
             "token %s: refused by policy rule policies-stay-with-the-key: the label is not named "
             "by each [policy] of the key that this one comes from",
             slot->name);
    return CKR_TEMPLATE_INCONSISTENT;
}

CK_RV policy_new_object(const struct slot *slot, enum attribute_origin origin,
                        const struct object *base, struct template_result *result)
{
    if (result->attributes.object_class != CKO_SECRET_KEY)
        TRY(strengthen_data(slot, &result->attributes));
    else if (attributes_has(&result->attributes, FLAG_TOKEN))
        TRY(strengthen_token_key(slot, origin, result));
    struct proposal proposal = {
        .attributes = &result->attributes,
        .origin = origin,
        .named = result->named,
        .base = base == NULL ? NULL : &base->attributes,
        .relaxed = slot->relaxed,
    };
    return apply_rules(slot, &proposal);
}

CK_RV policy_derived_object(const struct slot *slot, const struct mechanism *mechanism,
                            const struct object *input, bool is_further,
                            const struct template_result *result)
{
    struct proposal proposal = {
        .attributes = &result->attributes,
        .origin = ORIGIN_DERIVE,
        .named = result->named,
        .base = &input->attributes,
        .relaxed = slot->relaxed,
        .by = mechanism,
        .is_further = is_further,
    };

    TRY(check_policies_stay(slot, input, &result->attributes));
    return apply_rules(slot, &proposal);
}

bool policy_offers(const struct slot *slot, const struct mechanism *mechanism)
{
    return key_policies_offer(slot->key_policies, mechanism) &&
           (mechanism->type != CKM_EXTRACT_KEY_FROM_KEY || slot->extract_key ||
            policy_allows_breach("no-slices-of-keys"));
}

static CK_RV refuse_info(const struct slot *slot, const char *rule, const char *reason)
{
    log_line(LOG_LEVEL_WARNING, "token %s: refused by policy rule %s: %s", slot->name, rule,
             reason);
    return CKR_MECHANISM_PARAM_INVALID;
}

CK_RV policy_hkdf_info(const struct slot *slot, const struct mechanism *mechanism,
                       const struct object *input, struct view info)
{
    bool is_listed = config_info_is_listed(slot->hkdf_data_info, info);

    if (!attributes_stay_inside(&input->attributes) || is_listed == mechanism->derive->makes_data)
        return CKR_OK;
    if (policy_allows_breach(is_listed ? "hkdf-data-makes-no-keys" : "hkdf-data-is-listed"))
        return CKR_OK;
    if (is_listed)
        return refuse_info(slot, "hkdf-data-makes-no-keys",
                           "an info string of hkdf_data_info makes data alone");
    return refuse_info(slot, "hkdf-data-is-listed",
                       "CKM_HKDF_DATA from a sensitive key needs its info string in "
                       "hkdf_data_info");
}

CK_RV policy_changed_object(const struct slot *slot, const struct object *old,
                            struct attributes *changed)
{
    struct proposal proposal = {
        .attributes = changed,
        .base = &old->attributes,
        .is_change = true,
        .relaxed = slot->relaxed,
    };

    if (changed->object_class != CKO_SECRET_KEY)
        TRY(strengthen_data(slot, changed));
    else if (attributes_has(changed, FLAG_TOKEN) && !object_has(old, FLAG_TOKEN))
        TRY(strengthen_copied_key(slot, changed));
    TRY(check_policies_stay(slot, old, changed));
    return apply_rules(slot, &proposal);
}

CK_RV policy_claim_for_copy(struct object *source, const struct attributes *copy)
{
    struct view allowed;
    CK_MECHANISM_TYPE type;

    if ((copy->flags & BITS_2(FLAG_ENCRYPT, FLAG_DECRYPT)) == 0 ||
        !attributes_bytes(copy, CKA_ALLOWED_MECHANISMS, &allowed) || allowed.len < sizeof(type))
        return CKR_OK;
    memcpy(&type, allowed.bytes, sizeof(type));
    const struct mechanism *mechanism = mechanism_find(type);
    if (mechanism == NULL || policy_claim_family(source, mechanism) == CKR_OK)
        return CKR_OK;
    return CKR_TEMPLATE_INCONSISTENT;
}

/* What the purpose demands of the derived key; a template that is silent gets its mechanisms. */
static CK_RV bind_to_purpose(unsigned char purpose, struct template_result *result)
{
    struct attributes *attributes = &result->attributes;
    bool cipher = purpose == INDEXKEY_PURPOSE_PAYLOAD || purpose == INDEXKEY_PURPOSE_ITEM;
    uint64_t uses = cipher ? BITS_2(FLAG_ENCRYPT, FLAG_DECRYPT) : BITS_2(FLAG_SIGN, FLAG_VERIFY);
    const CK_MECHANISM_TYPE *mechanisms;
    CK_ULONG count;
    struct view allowed;

    TRY(indexkey_mechanisms((enum indexkey_purpose) purpose, &mechanisms, &count));
    attributes->counts_in_store = true;
    attributes->serves_searches = !cipher;
    if (attributes->key_type != (cipher ? CKK_AES : CKK_GENERIC_SECRET) ||
        attributes->value_len != INDEXKEY_KEY_LEN || (attributes->flags & USAGE_FLAGS & ~uses) != 0)
        return CKR_TEMPLATE_INCONSISTENT;
    if (!attributes_bytes(attributes, CKA_ALLOWED_MECHANISMS, &allowed))
        return attributes_set_allowed(attributes, mechanisms, count);
    for (size_t at = 0; at < allowed.len; at += sizeof(CK_MECHANISM_TYPE)) {
        CK_ULONG i = 0;
        while (i < count && memcmp(allowed.bytes + at, &mechanisms[i], sizeof(mechanisms[i])) != 0)
            i++;
        if (i == count)
            return CKR_TEMPLATE_INCONSISTENT;
    }
    return CKR_OK;
}

CK_RV policy_purpose(struct view prf_input, unsigned char *ret_purpose)
{
    *ret_purpose = PURPOSE_NONE;
    for (unsigned char purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        _cleanup_(writer_clear) struct writer input = {0};
        subkeys_prf_input(purpose, &input);
        if (input.failed)
            return CKR_HOST_MEMORY;
        if (view_equal(writer_view(&input), prf_input)) {
            *ret_purpose = purpose;
            return CKR_OK;
        }
    }
    return CKR_OK;
}

CK_RV policy_derivation(struct view prf_input, struct template_result *result)
{
    static const char mark[] = "indexkey/";
    unsigned char purpose;

    /* No purpose's input is without it. */
    if (memmem(prf_input.bytes, prf_input.len, mark, sizeof(mark) - 1) == NULL)
        return CKR_OK;
    TRY(policy_purpose(prf_input, &purpose));
    if (purpose != PURPOSE_NONE && !policy_allows_breach("purposes-are-exact"))
        return bind_to_purpose(purpose, result);
    if (policy_allows_breach("purposes-are-exact"))
        return CKR_OK;
    log_line(
        LOG_LEVEL_WARNING,
        "refused by policy rule purposes-are-exact: KDF input that contains \"%s\" must be that "
        "of a purpose (indexkey.h builds it)",
        mark);
    return CKR_MECHANISM_PARAM_INVALID;
}

CK_RV policy_claim_family(struct object *key, const struct mechanism *mechanism)
{
    unsigned int none = FAMILY_NONE;
    struct lineage *lineage;
    struct view allowed;

    if (mechanism->family == FAMILY_NONE || policy_allows_breach("one-mode-family") ||
        attributes_bytes(&key->attributes, CKA_ALLOWED_MECHANISMS, &allowed))
        return CKR_OK;
    TRY(lineage_of(key, &lineage));
    if (atomic_compare_exchange_strong(&lineage->family, &none, mechanism->family) ||
        none == mechanism->family)
        return CKR_OK;
    log_line(
        LOG_LEVEL_WARNING,
        "token %s: refused by policy rule one-mode-family: the key was used with another family "
        "of mechanisms than %s; give it CKA_ALLOWED_MECHANISMS or use a key of its own",
        key->slot->name, mechanism->name);
    return CKR_KEY_FUNCTION_NOT_PERMITTED;
}

/* AES has no more than 256 bits to protect with. */
static size_t strength(const struct object *key)
{
    return key->attributes.value_len < 32 ? key->attributes.value_len : 32;
}

CK_RV policy_departure(const struct slot *slot, const struct object *wrapping,
                       const struct object *key)
{
    if (key->attributes.policy != NULL)
        TRY(key_policy_check_time(key));
    if ((slot->relaxed & RELAX_WEAKER_WRAPS) != 0 || strength(wrapping) >= strength(key) ||
        policy_allows_breach("wrapped-under-as-strong"))
        return CKR_OK;
    log_line(LOG_LEVEL_WARNING,
             "token %s: refused by policy rule wrapped-under-as-strong: a key of %u bytes may not "
             "leave under one of %u",
             slot->name, key->attributes.value_len, wrapping->attributes.value_len);
    return CKR_WRAPPING_KEY_SIZE_RANGE;
}

bool policy_callers_iv(const struct slot *slot)
{
    return (slot->relaxed & RELAX_CALLERS_IVS_WRAP) != 0 ||
           policy_allows_breach("wrapping-ivs-are-fresh");
}
