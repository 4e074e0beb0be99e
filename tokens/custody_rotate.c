/*
 * Another token key: both roles, the keys, the summary and every row are sealed anew, in one
 * commit. The key of the ids of rows that belong to values goes on, so that invocation counts are
 * found where they were. Everybody who is logged in is logged out by the next tick, this process
 * among them.
 */
#include <string.h>

#include "base/crypto.h"
#include "tokens/custody_anchor.h"
#include "tokens/roles.h"
#include "tokens/row_changes.h"

/* A PIN that is set meanwhile begins it anew. */
#define CONFLICTS_MAX 20

struct rotation {
    struct custody *custody;
    struct token_record record;
    struct secret data_key;
    struct secret token_key;  /* the new one */
    struct keyring rings[2];  /* old and new; keyring_init */
    struct keyring *old_ring; /* held */
    struct keyring *new_ring;
    uint64_t keys_version;
    struct blob token;
    struct blob keys;
    struct blob summary_bytes;
    struct stored_summary stored;
    struct hmac *old_set;
    struct hmac *new_set;
    struct summary old_found;
    struct summary new_found;
    struct row_changes rows;
    uint64_t generation;
};

static void rotation_clear(struct rotation *rotation)
{
    row_changes_clear(&rotation->rows);
    hmac_free(&rotation->old_set);
    hmac_free(&rotation->new_set);
    blob_clear(&rotation->token);
    blob_clear(&rotation->keys);
    blob_clear(&rotation->summary_bytes);
    keyring_release(&rotation->old_ring);
    keyring_release(&rotation->new_ring);
    for (size_t i = 0; i < 2; i++)
        keyring_destroy(&rotation->rings[i]);
    secret_clear(&rotation->token_key);
    secret_clear(&rotation->data_key);
    token_record_clear(&rotation->record);
}

/* ---- keys ---- */

static CK_RV fail_record(const struct custody *custody, const char *name)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                      "token '%s': the record '%s' in its store was changed; restore the store "
                      "from a backup",
                      custody->name, name);
}

/* The SO, and the user where he has a PIN: both roles get the new key. */
static CK_RV prove_roles(struct rotation *rotation, struct view so_pin, struct view user_pin,
                         struct secret *ret_token_key)
{
    struct custody *custody = rotation->custody;
    _cleanup_(proof_clear) struct proof so = {0};
    _cleanup_(proof_clear) struct proof user = {0};
    TRY(custody_prove(custody, &rotation->record, CUSTODY_SO, so_pin, &so));
    if (rotation->record.roles[CUSTODY_USER].state == ROLE_PIN) {
        TRY(custody_prove(custody, &rotation->record, CUSTODY_USER, user_pin, &user));
        if (!secret_equal(&so.token_key, &user.token_key))
            return fail_record(custody, RECORD_TOKEN);
    }
    rotation->data_key = secret_move(&so.data_key);
    *ret_token_key = secret_move(&so.token_key);
    return CKR_OK;
}

static CK_RV open_ring(struct rotation *rotation, size_t which, const struct secret *token_key,
                       struct view keys_record)
{
    const struct keyring_opening opening = {
        .serial = rotation->record.serial,
        .token_key = token_key,
        .keys_record = keys_record,
    };
    struct keyring **held = which == 0 ? &rotation->old_ring : &rotation->new_ring;
    TRY(keyring_open(&rotation->rings[which], &opening));
    return keyring_hold(&rotation->rings[which], held);
}

/* A new epoch too: whoever has the old token key has the old epoch's. */
static CK_RV make_keys(struct rotation *rotation)
{
    const struct keyring *old_ring = rotation->old_ring;
    _cleanup_(secret_clear) struct secret keys_key = {0};
    _cleanup_(keys_record_clear) struct keys_record keys = {.epoch = old_ring->epoch + 1};
    TRY(crypto_random_secret(SEAL_KEY_LEN, &rotation->token_key));
    TRY(crypto_random_secret(SEAL_KEY_LEN, &keys.epoch_key));
    TRY(secret_from(old_ring->value_id_key.bytes, old_ring->value_id_key.len, &keys.value_id_key));
    TRY(derive_key(&rotation->token_key, rotation->record.serial, LABEL_KEYS, &keys_key));
    TRY(keys_record_encode(rotation->record.serial, &keys_key, &keys, &rotation->keys));
    return open_ring(rotation, 1, &rotation->token_key, blob_view(&rotation->keys));
}

