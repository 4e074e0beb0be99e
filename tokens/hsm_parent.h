/*
 * A parent HSM's module, loaded by p11-kit, which counts who initialised it: the application may
 * use the same module, before, meanwhile and after (docs/decisions/0009-parent-hsm.md).
 *
 * All that calls p11-kit or the module runs in a thread of tokens/apart.h, never in the caller's:
 * p11-kit has one lock for the process, which the host may hold, and the module may hang. Threads
 * that were left behind keep the parent alive.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tokens/apart.h"
#include "tokens/hsm_fault.h"
#include "tokens/hsm_uri.h"

struct hsm_parent {
    struct hsm_uri uri;
    atomic_uint holders;
    atomic_uint calls; /* under way, or left behind */
    atomic_bool was_used;
    /* SoftHSM 2.6 crashes when several threads are in it, and the last session that closes logs out
     * one that has just begun. */
    struct apart_turn turn;
    pthread_mutex_t lock;
    CK_FUNCTION_LIST *functions; /* NULL: not loaded */
    unsigned int generation;     /* how often it was initialised */
};

/* Does not load it. Of a text without fault (hsm_uri_fault); one holder. CKR_HOST_MEMORY, not
 * logged. */
CK_RV hsm_parent_new(const char *uri, struct hsm_parent **ret_parent);
struct hsm_parent *hsm_parent_hold(struct hsm_parent *parent);

/* The rest: inside only. */

/* The last holder finalises what it initialised, unless the host needs it still. */
void hsm_parent_release(struct hsm_parent *parent);
/* Loads and initialises it at the first call. */
CK_RV hsm_parent_use(struct hsm_parent *parent, struct hsm_fault *fault,
                     CK_FUNCTION_LIST **ret_functions, unsigned int *ret_generation);
/* Somebody else finalised it: initialises it anew, unless another thread did since. */
void hsm_parent_restart(struct hsm_parent *parent, unsigned int generation);
