/*
 * The lease: how long unwrapped keys may be used before the source confirms them again.
 *
 * A state machine without I/O. One caller is told to renew (LEASE_RENEW), asks the source while no
 * lock is held, and reports with lease_settle. Meanwhile the others go on within the grace; beyond
 * it they wait for that report. Time is CLOCK_BOOTTIME. Thread-safe.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lease {
    pthread_mutex_t lock;
    pthread_cond_t settled;
    int64_t lease_ms;
    int64_t grace_ms;
    const atomic_bool *cancelled;

    bool running;
    bool renewing;
    uint64_t generation; /* of the login, so that a late report cannot touch the next one */
    int64_t confirmed_ms;
    int64_t asked_ms; /* when the renewal that runs began */
    int64_t retry_ms; /* no renewal before */
    int64_t backoff_ms;
};

enum lease_turn {
    LEASE_GOES_ON,
    LEASE_RENEW, /* the caller renews and calls lease_settle */
    LEASE_OVER,  /* nothing may be used any more */
};

enum lease_answer {
    LEASE_CONFIRMED,
    LEASE_UNANSWERED, /* a transient failure: nobody said no */
    LEASE_DENIED,
};

/* `*cancelled` ends every wait. Freed with lease_destroy. */
void lease_init(struct lease *lease, int64_t lease_ms, int64_t grace_ms,
                const atomic_bool *cancelled);
void lease_destroy(struct lease *lease);

/* `confirmed_ms` is when the call that confirmed it began. Returns the generation. */
uint64_t lease_start(struct lease *lease, int64_t confirmed_ms);
void lease_stop(struct lease *lease);
/* Until the source has to confirm; below zero in the grace, 0 while it does not run. */
int64_t lease_left_ms(struct lease *lease);
/* Wakes all who wait, after `*cancelled` was set. */
void lease_wake(struct lease *lease);

/* May wait for a renewal by another caller. `ret_generation` belongs to the answer. */
enum lease_turn lease_check(struct lease *lease, uint64_t *ret_generation);
#define LEASE_BACKOFF_FIRST_MS 1000
/* How long to wait before a source that did not answer is asked again: from 0 to `*backoff_ms`,
 * which doubles up to a minute. A fleet that lost its source together shall not come back so. */
int64_t lease_back_off(int64_t *backoff_ms);

/* After LEASE_RENEW. LEASE_GOES_ON or LEASE_OVER; the lease has stopped in the latter case. */
enum lease_turn lease_settle(struct lease *lease, uint64_t generation, enum lease_answer answer);
