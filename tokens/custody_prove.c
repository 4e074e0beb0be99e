#include "tokens/custody_internal.h"

#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "tokens/context.h"
#include "tokens/metrics.h"
#include "tokens/roles.h"

#define WHAT_MAX 96
#define CONFLICTS_MAX 100
#define POLL_MS 20

void proof_clear(struct proof *proof)
{
    secret_clear(&proof->data_key);
    secret_clear(&proof->token_key);
}

static const char *role_name(enum custody_role role)
{
    return role == CUSTODY_SO ? "SO" : "user";
}

struct source_call custody_source_call(const struct custody *custody, struct view credential)
{
    return (struct source_call){
        .credential = credential,
        .context = blob_view(&custody->context),
        .deadline_ms = clock_boot_ms() + custody->deadline_ms,
        .cancelled = &custody->cancelled,
    };
}

/* Before the source is asked: another configuration gives a better message than the source could,
 * and a wrapped key is never sent where it does not belong. */
static CK_RV check_binding(const struct custody *custody, const struct token_record *record)
{
    if (!view_equal(record->source, view_text(custody->source->ops->name)))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': it was initialised with source = %.*s, and the "
                          "configuration says source = %s; set the former one",
                          custody->name, (int) record->source.len,
                          (const char *) record->source.bytes, custody->source->ops->name);
    struct view configured = blob_view(&custody->context);
    if (view_equal(record->context, configured))
        return CKR_OK;
    char what[WHAT_MAX];
    context_name_difference(record->context, configured, what, sizeof(what));
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                      "token '%s': %s is not what it was when the token was initialised; set the "
                      "former value",
                      custody->name, what);
}

static CK_RV ask_source(struct custody *custody, const struct source_call *call,
                        struct view wrapped, struct secret *ret_data_key)
{
    int64_t begin_ms = clock_boot_ms();
    CK_RV rv = source_unwrap(custody->source, call, wrapped, ret_data_key);

    metrics_kms_call(audit_metrics(custody->audit),
                     cause_name(rv == CKR_OK ? INDEXKEY_CAUSE_NONE : cause_last()),
                     clock_boot_ms() - begin_ms);
    return rv;
}

CK_RV custody_unwrap(struct custody *custody, const struct token_record *record,
                     struct view credential, struct secret *ret_data_key)
{
    TRY(check_binding(custody, record));
    struct source_call call = custody_source_call(custody, credential);
    _cleanup_(secret_clear) struct secret data_key = {0};
    TRY(ask_source(custody, &call, record->wrapped, &data_key));
    CK_RV rv = token_record_verify(record, &data_key);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "token '%s': its record in the store was changed; restore the store from "
                          "a backup",
                          custody->name);
    TRY(rv);
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

/* Between two looks at a record that other processes change too; some of it random, so that they do
 * not stay in step. */
static void pause_a_little(void)
{
    uint8_t random = 0;
    (void) crypto_random(&random, sizeof(random));
    struct timespec pause = {.tv_nsec = (POLL_MS + random % POLL_MS) * 1000000L};
    (void) nanosleep(&pause, NULL);
}

/* Reads the counters of a role that is not locked. Attempts of other processes that run now are
 * counted already: they are waited for, as long as their counters move, so that many right PINs at
 * once do not lock each other out. */
static CK_RV read_unlocked(struct custody *custody, enum custody_role role,
                           struct attempts *ret_attempts, uint64_t *ret_version)
{
    uint64_t former_version = 0;
    int64_t end_ms = 0;
    for (;;) {
        TRY(custody_read_attempts(custody, ret_attempts, ret_version));
        if (*ret_version != former_version)
            end_ms = clock_boot_ms() + custody->deadline_ms;
        former_version = *ret_version;
        if (ret_attempts->roles[role].counted < PIN_TRIES)
            return CKR_OK;
        bool all_wrong = ret_attempts->roles[role].wrong >= PIN_TRIES;
        if (all_wrong || clock_boot_ms() >= end_ms || atomic_load(&custody->cancelled))
            break;
        pause_a_little();
    }
    cause_set(INDEXKEY_CAUSE_PIN);
    return FAIL(CKR_PIN_LOCKED, "token '%s': the %s PIN is locked after %d wrong ones; %s",
                custody->name, role_name(role), PIN_TRIES,
                role == CUSTODY_USER ? "the SO sets a new one with C_InitPIN"
                                     : "restore the store from a backup, or begin anew");
}

enum attempt_event {
    ATTEMPT_BEGINS,
    ATTEMPT_RIGHT,
    ATTEMPT_WRONG,
    ATTEMPT_FAILED, /* nobody knows whether the PIN was right */
};

static void apply_event(struct attempts *attempts, enum custody_role role, enum attempt_event event)
{
    uint8_t *counted = &attempts->roles[role].counted;
    uint8_t *wrong = &attempts->roles[role].wrong;
    if (event == ATTEMPT_BEGINS)
        ++*counted;
    if (event == ATTEMPT_RIGHT)
        *counted = *wrong = 0;
    if (event == ATTEMPT_WRONG && *wrong < PIN_TRIES)
        ++*wrong;
    if (event == ATTEMPT_FAILED && *counted > *wrong)
        --*counted;
    /* Another process's right PIN may have taken this attempt off the count meanwhile. */
    if (*counted < *wrong)
        *counted = *wrong;
}

/* What one event makes of the counters. */
struct count {
    struct custody *custody;
    enum custody_role role;
    enum attempt_event event;
    struct attempts attempts;
    unsigned char bytes[ATTEMPTS_LEN];
    struct store_change change;
};

