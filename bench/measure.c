#include "bench/measure.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

/* One side's time in one round. */
#define SLICE_NS 2e6
/* Shorter for two threads: they need two processors to themselves for as long. */
#define SLICE_OF_TWO_NS 1e6
/* How often a disturbed slice of two threads is done again. */
#define TRIES 20
/* How often in a slice a thread that works for a given time looks at the clock. */
#define CHUNKS 100

static double now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double) now.tv_sec * 1e9 + (double) now.tv_nsec;
}

static void run_many(struct lane *lane, const struct work *work, size_t count)
{
    const struct operation *operation = lane_operation(lane, work);

    for (size_t i = 0; i < count; i++)
        MUST(operation->run(lane, work) == CKR_OK);
}

/* Operations in a nanosecond of this thread's CPU time. */
static double speed_of_count(struct lane *lane, const struct work *work, size_t count)
{
    double start = now_ns(CLOCK_THREAD_CPUTIME_ID);

    run_many(lane, work, count);
    return (double) count / (now_ns(CLOCK_THREAD_CPUTIME_ID) - start);
}

/* As many operations as take a slice; warms up on the way. */
static size_t slice_count(struct lane *lane, const struct work *work)
{
    for (size_t count = 1;; count *= 2) {
        double speed = speed_of_count(lane, work, count);
        if ((double) count / speed > SLICE_NS / 4)
            return (size_t) (speed * SLICE_NS) + 1;
    }
}

/* ---- two threads ---- */

struct thread {
    pthread_t id;
    atomic_uint *awaited; /* threads that are not ready yet */
    struct lane *lane;
    const struct work *work;
    size_t chunk;
    size_t done;
    double began;
    double ended;
    bool was_preempted;
};

