/*
 * Threads for tests: a number of them at one job, started together and joined together.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define CREW_MAX 32

struct crew;

struct crew_member {
    struct crew *crew;
    size_t number; /* from 0, over all jobs of the crew */
    void (*job)(struct crew_member *member, void *context);
    void *context;
    pthread_t thread;
};

struct crew {
    struct crew_member members[CREW_MAX];
    size_t count;
    atomic_bool stop; /* for jobs that go on until they are told */
};

/* Starts `count` more threads at this job. A crew begins as {0}. */
void crew_start(struct crew *crew, size_t count,
                void (*job)(struct crew_member *member, void *context), void *context);
bool crew_goes_on(const struct crew_member *member);
/* Lets them work for `ms`, then stops and joins. */
void crew_run(struct crew *crew, long ms);
void crew_join(struct crew *crew);

/* Milliseconds that a test may spend on a race; INDEXKEY_RACE_MS makes it longer. */
long crew_race_ms(void);
void crew_sleep_ms(long ms);
/* Threads of this process, as the kernel counts them. */
size_t crew_kernel_threads(void);
