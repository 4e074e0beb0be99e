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

/* A key without CKA_ALLOWED_MECHANISMS belongs to the family of its first use; another is
 * CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV policy_claim_family(struct object *key, const struct mechanism *mechanism);
