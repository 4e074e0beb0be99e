#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/ciphertext.h"
#include "tokens/direct_keys_internal.h"
#include "tokens/workers.h"

#define REASON_MAX 640
#define GENERIC_LEN_MIN 16
#define GENERIC_LEN_MAX 64
/* Of keys in a row that the source left without an answer: with as many workers, one deadline. */
#define UNANSWERED_MAX WORKERS_MAX
/* What falls due within this part of the lease is asked for along with the rest, so that the keys
 * of one login stay together. */
#define EARLY_PART 8

/* One round. */
struct asking {
    struct direct_keys *keys;
    const struct direct_keys_source *source;
    uint64_t generation;
    struct direct_key **due;
    size_t due_count;
    atomic_uint unanswered; /* in a row */
    atomic_size_t skipped;
};

/* ---- one key ---- */

static CK_RV check_len(const struct asking *asking, const struct direct_key *key, size_t len)
{
    bool is_aes = key->type == CUSTODY_KEY_AES;
    bool good = is_aes ? len == 16 || len == 24 || len == 32
                       : len >= GENERIC_LEN_MIN && len <= GENERIC_LEN_MAX;
    if (good)
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': the ciphertext of [key %s] holds %zu bytes, and type = %s needs "
                      "%s; correct the one or the other",
                      asking->keys->token, key->name, len, is_aes ? "aes" : "generic",
                      is_aes ? "16, 24 or 32" : "16 to 64");
}

static CK_RV check_pinned(const struct asking *asking, const struct direct_key *key,
                          const struct direct_answer *answer)
{
    if (!key->is_pinned || memcmp(key->pinned, answer->mark, sizeof(key->pinned)) == 0)
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                      "token '%s': the ciphertext of [key %s] holds another key than check_value "
                      "pins; put the former ciphertext back, or pin the new key",
                      asking->keys->token, key->name);
}

static CK_RV unwrap(const struct asking *asking, const struct direct_key *key,
                    struct direct_answer *answer)
{
    const struct ciphertext_owner owner = {asking->keys->token, key->name};
    _cleanup_(secret_clear) struct secret ciphertext = {0};
    TRY(ciphertext_read(&owner, key->place, &ciphertext));
    answer->asked_ms = clock_boot_ms();
    const struct source_call call = {
        .credential = asking->source->credential,
        .context = blob_view(&key->context),
        .deadline_ms = answer->asked_ms + asking->source->deadline_ms,
        .cancelled = asking->keys->cancelled,
    };
    struct source *source = asking->source->source;
    TRY(source->ops->unwrap(source, &call, (struct view){ciphertext.bytes, ciphertext.len},
                            &answer->value));
    TRY(check_len(asking, key, answer->value.len));
    TRY(crypto_hmac_sha256(&answer->value, view_text(LABEL_DIRECT_CHECK), answer->mark));
    return check_pinned(asking, key, answer);
}

/* ---- what the log says ---- */

static const char *show_mark(const unsigned char *mark, char text[2 * CUSTODY_CHECK_VALUE_LEN + 1])
{
    for (size_t i = 0; i < CUSTODY_CHECK_VALUE_LEN; i++)
        (void) snprintf(text + 2 * i, 3, "%02x", mark[i]);
    return text;
}

static void tell_value(const struct asking *asking, const struct direct_key *key,
                       const struct direct_answer *answer, bool is_replaced)
{
    char text[2 * CUSTODY_CHECK_VALUE_LEN + 1];
    if (is_replaced)
        log_line(LOG_LEVEL_WARNING,
                 "token '%s': the ciphertext of [key %s] holds another key than before, which is "
                 "used from now on; if that is right, pin it: check_value = %s",
                 asking->keys->token, key->name, show_mark(answer->mark, text));
    else
        log_line(LOG_LEVEL_NOTICE,
                 "token '%s': [key %s] is not pinned to its value; add: check_value = %s",
                 asking->keys->token, key->name, show_mark(answer->mark, text));
}

/* `reason` names the token, what failed and the remedy. */
static void tell_failure(const struct direct_key *key, enum direct_outcome outcome,
                         enum indexkey_cause cause, const char *reason)
{
    static const char *const effects[] = {
        [DIRECT_USED_ON] = "is not confirmed, and used on until its grace ends",
        [DIRECT_MISSING] = "is not shown, and will be asked for again",
        [DIRECT_EXPIRED] = "is not shown any more, and will be asked for again",
        [DIRECT_REFUSED] = "is not shown until the next C_Login",
    };
    log_line(outcome == DIRECT_USED_ON ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR,
             "[key %s] %s (%s): %s", key->name, effects[outcome], cause_name(cause), reason);
}

/* ---- the round ---- */

