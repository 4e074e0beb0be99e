#include "tokens/custody_anchor.h"

#include <string.h>

_Static_assert(ANCHOR_ID_LEN == CUSTODY_ANCHOR_ID_LEN, "one id, told to the module");

CK_RV custody_open_keyring(struct custody *custody, const unsigned char serial[SERIAL_LEN],
                           const struct secret *token_key, struct keyring *keyring)
{
    _cleanup_(blob_clear) struct blob keys = {0};
    uint64_t version;
    TRY(custody_read_record(custody, RECORD_KEYS, &keys, &version));
    const struct keyring_opening opening = {
        .serial = serial,
        .token_key = token_key,
        .keys_record = blob_view(&keys),
    };
    return keyring_open(keyring, &opening);
}

static CK_RV copy_key(struct keyring *keyring, struct anchor_key *ret_key)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(keyring, &held));
    return anchor_key_make(&held->token_key, held->serial, ret_key);
}

/* CKR_ENCRYPTED_DATA_INVALID, not logged, when the token of the login is no longer the store's. */
static CK_RV confirm(struct custody *custody, const struct keyring *keyring)
{
    CK_RV rv = keyring == &custody->keyring ? custody_confirm_keys(custody) : CKR_OK;
    return rv == STORE_ABSENT ? CKR_ENCRYPTED_DATA_INVALID : rv;
}

static bool is_gone(struct custody *custody, const struct keyring *keyring)
{
    return confirm(custody, keyring) == CKR_ENCRYPTED_DATA_INVALID;
}

/* What the anchor has answered. Without an entry for a token key that is no longer the store's
 * nothing is wrong: CKR_ENCRYPTED_DATA_INVALID, not logged, as when the summary does not open. */
static CK_RV judge(struct custody *custody, const struct keyring *keyring, CK_RV rv)
{
    if (rv != STORE_ABSENT && rv != CKR_ENCRYPTED_DATA_INVALID)
        return rv;
    TRY(confirm(custody, keyring));
    return anchor_fail_unproved(custody->anchor, rv);
}

static CK_RV fail_older(const struct custody *custody, uint64_t anchored, uint64_t generation)
{
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': its store has generation %llu and its anchor %s says %llu: the store "
                "was put back to an older copy; restore the newest one, or, if what came since is "
                "to be given up, run indexkey anchor --accept",
                custody->name, (unsigned long long) generation, anchor_path(custody->anchor),
                (unsigned long long) anchored);
}

static CK_RV read_summary(struct custody *custody, struct keyring *keyring,
                          struct stored_summary *ret_summary)
{
    if (custody->anchor == NULL)
        return sealed_objects_read_summary(custody, keyring, ret_summary);
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    struct stored_summary stored;
    struct anchor_state anchored;
    TRY(copy_key(keyring, &key));
    /* Before the store: another process may commit, and its anchor follow, at any moment. */
    TRY(judge(custody, keyring, anchor_read(custody->anchor, &key, &anchored)));
    uint64_t oldest = anchored.generation;
    uint64_t newest = keyring == &custody->keyring ? atomic_load(&custody->newest_generation) : 0;
    if (newest > oldest)
        oldest = newest;
    TRY(sealed_objects_read_summary(custody, keyring, &stored));
    if (stored.summary.generation < oldest)
        return fail_older(custody, oldest, stored.summary.generation);
    /* After a kill, say: a rotation that comes now would take it for one that gives way. */
    if (!anchored.is_first)
        (void) anchor_settle(custody->anchor, &key, stored.summary.generation);
    *ret_summary = stored;
    return CKR_OK;
}

CK_RV custody_read_summary(struct custody *custody, struct keyring *keyring,
                           struct stored_summary *ret_summary)
{
    CK_RV rv = read_summary(custody, keyring, ret_summary);
    return rv == CKR_ENCRYPTED_DATA_INVALID && is_gone(custody, keyring)
               ? custody_fail_gone(custody)
               : rv;
}

CK_RV custody_plan_generation(struct custody *custody, struct generation_step *step,
                              struct store_change *ret_change)
{
    struct stored_summary stored;
    CK_RV rv = custody_read_summary(custody, step->keyring, &stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return sealed_objects_fail_summary(custody);
    TRY(rv);
    stored.summary.generation++;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(step->keyring, &held));
    blob_clear(&step->bytes);
    TRY(summary_seal(held, &stored.summary, &step->bytes));
    step->generation = stored.summary.generation;
    *ret_change = (struct store_change){
        .record = RECORD_SUMMARY,
        .expected = stored.version,
        .attributes = blob_view(&step->bytes),
    };
    return CKR_OK;
}

static void remember(struct custody *custody, uint64_t generation)
{
    uint64_t newest = atomic_load(&custody->newest_generation);
    while (newest < generation &&
           !atomic_compare_exchange_weak(&custody->newest_generation, &newest, generation))
        continue;
}

