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

/* What the source gave is what the section says. */
static CK_RV check(const struct asking *asking, const struct direct_key *key,
                   struct direct_answer *answer)
{
    TRY(check_len(asking, key, answer->value.len));
    TRY(crypto_hmac_sha256(&answer->value, view_text(LABEL_DIRECT_CHECK), answer->mark));
    return check_pinned(asking, key, answer);
}

static CK_RV read_ciphertext(const struct asking *asking, const struct direct_key *key,
                             struct source_call call, struct secret *ret_ciphertext)
{
    const struct ciphertext_owner owner = {asking->keys->token, key->name};
    _cleanup_(secret_clear) struct secret value = {0};
    if (!ciphertext_is_parameter(key->place))
        return ciphertext_read(&owner, key->place, ret_ciphertext);
    call.context = (struct view){0};
    TRY(source_read_parameter(asking->source->source, &call, key->place, &value));
    return ciphertext_from_parameter(&owner, (struct view){value.bytes, value.len}, ret_ciphertext);
}

static CK_RV unwrap(const struct asking *asking, const struct direct_key *key,
                    struct direct_answer *answer)
{
    _cleanup_(secret_clear) struct secret ciphertext = {0};
    answer->asked_ms = clock_boot_ms();
    const struct source_call call = {
        .credential = asking->source->credential,
        .context = blob_view(&key->context),
        .deadline_ms = answer->asked_ms + asking->source->deadline_ms,
        .cancelled = asking->keys->cancelled,
    };
    TRY(read_ciphertext(asking, key, call, &ciphertext));
    struct source *source = asking->source->source;
    TRY(source->ops->unwrap(source, &call, (struct view){ciphertext.bytes, ciphertext.len},
                            &answer->value));
    return check(asking, key, answer);
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

/* ---- answers ---- */

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
static void begin_reason(char reason[REASON_MAX])
{
    (void) snprintf(reason, REASON_MAX, "%s", "no memory for it, or another thread's log says why");
    cause_clear();
    log_divert(reason, REASON_MAX);
}

static enum indexkey_cause end_reason(CK_RV rv)
{
    log_divert(NULL, 0);
    if (rv == CKR_OK)
        return INDEXKEY_CAUSE_NONE;
    return cause_last() == INDEXKEY_CAUSE_NONE ? INDEXKEY_CAUSE_INTERNAL : cause_last();
}

/* Wipes the value that is left. */
static void conclude(struct asking *asking, struct direct_key *key, struct direct_answer *answer,
                     const char *reason)
{
    if (is_unanswered(answer->cause))
        atomic_fetch_add(&asking->unanswered, 1);
    else
        atomic_store(&asking->unanswered, 0);
    settle(asking, key, answer, answer->cause == INDEXKEY_CAUSE_CANCELLED ? NULL : reason);
    secret_clear(&answer->value);
}

static void ask_one(void *context, size_t index)
{
    struct asking *asking = context;
    struct direct_key *key = asking->due[index];
    struct direct_answer answer = {0};
    char reason[REASON_MAX];
    if (is_given_up(asking)) {
        skip(asking, key);
        return;
    }
    begin_reason(reason);
    answer.cause = end_reason(unwrap(asking, key, &answer));
    conclude(asking, key, &answer, reason);
}

/* ---- many with one request ---- */

struct batch {
    struct direct_key **keys[SOURCE_ITEMS_MAX]; /* into `due` */
    struct secret ciphertexts[SOURCE_ITEMS_MAX];
    struct source_item items[SOURCE_ITEMS_MAX];
    size_t count;
    int64_t asked_ms;
};

static void batch_clear(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        secret_clear(&batch->ciphertexts[i]);
        secret_clear(&batch->items[i].value);
    }
}

/* A ciphertext that cannot be read is left to ask_one, which tells why; so is one that takes a
 * request to be read. */
