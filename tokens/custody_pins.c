#include "tokens/custody_internal.h"

#include <string.h>

#include "base/crypto.h"
#include "tokens/custody_anchor.h"
#include "tokens/roles.h"

/* Other processes count their logins in the same store; what they change is read again. */
#define CONFLICTS_MAX 20

static CK_RV fail_conflicts(const struct custody *custody)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': other processes keep changing its PIN records; try again",
                      custody->name);
}

static CK_RV check_new_pin(const struct custody *custody, struct view pin)
{
    if (pin.len >= PIN_LEN_MIN && pin.len <= PIN_LEN_MAX)
        return CKR_OK;
    cause_set(INDEXKEY_CAUSE_PIN);
    return FAIL(CKR_PIN_LEN_RANGE, "token '%s': a new PIN has %d to %d bytes; choose another one",
                custody->name, PIN_LEN_MIN, PIN_LEN_MAX);
}

static CK_RV fail_no_user_pin(const struct custody *custody)
{
    return FAIL(CKR_FUNCTION_NOT_SUPPORTED,
                "token '%s': under login = %s its user has no PIN to set; change the credential at "
                "the source",
                custody->name,
                custody->login == CUSTODY_LOGIN_CREDENTIAL ? "credential" : "ambient");
}

/* What a fresh token consists of. */
struct fresh_token {
    struct secret data_key;
    struct blob wrapped;
    struct secret token_key;
    struct blob token;
    struct blob keys;
    struct blob summary;
};

static void fresh_token_clear(struct fresh_token *fresh)
{
    secret_clear(&fresh->data_key);
    blob_clear(&fresh->wrapped);
    secret_clear(&fresh->token_key);
    blob_clear(&fresh->token);
    blob_clear(&fresh->keys);
    blob_clear(&fresh->summary);
}

/* The keys record, and a summary of no objects. */
static CK_RV make_object_records(const unsigned char serial[SERIAL_LEN], struct fresh_token *fresh)
{
    _cleanup_(secret_clear) struct secret keys_key = {0};
    _cleanup_(keys_record_clear) struct keys_record keys = {.epoch = KEYS_FIRST_EPOCH};
    TRY(derive_key(&fresh->token_key, serial, LABEL_KEYS, &keys_key));
    TRY(crypto_random_secret(SEAL_KEY_LEN, &keys.epoch_key));
    TRY(keys_record_encode(serial, &keys_key, &keys, &fresh->keys));
    _cleanup_(keyring_destroy) struct keyring keyring;
    keyring_init(&keyring);
    struct keyring_opening opening = {
        .serial = serial,
        .token_key = &fresh->token_key,
        .keys_record = blob_view(&fresh->keys),
    };
    TRY(keyring_open(&keyring, &opening));
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&keyring, &held));
    return summary_seal(held, &(struct summary){0}, &fresh->summary);
}

static CK_RV make_roles(const struct custody *custody, const struct fresh_token *fresh,
                        struct view so_pin, struct token_record *record)
{
    struct role_context so = {CUSTODY_SO, record->serial, &fresh->data_key};
    struct role_context user = {CUSTODY_USER, record->serial, &fresh->data_key};
    TRY(role_seal(&so, &so_pin, &fresh->token_key, &record->roles[CUSTODY_SO]));
    if (custody->login != CUSTODY_LOGIN_PIN)
        TRY(role_seal(&user, NULL, &fresh->token_key, &record->roles[CUSTODY_USER]));
    return CKR_OK;
}

/* `record` has the serial and the label already. */
static CK_RV make_token(const struct custody *custody, struct view so_pin,
                        struct token_record *record, struct fresh_token *fresh)
{
    struct source_call call = custody_source_call(custody, (struct view){0});
    TRY(source_make_data_key(custody->source, &call, &fresh->data_key, &fresh->wrapped));
    TRY(crypto_random_secret(SEAL_KEY_LEN, &fresh->token_key));
    record->source = view_text(custody->source->ops->name);
    record->context = blob_view(&custody->context);
    record->wrapped = blob_view(&fresh->wrapped);
    TRY(make_roles(custody, fresh, so_pin, record));
    TRY(token_record_encode(record, &fresh->data_key, &fresh->token));
    return make_object_records(record->serial, fresh);
}

/* `former_version` is the token record's, 0 when there is none. */
static CK_RV store_token(struct custody *custody, uint64_t former_version,
                         const struct fresh_token *fresh)
{
    unsigned char attempts[ATTEMPTS_LEN];
    attempts_encode(&(struct attempts){0}, attempts);
    struct store_change changes[] = {
        /* Not the former's version: that of whoever has read the former is no guard any more. */
        {.record = RECORD_TOKEN,
         .begins_at = former_version + 1,
         .attributes = blob_view(&fresh->token)},
        {.record = RECORD_ATTEMPTS, .attributes = {attempts, sizeof(attempts)}},
        {.record = RECORD_KEYS, .attributes = blob_view(&fresh->keys)},
        {.record = RECORD_SUMMARY, .attributes = blob_view(&fresh->summary)},
    };
    CK_RV rv = custody->store->ops->reset(custody->store, RECORD_TOKEN, former_version, changes,
                                          sizeof(changes) / sizeof(changes[0]));
    if (rv == STORE_CONFLICT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': another process changed the token while it was initialised; "
                          "try again",
                          custody->name);
    return rv;
}

