#include "tokens/direct_keys.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/direct_keys_internal.h"
#include "tokens/lease.h"

#define WAIT_STEP_NS 200000000L
#define NS_PER_S 1000000000L

/* ---- the list ---- */

static bool is_of(const struct conf_section *section, const char *token)
{
    return !section->bad && strcmp(conf_string(section, "token", ""), token) == 0;
}

static CK_RV take_sections(struct direct_keys *keys, const struct conf *conf)
{
    size_t count;
    const struct conf_section *sections = conf_keys(conf, &count);
    keys->keys = mem_calloc(count + 1, sizeof(*keys->keys));
    if (keys->keys == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (is_of(&sections[i], keys->token))
            TRY(direct_key_configure(&sections[i], &keys->keys[keys->count++]));
    }
    return CKR_OK;
}

/* The condition waits on the monotonic clock: a wall clock that is set must not stretch a wait.
 * None of this can fail on Linux. */
static void init_locks(struct direct_keys *keys)
{
    pthread_condattr_t attributes;
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_mutex_init(&keys->lock, NULL);
    (void) pthread_cond_init(&keys->answered, &attributes);
    (void) pthread_condattr_destroy(&attributes);
}

CK_RV direct_keys_new(const struct conf *conf, const struct direct_keys_options *options,
                      struct direct_keys **ret_keys)
{
    _cleanup_(direct_keys_free) struct direct_keys *keys = mem_calloc(1, sizeof(*keys));
    if (keys == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its direct keys", options->token);
    init_locks(keys);
    keys->lease_ms = options->lease_ms;
    keys->grace_ms = options->grace_ms;
    keys->cancelled = options->cancelled;
    keys->may_create_threads = options->may_create_threads;
    keys->token = mem_strdup(options->token);
    CK_RV rv = keys->token == NULL ? CKR_HOST_MEMORY : take_sections(keys, conf);
    if (rv == CKR_HOST_MEMORY)
        return FAIL(rv, "token '%s': no memory for its direct keys", options->token);
    TRY(rv);
    *ret_keys = keys->count == 0 ? NULL : TAKE(keys);
    return CKR_OK;
}

void direct_keys_free(struct direct_keys **keys)
{
    struct direct_keys *freed = TAKE(*keys);
    if (freed == NULL)
        return;
    for (size_t i = 0; i < freed->count; i++) {
        struct direct_key *key = &freed->keys[i];
        secret_clear(&key->value);
        blob_clear(&key->id);
        blob_clear(&key->context);
        mem_free(key->name);
        mem_free(key->place);
    }
    (void) pthread_cond_destroy(&freed->answered);
    (void) pthread_mutex_destroy(&freed->lock);
    mem_free(freed->keys);
    mem_free(freed->token);
    mem_free(freed);
}

/* ---- logins ---- */

/* docs/formats.md: the same at every login, and another one on another token. */
static CK_RV make_object_id(const struct direct_key *key, const unsigned char serial[SERIAL_LEN],
                            struct object_id *ret_id)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    unsigned char digest[SHA256_LEN];
    write_string(&writer, view_text("direct key"));
    write_string(&writer, (struct view){serial, SERIAL_LEN});
    write_string(&writer, view_text(key->name));
    if (writer.failed)
        return CKR_HOST_MEMORY;
    TRY(crypto_sha256(writer_view(&writer), digest));
    memcpy(ret_id->bytes, digest, sizeof(ret_id->bytes));
    return CKR_OK;
}

static void start_one_locked(const struct direct_keys *keys, struct direct_key *key,
                             const unsigned char serial[SERIAL_LEN])
{
    key->state = DIRECT_KEY_CLOSED;
    key->next_ms = 0;
    key->backoff_ms = LEASE_BACKOFF_FIRST_MS;
    if (make_object_id(key, serial, &key->object_id) == CKR_OK)
        return;
    key->state = DIRECT_KEY_OFF;
    log_line(LOG_LEVEL_ERROR,
             "token '%s': [key %s] is not shown until the next C_Login: no memory for it",
             keys->token, key->name);
}

void direct_keys_start(struct direct_keys *keys, const unsigned char serial[SERIAL_LEN])
{
    if (keys == NULL)
        return;
    (void) pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < keys->count; i++)
        start_one_locked(keys, &keys->keys[i], serial);
    keys->is_running = true;
    keys->is_asking = false;
    keys->generation++;
    (void) pthread_mutex_unlock(&keys->lock);
}

void direct_keys_stop(struct direct_keys *keys)
{
    if (keys == NULL)
        return;
    (void) pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < keys->count; i++) {
        keys->keys[i].state = DIRECT_KEY_OFF;
        secret_clear(&keys->keys[i].value);
    }
    keys->is_running = false;
    keys->is_asking = false;
    keys->generation++;
    (void) pthread_cond_broadcast(&keys->answered);
    (void) pthread_mutex_unlock(&keys->lock);
}

void direct_keys_wake(struct direct_keys *keys)
{
    if (keys == NULL)
        return;
    (void) pthread_mutex_lock(&keys->lock);
    (void) pthread_cond_broadcast(&keys->answered);
    (void) pthread_mutex_unlock(&keys->lock);
}

/* ---- what is due ---- */

static int64_t end_of_grace(const struct direct_keys *keys, const struct direct_key *key)
{
    return key->confirmed_ms + keys->lease_ms + keys->grace_ms;
}

static bool some_due_locked(const struct direct_keys *keys, int64_t now)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].state != DIRECT_KEY_OFF && now >= keys->keys[i].next_ms)
            return true;
    }
    return false;
}

