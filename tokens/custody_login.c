#include "tokens/custody_internal.h"

#include "base/clock.h"
#include "tokens/custody_anchor.h"

#define TICK_MS 50
/* A store that fails says so in the log each time it is asked. */
#define STORE_RETRY_MS 1000
#define CONFLICTS_MAX 20

CK_RV custody_read_initialized(struct custody *custody, struct token_record *ret_record)
{
    CK_RV rv = custody_read_token(custody, ret_record);
    if (rv != STORE_ABSENT)
        return rv;
    cause_set(INDEXKEY_CAUSE_PIN);
    return FAIL(CKR_USER_PIN_NOT_INITIALIZED,
                "token '%s': it is not initialised; do that first with C_InitToken "
                "(pkcs11-tool --init-token)",
                custody->name);
}

CK_RV custody_fail_keys(const struct custody *custody)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED, "token '%s': the record '%s' in its store %s",
                      custody->name, RECORD_KEYS, custody_record_refusal(custody, RECORD_KEYS));
}

/* The keyring, its lease and `due` change together. */
static CK_RV begin_login(struct custody *custody, enum custody_role role, int64_t asked_ms,
                         const struct keyring_opening *opening)
{
    _cleanup_(custody_unlock) pthread_mutex_t *held = &custody->session_lock;
    (void) pthread_mutex_lock(held);
    TRY(audit_unlock(custody->audit, opening->serial, opening->token_key));
    CK_RV rv = keyring_open(&custody->keyring, opening);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return custody_fail_keys(custody);
    TRY(rv);
    sealed_objects_forget(custody);
    custody->role = role;
    custody->login_generation = lease_start(&custody->lease, asked_ms);
    if (role == CUSTODY_USER)
        direct_keys_start(custody->direct_keys, opening->serial);
    atomic_store(&custody->objects_generation, 0);
    atomic_store(&custody->newest_generation, 0);
    atomic_store(&custody->due, clock_coarse_ms() + TICK_MS);
    return CKR_OK;
}

CK_RV custody_check_current(struct custody *custody, const struct token_record *record)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    uint64_t version;
    TRY(custody_read_record(custody, RECORD_TOKEN, &bytes, &version));
    return version == record->version ? CKR_OK : STORE_CONFLICT;
}

static CK_RV log_in_once(struct custody *custody, enum custody_role role, struct view pin)
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    _cleanup_(proof_clear) struct proof proof = {0};
    _cleanup_(blob_clear) struct blob keys = {0};
    uint64_t version;
    uint64_t changes;
    TRY(custody_read_initialized(custody, &record));
    TRY(custody_prove(custody, &record, role, pin, &proof));
    secret_clear(&proof.data_key);
    TRY(custody_read_record(custody, RECORD_KEYS, &keys, &version));
    TRY(custody_check_current(custody, &record));
    /* Before the module loads the objects, so that no change falls between. */
    TRY(custody->store->ops->change_count(custody->store, &changes));
    atomic_store(&custody->store_changes, changes);
    bool keeps_credential = role == CUSTODY_USER && custody->login == CUSTODY_LOGIN_CREDENTIAL;
    struct keyring_opening opening = {
        .serial = record.serial,
        .token_key = &proof.token_key,
        .keys_record = blob_view(&keys),
        .credential = keeps_credential ? pin : (struct view){0},
    };
    return begin_login(custody, role, proof.asked_ms, &opening);
}

/* The anchor is proved by a key that a login opens. STORE_CONFLICT also when the token key was
 * rotated in between. */
static CK_RV log_in_anchored(struct custody *custody, enum custody_role role, struct view pin)
{
    TRY(log_in_once(custody, role, pin));
    CK_RV rv = custody_anchor_login(custody);
    if (rv != CKR_OK)
        custody_logout(custody);
    return rv;
}

static CK_RV log_in(struct custody *custody, enum custody_role role, struct view pin)
{
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        CK_RV rv = log_in_anchored(custody, role, pin);
        if (rv != STORE_CONFLICT)
            return rv;
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': other processes keep changing its record; try again",
                      custody->name);
}