static void settle(struct asking *asking, struct direct_key *key, struct direct_answer *answer,
                   const char *reason)
{
    bool is_first;
    enum direct_outcome outcome =
        direct_keys_settle(asking->keys, key, asking->generation, answer, &is_first);
    if (is_first || outcome == DIRECT_REPLACED)
        tell_value(asking, key, answer, outcome == DIRECT_REPLACED);
    if (outcome >= DIRECT_USED_ON && reason != NULL)
        tell_failure(key, outcome, answer->cause, reason);
}

/* A denial, or a source in trouble that says so, is an answer. */
static bool is_unanswered(enum indexkey_cause cause)
{
    return cause == INDEXKEY_CAUSE_TIMEOUT || cause == INDEXKEY_CAUSE_UNREACHABLE ||
           cause == INDEXKEY_CAUSE_DNS || cause == INDEXKEY_CAUSE_TLS;
}

/* C_Finalize or C_Logout came meanwhile. */
static bool is_over(const struct asking *asking)
{
    return atomic_load(asking->keys->cancelled) ||
           atomic_load(&asking->keys->generation) != asking->generation;
}

static bool is_given_up(const struct asking *asking)
{
    return is_over(asking) || atomic_load(&asking->unanswered) >= UNANSWERED_MAX;
}

static void skip(struct asking *asking, struct direct_key *key)
{
    struct direct_answer answer = {.cause = INDEXKEY_CAUSE_UNREACHABLE};
    atomic_fetch_add(&asking->skipped, 1);
    settle(asking, key, &answer, NULL);
}

/* The source logs its failures itself, by the token's name; diverted, they become part of the one
 * line that names the key. */
static void ask_one(void *context, size_t index)
{
    struct asking *asking = context;
    struct direct_key *key = asking->due[index];
    struct direct_answer answer = {0};
    char reason[REASON_MAX] = "no memory for it";
    if (is_given_up(asking)) {
        skip(asking, key);
        return;
    }
    cause_clear();
    log_divert(reason, sizeof(reason));
    CK_RV rv = unwrap(asking, key, &answer);
    log_divert(NULL, 0);
    if (rv != CKR_OK)
        answer.cause = cause_last() == INDEXKEY_CAUSE_NONE ? INDEXKEY_CAUSE_INTERNAL : cause_last();
    if (is_unanswered(answer.cause))
        atomic_fetch_add(&asking->unanswered, 1);
    else
        atomic_store(&asking->unanswered, 0);
    settle(asking, key, &answer, answer.cause == INDEXKEY_CAUSE_CANCELLED ? NULL : reason);
    secret_clear(&answer.value);
}

static void collect_locked(struct direct_keys *keys, struct asking *asking)
{
    int64_t now = clock_boot_ms();
    for (size_t i = 0; i < keys->count; i++) {
        struct direct_key *key = &keys->keys[i];
        int64_t early_ms = key->state == DIRECT_KEY_OPEN ? keys->lease_ms / EARLY_PART : 0;
        if (key->state != DIRECT_KEY_OFF && now + early_ms >= key->next_ms)
            asking->due[asking->due_count++] = key;
    }
    asking->generation = keys->generation;
    keys->is_asking = true;
}

/* False when another caller asks, or nobody is logged in any more. */
static bool begin(struct direct_keys *keys, struct asking *asking)
{
    (void) pthread_mutex_lock(&keys->lock);
    bool begins = keys->is_running && !keys->is_asking;
    if (begins)
        collect_locked(keys, asking);
    (void) pthread_mutex_unlock(&keys->lock);
    return begins;
}

static void end(struct direct_keys *keys, const struct asking *asking)
{
    (void) pthread_mutex_lock(&keys->lock);
    if (keys->generation == asking->generation)
        keys->is_asking = false;
    (void) pthread_cond_broadcast(&keys->answered);
    (void) pthread_mutex_unlock(&keys->lock);
}

void direct_keys_ask(struct direct_keys *keys, const struct direct_keys_source *source)
{
    if (keys == NULL)
        return;
    struct direct_key **due __attribute__((cleanup(mem_free_pointer))) =
        mem_calloc(keys->count, sizeof(struct direct_key *));
    struct asking asking = {.keys = keys, .source = source, .due = due};
    if (due == NULL || !begin(keys, &asking))
        return;
    workers_run(asking.due_count, keys->may_create_threads, ask_one, &asking);
    end(keys, &asking);
    size_t skipped = atomic_load(&asking.skipped);
    if (skipped > 0 && !is_over(&asking))
        log_line(
            LOG_LEVEL_ERROR,
            "token '%s': its source does not answer: %zu of its direct keys were not asked for "
            "now, and will be later",
            keys->token, skipped);
    /* What failed here is not why the caller's own call fails. */
    cause_clear();
}
