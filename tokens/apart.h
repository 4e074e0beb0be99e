/*
 * Work inside a library that may hang and takes no deadline: it runs in a thread of its own, which
 * the caller leaves behind when its time is up, as libcurl leaves a resolver that hangs. The thread
 * ends when the library comes back, if it ever does.
 *
 * So the work owns all that it touches: what it reads is copied into it before, and it logs
 * nothing. Its struct begins with a struct apart and is made by apart_init.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rv.h"

enum apart_end {
    APART_DONE,
    APART_TIMEOUT,   /* left behind: the work is the thread's, and gone for the caller */
    APART_CANCELLED, /* so, too */
    APART_NO_THREAD, /* nothing was done */
};

struct apart {
    void (*run)(struct apart *work);
    /* Frees the whole: called by apart_free, or by the thread that was left behind. */
    void (*free)(struct apart *work);
    /* Nobody waits any more: the work is to begin nothing new. */
    atomic_bool is_left;

    pthread_mutex_t lock; /* is_left and is_done change under it */
    pthread_cond_t changed;
    bool is_done;
};

/* For a library that bears one thread at a time. A work that was left behind keeps nobody waiting,
 * and may still be inside. */
struct apart_turn {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_free;
};

/* Cannot fail. Freed with apart_free, unless it was left behind. */
void apart_init(struct apart *work, void (*run)(struct apart *work),
                void (*free)(struct apart *work));
/* At most once. `deadline_ms` is of clock_boot_ms; `cancelled` may be NULL. The caller holds no
 * lock. */
enum apart_end apart_run(struct apart *work, int64_t deadline_ms, const atomic_bool *cancelled);
void apart_free(struct apart *work);

/* Cannot fail. */
void apart_turn_init(struct apart_turn *turn);
/* Nobody waits for it. */
void apart_turn_clear(struct apart_turn *turn);
/* Before apart_run, with the same deadline; APART_DONE: to be given back after it. */
enum apart_end apart_turn_take(struct apart_turn *turn, int64_t deadline_ms,
                               const atomic_bool *cancelled);
void apart_turn_end(struct apart_turn *turn);

/* This thread runs such work: a call into the module comes from the library that is being called.
 */
bool apart_is_inside(void);
