/*
 * The change of epoch: a new epoch key, and the values of all objects sealed anew under it, in one
 * commit. What an older copy of a row holds opens by no key that is left in the store. Versions and
 * attributes stay, so that whoever knows an object is not disturbed.
 */
#include <stdlib.h>
#include <string.h>

#include "tokens/custody_anchor.h"
#include "tokens/row_changes.h"

/* A turn may be lost with the store's connection. */
#define CONFLICTS_MAX 20

struct shred {
    struct custody *custody;
    const struct custody_row *gone; /* sorted: those that are not sealed again, but go */
    size_t gone_count;
    struct keys_record keys; /* the next epoch's */
    uint64_t keys_version;
    struct blob keys_bytes;
    struct stored_summary stored;
    struct blob summary;
    struct row_changes rows;
    size_t removed_count;
    bool is_told; /* to custody_tick, that its generation is an own one */
};

static void shred_clear(struct shred *shred)
{
    keys_record_clear(&shred->keys);
    blob_clear(&shred->keys_bytes);
    blob_clear(&shred->summary);
    row_changes_clear(&shred->rows);
}

static CK_RV make_keys(struct shred *shred)
{
    struct custody *custody = shred->custody;
    _cleanup_(blob_clear) struct blob former = {0};
    TRY(custody_read_record(custody, RECORD_KEYS, &former, &shred->keys_version));
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    CK_RV rv = keys_record_open(held->serial, &held->keys_key, blob_view(&former), &shred->keys);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return custody_fail_gone(custody);
    TRY(rv);
    if (shred->keys.epoch == UINT32_MAX)
        return FAIL(CKR_DEVICE_ERROR, "token '%s': its epochs are used up", custody->name);
    shred->keys.epoch++;
    secret_clear(&shred->keys.epoch_key);
    TRY(crypto_random_secret(SEAL_KEY_LEN, &shred->keys.epoch_key));
    return keys_record_encode(held->serial, &held->keys_key, &shred->keys, &shred->keys_bytes);
}

static CK_RV seal_again(struct shred *shred, const struct store_row *row, struct blob *ret_value)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    _cleanup_(secret_clear) struct secret value = {0};
    TRY(keyring_hold(&shred->custody->keyring, &held));
    TRY(seal_open_value(held, row, &value));
    struct seal_epoch next = {held->serial, shred->keys.epoch, &shred->keys.epoch_key};
    return seal_value(&next, row, &value, ret_value);
}

static int compare_rows(const void *a, const void *b)
{
    const struct custody_row *left = a;
    const struct custody_row *right = b;
    return memcmp(&left->id, &right->id, sizeof(left->id));
}

static CK_RV remove_row(struct shred *shred, const struct custody_row *gone,
                        const struct store_row *row)
{
    unsigned char mac[SHA256_LEN];
    if (row->version != gone->version)
        return CKR_OBJECT_HANDLE_INVALID;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&shred->custody->keyring, &held));
    TRY(seal_set_mac(held, row, mac));
    summary_remove(&shred->stored.summary, mac);
    shred->removed_count++;
    return row_changes_remove(&shred->rows, row);
}

/* A row that does not open is left as it is: it is of no use now, and of none afterwards. */
static CK_RV take_row(void *context, const struct store_row *row)
{
    struct shred *shred = context;
    struct sealed_row fresh = {0};
    const struct custody_row wanted = {.id = row->id};
    const struct custody_row *gone = NULL;
    if (shred->gone_count > 0)
        gone = bsearch(&wanted, shred->gone, shred->gone_count, sizeof(wanted), compare_rows);
    if (gone != NULL)
        return remove_row(shred, gone, row);
    if (row->value.len == 0)
        return CKR_OK;
    CK_RV rv = seal_again(shred, row, &fresh.value);
    if (rv == CKR_ENCRYPTED_DATA_INVALID) {
        (void) sealed_objects_fail_row(shred->custody, &row->id);
        return CKR_OK;
    }
    TRY(rv);
    return row_changes_add(&shred->rows, row, &fresh);
}