/* A token of that serial and label in place of the one whose record has that version; 0: of none.
 */
static CK_RV init_anew(struct custody *custody, struct view so_pin, uint64_t former_version,
                       struct token_record *record)
{
    _cleanup_(fresh_token_clear) struct fresh_token fresh = {0};
    TRY(make_token(custody, so_pin, record, &fresh));
    TRY(custody_anchor_admit(custody, record->serial, &fresh.token_key, 0));
    TRY(store_token(custody, former_version, &fresh));
    custody_anchor_settle(custody, record->serial, &fresh.token_key, 0);
    return CKR_OK;
}

CK_RV custody_init_token(struct custody *custody, struct view so_pin,
                         const unsigned char label[TOKEN_LABEL_LEN])
{
    cause_clear();
    _cleanup_(token_record_clear) struct token_record former = {0};
    struct token_record record = {0};
    CK_RV rv = custody_read_token(custody, &former);
    if (rv == STORE_ABSENT) {
        TRY(check_new_pin(custody, so_pin));
        TRY(crypto_random(record.serial, SERIAL_LEN));
    } else {
        TRY(rv);
        _cleanup_(proof_clear) struct proof proof = {0};
        TRY(custody_prove(custody, &former, CUSTODY_SO, so_pin, &proof));
        /* After a kill right behind a commit: else the admission into a full file drops it. */
        custody_anchor_settle(custody, former.serial, &proof.token_key, 0);
        memcpy(record.serial, former.serial, SERIAL_LEN);
    }
    memcpy(record.label, label, TOKEN_LABEL_LEN);
    return init_anew(custody, so_pin, former.version, &record);
}

CK_RV custody_reset_token(struct custody *custody, struct view so_pin,
                          const unsigned char label[TOKEN_LABEL_LEN])
{
    cause_clear();
    _cleanup_(token_record_clear) struct token_record former = {0};
    struct token_record record = {0};
    CK_RV rv = custody_read_token(custody, &former);
    if (rv != STORE_ABSENT)
        TRY(rv);
    TRY(check_new_pin(custody, so_pin));
    TRY(crypto_random(record.serial, SERIAL_LEN));
    memcpy(record.label, label, TOKEN_LABEL_LEN);
    return init_anew(custody, so_pin, former.version, &record);
}

/* The record with a changed role, on its way to the store. */
struct role_change {
    struct custody *custody;
    const struct token_record *record;
    enum custody_role role;
    struct blob token;
    unsigned char attempts[ATTEMPTS_LEN];
    struct keyring keyring; /* nobody needs to be logged in */
    struct generation_step step;
    struct store_change changes[3];
};

static void role_change_clear(struct role_change *change)
{
    blob_clear(&change->token);
    blob_clear(&change->step.bytes);
    keyring_destroy(&change->keyring);
}

/* Sets that role's counters to zero, and moves the generation on: a copy of the store with the
 * former PIN is an older one. */
static CK_RV plan_role(void *context, const struct store_change **ret_changes,
                       size_t *ret_change_count)
{
    struct role_change *change = context;
    struct attempts attempts;
    uint64_t version;
    TRY(custody_check_current(change->custody, change->record));
    TRY(custody_read_attempts(change->custody, &attempts, &version));
    attempts.roles[change->role].counted = 0;
    attempts.roles[change->role].wrong = 0;
    attempts_encode(&attempts, change->attempts);
    change->changes[0] = (struct store_change){
        .record = RECORD_TOKEN,
        .expected = change->record->version,
        .attributes = blob_view(&change->token),
    };
    change->changes[1] = (struct store_change){
        .record = RECORD_ATTEMPTS,
        .expected = version,
        .attributes = {change->attempts, ATTEMPTS_LEN},
    };
    TRY(custody_plan_generation(change->custody, &change->step, &change->changes[2]));
    *ret_changes = change->changes;
    *ret_change_count = sizeof(change->changes) / sizeof(change->changes[0]);
    return CKR_OK;
}

