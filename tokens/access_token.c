#include "tokens/access_token.h"

#include <pthread.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/lease.h"

/* Longer ones are asked for anew after a day. */
#define LIFETIME_MAX_S INT64_C(86400)
/* Renewed so long before the end, or this part of the lifetime if that is less. Google's metadata
 * server gives out a newer token only in the last five minutes. */
#define MARGIN_MAX_MS INT64_C(240000)
#define MARGIN_PART 5
#define WAIT_STEP_MS 100
#define MS_PER_S 1000
#define NS_PER_MS 1000000L
#define NS_PER_S 1000000000L

struct access_token {
    const char *name;
    access_token_fetch *fetch;
    void *context;

    pthread_mutex_t lock;
    pthread_cond_t settled; /* a fetch has ended */
    struct secret text;     /* empty: none */
    int64_t expires_ms;
    int64_t renew_ms; /* no renewal before */
    int64_t backoff_ms;
    bool fetching;
    uint64_t fetch_count; /* that have ended */
    CK_RV failure;        /* of the last one */
    enum indexkey_cause failure_cause;
};

enum turn {
    TURN_TAKE, /* the token that is there */
    TURN_FETCH,
    TURN_SHARE, /* the failure of the fetch that was waited for */
    TURN_TIMEOUT,
    TURN_CANCELLED,
};

void access_token_grant_clear(struct access_token_grant *grant)
{
    secret_clear(&grant->text);
}

CK_RV access_token_new(const char *name, access_token_fetch *fetch, void *context,
                       struct access_token **ret_token)
{
    struct access_token *token = mem_calloc(1, sizeof(*token));
    if (token == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", name);
    token->name = name;
    token->fetch = fetch;
    token->context = context;
    /* None of these can fail on Linux. A wall clock that is set must not stretch a wait. */
    pthread_condattr_t attributes;
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_mutex_init(&token->lock, NULL);
    (void) pthread_cond_init(&token->settled, &attributes);
    (void) pthread_condattr_destroy(&attributes);
    *ret_token = token;
    return CKR_OK;
}

void access_token_free(struct access_token **token)
{
    if (*token == NULL)
        return;
    (void) pthread_cond_destroy(&(*token)->settled);
    (void) pthread_mutex_destroy(&(*token)->lock);
    secret_clear(&(*token)->text);
    mem_free(*token);
    *token = NULL;
}

/* ---- whose turn it is ---- */

/* Cancellation wakes nobody, so that it is looked for in steps. */
static void wait_locked(struct access_token *token, int64_t left_ms)
{
    struct timespec until = {0};
    long step_ms = left_ms < WAIT_STEP_MS ? (long) left_ms : WAIT_STEP_MS;
    (void) clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += step_ms * NS_PER_MS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_nsec -= NS_PER_S;
        until.tv_sec++;
    }
    (void) pthread_cond_timedwait(&token->settled, &token->lock, &until);
}

static bool is_good_locked(const struct access_token *token, int64_t now_ms)
{
    return token->text.len > 0 && now_ms < token->expires_ms;
}

/* A fetch whose own caller ran out of time says nothing about those who have some left. */
static bool is_for_all(CK_RV failure, enum indexkey_cause cause)
{
    return failure != CKR_OK && cause != INDEXKEY_CAUSE_TIMEOUT &&
           cause != INDEXKEY_CAUSE_CANCELLED && cause != INDEXKEY_CAUSE_DNS;
}

static enum turn wait_turn_locked(struct access_token *token, const struct source_call *call)
{
    uint64_t fetch_count = token->fetch_count;
    for (;;) {
        int64_t now_ms = clock_boot_ms();
        if (is_good_locked(token, now_ms) && (token->fetching || now_ms < token->renew_ms))
            return TURN_TAKE;
        if (!token->fetching && fetch_count != token->fetch_count &&
            is_for_all(token->failure, token->failure_cause))
            return TURN_SHARE;
        if (!token->fetching)
            return TURN_FETCH;
        if (atomic_load(call->cancelled))
            return TURN_CANCELLED;
        if (now_ms >= call->deadline_ms)
            return TURN_TIMEOUT;
        wait_locked(token, call->deadline_ms - now_ms);
    }
}

/* ---- what a fetch brought ---- */

/* Full jitter within the second half of the margin: the processes of a host that got their tokens
 * together shall not renew them together. */