static CK_RV read_summary(struct shred *shred)
{
    struct custody *custody = shred->custody;
    CK_RV rv = custody_read_summary(custody, &custody->keyring, &shred->stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return sealed_objects_fail_summary(custody);
    return rv;
}

/* Even where the set of objects is the same, the generation tells this store from a copy made
 * before. */
static CK_RV seal_summary(struct shred *shred)
{
    struct custody *custody = shred->custody;
    shred->stored.summary.generation++;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&custody->keyring, &held));
    return summary_seal(held, &shred->stored.summary, &shred->summary);
}

static CK_RV list_changes(struct shred *shred, const struct store_change **ret_changes,
                          size_t *ret_change_count)
{
    const struct store_change records[] = {
        {.record = RECORD_KEYS,
         .expected = shred->keys_version,
         .attributes = blob_view(&shred->keys_bytes)},
        {.record = RECORD_SUMMARY,
         .expected = shred->stored.version,
         .attributes = blob_view(&shred->summary)},
    };
    return row_changes_list(&shred->rows, records, 2, ret_changes, ret_change_count);
}

/* In the store's turn: whoever changes objects meanwhile waits, and then finds the new epoch. */
static CK_RV plan(void *context, const struct store_change **ret_changes, size_t *ret_change_count)
{
    struct shred *shred = context;
    struct custody *custody = shred->custody;
    CK_RV rv = custody_confirm_keys(custody);
    if (sealed_objects_is_gone(rv))
        return custody_fail_gone(custody);
    TRY(rv);
    TRY(make_keys(shred));
    TRY(read_summary(shred));
    TRY(custody->store->ops->read_objects(custody->store, take_row, shred));
    if (shred->removed_count != shred->gone_count)
        return CKR_OBJECT_HANDLE_INVALID;
    TRY(seal_summary(shred));
    TRY(list_changes(shred, ret_changes, ret_change_count));
    uint64_t known = shred->stored.summary.generation - 1;
    (void) atomic_compare_exchange_strong(&custody->objects_generation, &known, known + 1);
    shred->is_told = true;
    return CKR_OK;
}

static CK_RV shred_once(struct custody *custody, const struct custody_row *rows, size_t count)
{
    struct store *store = custody->store;
    _cleanup_(shred_clear) struct shred shred = {
        .custody = custody,
        .gone = rows,
        .gone_count = count,
    };
    if (keyring_epoch(&custody->keyring) == 0)
        return CKR_USER_NOT_LOGGED_IN;
    TRY(custody_anchor_ready(custody, &custody->keyring));
    CK_RV rv = store->ops->update(store, plan, &shred);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    if (rv != CKR_OK && shred.is_told)
        sealed_objects_look_again(custody);
    TRY(rv);
    custody_generation_follow(custody, &custody->keyring, shred.stored.summary.generation);
    /* A failure is not one: whoever meets the new epoch asks again. */
    (void) custody_confirm_keys(custody);
    return CKR_OK;
}

CK_RV custody_shred(struct custody *custody)
{
    return custody_shred_rows(custody, NULL, 0);
}

CK_RV custody_shred_rows(struct custody *custody, struct custody_row *rows, size_t count)
{
    struct store *store = custody->store;
    CK_RV rv = STORE_CONFLICT;
    cause_clear();
    if (count > 0)
        qsort(rows, count, sizeof(*rows), compare_rows);
    for (size_t i = 0; i < CONFLICTS_MAX && rv == STORE_CONFLICT; i++)
        rv = shred_once(custody, rows, count);
    if (rv == STORE_CONFLICT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': its store lost the connection too often; try again",
                          custody->name);
    TRY(rv);
    return store->ops->scrub == NULL ? CKR_OK : store->ops->scrub(store);
}
