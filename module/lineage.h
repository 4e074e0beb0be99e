/*
 * What session objects with one value have in common: copies of a key are the same key to an
 * attacker, so they have one mechanism family and one count of invocations. Made when the first of
 * the two is needed; a copy shares its source's from its first moment.
 */
#pragma once

#include "module/gcm_registry.h"
#include "module/object.h"

struct lineage {
    atomic_uint references;
    _Atomic unsigned int family;     /* of the first use (policy.h: one key, one family) */
    _Atomic(struct gcm_count *) gcm; /* referenced; NULL until it is needed */
};

/* The object's own, borrowed: it lives as long as the object. */
CK_RV lineage_of(struct object *object, struct lineage **ret_lineage);
/* FAMILY_NONE while the key has not been used. */
unsigned int lineage_family(const struct object *object);
/* `copy`, which nobody sees yet, has the value of `source`. */
CK_RV lineage_share(struct object *source, struct object *copy);
struct lineage *lineage_reference(struct lineage *lineage);
/* Drops one reference; NULL is nothing. */
void lineage_release(struct lineage *lineage);
