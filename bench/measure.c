#include "bench/measure.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One side's time in one round. */
#define SLICE_NS 2e6
#define SLICE_TWO_THREADS_NS 4e6
/* How often in a slice a thread that works for a given time looks at the clock. */
#define CHUNKS 50

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
    pthread_barrier_t *start;
    struct lane *lane;
    const struct work *work;
    size_t chunk;
    size_t done;
    double began;
    double ended;
};

static void *work_for_slice(void *argument)
{
    struct thread *thread = argument;

    pthread_barrier_wait(thread->start);
    thread->began = now_ns(CLOCK_MONOTONIC);
    do {
        run_many(thread->lane, thread->work, thread->chunk);
        thread->done += thread->chunk;
        thread->ended = now_ns(CLOCK_MONOTONIC);
    } while (thread->ended - thread->began < SLICE_TWO_THREADS_NS);
    return NULL;
}

/* Operations of all threads in a nanosecond of wall time, from the first one's start to the last
 * one's end. */
static double speed_of_threads(struct lane lanes[2], const struct work *work, size_t chunk,
                               unsigned count)
{
    struct thread threads[2];
    pthread_barrier_t start;
    double done = 0;

    MUST(pthread_barrier_init(&start, NULL, count) == 0);
    for (unsigned i = 0; i < count; i++) {
        threads[i] =
            (struct thread){.start = &start, .lane = &lanes[i], .work = work, .chunk = chunk};
        MUST(pthread_create(&threads[i].id, NULL, work_for_slice, &threads[i]) == 0);
    }
    for (unsigned i = 0; i < count; i++) {
        MUST(pthread_join(threads[i].id, NULL) == 0);
        done += (double) threads[i].done;
    }
    pthread_barrier_destroy(&start);
    struct thread *last = &threads[count - 1];
    double began = threads[0].began < last->began ? threads[0].began : last->began;
    double ended = threads[0].ended > last->ended ? threads[0].ended : last->ended;
    return done / (ended - began);
}

/* ---- rounds ---- */

/* Speed, or the scaling from one thread to two. */
static double figure(struct lane lanes[2], const struct work *work, size_t count)
{
    if (!work->two_threads)
        return speed_of_count(&lanes[0], work, count);
    size_t chunk = count / CHUNKS + 1;
    double alone = speed_of_threads(lanes, work, chunk, 1);
    return speed_of_threads(lanes, work, chunk, 2) / alone;
}

static void one_round(struct sides *sides, const struct measured *measured, int round,
                      const size_t counts[SIDES], double ret_figures[SIDES])
{
    int step = round % 2 == 0 ? 1 : SIDES - 1;

    for (int i = 0; i < SIDES; i++) {
        int side = (round / 2 + i * step) % SIDES;
        if (measured->rv[side] == CKR_OK)
            ret_figures[side] = figure(sides->lanes[side], measured->work, counts[side]);
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

static void run_rounds(struct sides *sides, const size_t counts[SIDES], int rounds,
                       struct measured *measured)
{
    double *values = calloc((size_t) rounds * SIDES, sizeof(double));

    MUST(values != NULL);
    for (int round = 0; round < rounds; round++) {
        double figures[SIDES] = {0};
        one_round(sides, measured, round, counts, figures);
        for (int side = 0; side < SIDES; side++) {
            bool own = side == SIDE_EVP;
            values[side * rounds + round] = figures[side] / (own ? 1 : figures[SIDE_EVP]);
        }
    }
    for (int side = 0; side < SIDES; side++)
        measured->ratios[side] = spread_of(values + side * rounds, rounds);
    double evp = measured->ratios[SIDE_EVP].median;
    measured->evp = measured->work->two_threads ? evp : 1 / evp;
    measured->ratios[SIDE_EVP] = (struct spread){1, 1, 1};
    free(values);
}

static CK_RV prepare(struct lane lanes[2], const struct work *work)
{
    if (lanes[0].token && !lanes[0].token->p11)
        return CKR_FUNCTION_NOT_SUPPORTED;
    for (int i = 0; i < (work->two_threads ? 2 : 1); i++) {
        CK_RV rv = lane_prepare(&lanes[i], work, i);
        if (rv != CKR_OK)
            return rv;
    }
    return CKR_OK;
}

static void end(struct lane lanes[2], const struct work *work)
{
    if (lanes[0].token && !lanes[0].token->p11)
        return;
    for (int i = 0; i < (work->two_threads ? 2 : 1); i++)
        lane_end(&lanes[i], work);
}

void measure(struct sides *sides, const struct work *work, int rounds,
             struct measured *ret_measured)
{
    struct measured measured = {.work = work};
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
