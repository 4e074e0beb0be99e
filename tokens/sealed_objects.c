#include "tokens/sealed_objects.h"

#include <string.h>

#include "base/crypto.h"
#include "tokens/custody_anchor.h"
#include "tokens/seal.h"
#include "tokens/sealed_internal.h"

#define ID_TEXT_LEN (2 * OBJECT_ID_LEN + 1)

static const char *id_text(const struct object_id *id, char text[ID_TEXT_LEN])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < OBJECT_ID_LEN; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[ID_TEXT_LEN - 1] = '\0';
    return text;
}

CK_RV sealed_objects_fail_row(const struct custody *custody, const struct object_id *id)
{
    char text[ID_TEXT_LEN];
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': object %s in its store was changed and does not open; restore the "
                "store from a backup, or destroy the object",
                custody->name, id_text(id, text));
}

void sealed_objects_look_again(struct custody *custody)
{
    atomic_store(&custody->objects_generation, UINT64_MAX);
    atomic_store(&custody->store_changes, UINT64_MAX);
}

bool sealed_objects_is_gone(CK_RV confirmed)
{
    return confirmed == STORE_ABSENT || confirmed == CKR_ENCRYPTED_DATA_INVALID;
}

CK_RV sealed_objects_fail_summary(const struct custody *custody)
{
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR, "token '%s': the record '%s' in its store %s", custody->name,
                RECORD_SUMMARY, custody_record_refusal(custody, RECORD_SUMMARY));
}

CK_RV sealed_objects_read_summary(struct custody *custody, struct keyring *keyring,
                                  struct stored_summary *ret_summary)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    struct stored_summary stored;
    CK_RV rv =
        custody->store->ops->read_record(custody->store, RECORD_SUMMARY, &bytes, &stored.version);
    if (rv == STORE_ABSENT)
        return CKR_ENCRYPTED_DATA_INVALID;
    TRY(rv);
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(keyring, &held));
    TRY(summary_open(held, blob_view(&bytes), &stored.summary));
    *ret_summary = stored;
    return CKR_OK;
}

CK_RV sealed_objects_fail_newer_row(const struct custody *custody, const struct object_id *id)
{
    char text[ID_TEXT_LEN];
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': object %s in its store was written by a newer version of this module; "
                "update the module",
                custody->name, id_text(id, text));
}

CK_RV sealed_objects_read_row(struct custody *custody, const struct object_id *id,
                              store_row_fn *each, void *context)
{
    uint32_t epoch;
    CK_RV rv;
    CK_RV confirmed = CKR_OK;
    /* A row that does not open may be of another epoch than the keyring was in at that moment. */
    do {
        epoch = keyring_epoch(&custody->keyring);
        rv = custody->store->ops->read_object(custody->store, id, each, context);
        if (rv == CKR_ENCRYPTED_DATA_INVALID)
            confirmed = custody_confirm_keys(custody);
    } while (rv == CKR_ENCRYPTED_DATA_INVALID && confirmed == CKR_OK &&
             epoch != keyring_epoch(&custody->keyring));
    if (rv == STORE_ABSENT)
        return CKR_OBJECT_HANDLE_INVALID;
    if (rv != CKR_ENCRYPTED_DATA_INVALID)
        return rv;
    return sealed_objects_is_gone(confirmed) ? custody_fail_gone(custody)
                                             : sealed_objects_fail_row(custody, id);
}

struct value_request {
    struct custody *custody;
    uint64_t version;
    struct secret *value;
};

static CK_RV open_value(void *context, const struct store_row *row)
{
    struct value_request *request = context;
    /* A newer version has other attributes and the same value. */
    if (row->version < request->version)
        return CKR_OBJECT_HANDLE_INVALID;
    if (seal_is_newer(row))
        return sealed_objects_fail_newer_row(request->custody, &row->id);
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&request->custody->keyring, &held));
    return seal_open_value(held, row, request->value);
}

CK_RV sealed_objects_value(struct custody *custody, const struct object_id *id, uint64_t version,
                           struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret value = {0};
    struct value_request request = {custody, version, &value};
    TRY(sealed_objects_read_row(custody, id, open_value, &request));
    *ret_value = secret_move(&value);
    return CKR_OK;
}

struct attributes_request {
    struct custody *custody;
    uint64_t version;
    struct blob attributes;
};

static CK_RV open_attributes(void *context, const struct store_row *row)
{
    struct attributes_request *request = context;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&request->custody->keyring, &held));
    request->version = row->version;
    return seal_open_attributes(held, row, &request->attributes);
}

CK_RV sealed_objects_attributes(struct custody *custody, const struct object_id *id,
                                uint64_t *ret_version, struct blob *ret_attributes)
{
    struct attributes_request request = {.custody = custody};
    TRY(sealed_objects_read_row(custody, id, open_attributes, &request));
    *ret_version = request.version;
    *ret_attributes = request.attributes;
    return CKR_OK;
}

CK_RV sealed_objects_new_id(struct object_id *ret_id)
{
    return crypto_random(ret_id->bytes, OBJECT_ID_LEN);
}

CK_RV sealed_objects_value_id(struct custody *custody, const struct secret *value,
                              struct object_id *ret_id)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    unsigned char mac[SHA256_LEN];
    TRY(keyring_hold(&custody->keyring, &held));
    TRY(crypto_hmac_sha256(&held->value_id_key, (struct view){value->bytes, value->len}, mac));
    memcpy(ret_id->bytes, mac, OBJECT_ID_LEN);
    return CKR_OK;
}
