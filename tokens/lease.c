#include "tokens/lease.h"

#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/rv.h"

#define BACKOFF_MAX_MS 60000
#define WAIT_STEP_NS 200000000L
#define NS_PER_S 1000000000L

void lease_init(struct lease *lease, int64_t lease_ms, int64_t grace_ms,
                const atomic_bool *cancelled)
{
    *lease = (struct lease){
        .lease_ms = lease_ms,
        .grace_ms = grace_ms,
        .cancelled = cancelled,
    };
    /* Neither can fail on Linux. The condition waits on the monotonic clock: a wall clock that is
     * set must not stretch a wait. */
    pthread_condattr_t attributes;
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_mutex_init(&lease->lock, NULL);
    (void) pthread_cond_init(&lease->settled, &attributes);
    (void) pthread_condattr_destroy(&attributes);
}

void lease_destroy(struct lease *lease)
{
    (void) pthread_cond_destroy(&lease->settled);
    (void) pthread_mutex_destroy(&lease->lock);
}

uint64_t lease_start(struct lease *lease, int64_t confirmed_ms)
{
    (void) pthread_mutex_lock(&lease->lock);
    lease->running = true;
    lease->renewing = false;
    lease->confirmed_ms = confirmed_ms;
    lease->retry_ms = 0;
    lease->backoff_ms = LEASE_BACKOFF_FIRST_MS;
    uint64_t generation = ++lease->generation;
    (void) pthread_mutex_unlock(&lease->lock);
    return generation;
}

static void stop_locked(struct lease *lease)
{
    lease->running = false;
    lease->renewing = false;
    (void) pthread_cond_broadcast(&lease->settled);
}

void lease_stop(struct lease *lease)
{
    (void) pthread_mutex_lock(&lease->lock);
    stop_locked(lease);
    (void) pthread_mutex_unlock(&lease->lock);
}

void lease_wake(struct lease *lease)
{
    (void) pthread_mutex_lock(&lease->lock);
    (void) pthread_cond_broadcast(&lease->settled);
    (void) pthread_mutex_unlock(&lease->lock);
}

static int64_t end_of_lease(const struct lease *lease)
{
    return lease->confirmed_ms + lease->lease_ms;
}

static int64_t end_of_grace(const struct lease *lease)
{
    return end_of_lease(lease) + lease->grace_ms;
}

static void wait_locked(struct lease *lease)
{
    struct timespec until = {0};
    (void) clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_STEP_NS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_nsec -= NS_PER_S;
        until.tv_sec++;
    }
    (void) pthread_cond_timedwait(&lease->settled, &lease->lock, &until);
}

static enum lease_turn check_locked(struct lease *lease)
{
    uint64_t generation = lease->generation;
    while (lease->running && lease->generation == generation) {
        int64_t now = clock_boot_ms();
        if (now < end_of_lease(lease))
            return LEASE_GOES_ON;
        bool in_grace = now < end_of_grace(lease);
        if (in_grace && (lease->renewing || now < lease->retry_ms))
            return LEASE_GOES_ON;
        if (!lease->renewing) {
            lease->renewing = true;
            lease->asked_ms = now;
            return LEASE_RENEW;
        }
        if (atomic_load(lease->cancelled))
            return LEASE_OVER;
        wait_locked(lease);
    }
    /* A newer login has a lease of its own. */
    return lease->running ? LEASE_GOES_ON : LEASE_OVER;
}

int64_t lease_left_ms(struct lease *lease)
{
    (void) pthread_mutex_lock(&lease->lock);
    int64_t left = lease->running ? lease->confirmed_ms + lease->lease_ms - clock_boot_ms() : 0;
    (void) pthread_mutex_unlock(&lease->lock);
    return left;
}

enum lease_turn lease_check(struct lease *lease, uint64_t *ret_generation)
{
    (void) pthread_mutex_lock(&lease->lock);
    *ret_generation = lease->generation;
    enum lease_turn turn = check_locked(lease);
    (void) pthread_mutex_unlock(&lease->lock);
    return turn;
}

/* Full jitter. */
int64_t lease_back_off(int64_t *backoff_ms)
{
    int64_t most_ms = *backoff_ms;
    *backoff_ms = most_ms * 2 < BACKOFF_MAX_MS ? most_ms * 2 : BACKOFF_MAX_MS;
    uint32_t random;
    if (crypto_random(&random, sizeof(random)) != CKR_OK)
        return most_ms;
    return (int64_t) (random % (uint64_t) (most_ms + 1));
}

static enum lease_turn unanswered_locked(struct lease *lease)
{
    int64_t now = clock_boot_ms();
    int64_t end = end_of_grace(lease);
    if (now >= end) {
        stop_locked(lease);
        return LEASE_OVER;
    }
    int64_t retry = now + lease_back_off(&lease->backoff_ms);
    lease->retry_ms = retry < end ? retry : end;
    return LEASE_GOES_ON;
}

static enum lease_turn settle_locked(struct lease *lease, enum lease_answer answer)
{
    lease->renewing = false;
    (void) pthread_cond_broadcast(&lease->settled);
    switch (answer) {
    case LEASE_CONFIRMED:
        lease->confirmed_ms = lease->asked_ms;
        lease->retry_ms = 0;
        lease->backoff_ms = LEASE_BACKOFF_FIRST_MS;
        return LEASE_GOES_ON;
    case LEASE_UNANSWERED:
        return unanswered_locked(lease);
    case LEASE_DENIED:
        stop_locked(lease);
        return LEASE_OVER;
    }
    return LEASE_OVER;
}

enum lease_turn lease_settle(struct lease *lease, uint64_t generation, enum lease_answer answer)
{
    (void) pthread_mutex_lock(&lease->lock);
    enum lease_turn turn = lease->running ? LEASE_GOES_ON : LEASE_OVER;
    if (lease->running && lease->generation == generation)
        turn = settle_locked(lease, answer);
    (void) pthread_mutex_unlock(&lease->lock);
    return turn;
}
