#include "tokens/workers.h"

#include <signal.h>
#include <stdatomic.h>

struct crew {
    atomic_size_t next;
    size_t count;
    workers_fn *work;
    void *context;
};

static void *work_on(void *context)
{
    struct crew *crew = context;
    for (size_t i = atomic_fetch_add(&crew->next, 1); i < crew->count;
         i = atomic_fetch_add(&crew->next, 1))
        crew->work(crew->context, i);
    return NULL;
}

/* A new thread has its maker's signal mask. A handler of the host's, which may call back into it or
 * jump, must not run in a thread that the host does not know. */
static size_t start(pthread_t *threads, size_t wanted, void *(*work)(void *), void *context)
{
    sigset_t all;
    sigset_t former;
    size_t started = 0;
    (void) sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, &former) != 0)
        return 0;
    while (started < wanted && pthread_create(&threads[started], NULL, work, context) == 0)
        started++;
    (void) pthread_sigmask(SIG_SETMASK, &former, NULL);
    return started;
}

void workers_run(size_t count, bool may_create_threads, workers_fn *work, void *context)
{
    struct crew crew = {.count = count, .work = work, .context = context};
    pthread_t threads[WORKERS_MAX - 1];
    size_t wanted = count < WORKERS_MAX ? count : WORKERS_MAX;
    size_t started =
        may_create_threads && wanted > 1 ? start(threads, wanted - 1, work_on, &crew) : 0;
    (void) work_on(&crew);
    for (size_t i = 0; i < started; i++)
        (void) pthread_join(threads[i], NULL);
}

bool workers_start(void *(*work)(void *), void *context, pthread_t *ret_thread)
{
    return start(ret_thread, 1, work, context) == 1;
}