static int64_t margin_ms(int64_t lifetime_ms)
{
    int64_t most_ms = lifetime_ms / MARGIN_PART;
    uint32_t random;
    if (most_ms > MARGIN_MAX_MS)
        most_ms = MARGIN_MAX_MS;
    if (crypto_random(&random, sizeof(random)) != CKR_OK)
        return most_ms;
    return most_ms - (int64_t) (random % (uint64_t) (most_ms / 2 + 1));
}

static void keep_locked(struct access_token *token, int64_t asked_ms,
                        struct access_token_grant *grant)
{
    int64_t lifetime_s = grant->lifetime_s < LIFETIME_MAX_S ? grant->lifetime_s : LIFETIME_MAX_S;
    int64_t lifetime_ms = lifetime_s > 0 ? lifetime_s * MS_PER_S : 0;
    secret_clear(&token->text);
    token->text = secret_move(&grant->text);
    token->expires_ms = asked_ms + lifetime_ms;
    token->renew_ms = token->expires_ms - margin_ms(lifetime_ms);
    token->backoff_ms = LEASE_BACKOFF_FIRST_MS;
}

/* True: the present token serves on. */
static bool bridges_locked(struct access_token *token, enum indexkey_cause cause)
{
    int64_t now_ms = clock_boot_ms();
    if (cause_is_denial(cause))
        secret_clear(&token->text);
    if (!is_good_locked(token, now_ms))
        return false;
    token->renew_ms = now_ms + lease_back_off(&token->backoff_ms);
    return true;
}

static CK_RV settle_locked(struct access_token *token, int64_t asked_ms, CK_RV rv,
                           struct access_token_grant *grant)
{
    enum indexkey_cause cause = rv == CKR_OK ? INDEXKEY_CAUSE_NONE : cause_last();
    token->fetching = false;
    token->fetch_count++;
    (void) pthread_cond_broadcast(&token->settled);
    if (rv == CKR_OK) {
        keep_locked(token, asked_ms, grant);
    } else if (bridges_locked(token, cause)) {
        cause_clear();
        rv = CKR_OK;
    }
    token->failure = rv;
    token->failure_cause = cause;
    return rv;
}

static CK_RV copy_locked(const struct access_token *token, struct secret *ret_text)
{
    return secret_from(token->text.bytes, token->text.len, ret_text);
}

static CK_RV fetch(struct access_token *token, const struct source_call *call,
                   struct secret *ret_text)
{
    _cleanup_(access_token_grant_clear) struct access_token_grant grant = {.lifetime_s = 0};
    int64_t asked_ms = clock_boot_ms();
    cause_clear();
    CK_RV rv = token->fetch(token->context, call, &grant);
    (void) pthread_mutex_lock(&token->lock);
    rv = settle_locked(token, asked_ms, rv, &grant);
    if (rv == CKR_OK)
        rv = copy_locked(token, ret_text);
    (void) pthread_mutex_unlock(&token->lock);
    return rv;
}

CK_RV access_token_get(struct access_token *token, const struct source_call *call,
                       struct secret *ret_text)
{
    (void) pthread_mutex_lock(&token->lock);
    enum turn turn = wait_turn_locked(token, call);
    CK_RV rv = token->failure;
    enum indexkey_cause cause = token->failure_cause;
    if (turn == TURN_FETCH)
        token->fetching = true;
    if (turn == TURN_TAKE)
        rv = copy_locked(token, ret_text);
    (void) pthread_mutex_unlock(&token->lock);
    switch (turn) {
    case TURN_TAKE:
        return rv;
    case TURN_FETCH:
        return fetch(token, call, ret_text);
    case TURN_SHARE:
        cause_set(cause);
        return rv;
    case TURN_CANCELLED:
        return FAIL_CAUSE(INDEXKEY_CAUSE_CANCELLED,
                          "token '%s': cancelled while another thread asks for its access token; "
                          "nothing is wrong",
                          token->name);
    case TURN_TIMEOUT:
        break;
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_TIMEOUT,
                      "token '%s': timeout: its access token, which another thread asks for, has "
                      "not come in time; check the network, or raise deadline",
                      token->name);
}

void access_token_refuse(struct access_token *token, const struct secret *text)
{
    (void) pthread_mutex_lock(&token->lock);
    if (secret_equal(&token->text, text))
        secret_clear(&token->text);
    (void) pthread_mutex_unlock(&token->lock);
}
