#include "tokens/apart.h"

#include <time.h>

#include "base/clock.h"
#include "tokens/workers.h"

/* How late a cancellation may be noticed. */
#define POLL_MS 50
#define MS_PER_S 1000
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

static _Thread_local bool is_inside;

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_cond_init(condition, &attributes);
    (void) pthread_condattr_destroy(&attributes);
}

void apart_init(struct apart *work, void (*run)(struct apart *work),
                void (*free)(struct apart *work))
{
    init_condition(&work->changed);
    (void) pthread_mutex_init(&work->lock, NULL);
    work->run = run;
    work->free = free;
    work->is_done = false;
    atomic_init(&work->is_left, false);
}

void apart_free(struct apart *work)
{
    (void) pthread_cond_destroy(&work->changed);
    (void) pthread_mutex_destroy(&work->lock);
    work->free(work);
}

static void *run_inside(void *context)
{
    struct apart *work = context;
    is_inside = true;
    work->run(work);
    (void) pthread_mutex_lock(&work->lock);
    work->is_done = true;
    bool is_left = atomic_load(&work->is_left);
    (void) pthread_cond_signal(&work->changed);
    (void) pthread_mutex_unlock(&work->lock);
    /* Else it may be freed by now. */
    if (is_left)
        apart_free(work);
    return NULL;
}

static struct timespec after_ms(int64_t ms)
{
    struct timespec at;
    (void) clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t) (ms / MS_PER_S);
    at.tv_nsec += (long) (ms % MS_PER_S) * NS_PER_MS;
    if (at.tv_nsec >= NS_PER_S) {
        at.tv_sec++;
        at.tv_nsec -= NS_PER_S;
    }
    return at;
}

struct waiting {
    const bool *is_over;
    pthread_cond_t *changed;
    pthread_mutex_t *lock;
    int64_t deadline_ms;
    const atomic_bool *cancelled;
};

static enum apart_end wait_locked(const struct waiting *waiting)
{
    while (!*waiting->is_over) {
        int64_t left_ms = waiting->deadline_ms - clock_boot_ms();
        if (waiting->cancelled != NULL && atomic_load(waiting->cancelled))
            return APART_CANCELLED;
        if (left_ms <= 0)
            return APART_TIMEOUT;
        struct timespec until = after_ms(left_ms < POLL_MS ? left_ms : POLL_MS);
        (void) pthread_cond_timedwait(waiting->changed, waiting->lock, &until);
    }
    return APART_DONE;
}

enum apart_end apart_run(struct apart *work, int64_t deadline_ms, const atomic_bool *cancelled)
{
    pthread_t thread;
    if (!workers_start(run_inside, work, &thread))
        return APART_NO_THREAD;
    const struct waiting waiting = {
        &work->is_done, &work->changed, &work->lock, deadline_ms, cancelled,
    };
    (void) pthread_mutex_lock(&work->lock);
    enum apart_end end = wait_locked(&waiting);
    atomic_store(&work->is_left, end != APART_DONE);
    (void) pthread_mutex_unlock(&work->lock);
    /* What libraries do at the end of a thread (OpenSSL) is over before the host may unload them.
     */
    if (end == APART_DONE)
        (void) pthread_join(thread, NULL);
    else
        (void) pthread_detach(thread);
    return end;
}

void apart_turn_init(struct apart_turn *turn)
{
    init_condition(&turn->ended);
    (void) pthread_mutex_init(&turn->lock, NULL);
    turn->is_free = true;
}

void apart_turn_clear(struct apart_turn *turn)
{
    (void) pthread_cond_destroy(&turn->ended);
    (void) pthread_mutex_destroy(&turn->lock);
}

enum apart_end apart_turn_take(struct apart_turn *turn, int64_t deadline_ms,
                               const atomic_bool *cancelled)
{
    const struct waiting waiting = {
        &turn->is_free, &turn->ended, &turn->lock, deadline_ms, cancelled,
    };
    (void) pthread_mutex_lock(&turn->lock);
    enum apart_end end = wait_locked(&waiting);
    if (end == APART_DONE)
        turn->is_free = false;
    (void) pthread_mutex_unlock(&turn->lock);
    return end;
}

void apart_turn_end(struct apart_turn *turn)
{
    (void) pthread_mutex_lock(&turn->lock);
    turn->is_free = true;
    (void) pthread_cond_signal(&turn->ended);
    (void) pthread_mutex_unlock(&turn->lock);
}

bool apart_is_inside(void)
{
    return is_inside;
}