static CK_RV follow(struct custody *custody, struct keyring *keyring, uint64_t generation)
{
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    TRY(copy_key(keyring, &key));
    return judge(custody, keyring, anchor_advance(custody->anchor, &key, generation));
}

void custody_generation_follow(struct custody *custody, struct keyring *keyring,
                               uint64_t generation)
{
    if (keyring == &custody->keyring)
        remember(custody, generation);
    if (custody->anchor != NULL)
        (void) follow(custody, keyring, generation);
}

CK_RV custody_anchor_ready(struct custody *custody, struct keyring *keyring)
{
    if (custody->anchor == NULL || !anchor_is_behind(custody->anchor))
        return CKR_OK;
    uint64_t generation = atomic_load(&custody->newest_generation);
    CK_RV rv = CKR_OK;
    /* Without a login nobody has seen any. */
    if (keyring != &custody->keyring) {
        struct stored_summary stored;
        rv = sealed_objects_read_summary(custody, keyring, &stored);
        if (rv == CKR_ENCRYPTED_DATA_INVALID)
            return sealed_objects_fail_summary(custody);
        TRY(rv);
        generation = stored.summary.generation;
    }
    rv = follow(custody, keyring, generation);
    return rv == CKR_ENCRYPTED_DATA_INVALID ? custody_fail_gone(custody) : rv;
}

CK_RV custody_anchor_login(struct custody *custody)
{
    struct stored_summary stored;
    if (custody->anchor == NULL)
        return CKR_OK;
    CK_RV rv = read_summary(custody, &custody->keyring, &stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return is_gone(custody, &custody->keyring) ? STORE_CONFLICT
                                                   : sealed_objects_fail_summary(custody);
    TRY(rv);
    custody_generation_follow(custody, &custody->keyring, stored.summary.generation);
    return CKR_OK;
}

CK_RV custody_anchor_admit(struct custody *custody, const unsigned char serial[SERIAL_LEN],
                           const struct secret *token_key, uint64_t generation)
{
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    if (custody->anchor == NULL)
        return CKR_OK;
    TRY(anchor_key_make(token_key, serial, &key));
    return anchor_admit(custody->anchor, &key, generation);
}

void custody_anchor_settle(struct custody *custody, const unsigned char serial[SERIAL_LEN],
                           const struct secret *token_key, uint64_t generation)
{
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    /* Where it fails, the entry stays beside the former one, and the next login does it; or a newer
     * token key's stands in its place. */
    if (custody->anchor != NULL && anchor_key_make(token_key, serial, &key) == CKR_OK)
        (void) anchor_settle(custody->anchor, &key, generation);
}

CK_RV custody_anchor_accept(struct custody *custody, struct view so_pin, uint64_t *ret_generation)
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    _cleanup_(proof_clear) struct proof proof = {0};
    _cleanup_(keyring_destroy) struct keyring keyring;
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    struct stored_summary stored;
    keyring_init(&keyring);
    cause_clear();
    if (custody->anchor == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': it has no anchor; set one, such as anchor = file:/PATH",
                          custody->name);
    TRY(custody_read_initialized(custody, &record));
    TRY(custody_prove(custody, &record, CUSTODY_SO, so_pin, &proof));
    CK_RV rv = custody_open_keyring(custody, record.serial, &proof.token_key, &keyring);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return custody_fail_keys(custody);
    TRY(rv);
    rv = sealed_objects_read_summary(custody, &keyring, &stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return sealed_objects_fail_summary(custody);
    TRY(rv);
    TRY(anchor_key_make(&proof.token_key, record.serial, &key));
    TRY(anchor_accept(custody->anchor, &key, stored.summary.generation));
    log_line(LOG_LEVEL_NOTICE, "token '%s': its anchor %s was set to generation %llu by the SO",
             custody->name, anchor_path(custody->anchor),
             (unsigned long long) stored.summary.generation);
    *ret_generation = stored.summary.generation;
    return CKR_OK;
}

CK_RV custody_anchor_id(struct custody *custody, unsigned char ret_id[CUSTODY_ANCHOR_ID_LEN])
{
    _cleanup_(anchor_key_clear) struct anchor_key key = {0};
    struct anchor_state state;
    if (custody->anchor == NULL)
        return CKR_FUNCTION_NOT_SUPPORTED;
    TRY(copy_key(&custody->keyring, &key));
    CK_RV rv = judge(custody, &custody->keyring, anchor_read(custody->anchor, &key, &state));
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return custody_fail_gone(custody);
    TRY(rv);
    memcpy(ret_id, state.id, CUSTODY_ANCHOR_ID_LEN);
    return CKR_OK;
}