static long preemptions(void)
{
    struct rusage usage;

    MUST(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage.ru_nivcsw;
}

static void *work_for_slice(void *argument)
{
    struct thread *thread = argument;

    /* What a thread does at its first call only is not for each slice to pay. */
    run_many(thread->lane, thread->work, 1);
    /* Not a barrier that sleeps: the threads start together only if each has its processor. */
    atomic_fetch_sub(thread->awaited, 1);
    while (atomic_load(thread->awaited) > 0)
        continue;
    long before = preemptions();
    thread->began = now_ns(CLOCK_MONOTONIC);
    do {
        run_many(thread->lane, thread->work, thread->chunk);
        thread->done += thread->chunk;
        thread->ended = now_ns(CLOCK_MONOTONIC);
    } while (thread->ended - thread->began < SLICE_OF_TWO_NS);
    thread->was_preempted = preemptions() != before;
    return NULL;
}

/* Operations of all threads in a nanosecond of wall time, from the first one's start to the last
 * one's end; 0: another program took a processor meanwhile. A thread that waits for the other one
 * is not preempted, so such a wait is never left out. */
static double try_threads(struct lane lanes[2], const struct work *work, size_t chunk,
                          unsigned count)
{
    struct thread threads[2] = {0};
    atomic_uint awaited = count;
    double done = 0;

    for (unsigned i = 0; i < count; i++) {
        threads[i] =
            (struct thread){.awaited = &awaited, .lane = &lanes[i], .work = work, .chunk = chunk};
        MUST(pthread_create(&threads[i].id, NULL, work_for_slice, &threads[i]) == 0);
    }
    for (unsigned i = 0; i < count; i++) {
        MUST(pthread_join(threads[i].id, NULL) == 0);
        done += (double) threads[i].done;
    }
    struct thread *first = &threads[0];
    struct thread *last = &threads[count - 1];
    bool began_together = fabs(first->began - last->began) < SLICE_OF_TWO_NS / 20;
    if (!began_together || first->was_preempted || last->was_preempted)
        return 0;
    return done / (fmax(first->ended, last->ended) - fmin(first->began, last->began));
}

static double speed_of_threads(struct lane lanes[2], const struct work *work, size_t chunk,
                               unsigned count)
{
    double speed = 0;

    for (int tries = 0; tries < TRIES && speed == 0; tries++)
        speed = try_threads(lanes, work, chunk, count);
    return speed;
}

/* From one thread to two; 0: the machine gave no second processor. */
static double scaling(struct lane lanes[2], const struct work *work, size_t count)
{
    size_t chunk = count / CHUNKS + 1;
    double alone = speed_of_threads(lanes, work, chunk, 1);

    return alone > 0 ? speed_of_threads(lanes, work, chunk, 2) / alone : 0;
}

/* ---- rounds ---- */

static void one_round(struct sides *sides, const struct measured *measured, int round,
                      const size_t counts[SIDES], double ret_figures[SIDES])
{
    const struct work *work = measured->work;
    int step = round % 2 == 0 ? 1 : SIDES - 1;

    for (int i = 0; i < SIDES; i++) {
        int side = (round / 2 + i * step) % SIDES;
        struct lane *lanes = sides->lanes[side];
        if (measured->rv[side] != CKR_OK)
            continue;
        ret_figures[side] = work->threads == ONE_THREAD ? speed_of_count(lanes, work, counts[side])
                                                        : scaling(lanes, work, counts[side]);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *) a;
    double y = *(const double *) b;

    return (x > y) - (x < y);
}

static struct spread spread_of(double *values, int count)
{
    qsort(values, (size_t) count, sizeof(values[0]), compare);
    return (struct spread){values[count / 4], values[count / 2], values[3 * count / 4]};
}

/* Rounds in which a side was disturbed, or OpenSSL, do not count for that side. */
static void run_rounds(struct sides *sides, const size_t counts[SIDES], int rounds,
                       struct measured *measured)
{
    double *values = calloc((size_t) rounds * SIDES, sizeof(double));
    int *known = measured->rounds;

    MUST(values != NULL);
    for (int round = 0; round < rounds; round++) {
        double figures[SIDES] = {0};
        one_round(sides, measured, round, counts, figures);
        for (int side = 0; side < SIDES; side++) {
            double divisor = side == SIDE_EVP ? 1 : figures[SIDE_EVP];
            if (figures[side] > 0 && divisor > 0)
                values[side * rounds + known[side]++] = figures[side] / divisor;
        }
    }
    for (int side = 0; side < SIDES; side++) {
        if (known[side] > 0)
            measured->ratios[side] = spread_of(values + side * rounds, known[side]);
    }
    double evp = measured->ratios[SIDE_EVP].median;
    measured->evp = measured->work->threads == ONE_THREAD ? 1 / evp : evp;
    free(values);
}

/* ---- a work, from its preparation to its end ---- */

struct preparation {
    struct lane *lane;
    const struct work *work;
    int index;
    CK_RV rv;
};

static void *prepare_lane(void *argument)
{
    struct preparation *preparation = argument;

    preparation->rv = lane_prepare(preparation->lane, preparation->work, preparation->index);
    return NULL;
}

static int lanes_of(const struct lane lanes[2], const struct work *work)
{
    bool is_absent = lanes[0].token && !lanes[0].token->p11;

    return is_absent ? 0 : work->threads == ONE_THREAD ? 1 : 2;
}

static CK_RV prepare(struct lane lanes[2], const struct work *work)
{
    struct preparation own = {.lane = &lanes[0], .work = work, .index = 0};
    struct preparation other = {.lane = &lanes[1], .work = work, .index = 1};
    int count = lanes_of(lanes, work);
    pthread_t thread;

    if (count == 0)
        return CKR_FUNCTION_NOT_SUPPORTED;
    prepare_lane(&own);
    if (count == 2) {
        MUST(pthread_create(&thread, NULL, prepare_lane, &other) == 0);
        MUST(pthread_join(thread, NULL) == 0);
    }
    return own.rv != CKR_OK ? own.rv : other.rv;
}

static void end(struct lane lanes[2], const struct work *work)
{
    for (int i = 0; i < lanes_of(lanes, work); i++)
        lane_end(&lanes[i], work);
}

void measure(struct sides *sides, const struct work *work, int rounds,
             struct measured *ret_measured)
{
    struct measured measured = {.work = work, .all_rounds = rounds};
    size_t counts[SIDES] = {0};

    for (int side = 0; side < SIDES; side++) {
        measured.rv[side] = prepare(sides->lanes[side], work);
        if (measured.rv[side] == CKR_OK)
            counts[side] = slice_count(&sides->lanes[side][0], work);
    }
    MUST(measured.rv[SIDE_MODULE] == CKR_OK && measured.rv[SIDE_EVP] == CKR_OK);
    run_rounds(sides, counts, rounds, &measured);
    for (int side = 0; side < SIDES; side++)
        end(sides->lanes[side], work);
    *ret_measured = measured;
}
