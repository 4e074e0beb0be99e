/*
 * A process's parts of the AES-GCM counts (gcm_counts.h): one for each key value, whatever objects
 * hold it, and the place where they are found.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "include/cryptoki.h"
#include "module/iv_form.h"
#include "tokens/sealed_objects.h"

/* Values of a durable counter for IVs that this process has taken (module/iv_counters.c). */
struct iv_block {
    pthread_mutex_t lock; /* over all that follows; not held while the store is asked */
    pthread_cond_t refilled;
    bool is_refilling;
    bool has_form;
    struct iv_form form; /* as the store has it */
    uint64_t next;
    uint64_t end;
    uint64_t len; /* of the last one */
};

struct gcm_count {
    struct object_id id; /* of its row, if durable; the key of the tree: first */
    bool is_durable;
    _Atomic uint64_t limit; /* of the key's policy; UINT64_MAX: none */
    atomic_uint references;
    pthread_mutex_t lock; /* over the next five; not held while the store is asked */
    pthread_cond_t refilled;
    bool is_refilling;
    bool was_said;  /* that it is exhausted */
    uint64_t left;  /* taken and not yet handed out to a session */
    uint64_t taken; /* by this process, in all */
    struct iv_block iv;
};

/* One reference. `id` NULL: it counts in memory alone. NULL: no memory. */
struct gcm_count *gcm_count_new(const struct object_id *id);
struct gcm_count *gcm_count_reference(struct gcm_count *count);
/* Drops one reference; NULL is nothing. */
void gcm_count_release(struct gcm_count *count);
/* With `lock`, for `refilled` or a short while: the caller has a lease to look at. */
void gcm_count_wait(pthread_cond_t *refilled, pthread_mutex_t *lock);

/* The durable counts of a slot's keys. */
struct gcm_registry {
    pthread_mutex_t lock; /* a leaf */
    void *tree;           /* of <search.h> */
};

void gcm_registry_init(struct gcm_registry *registry);
void gcm_registry_clear(struct gcm_registry *registry);

/* A reference to the count with this id, which is made at need. */
CK_RV gcm_registry_get(struct gcm_registry *registry, const struct object_id *id,
                       struct gcm_count **ret_count);
void gcm_registry_forget(struct gcm_registry *registry, const struct object_id *id);