static void gather(const struct asking *asking, size_t first, struct batch *batch)
{
    size_t left = asking->due_count - first;
    size_t count = left < SOURCE_ITEMS_MAX ? left : SOURCE_ITEMS_MAX;
    for (size_t i = 0; i < count; i++) {
        struct direct_key **key = &asking->due[first + i];
        const struct ciphertext_owner owner = {asking->keys->token, (*key)->name};
        struct secret *ciphertext = &batch->ciphertexts[batch->count];
        if (ciphertext_is_parameter((*key)->place) ||
            ciphertext_read(&owner, (*key)->place, ciphertext) != CKR_OK)
            continue;
        batch->keys[batch->count] = key;
        batch->items[batch->count++] = (struct source_item){
            .wrapped = {ciphertext->bytes, ciphertext->len},
            .context = blob_view(&(*key)->context),
        };
    }
}

static CK_RV unwrap_many(const struct asking *asking, struct batch *batch)
{
    struct source *source = asking->source->source;
    batch->asked_ms = clock_boot_ms();
    const struct source_call call = {
        .credential = asking->source->credential,
        .deadline_ms = batch->asked_ms + asking->source->deadline_ms,
        .cancelled = asking->keys->cancelled,
    };
    return source->ops->unwrap_many(source, &call, batch->items, batch->count);
}

static void conclude_item(struct asking *asking, struct batch *batch, size_t index)
{
    struct direct_key *key = *batch->keys[index];
    struct direct_answer answer = {
        .asked_ms = batch->asked_ms,
        .value = secret_move(&batch->items[index].value),
    };
    char reason[REASON_MAX];
    begin_reason(reason);
    answer.cause = end_reason(check(asking, key, &answer));
    conclude(asking, key, &answer, reason);
    *batch->keys[index] = NULL;
}

/* What was refused or unanswered would be so for each of them alone; after anything else, one of
 * them may have spoilt the request. */
static bool is_for_all(enum indexkey_cause cause)
{
    return is_unanswered(cause) || cause == INDEXKEY_CAUSE_THROTTLED ||
           cause == INDEXKEY_CAUSE_CANCELLED || cause == INDEXKEY_CAUSE_CREDENTIAL ||
           cause == INDEXKEY_CAUSE_DENIED || cause == INDEXKEY_CAUSE_DELETED;
}

static void conclude_all(struct asking *asking, struct batch *batch, enum indexkey_cause cause,
                         const char *reason)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct direct_answer answer = {.cause = cause, .asked_ms = batch->asked_ms};
        conclude(asking, *batch->keys[i], &answer, reason);
        *batch->keys[i] = NULL;
    }
}

static void ask_many(void *context, size_t index)
{
    struct asking *asking = context;
    _cleanup_(batch_clear) struct batch batch = {.count = 0};
    char reason[REASON_MAX];
    if (is_given_up(asking))
        return;
    begin_reason(reason);
    gather(asking, index * SOURCE_ITEMS_MAX, &batch);
    begin_reason(reason);
    CK_RV rv = batch.count == 0 ? CKR_OK : unwrap_many(asking, &batch);
    enum indexkey_cause cause = end_reason(rv);
    if (is_for_all(cause))
        conclude_all(asking, &batch, cause, reason);
    for (size_t i = 0; i < batch.count && rv == CKR_OK; i++) {
        if (batch.items[i].value.len > 0)
            conclude_item(asking, &batch, i);
    }
}

/* What is left in `due` is to be asked for one by one. */
static void ask_together(struct asking *asking)
{
    size_t left = 0;
    if (asking->source->source->ops->unwrap_many == NULL || asking->due_count < 2)
        return;
    workers_run((asking->due_count + SOURCE_ITEMS_MAX - 1) / SOURCE_ITEMS_MAX,
                asking->keys->may_create_threads, ask_many, asking);
    for (size_t i = 0; i < asking->due_count; i++) {
        if (asking->due[i] != NULL)
            asking->due[left++] = asking->due[i];
    }
    asking->due_count = left;
}

/* ---- the round ---- */

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
    ask_together(&asking);
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
