#include "tokens/custody.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/anchor.h"
#include "tokens/apart.h"
#include "tokens/context.h"
#include "tokens/custody_internal.h"
#include "tokens/http.h"
#include "tokens/sealed_objects.h"

#define MINUTE_MS (UINT64_C(60) * 1000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

#define LEASE_DEFAULT_MS (15 * MINUTE_MS)
#define GRACE_DEFAULT_MS HOUR_MS
#define DEADLINE_DEFAULT_MS 5000

static const char *check_store(const char *value)
{
    return store_scheme_is_known(value) ? NULL : "sqlite:/PATH, postgresql://… or memory:";
}

const struct conf_key custody_conf_keys[] = {
    {.name = "store",
     .type = CONF_STRING,
     .required = true,
     .help =
         "where sealed objects are kept: sqlite:/PATH, postgresql://USER@HOST/DATABASE, or memory:"
         " for a trial",
     .check = check_store},
    {.name = "anchor",
     .type = CONF_STRING,
     .help = "a file outside the store that notices a store put back to an older copy: file:/PATH",
     .check = anchor_check_location},
    /* In the order of enum custody_login. */
    {.name = "login",
     .type = CONF_CHOICE,
     .choices = "pin credential ambient",
     .help = "what guards the user: a PIN, the source's credential, or the source alone"},
    {.name = "deadline",
     .type = CONF_DURATION,
     .min = 100,
     .max = MINUTE_MS,
     .help = "the longest that one call to the source may take, retries included"},
    {.name = "lease",
     .type = CONF_DURATION,
     .min = 1000,
     .max = DAY_MS,
     .help = "how long opened keys are used before the source must confirm them"},
    {.name = "grace",
     .type = CONF_DURATION,
     .max = 7 * DAY_MS,
     .help = "how long past the lease a source that does not answer is ridden out"},
    {.name = CONTEXT_PREFIX,
     .type = CONF_STRING,
     .prefix = true,
     .help = "bound to the wrapped data key: it opens with the same names and values only"},
    {.name = NULL},
};

const struct conf_key *custody_source_keys(const char *source)
{
    const struct source_ops *ops = source_find(source);
    return ops == NULL ? NULL : ops->keys;
}

const char *custody_source_names(void)
{
    return source_names();
}

void custody_unlock(pthread_mutex_t **mutex)
{
    (void) pthread_mutex_unlock(*mutex);
}

static CK_RV custody_configure(struct custody *custody, const struct conf_section *section)
{
    const char *store = conf_string(section, "store", NULL);
    if (store == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: no store; set one, such as store = sqlite:/PATH",
                          section->name, conf_section_line(section));
    TRY(source_open(section, &custody->source));
    custody->login = (enum custody_login) conf_choice(section, "login", CUSTODY_LOGIN_PIN);
    if (custody->login == CUSTODY_LOGIN_CREDENTIAL && !custody->source->ops->takes_credential)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: source = %s takes no credential, so login = "
                          "credential has no meaning; set login to pin or ambient",
                          section->name, conf_section_line(section), custody->source->ops->name);
    custody->deadline_ms = (int64_t) conf_duration_ms(section, "deadline", DEADLINE_DEFAULT_MS);
    TRY(context_encode(section, &custody->context));
    const char *anchor = conf_string(section, "anchor", NULL);
    if (anchor != NULL)
        TRY(anchor_new(section->name, anchor, store, &custody->anchor));
    TRY(audit_open(section, &custody->audit));
    return store_open(store, &custody->store);
}

