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
    struct secret epoch_key;
    struct secret credential;
    uint32_t epoch;
};

static void fresh_keys_clear(struct fresh_keys *keys)
{
    secret_clear(&keys->token_key);
    secret_clear(&keys->keys_key);
    secret_clear(&keys->summary_key);
    secret_clear(&keys->set_key);
    secret_clear(&keys->value_id_key);
    secret_clear(&keys->epoch_key);
    secret_clear(&keys->credential);
}

static CK_RV fresh_keys_derive(const struct keyring_opening *opening, struct fresh_keys *keys)
{
    const struct secret *token_key = opening->token_key;
    TRY(secret_from(token_key->bytes, token_key->len, &keys->token_key));
    TRY(derive_key(token_key, opening->serial, LABEL_KEYS, &keys->keys_key));
    TRY(derive_key(token_key, opening->serial, LABEL_SUMMARY, &keys->summary_key));
    TRY(derive_key(token_key, opening->serial, LABEL_SET, &keys->set_key));
    TRY(derive_key(token_key, opening->serial, LABEL_VALUE_ID, &keys->value_id_key));
    TRY(keys_record_open(opening->serial, &keys->keys_key, opening->keys_record, &keys->epoch,
                         &keys->epoch_key));
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
    keyring->epoch_key = secret_move(&keys.epoch_key);
    keyring->credential = secret_move(&keys.credential);
    keyring->epoch = keys.epoch;
    keyring->is_open = true;
    (void) pthread_rwlock_unlock(&keyring->lock);
    return CKR_OK;
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
