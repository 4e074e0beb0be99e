/*
 * The life cycle of keys: what a key's state lets it do now (docs/life-cycle.md has the rules).
 *
 * State and times of a token key are sealed among its attributes. What depends on them in this
 * process looks at one struct life: the key's own versions (a change makes a new object) and the
 * session keys that were copied or derived from it, however often. It is made when something first
 * needs it, and written when the key's next version takes the place of the former. A session key
 * that comes from several token keys has a life with theirs as sources: each of them can forbid.
 *
 * Any thread, no lock.
 */
#pragma once

#include "base/rv.h"
#include "module/object.h"

struct life {
    atomic_uint references;
    _Atomic unsigned char state; /* as it is sealed; DESTROY_PENDING: the key is gone */
    _Atomic uint64_t activation;
    _Atomic uint64_t deactivation;
    size_t source_count;
    struct life *sources[]; /* referenced; none of them has sources */
};

struct life *life_reference(struct life *life);
/* Drops one reference; NULL is nothing. For the cleanup attribute on a struct life *. */
void life_release(struct life **life);

/* One key's, active, without times. */
static inline bool life_is_plain(const struct life *life)
{
    return life->source_count == 0 && atomic_load(&life->state) == INDEXKEY_STATE_ACTIVE &&
           (atomic_load(&life->activation) | atomic_load(&life->deactivation)) == 0;
}

/* The slow part of lifecycle_check. */
_long_way_ CK_RV lifecycle_examine(struct object *key, enum attribute_flag usage);

/* CKR_KEY_FUNCTION_NOT_PERMITTED when its state does not allow the use. A key that has times is
 * marked: a session that keeps it asks again at each use. */
static inline CK_RV lifecycle_check(struct object *key, enum attribute_flag usage)
{
    const struct object *root = key->parent != NULL ? key->parent : key;
    const struct life *life = atomic_load_explicit(&root->life, memory_order_acquire);

    if (life == NULL ? !root->has_life : life_is_plain(life))
        return CKR_OK;
    return lifecycle_examine(key, usage);
}

/* False for a key that may not leave, whatever its attributes say. */
bool lifecycle_is_active(const struct object *key);
/* CKA_INDEXKEY_STATE, _ACTIVATION or _DEACTIVATION as it is now. */
CK_ULONG lifecycle_shown(const struct object *object, CK_ATTRIBUTE_TYPE type);

/* What a key that comes of these has to follow, referenced; NULL: nothing. CKR_HOST_MEMORY. */
CK_RV lifecycle_follow(struct object *const *keys, size_t count, struct life **ret_life);
/* A new token object with a value that follows `life`: as little may be done with it as with what
 * it comes from. CKR_ACTION_PROHIBITED when that is gone, or when no one state says as little. */
CK_RV lifecycle_inherit(const struct life *life, struct attributes *attributes);
/* A copy begins a line of its own, without a state yet. */
void lifecycle_strip(struct attributes *attributes);

/* `fresh` is about to take the place of `old`, a token key: those that follow it, follow the new
 * one's state from now on. `ret_changed`: it is another than before, so that operations under way
 * have to be looked at (slot_enforce_life). */
CK_RV lifecycle_succeed(struct object *old, struct object *fresh, bool *ret_changed);
/* A token key is destroyed, or hidden until it is: what comes of it has no use any more. Other
 * objects have nobody that follows them. */
void lifecycle_end(struct object *key);

/* Sets one of the wide attributes; its default removes the entry. */
CK_RV lifecycle_set(struct attributes *attributes, CK_ATTRIBUTE_TYPE type, CK_ULONG number);
CK_ULONG lifecycle_get(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type);

/* L@7: the label of an older version. The token alone gives such labels. */
bool lifecycle_is_version_label(struct view label);

/* There is a state or a time among them: object.has_life. */
bool lifecycle_is_begun(const struct attributes *attributes);
