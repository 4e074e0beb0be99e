/*
 * Work inside a library that may hang and takes no deadline: it runs in a thread of its own, which
 * the caller leaves behind when its time is up, as libcurl leaves a resolver that hangs. The thread
 * ends when the library comes back, if it ever does.
 *
 * So the work owns all that it touches: what it reads is copied into it before, and it logs
 * nothing. Its struct begins with a struct apart, is made by apart_init and goes by apart_release.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rv.h"

enum apart_end {
    APART_DONE,
    APART_TIMEOUT,
    APART_CANCELLED,
    APART_NO_THREAD, /* nothing was done */
};

struct apart {
    void (*run)(struct apart *work);
    /* Frees the whole, by whoever is last: the caller, or the thread that it left behind. */
    void (*free)(struct apart *work);
    /* Nobody waits any more: the work is to begin nothing new. */
    atomic_bool is_left;

    atomic_uint holders;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
};

/* One holder, the caller. Cannot fail. */
void apart_init(struct apart *work, void (*run)(struct apart *work),
                void (*free)(struct apart *work));
/* At most once. After APART_DONE the work is the caller's alone; after the others it belongs to the
 * thread. `deadline_ms` is of clock_boot_ms; `cancelled` may be NULL. No lock is held. */
enum apart_end apart_run(struct apart *work, int64_t deadline_ms, const atomic_bool *cancelled);
/* The caller's hold; for a work that did not run, too. */
void apart_release(struct apart *work);

/* This thread runs such work: a call into the module comes from the library that is being called.
 */
bool apart_is_inside(void);
