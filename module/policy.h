/*
 * The policy: what keeps a key inside when the API itself is the attacker's tool. Every rule has a
 * name, stands in one table (policy.c), and is described with the attack it stops in
 * docs/security-model.md. A refusal is logged with the rule's name at level warning.
 */
#pragma once

#include "module/mechanism.h"
#include "module/object.h"
#include "module/slot.h"

/* A key that is about to exist (create, generate, derive, unwrap): strengthens token keys as
 * `policy =` says, then applies every rule. `base` is the key it is derived from, or NULL.
 * CKR_TEMPLATE_INCONSISTENT where a rule refuses. */
CK_RV policy_new_object(const struct slot *slot, enum attribute_origin origin,
                        const struct object *base, struct template_result *result);

/* For a derived key that has passed policy_new_object with its base: the rules again with `input`,
 * each key in turn that enters the derivation, base and further ones, and those that depend on the
 * mechanism. */
CK_RV policy_derived_object(const struct slot *slot, const struct mechanism *mechanism,
                            const struct object *input, bool is_further,
                            const struct template_result *result);

/* False for a mechanism that the configuration has to switch on for this token. */
bool policy_offers(const struct slot *slot, const struct mechanism *mechanism);

/* HKDF with this info string, for each key that enters: data comes out of a sensitive one for the
 * strings of `hkdf_data_info` alone, and these make no keys. CKR_MECHANISM_PARAM_INVALID. */
CK_RV policy_hkdf_info(const struct slot *slot, const struct mechanism *mechanism,
                       const struct object *input, struct view info);

/* C_SetAttributeValue and C_CopyObject: from `old` to `changed`. */
CK_RV policy_changed_object(const struct slot *slot, const struct object *old,
                            struct attributes *changed);

/* A cipher key whose copy has CKA_ALLOWED_MECHANISMS belongs to the family of that list, even where
 * it names none itself: the two have one value. CKR_TEMPLATE_INCONSISTENT when it was used with
 * another. */
CK_RV policy_claim_for_copy(struct object *source, const struct attributes *copy);

/* The purposes in C_DeriveKey, asked for the input of each PRF call: bytes that equal a purpose's
 * PRF input give only that purpose's type, length and mechanisms (filled in where the template is
 * silent); other bytes that contain "indexkey/" are refused. CKR_TEMPLATE_INCONSISTENT,
 * CKR_MECHANISM_PARAM_INVALID. */
CK_RV policy_derivation(struct view prf_input, struct template_result *result);

/* Whose PRF input this is; PURPOSE_NONE: no purpose's. */
CK_RV policy_purpose(struct view prf_input, unsigned char *ret_purpose);

/* A key without CKA_ALLOWED_MECHANISMS belongs to the family of its first use; another is
 * CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV policy_claim_family(struct object *key, const struct mechanism *mechanism);

/* `key` is about to leave, wrapped under `wrapping`: CKR_WRAPPING_KEY_SIZE_RANGE when that is
 * weaker than what it protects (rule wrapped-under-as-strong). */
CK_RV policy_departure(const struct slot *slot, const struct object *wrapping,
                       const struct object *key);

/* May the caller choose the IV under which a key is wrapped (rule wrapping-ivs-are-fresh)? */
bool policy_callers_iv(const struct slot *slot);