CK_RV custody_open(const struct conf_section *section, struct custody **ret_custody)
{
    _cleanup_(custody_close) struct custody *custody = mem_calloc(1, sizeof(*custody));
    if (custody == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for it", section->name);
    /* Cannot fail with default attributes. */
    (void) pthread_mutex_init(&custody->session_lock, NULL);
    (void) pthread_mutex_init(&custody->look_lock, NULL);
    group_init(&custody->changes, sealed_changes_apply, custody);
    keyring_init(&custody->keyring);
    lease_init(&custody->lease, (int64_t) conf_duration_ms(section, "lease", LEASE_DEFAULT_MS),
               (int64_t) conf_duration_ms(section, "grace", GRACE_DEFAULT_MS), &custody->cancelled);
    atomic_store(&custody->due, INT64_MAX);
    custody->name = mem_strdup(section->name);
    if (custody->name == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for it", section->name);
    TRY(custody_configure(custody, section));
    *ret_custody = TAKE(custody);
    return CKR_OK;
}

void custody_close(struct custody **custody)
{
    struct custody *closed = *custody;
    if (closed == NULL)
        return;
    audit_close(&closed->audit);
    direct_keys_free(&closed->direct_keys);
    sealed_objects_forget(closed);
    (void) pthread_mutex_destroy(&closed->look_lock);
    keyring_destroy(&closed->keyring);
    anchor_free(&closed->anchor);
    lease_destroy(&closed->lease);
    (void) pthread_mutex_destroy(&closed->session_lock);
    group_destroy(&closed->changes);
    source_close(&closed->source);
    store_close(&closed->store);
    blob_clear(&closed->context);
    mem_free(closed->name);
    mem_free(closed);
    *custody = NULL;
}

int64_t custody_lease_left_ms(struct custody *custody)
{
    return lease_left_ms(&custody->lease);
}

struct audit *custody_audit(const struct custody *custody)
{
    return custody->audit;
}

enum custody_login custody_login_mode(const struct custody *custody)
{
    return custody->login;
}

CK_RV custody_set_direct_keys(struct custody *custody, const struct conf *conf,
                              bool may_create_threads)
{
    const struct direct_keys_options options = {
        .token = custody->name,
        .lease_ms = custody->lease.lease_ms,
        .grace_ms = custody->lease.grace_ms,
        .cancelled = &custody->cancelled,
        .may_create_threads = may_create_threads,
    };
    return direct_keys_new(conf, &options, &custody->direct_keys);
}

uint64_t custody_direct_keys_version(const struct custody *custody)
{
    return direct_keys_version(custody->direct_keys);
}

size_t custody_direct_keys_count(const struct custody *custody)
{
    return direct_keys_count(custody->direct_keys);
}

void custody_direct_key_take(struct custody *custody, size_t index,
                             struct custody_direct_key *ret_key)
{
    direct_keys_take(custody->direct_keys, index, ret_key);
}

void custody_direct_key_lost(struct custody *custody, size_t index)
{
    direct_keys_lost(custody->direct_keys, index);
}

const _Atomic int64_t *custody_due(const struct custody *custody)
{
    return &custody->due;
}

void custody_cancel(struct custody *custody)
{
    atomic_store(&custody->cancelled, true);
    lease_wake(&custody->lease);
    direct_keys_wake(custody->direct_keys);
}

bool custody_is_inside(void)
{
    return http_is_inside() || apart_is_inside() || store_is_inside();
}

CK_RV custody_read_token(struct custody *custody, struct token_record *ret_record)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    uint64_t version;
    TRY(custody->store->ops->read_record(custody->store, RECORD_TOKEN, &bytes, &version));
    const char *refusal = derive_refusal(blob_view(&bytes));
    if (token_record_parse(&bytes, ret_record) != CKR_OK)
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED, "token '%s': its record in the store %s",
                          custody->name, refusal);
    ret_record->version = version;
    return CKR_OK;
}

CK_RV custody_read_record(struct custody *custody, const char *name, struct blob *ret_bytes,
                          uint64_t *ret_version)
{
    CK_RV rv = custody->store->ops->read_record(custody->store, name, ret_bytes, ret_version);
    if (rv == STORE_ABSENT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "token '%s': the record '%s' is missing in its store; restore the store "
                          "from a backup",
                          custody->name, name);
    return rv;
}

