/*
 * Whether and when a failed attempt is repeated. No I/O.
 *
 * Three bounds: attempts a call (a throttled one goes on to its deadline), a quota of tokens a
 * client (as the AWS SDKs have it: 500, a retry costs some, success refills), and none at all after
 * several calls in a row that got no final answer: while a service is down, each call asks once,
 * and the first success ends that. Pauses are full-jitter: random between 0 and an exponentially
 * growing bound, on top of what the service asked for.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct http_quota {
    pthread_mutex_t lock;
    unsigned tokens;
    unsigned failed_calls; /* in a row */
};

enum http_trouble {
    HTTP_TROUBLE_TRANSIENT,
    HTTP_TROUBLE_TIMEOUT,
    HTTP_TROUBLE_DNS,
    HTTP_TROUBLE_THROTTLED,
};

/* One call's; begins with the quota alone. */
struct http_retry {
    struct http_quota *quota;
    unsigned attempts; /* that failed */
    unsigned cost;     /* paid for the attempt that runs */
};

void http_quota_init(struct http_quota *quota);
void http_quota_destroy(struct http_quota *quota);

/* After an attempt failed: false when the call gives up, else how long it waits. `wait_ms` is what
 * the service asked for (0: nothing); `left_ms` is what the deadline leaves. */
bool http_retry_next(struct http_retry *retry, enum http_trouble trouble, int64_t wait_ms,
                     int64_t left_ms, int64_t *ret_pause_ms);
/* At the end of each call; `answered`: by a reply that was final. A call that was cancelled does
 * not come here. */
void http_retry_end(struct http_retry *retry, bool answered);
