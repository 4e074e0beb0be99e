/*
 * Work that waits for the network, many pieces at once: short-lived threads for the length of one
 * call, since the module keeps none. Only this file makes threads.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define WORKERS_MAX 8

/* May run in several threads at once; never twice for one index. Takes the pieces in their order.
 */
typedef void workers_fn(void *context, size_t index);

/* Runs `work` for 0 to count - 1 and returns when all is done. The caller works too, beside at most
 * WORKERS_MAX - 1 threads, in which the host's signals are blocked; alone when `may_create_threads`
 * is false (CKF_LIBRARY_CANT_CREATE_OS_THREADS) or none can be had. The caller holds no lock. */
void workers_run(size_t count, bool may_create_threads, workers_fn *work, void *context);

/* One such thread, which the caller joins or detaches: for tokens/apart.c. False when none can be
 * had. */
bool workers_start(void *(*work)(void *), void *context, pthread_t *ret_thread);