static CK_RV seal_role(struct rotation *rotation, enum custody_role role, struct view pin)
{
    struct role_record *stored = &rotation->record.roles[role];
    struct role_context context = {role, rotation->record.serial, &rotation->data_key};
    if (stored->state == ROLE_UNSET)
        return CKR_OK;
    return role_seal(&context, stored->state == ROLE_PIN ? &pin : NULL, &rotation->token_key,
                     stored);
}

/* ---- rows ---- */

static CK_RV seal_again(struct rotation *rotation, const struct store_row *row,
                        struct sealed_row *ret_fresh)
{
    _cleanup_(blob_discard) struct blob attributes = {0};
    _cleanup_(secret_clear) struct secret value = {0};
    TRY(seal_open_attributes(rotation->old_ring, row, &attributes));
    /* An object that is seen can be destroyed; afterwards it could not. */
    CK_RV rv = seal_open_value(rotation->old_ring, row, &value);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return sealed_objects_fail_row(rotation->custody, &row->id);
    TRY(rv);
    const struct seal_content content = {
        .id = &row->id,
        .version = row->version + 1,
        .attribute_key = summary_attribute_key(&rotation->stored.summary),
        .attributes = blob_view(&attributes),
        .value = &value,
    };
    return seal_row(rotation->new_ring, &content, ret_fresh);
}

static CK_RV count_row(struct hmac *set_key, const struct store_row *row, struct summary *found)
{
    unsigned char mac[SHA256_LEN];
    CK_RV rv = seal_set_mac_of(set_key, row, mac);
    if (rv == CKR_OK)
        summary_add(found, mac);
    /* What is too short for a tag counts nowhere. */
    return rv == CKR_ENCRYPTED_DATA_INVALID ? CKR_OK : rv;
}

/* A row that does not open stays as it is, and is told of at each login as before. */
static CK_RV take_row(void *context, const struct store_row *row)
{
    struct rotation *rotation = context;
    _cleanup_(sealed_row_clear) struct sealed_row fresh = {0};
    struct store_row next = *row;
    TRY(count_row(rotation->old_set, row, &rotation->old_found));
    CK_RV rv = seal_again(rotation, row, &fresh);
    if (rv == CKR_ENCRYPTED_DATA_INVALID) {
        (void) sealed_objects_fail_row(rotation->custody, &row->id);
        return count_row(rotation->new_set, row, &rotation->new_found);
    }
    TRY(rv);
    next.version = row->version + 1;
    next.attributes = blob_view(&fresh.attributes);
    TRY(count_row(rotation->new_set, &next, &rotation->new_found));
    return row_changes_add(&rotation->rows, row, &fresh);
}

static CK_RV read_summary(struct rotation *rotation)
{
    CK_RV rv = custody_read_summary(rotation->custody, &rotation->rings[0], &rotation->stored);
    return rv == CKR_ENCRYPTED_DATA_INVALID ? fail_record(rotation->custody, RECORD_SUMMARY) : rv;
}

/* What was lost, added or put back before must stay noticed: then the sum is one that no set of
 * rows has. */
static CK_RV make_summary(struct rotation *rotation)
{
    struct summary next = rotation->new_found;
    rotation->generation = rotation->stored.summary.generation + 1;
    next.generation = rotation->generation;
    next.count = rotation->stored.summary.count;
    if (!summary_same_set(&rotation->stored.summary, &rotation->old_found))
        TRY(crypto_random(next.sum, sizeof(next.sum)));
    return summary_seal(rotation->new_ring, &next, &rotation->summary_bytes);
}

/* ---- the commit ---- */

static CK_RV open_old_ring(struct rotation *rotation, const struct secret *token_key)
{
    struct custody *custody = rotation->custody;
    _cleanup_(blob_clear) struct blob keys = {0};
    TRY(custody_read_record(custody, RECORD_KEYS, &keys, &rotation->keys_version));
    CK_RV rv = open_ring(rotation, 0, token_key, blob_view(&keys));
    return rv == CKR_ENCRYPTED_DATA_INVALID ? fail_record(custody, RECORD_KEYS) : rv;
}