static bool is_open(struct custody *custody)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    return keyring_hold(&custody->keyring, &held) == CKR_OK;
}

CK_RV custody_copy_credential(struct custody *custody, struct secret *ret_credential)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    const struct secret *credential = &held->credential;
    return secret_from(credential->bytes, credential->len, ret_credential);
}

/* At login, and at each tick: what failed before may be had now. */
static void keep_direct_keys(struct custody *custody)
{
    _cleanup_(secret_clear) struct secret credential = {0};
    if (!direct_keys_are_due(custody->direct_keys) ||
        custody_copy_credential(custody, &credential) != CKR_OK)
        return;
    const struct direct_keys_source source = {
        .source = custody->source,
        .credential = {credential.bytes, credential.len},
        .deadline_ms = custody->deadline_ms,
    };
    direct_keys_ask(custody->direct_keys, &source);
}

CK_RV custody_login(struct custody *custody, enum custody_role role, struct view pin)
{
    cause_clear();
    if (is_open(custody))
        return FAIL(CKR_GENERAL_ERROR, "token '%s': logged in twice", custody->name);
    CK_RV rv = log_in(custody, role, pin);
    if (rv == CKR_OK)
        keep_direct_keys(custody);
    else
        source_forget(custody->source);
    /* What is refused is what the user gave in place of a PIN, or the identity that stands for one.
     * */
    bool stands_for_pin = role == CUSTODY_USER && custody->login != CUSTODY_LOGIN_PIN;
    if (rv == CKR_OK || cause_last() != INDEXKEY_CAUSE_CREDENTIAL)
        return rv;
    if (!stands_for_pin)
        return cause_rv(INDEXKEY_CAUSE_CREDENTIAL);
    return rv == CKR_PIN_LOCKED ? rv : CKR_PIN_INCORRECT;
}

static void end_login_locked(struct custody *custody)
{
    lease_stop(&custody->lease);
    atomic_store(&custody->due, INT64_MAX);
    direct_keys_stop(custody->direct_keys);
    keyring_wipe(&custody->keyring);
    sealed_objects_forget(custody);
    source_forget(custody->source);
}

void custody_logout(struct custody *custody)
{
    _cleanup_(custody_unlock) pthread_mutex_t *held = &custody->session_lock;
    (void) pthread_mutex_lock(held);
    end_login_locked(custody);
}

/* Ends that login, and not a newer one that began while its renewal was under way. */
static void end_login(struct custody *custody, uint64_t generation)
{
    _cleanup_(custody_unlock) pthread_mutex_t *held = &custody->session_lock;
    (void) pthread_mutex_lock(held);
    if (custody->login_generation == generation)
        end_login_locked(custody);
}

static CK_RV ask_source(struct custody *custody)
{
    _cleanup_(secret_clear) struct secret credential = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(token_record_clear) struct token_record record = {0};
    TRY(custody_copy_credential(custody, &credential));
    CK_RV rv = custody_read_token(custody, &record);
    if (rv == STORE_ABSENT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_DELETED,
                          "token '%s': it is gone from its store; restore the store from a backup",
                          custody->name);
    TRY(rv);
    return custody_unwrap(custody, &record, (struct view){credential.bytes, credential.len},
                          &data_key);
}

static enum lease_answer renew(struct custody *custody)
{
    cause_clear();
    if (ask_source(custody) == CKR_OK)
        return LEASE_CONFIRMED;
    return cause_is_denial(cause_last()) ? LEASE_DENIED : LEASE_UNANSWERED;
}

/* False when the login is over. */
static bool keep_lease(struct custody *custody, uint64_t *ret_generation)
{
    enum lease_turn turn = lease_check(&custody->lease, ret_generation);
    /* Whoever settled it may not have come to the wipe yet. */
    if (turn == LEASE_OVER)
        end_login(custody, *ret_generation);
    if (turn != LEASE_RENEW)
        return turn == LEASE_GOES_ON;
    enum lease_answer answer = renew(custody);
    if (lease_settle(&custody->lease, *ret_generation, answer) == LEASE_GOES_ON)
        return true;
    end_login(custody, *ret_generation);
    log_line(LOG_LEVEL_ERROR, "token '%s': logged out: %s; log in again when that is repaired",
             custody->name,
             answer == LEASE_DENIED ? "its source refused to renew the lease"
                                    : "its source did not answer before the grace ended");
    return false;
}