static bool some_expired_locked(const struct direct_keys *keys, int64_t now)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].state == DIRECT_KEY_OPEN && now >= end_of_grace(keys, &keys->keys[i]))
            return true;
    }
    return false;
}

static void wait_locked(struct direct_keys *keys)
{
    struct timespec until = {0};
    (void) clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_STEP_NS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_nsec -= NS_PER_S;
        until.tv_sec++;
    }
    (void) pthread_cond_timedwait(&keys->answered, &keys->lock, &until);
}

bool direct_keys_are_due(struct direct_keys *keys)
{
    if (keys == NULL)
        return false;
    (void) pthread_mutex_lock(&keys->lock);
    while (keys->is_running && keys->is_asking && !atomic_load(keys->cancelled) &&
           some_expired_locked(keys, clock_boot_ms()))
        wait_locked(keys);
    bool due = keys->is_running && !keys->is_asking && some_due_locked(keys, clock_boot_ms());
    (void) pthread_mutex_unlock(&keys->lock);
    return due;
}

/* ---- answers ---- */

static enum direct_outcome take_value_locked(struct direct_keys *keys, struct direct_key *key,
                                             struct direct_answer *answer)
{
    bool was_open = key->state == DIRECT_KEY_OPEN;
    key->state = DIRECT_KEY_OPEN;
    key->confirmed_ms = answer->asked_ms;
    key->next_ms = answer->asked_ms + keys->lease_ms;
    key->backoff_ms = LEASE_BACKOFF_FIRST_MS;
    if (was_open && memcmp(key->mark, answer->mark, sizeof(key->mark)) == 0)
        return DIRECT_CONFIRMED;
    memcpy(key->mark, answer->mark, sizeof(key->mark));
    secret_clear(&key->value);
    key->value = secret_move(&answer->value);
    atomic_fetch_add(&keys->version, 1);
    return was_open ? DIRECT_REPLACED : DIRECT_OPENED;
}

static void close_locked(struct direct_keys *keys, struct direct_key *key,
                         enum direct_key_state state)
{
    if (key->state == DIRECT_KEY_OPEN)
        atomic_fetch_add(&keys->version, 1);
    key->state = state;
    secret_clear(&key->value);
}

static enum direct_outcome unanswered_locked(struct direct_keys *keys, struct direct_key *key)
{
    bool was_open = key->state == DIRECT_KEY_OPEN;
    int64_t now = clock_boot_ms();
    int64_t end = end_of_grace(keys, key);
    key->next_ms = now + lease_back_off(&key->backoff_ms);
    if (!was_open)
        return DIRECT_MISSING;
    if (now >= end) {
        close_locked(keys, key, DIRECT_KEY_CLOSED);
        return DIRECT_EXPIRED;
    }
    key->next_ms = key->next_ms < end ? key->next_ms : end;
    return DIRECT_USED_ON;
}

/* Nobody repairs a configuration by being asked again, but a file may be missing while it is
 * rotated. */
static bool is_final(const struct direct_key *key, enum indexkey_cause cause)
{
    return cause_is_denial(cause) ||
           (cause == INDEXKEY_CAUSE_CONFIG && key->state != DIRECT_KEY_OPEN);
}

static enum direct_outcome settle_locked(struct direct_keys *keys, struct direct_key *key,
                                         struct direct_answer *answer)
{
    if (answer->cause == INDEXKEY_CAUSE_NONE)
        return take_value_locked(keys, key, answer);
    if (!is_final(key, answer->cause))
        return unanswered_locked(keys, key);
    close_locked(keys, key, DIRECT_KEY_OFF);
    return DIRECT_REFUSED;
}

enum direct_outcome direct_keys_settle(struct direct_keys *keys, struct direct_key *key,
                                       uint64_t generation, struct direct_answer *answer,
                                       bool *ret_is_first)
{
    enum direct_outcome outcome = DIRECT_STALE;
    (void) pthread_mutex_lock(&keys->lock);
    if (keys->generation == generation)
        outcome = settle_locked(keys, key, answer);
    *ret_is_first = outcome == DIRECT_OPENED && !key->told && !key->is_pinned;
    key->told = key->told || *ret_is_first;
    (void) pthread_mutex_unlock(&keys->lock);
    return outcome;
}

/* ---- the module's side ---- */

uint64_t direct_keys_version(const struct direct_keys *keys)
{
    return keys == NULL ? 0 : atomic_load(&keys->version);
}

size_t direct_keys_count(const struct direct_keys *keys)
{
    return keys == NULL ? 0 : keys->count;
}

void direct_keys_take(struct direct_keys *keys, size_t index, struct custody_direct_key *ret_key)
{
    struct direct_key *key = &keys->keys[index];
    (void) pthread_mutex_lock(&keys->lock);
    *ret_key = (struct custody_direct_key){
        .name = key->name,
        .id = blob_view(&key->id),
        .object_id = key->object_id,
        .type = key->type,
        .is_open = key->state == DIRECT_KEY_OPEN,
        .value = secret_move(&key->value),
    };
    (void) pthread_mutex_unlock(&keys->lock);
}

void direct_keys_lost(struct direct_keys *keys, size_t index)
{
    struct direct_key *key = &keys->keys[index];
    (void) pthread_mutex_lock(&keys->lock);
    if (key->state == DIRECT_KEY_OPEN) {
        close_locked(keys, key, DIRECT_KEY_CLOSED);
        key->next_ms = clock_boot_ms() + lease_back_off(&key->backoff_ms);
    }
    (void) pthread_mutex_unlock(&keys->lock);
}