/* STORE_CONFLICT: others have taken the last places since they were seen. */
static CK_RV plan_count(void *context, const struct store_change **ret_changes,
                        size_t *ret_change_count)
{
    struct count *count = context;
    struct attempts *attempts = &count->attempts;
    count->change = (struct store_change){
        .record = RECORD_ATTEMPTS,
        .attributes = {count->bytes, sizeof(count->bytes)},
    };
    TRY(custody_read_attempts(count->custody, attempts, &count->change.expected));
    if (count->event == ATTEMPT_BEGINS && attempts->roles[count->role].counted >= PIN_TRIES)
        return STORE_CONFLICT;
    apply_event(attempts, count->role, count->event);
    attempts_encode(attempts, count->bytes);
    *ret_changes = &count->change;
    *ret_change_count = 1;
    return CKR_OK;
}

/* By an update, which is in nobody's way: of hundreds that compare and swap at once, each but one
 * would have to try again. */
static CK_RV record_event(struct custody *custody, enum custody_role role, enum attempt_event event,
                          struct attempts *ret_attempts)
{
    struct count count = {.custody = custody, .role = role, .event = event};
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        uint64_t version;
        if (event == ATTEMPT_BEGINS)
            TRY(read_unlocked(custody, role, ret_attempts, &version));
        else
            TRY(custody_read_attempts(custody, ret_attempts, &version));
        CK_RV rv = custody->store->ops->update(custody->store, plan_count, &count);
        if (rv != STORE_CONFLICT && rv != STORE_ABSENT) {
            *ret_attempts = count.attempts;
            return rv;
        }
        pause_a_little();
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': too many processes log in at once to count a PIN attempt; try "
                      "again",
                      custody->name);
}

static CK_RV fail_wrong_pin(struct custody *custody, enum custody_role role)
{
    struct attempts attempts;
    TRY(record_event(custody, role, ATTEMPT_WRONG, &attempts));
    return FAIL_CAUSE(INDEXKEY_CAUSE_PIN, "token '%s': wrong %s PIN, %d tries left; check the PIN",
                      custody->name, role_name(role), PIN_TRIES - attempts.roles[role].counted);
}

static CK_RV open_with_pin(struct custody *custody, const struct role_context *context,
                           const struct role_record *role, struct view pin,
                           struct secret *ret_token_key)
{
    struct attempts attempts;
    TRY(record_event(custody, context->role, ATTEMPT_BEGINS, &attempts));
    _cleanup_(secret_clear) struct secret token_key = {0};
    CK_RV rv = CKR_ENCRYPTED_DATA_INVALID;
    if (pin.len >= PIN_LEN_MIN && pin.len <= PIN_LEN_MAX)
        rv = role_open(context, role, pin, &token_key);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return fail_wrong_pin(custody, context->role);
    CK_RV recorded = record_event(custody, context->role,
                                  rv == CKR_OK ? ATTEMPT_RIGHT : ATTEMPT_FAILED, &attempts);
    TRY(rv);
    TRY(recorded);
    *ret_token_key = secret_move(&token_key);
    return CKR_OK;
}

/* A role that was made under another `login` setting cannot be opened under this one. */
static CK_RV check_role(const struct custody *custody, const struct role_record *role,
                        enum custody_role which)
{
    if (role->state == ROLE_UNSET) {
        cause_set(INDEXKEY_CAUSE_PIN);
        return FAIL(CKR_USER_PIN_NOT_INITIALIZED,
                    "token '%s': it has no user PIN yet; the SO sets it with C_InitPIN",
                    custody->name);
    }
    bool wants_pin = which == CUSTODY_SO || custody->login == CUSTODY_LOGIN_PIN;
    if (wants_pin == (role->state == ROLE_PIN))
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                      "token '%s': it was initialised %s a user PIN, and the configuration says "
                      "otherwise; set login = %s",
                      custody->name, wants_pin ? "without" : "with",
                      wants_pin ? "credential or ambient" : "pin");
}

CK_RV custody_prove(struct custody *custody, const struct token_record *record,
                    enum custody_role role, struct view pin, struct proof *ret_proof)
{
    const struct role_record *stored = &record->roles[role];
    bool has_pin = stored->state == ROLE_PIN;
    TRY(check_role(custody, stored, role));
    struct attempts attempts;
    uint64_t version;
    if (has_pin)
        TRY(read_unlocked(custody, role, &attempts, &version));
    bool is_credential = role == CUSTODY_USER && custody->login == CUSTODY_LOGIN_CREDENTIAL;
    /* To a source, an empty credential means the ambient one, which is not what the user has shown.
     */
    if (is_credential && (pin.len == 0 || pin.len > CREDENTIAL_LEN_MAX))
        return FAIL_CAUSE(
            INDEXKEY_CAUSE_CREDENTIAL,
            "token '%s': under login = credential a PIN of %zu bytes is no credential; "
            "give the source's",
            custody->name, pin.len);
    _cleanup_(proof_clear) struct proof proof = {.asked_ms = clock_boot_ms()};
    TRY(custody_unwrap(custody, record, is_credential ? pin : (struct view){0}, &proof.data_key));
    struct role_context context = {role, record->serial, &proof.data_key};
    if (has_pin)
        TRY(open_with_pin(custody, &context, stored, pin, &proof.token_key));
    else
        TRY(role_open(&context, stored, pin, &proof.token_key));
    ret_proof->data_key = secret_move(&proof.data_key);
    ret_proof->token_key = secret_move(&proof.token_key);
    ret_proof->asked_ms = proof.asked_ms;
    return CKR_OK;
}