/* STORE_CONFLICT when the record changed since it was read. */
static CK_RV store_role(struct custody *custody, const struct token_record *record,
                        enum custody_role role, const struct proof *proof)
{
    _cleanup_(role_change_clear) struct role_change change = {
        .custody = custody,
        .record = record,
        .role = role,
    };
    keyring_init(&change.keyring);
    change.step.keyring = &change.keyring;
    TRY(token_record_encode(record, &proof->data_key, &change.token));
    CK_RV rv = custody_open_keyring(custody, record->serial, &proof->token_key, &change.keyring);
    if (rv == CKR_ENCRYPTED_DATA_INVALID) {
        TRY(custody_check_current(custody, record));
        return custody_fail_keys(custody);
    }
    TRY(rv);
    TRY(custody_anchor_ready(custody, &change.keyring));
    rv = custody->store->ops->update(custody->store, plan_role, &change);
    /* Gone since it was read, which the next look will tell. */
    if (rv == STORE_ABSENT)
        return STORE_CONFLICT;
    TRY(rv);
    custody_generation_follow(custody, &change.keyring, change.step.generation);
    return CKR_OK;
}

/* CKR_USER_NOT_LOGGED_IN unless it is the SO who is logged in. */
static CK_RV copy_token_key(struct custody *custody, struct secret *ret_token_key)
{
    _cleanup_(custody_unlock) pthread_mutex_t *session = &custody->session_lock;
    (void) pthread_mutex_lock(session);
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    if (custody->role != CUSTODY_SO)
        return CKR_USER_NOT_LOGGED_IN;
    return secret_from(held->token_key.bytes, held->token_key.len, ret_token_key);
}

static CK_RV init_pin_once(struct custody *custody, struct view pin)
{
    _cleanup_(proof_clear) struct proof proof = {0};
    _cleanup_(token_record_clear) struct token_record record = {0};
    TRY(copy_token_key(custody, &proof.token_key));
    CK_RV rv = custody_read_token(custody, &record);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    TRY(rv);
    TRY(custody_unwrap(custody, &record, (struct view){0}, &proof.data_key));
    /* Else the role would get the key of a token that another process has replaced. */
    rv = custody_confirm_keys(custody);
    if (rv == STORE_ABSENT || rv == CKR_ENCRYPTED_DATA_INVALID)
        return custody_fail_gone(custody);
    TRY(rv);
    struct role_context context = {CUSTODY_USER, record.serial, &proof.data_key};
    TRY(role_seal(&context, &pin, &proof.token_key, &record.roles[CUSTODY_USER]));
    return store_role(custody, &record, CUSTODY_USER, &proof);
}

CK_RV custody_init_pin(struct custody *custody, struct view pin)
{
    cause_clear();
    if (custody->login != CUSTODY_LOGIN_PIN)
        return fail_no_user_pin(custody);
    TRY(check_new_pin(custody, pin));
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        CK_RV rv = init_pin_once(custody, pin);
        if (rv != STORE_CONFLICT)
            return rv;
    }
    return fail_conflicts(custody);
}

struct pin_change {
    enum custody_role role;
    struct view old_pin;
    struct view new_pin;
};

/* Who has to be proved. A user PIN that is locked opens for nobody; there the old PIN is taken as
 * the SO's, as clients with an "unlock" command send it (pkcs11-tool --unlock-pin --puk). It is
 * counted against the SO, as at C_Login. */
static CK_RV proving_role(struct custody *custody, enum custody_role role,
                          enum custody_role *ret_role)
{
    struct attempts attempts;
    uint64_t version;
    TRY(custody_read_attempts(custody, &attempts, &version));
    *ret_role = attempts.roles[role].wrong >= PIN_TRIES ? CUSTODY_SO : role;
    return CKR_OK;
}

static CK_RV set_pin_once(struct custody *custody, const struct pin_change *change)
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    _cleanup_(proof_clear) struct proof proof = {0};
    CK_RV rv = custody_read_token(custody, &record);
    if (rv == STORE_ABSENT) {
        cause_set(INDEXKEY_CAUSE_PIN);
        return FAIL(CKR_PIN_INCORRECT, "token '%s': it is not initialised and has no PIN to change",
                    custody->name);
    }
    TRY(rv);
    enum custody_role proving;
    TRY(proving_role(custody, change->role, &proving));
    TRY(custody_prove(custody, &record, proving, change->old_pin, &proof));
    struct role_context context = {change->role, record.serial, &proof.data_key};
    TRY(role_seal(&context, &change->new_pin, &proof.token_key, &record.roles[change->role]));
    return store_role(custody, &record, change->role, &proof);
}

CK_RV custody_set_pin(struct custody *custody, enum custody_role role, struct view old_pin,
                      struct view new_pin)
{
    cause_clear();
    if (role == CUSTODY_USER && custody->login != CUSTODY_LOGIN_PIN)
        return fail_no_user_pin(custody);
    TRY(check_new_pin(custody, new_pin));
    struct pin_change change = {role, old_pin, new_pin};
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        CK_RV rv = set_pin_once(custody, &change);
        if (rv != STORE_CONFLICT)
            return rv;
    }
    return fail_conflicts(custody);
}