CK_RV custody_confirm_keys(struct custody *custody)
{
    CK_RV rv;
    uint32_t epoch;
    /* Another thread may renew it from a newer record in between. */
    do {
        _cleanup_(blob_clear) struct blob bytes = {0};
        uint64_t version;
        epoch = keyring_epoch(&custody->keyring);
        TRY(custody->store->ops->read_record(custody->store, RECORD_KEYS, &bytes, &version));
        rv = keyring_renew(&custody->keyring, blob_view(&bytes));
    } while (rv == CKR_ENCRYPTED_DATA_INVALID && keyring_epoch(&custody->keyring) > epoch);
    return rv;
}

/* Commits that leave the objects alone (a login counts its attempt) are no news. Nor are own ones,
 * whose generation may have been told just before or after the summary was read. */
static enum custody_news look_at_summary(struct custody *custody, uint64_t login)
{
    uint64_t known = atomic_load(&custody->objects_generation);
    uint64_t newest = atomic_load(&custody->newest_generation);
    struct stored_summary stored;
    if (sealed_objects_read_summary(custody, &custody->keyring, &stored) != CKR_OK)
        return CUSTODY_CHANGED;
    uint64_t generation = stored.summary.generation;
    if (generation < newest) {
        end_login(custody, login);
        log_line(LOG_LEVEL_ERROR,
                 "token '%s': logged out: its store went back from generation %llu to %llu: an "
                 "older copy was put in its place; restore the newest one, then log in again",
                 custody->name, (unsigned long long) newest, (unsigned long long) generation);
        return CUSTODY_CLOSED;
    }
    custody_generation_follow(custody, &custody->keyring, generation);
    bool is_known = generation == known || generation == atomic_load(&custody->objects_generation);
    return is_known ? CUSTODY_SAME : CUSTODY_CHANGED;
}

/* A logout meanwhile has set `due` to another value, which stays. */
static void postpone(struct custody *custody, int64_t due)
{
    (void) atomic_compare_exchange_strong(&custody->due, &due, due + STORE_RETRY_MS);
}

static enum custody_news ask_store(struct custody *custody, uint64_t generation, int64_t due)
{
    uint64_t changes;
    uint64_t known = atomic_load(&custody->store_changes);
    if (custody->store->ops->change_count(custody->store, &changes) != CKR_OK) {
        postpone(custody, due);
        return CUSTODY_SAME;
    }
    if (changes == known)
        return CUSTODY_SAME;
    CK_RV rv = custody_confirm_keys(custody);
    if (rv == STORE_ABSENT || rv == CKR_ENCRYPTED_DATA_INVALID) {
        end_login(custody, generation);
        log_line(LOG_LEVEL_ERROR,
                 "token '%s': logged out: its store no longer holds the token that was opened; log "
                 "in again",
                 custody->name);
        return CUSTODY_CLOSED;
    }
    if (rv != CKR_OK) {
        postpone(custody, due);
        return CUSTODY_SAME;
    }
    atomic_store(&custody->store_changes, changes);
    return look_at_summary(custody, generation);
}

enum custody_news custody_tick(struct custody *custody)
{
    int64_t due = atomic_load(&custody->due);
    if (clock_coarse_ms() < due)
        return CUSTODY_SAME;
    uint64_t generation;
    if (!keep_lease(custody, &generation))
        return CUSTODY_CLOSED;
    keep_direct_keys(custody);
    /* Only now: while nobody has confirmed the keys beyond the grace, every caller comes in and
     * waits. */
    int64_t next = clock_coarse_ms() + TICK_MS;
    if (!atomic_compare_exchange_strong(&custody->due, &due, next))
        return CUSTODY_SAME;
    return ask_store(custody, generation, next);
}
