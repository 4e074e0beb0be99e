#include "tokens/http_retry.h"

#include <limits.h>

#include "base/crypto.h"
#include "base/rv.h"

#define TOKENS_MAX 500
#define REFILL 1
/* Calls in a row without a final answer, after which calls are not repeated. */
#define FAILED_CALLS_MAX 3
#define PAUSE_MAX_MS 2000
/* A timer that fires a little before the deadline leaves no time for another attempt, but for what
 * another attempt leaves behind: a resolver's thread, a connection half open. */
#define ANSWER_MS 20

static const struct {
    unsigned cost;
    unsigned attempts_max;
    int64_t base_ms;
    int64_t reserve_ms; /* of the deadline, for the answer to the next attempt */
} troubles[] = {
    [HTTP_TROUBLE_TRANSIENT] = {5, 3, 50, ANSWER_MS},
    [HTTP_TROUBLE_TIMEOUT] = {10, 3, 50, ANSWER_MS},
    /* A name that is unknown now is seldom known a moment later. */
    [HTTP_TROUBLE_DNS] = {10, 2, 250, ANSWER_MS},
    /* The service is well, and others are served meanwhile: only the deadline and the quota end
     * this. Without the reserve the last attempt would end as a timeout, and hide why. */
    [HTTP_TROUBLE_THROTTLED] = {5, UINT_MAX, 250, 250},
};

void http_quota_init(struct http_quota *quota)
{
    (void) pthread_mutex_init(&quota->lock, NULL);
    quota->tokens = TOKENS_MAX;
    quota->failed_calls = 0;
}

void http_quota_destroy(struct http_quota *quota)
{
    (void) pthread_mutex_destroy(&quota->lock);
}

/* From 0 to bound; the bound itself without a generator, which is the cautious end. */
static int64_t jitter(int64_t bound)
{
    uint32_t random;
    if (crypto_random(&random, sizeof random) != CKR_OK)
        return bound;
    return random % (bound + 1);
}

static int64_t pause_bound(enum http_trouble trouble, unsigned attempts)
{
    int64_t bound = troubles[trouble].base_ms;
    for (unsigned i = 1; i < attempts && bound < PAUSE_MAX_MS; i++)
        bound *= 2;
    return bound < PAUSE_MAX_MS ? bound : PAUSE_MAX_MS;
}

static bool pay(struct http_quota *quota, unsigned cost)
{
    (void) pthread_mutex_lock(&quota->lock);
    bool paid = quota->failed_calls < FAILED_CALLS_MAX && quota->tokens >= cost;
    quota->tokens -= paid ? cost : 0;
    (void) pthread_mutex_unlock(&quota->lock);
    return paid;
}

bool http_retry_next(struct http_retry *retry, enum http_trouble trouble, int64_t wait_ms,
                     int64_t left_ms, int64_t *ret_pause_ms)
{
    retry->attempts++;
    if (retry->attempts >= troubles[trouble].attempts_max)
        return false;
    int64_t bound = pause_bound(trouble, retry->attempts);
    int64_t room_ms = left_ms - 1 - troubles[trouble].reserve_ms - wait_ms;
    if (room_ms < 0 || !pay(retry->quota, troubles[trouble].cost))
        return false;
    retry->cost = troubles[trouble].cost;
    /* On top of what the service asked for: it asks the same of many. */
    *ret_pause_ms = wait_ms + jitter(bound < room_ms ? bound : room_ms);
    return true;
}

void http_retry_end(struct http_retry *retry, bool answered)
{
    struct http_quota *quota = retry->quota;
    (void) pthread_mutex_lock(&quota->lock);
    if (answered) {
        quota->failed_calls = 0;
        quota->tokens += retry->cost > 0 ? retry->cost : REFILL;
        quota->tokens = quota->tokens < TOKENS_MAX ? quota->tokens : TOKENS_MAX;
    } else {
        quota->failed_calls++;
    }
    (void) pthread_mutex_unlock(&quota->lock);
}