const char *custody_record_refusal(const struct custody *custody, const char *name)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    uint64_t version;
    (void) custody->store->ops->read_record(custody->store, name, &bytes, &version);
    bool is_second_form = bytes.len > 0 && bytes.bytes[0] == KEYS_FORMAT_VALUE_ID;
    if (strcmp(name, RECORD_KEYS) == 0 && is_second_form)
        return derive_refusal((struct view){0});
    return derive_refusal(blob_view(&bytes));
}

CK_RV custody_read_attempts(struct custody *custody, struct attempts *ret_attempts,
                            uint64_t *ret_version)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    TRY(custody_read_record(custody, RECORD_ATTEMPTS, &bytes, ret_version));
    if (attempts_parse(blob_view(&bytes), ret_attempts) != CKR_OK)
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "token '%s': the record '%s' (PIN counters) in its store %s",
                          custody->name, RECORD_ATTEMPTS, derive_refusal(blob_view(&bytes)));
    return CKR_OK;
}

CK_RV custody_fail_gone(const struct custody *custody)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': its store no longer holds the token that was opened; log in "
                      "again",
                      custody->name);
}

static struct custody_pin_state pin_state(const struct token_record *record,
                                          const struct attempts *attempts, enum custody_role role)
{
    enum role_state state = record->roles[role].state;
    uint8_t counted = attempts->roles[role].counted;
    return (struct custody_pin_state){
        .set = state != ROLE_UNSET,
        .count_low = state == ROLE_PIN && counted > 0,
        .final_try = state == ROLE_PIN && counted == PIN_TRIES - 1,
        .locked = state == ROLE_PIN && counted >= PIN_TRIES,
    };
}

static void show_serial(const unsigned char serial[SERIAL_LEN],
                        unsigned char ret_text[TOKEN_SERIAL_LEN])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SERIAL_LEN; i++) {
        ret_text[2 * i] = (unsigned char) digits[serial[i] >> 4];
        ret_text[2 * i + 1] = (unsigned char) digits[serial[i] & 15];
    }
}

CK_RV custody_info(struct custody *custody, struct custody_info *ret_info)
{
    struct custody_info info = {.initialized = false};
    memset(info.label, ' ', sizeof(info.label));
    memset(info.serial, ' ', sizeof(info.serial));
    _cleanup_(token_record_clear) struct token_record record = {0};
    CK_RV rv = custody_read_token(custody, &record);
    if (rv != CKR_OK && rv != STORE_ABSENT)
        return rv;
    if (rv == CKR_OK) {
        struct attempts attempts;
        uint64_t version;
        TRY(custody_read_attempts(custody, &attempts, &version));
        info.initialized = true;
        memcpy(info.label, record.label, sizeof(info.label));
        show_serial(record.serial, info.serial);
        info.so = pin_state(&record, &attempts, CUSTODY_SO);
        info.user = pin_state(&record, &attempts, CUSTODY_USER);
    }
    *ret_info = info;
    return CKR_OK;
}

CK_RV custody_incarnation(struct custody *custody, struct view more, unsigned char ret_digest[32])
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    _cleanup_(writer_clear) struct writer text = {0};
    CK_RV rv = custody_read_token(custody, &record);
    TRY(rv == STORE_ABSENT ? CKR_FUNCTION_FAILED : rv);
    write_string(&text, record.wrapped);
    write_string(&text, more);
    return text.failed ? CKR_HOST_MEMORY : crypto_sha256(writer_view(&text), ret_digest);
}

void custody_abandon(struct custody *custody)
{
    if (custody == NULL)
        return;
    /* Not when another thread of the parent was using it: half changed, it cannot be given back. */
    if (pthread_rwlock_trywrlock(&custody->keyring.lock) == 0) {
        aead_free(&custody->keyring.attribute_aead);
        (void) pthread_rwlock_unlock(&custody->keyring.lock);
    }
    audit_abandon(custody->audit);
    store_abandon(custody->store);
}

void custody_abandon_unknown(void)
{
    store_abandon_unknown();
}
