#include "tokens/keyring.h"

#include <string.h>

#include "base/rv.h"
#include "tokens/token_record.h"

void keyring_init(struct keyring *keyring)
{
    *keyring = (struct keyring){.is_open = false};
    /* Locks with default attributes cannot fail to be made on Linux. */
    (void) pthread_rwlock_init(&keyring->lock, NULL);
    (void) pthread_mutex_init(&keyring->attribute_lock, NULL);
}

void keyring_destroy(struct keyring *keyring)
{
    keyring_wipe(keyring);
    (void) pthread_mutex_destroy(&keyring->attribute_lock);
    (void) pthread_rwlock_destroy(&keyring->lock);
}

/* The keys that one opening gives, before they are moved under the lock. */
struct fresh_keys {
    struct secret token_key;
    struct secret keys_key;
    struct secret summary_key;
    struct secret set_key;
    struct secret value_id_key;
    struct secret credential;
    struct keys_record record;
};

static void fresh_keys_clear(struct fresh_keys *keys)
{
    secret_clear(&keys->token_key);
    secret_clear(&keys->keys_key);
    secret_clear(&keys->summary_key);
    secret_clear(&keys->set_key);
    secret_clear(&keys->value_id_key);
    secret_clear(&keys->credential);
    keys_record_clear(&keys->record);
}

static CK_RV fresh_keys_derive(const struct keyring_opening *opening, struct fresh_keys *keys)
{
    const struct secret *token_key = opening->token_key;
    TRY(secret_from(token_key->bytes, token_key->len, &keys->token_key));
    TRY(derive_key(token_key, opening->serial, LABEL_KEYS, &keys->keys_key));
    TRY(derive_key(token_key, opening->serial, LABEL_SUMMARY, &keys->summary_key));
    TRY(derive_key(token_key, opening->serial, LABEL_SET, &keys->set_key));
    TRY(keys_record_open(opening->serial, &keys->keys_key, opening->keys_record, &keys->record));
    if (keys->record.value_id_key.len > 0)
        keys->value_id_key = secret_move(&keys->record.value_id_key);
    else
        TRY(derive_key(token_key, opening->serial, LABEL_VALUE_ID, &keys->value_id_key));
    if (opening->credential.len > 0)
        TRY(secret_from(opening->credential.bytes, opening->credential.len, &keys->credential));
    return CKR_OK;
}

static void keyring_wipe_locked(struct keyring *keyring)
{
    keyring->is_open = false;
    secret_clear(&keyring->token_key);
    secret_clear(&keyring->keys_key);
    secret_clear(&keyring->summary_key);
    secret_clear(&keyring->set_key);
    secret_clear(&keyring->value_id_key);
    secret_clear(&keyring->epoch_key);
    secret_clear(&keyring->credential);
    aead_free(&keyring->attribute_aead);
}

CK_RV keyring_open(struct keyring *keyring, const struct keyring_opening *opening)
{
    _cleanup_(fresh_keys_clear) struct fresh_keys keys = {0};
    TRY(fresh_keys_derive(opening, &keys));
    (void) pthread_rwlock_wrlock(&keyring->lock);
    keyring_wipe_locked(keyring);
    memcpy(keyring->serial, opening->serial, SERIAL_LEN);
    keyring->token_key = secret_move(&keys.token_key);
    keyring->keys_key = secret_move(&keys.keys_key);
    keyring->summary_key = secret_move(&keys.summary_key);
    keyring->set_key = secret_move(&keys.set_key);
    keyring->value_id_key = secret_move(&keys.value_id_key);
    keyring->epoch_key = secret_move(&keys.record.epoch_key);
    keyring->credential = secret_move(&keys.credential);
    keyring->epoch = keys.record.epoch;
    keyring->is_open = true;
    (void) pthread_rwlock_unlock(&keyring->lock);
    return CKR_OK;
}

static CK_RV open_record(const struct keyring *keyring, struct view bytes, struct keys_record *keys)
{
    TRY(keys_record_open(keyring->serial, &keyring->keys_key, bytes, keys));
    bool is_other =
        keys->epoch == keyring->epoch && !secret_equal(&keys->epoch_key, &keyring->epoch_key);
    return keys->epoch < keyring->epoch || is_other ? CKR_ENCRYPTED_DATA_INVALID : CKR_OK;
}