/* What a plan needs besides: the old token key. */
struct planning {
    struct rotation *rotation;
    const struct secret *old_token_key;
    struct view so_pin;
    struct view user_pin;
};

static CK_RV reseal(struct planning *planning)
{
    struct rotation *rotation = planning->rotation;
    struct store *store = rotation->custody->store;
    TRY(custody_check_current(rotation->custody, &rotation->record));
    TRY(open_old_ring(rotation, planning->old_token_key));
    TRY(make_keys(rotation));
    TRY(seal_role(rotation, CUSTODY_SO, planning->so_pin));
    TRY(seal_role(rotation, CUSTODY_USER, planning->user_pin));
    TRY(token_record_encode(&rotation->record, &rotation->data_key, &rotation->token));
    TRY(read_summary(rotation));
    TRY(hmac_new(&rotation->old_ring->set_key, &rotation->old_set));
    TRY(hmac_new(&rotation->new_ring->set_key, &rotation->new_set));
    TRY(store->ops->read_objects(store, take_row, rotation));
    TRY(make_summary(rotation));
    return custody_anchor_admit(rotation->custody, rotation->record.serial, &rotation->token_key,
                                rotation->generation);
}

/* Last before the commit. After it the former token key is gone: a kill, or a full disk, would
 * leave a log that no public key verifies on. A line without its commit names a key that nobody
 * has, and verification goes on with the former one too. */
static CK_RV name_successor(const struct planning *planning)
{
    const struct rotation *rotation = planning->rotation;
    return audit_succeed(rotation->custody->audit, rotation->record.serial, planning->old_token_key,
                         &rotation->token_key);
}

static CK_RV plan(void *context, const struct store_change **ret_changes, size_t *ret_change_count)
{
    struct planning *planning = context;
    struct rotation *rotation = planning->rotation;
    TRY(reseal(planning));
    TRY(name_successor(planning));
    const struct store_change records[] = {
        {.record = RECORD_TOKEN,
         .expected = rotation->record.version,
         .attributes = blob_view(&rotation->token)},
        {.record = RECORD_KEYS,
         .expected = rotation->keys_version,
         .attributes = blob_view(&rotation->keys)},
        {.record = RECORD_SUMMARY,
         .expected = rotation->stored.version,
         .attributes = blob_view(&rotation->summary_bytes)},
    };
    return row_changes_list(&rotation->rows, records, sizeof(records) / sizeof(records[0]),
                            ret_changes, ret_change_count);
}

static CK_RV rotate_once(struct custody *custody, struct view so_pin, struct view user_pin)
{
    _cleanup_(secret_clear) struct secret old_token_key = {0};
    _cleanup_(rotation_clear) struct rotation rotation = {.custody = custody};
    for (size_t i = 0; i < 2; i++)
        keyring_init(&rotation.rings[i]);
    CK_RV rv = custody_read_token(custody, &rotation.record);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    TRY(rv);
    TRY(prove_roles(&rotation, so_pin, user_pin, &old_token_key));
    struct planning planning = {&rotation, &old_token_key, so_pin, user_pin};
    rv = custody->store->ops->update(custody->store, plan, &planning);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    TRY(rv);
    custody_anchor_settle(custody, rotation.record.serial, &rotation.token_key,
                          rotation.generation);
    return CKR_OK;
}

CK_RV custody_rotate_token_key(struct custody *custody, struct view so_pin, struct view user_pin)
{
    struct store *store = custody->store;
    CK_RV rv = STORE_CONFLICT;
    cause_clear();
    for (size_t i = 0; i < CONFLICTS_MAX && rv == STORE_CONFLICT; i++)
        rv = rotate_once(custody, so_pin, user_pin);
    if (rv == STORE_CONFLICT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': other processes keep changing its PIN records; try again",
                          custody->name);
    TRY(rv);
    return store->ops->scrub == NULL ? CKR_OK : store->ops->scrub(store);
}
