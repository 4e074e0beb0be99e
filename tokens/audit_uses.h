/*
 * How often keys were used, by key and mechanism, written ahead of their use.
 *
 * A line "uses" reserves a block: 64 at first, then as many as the process has reserved before. So
 * a process that is killed has counted at most twice what it used and 64, and never less. What is
 * left at a logout goes back by a line "unused". Counts live as long as the registry; shares point
 * to them.
 */
#pragma once

#include <pthread.h>

#include "tokens/audit.h"

struct audit_count {
    struct object_id key; /* with the mechanism the key of the tree: first */
    const char *mechanism;
    bool has_key; /* false: session keys */
    char *label;
    size_t label_len;
    _Atomic uint64_t left;     /* reserved, and not handed out */
    _Atomic uint64_t reserved; /* in all, by this process */
    _Atomic uint64_t used;     /* told by shares, not yet to the metrics */
};

struct audit_uses {
    pthread_mutex_t lock; /* over the tree; a leaf */
    void *tree;           /* of <search.h> */
};

void audit_uses_init(struct audit_uses *uses);
/* Every share has been given back. */
void audit_uses_clear(struct audit_uses *uses);

/* The count of that key and mechanism, made at need. CKR_HOST_MEMORY. */
CK_RV audit_uses_find(struct audit_uses *uses, const struct audit_use *use,
                      struct audit_count **ret_count);
typedef void audit_uses_fn(void *context, struct audit_count *count);
void audit_uses_each(struct audit_uses *uses, audit_uses_fn *each, void *context);

/* Uses that the next block of a count holds. */
uint64_t audit_uses_block(const struct audit_count *count);
/* A part of what is left, for one share; 0: nothing is left. */
uint32_t audit_uses_take(struct audit_count *count);
/* Uses that a share has had since it was filled. */
void audit_uses_settle(struct audit_share *share);