static CK_RV is_epoch_newer(struct keyring *keyring, struct view keys_record, bool *ret_is_newer)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    _cleanup_(keys_record_clear) struct keys_record keys = {0};
    TRY(keyring_hold(keyring, &held));
    TRY(open_record(held, keys_record, &keys));
    *ret_is_newer = keys.epoch > held->epoch;
    return CKR_OK;
}

/* Opened again: another login may have come in between. */
static CK_RV renew_locked(struct keyring *keyring, struct view keys_record)
{
    _cleanup_(keys_record_clear) struct keys_record keys = {0};
    if (!keyring->is_open)
        return CKR_USER_NOT_LOGGED_IN;
    TRY(open_record(keyring, keys_record, &keys));
    secret_clear(&keyring->epoch_key);
    keyring->epoch_key = secret_move(&keys.epoch_key);
    keyring->epoch = keys.epoch;
    return CKR_OK;
}

CK_RV keyring_renew(struct keyring *keyring, struct view keys_record)
{
    bool is_newer = false;
    TRY(is_epoch_newer(keyring, keys_record, &is_newer));
    if (!is_newer)
        return CKR_OK;
    (void) pthread_rwlock_wrlock(&keyring->lock);
    CK_RV rv = renew_locked(keyring, keys_record);
    (void) pthread_rwlock_unlock(&keyring->lock);
    return rv;
}

uint32_t keyring_epoch(struct keyring *keyring)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    return keyring_hold(keyring, &held) == CKR_OK ? held->epoch : 0;
}

void keyring_wipe(struct keyring *keyring)
{
    (void) pthread_rwlock_wrlock(&keyring->lock);
    keyring_wipe_locked(keyring);
    (void) pthread_rwlock_unlock(&keyring->lock);
}

CK_RV keyring_hold(struct keyring *keyring, struct keyring **ret_held)
{
    (void) pthread_rwlock_rdlock(&keyring->lock);
    if (!keyring->is_open) {
        (void) pthread_rwlock_unlock(&keyring->lock);
        return CKR_USER_NOT_LOGGED_IN;
    }
    *ret_held = keyring;
    return CKR_OK;
}

void keyring_release(struct keyring **held)
{
    if (*held != NULL)
        (void) pthread_rwlock_unlock(&(*held)->lock);
    *held = NULL;
}

/* The attribute key of that number becomes the cached one. */
static CK_RV use_attribute_key_locked(struct keyring *held, uint32_t number)
{
    if (held->attribute_aead != NULL && held->attribute_number == number)
        return CKR_OK;
    _cleanup_(secret_clear) struct secret key = {0};
    TRY(derive_numbered_key(&held->token_key, held->serial, LABEL_ATTRIBUTES, number, &key));
    struct aead *aead = NULL;
    TRY(aead_new(&key, &aead));
    aead_free(&held->attribute_aead);
    held->attribute_aead = aead;
    held->attribute_number = number;
    return CKR_OK;
}

CK_RV keyring_seal_attributes(struct keyring *held, uint32_t number, struct view aad,
                              struct view plaintext, unsigned char *sealed)
{
    (void) pthread_mutex_lock(&held->attribute_lock);
    CK_RV rv = use_attribute_key_locked(held, number);
    if (rv == CKR_OK)
        rv = aead_seal(held->attribute_aead, aad, plaintext, sealed);
    (void) pthread_mutex_unlock(&held->attribute_lock);
    return rv;
}

CK_RV keyring_open_attributes(struct keyring *held, uint32_t number, struct view aad,
                              struct view sealed, unsigned char *plaintext)
{
    (void) pthread_mutex_lock(&held->attribute_lock);
    CK_RV rv = use_attribute_key_locked(held, number);
    if (rv == CKR_OK)
        rv = aead_open(held->attribute_aead, aad, sealed, plaintext);
    (void) pthread_mutex_unlock(&held->attribute_lock);
    return rv;
}
