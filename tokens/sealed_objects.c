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

static CK_RV fail_newer_row(const struct custody *custody, const struct object_id *id)
{
    char text[ID_TEXT_LEN];
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': object %s in its store was written by a newer version of this module; "
                "update the module",
                custody->name, id_text(id, text));
}

struct load {
    struct custody *custody;
    sealed_object_fn *each;
    void *context;
    struct hmac *set_key; /* keyed once for all rows; of this load alone */
    struct summary found;
};

static CK_RV load_begin(struct load *load)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&load->custody->keyring, &held));
    return hmac_new(&held->set_key, &load->set_key);
}

static void load_end(struct load *load)
{
    hmac_free(&load->set_key);
}

/* The keyring is let go before the module sees the object: it has locks of its own. */
static CK_RV open_row(struct load *load, const struct store_row *row, struct blob *ret_attributes)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&load->custody->keyring, &held));
    unsigned char mac[SHA256_LEN];
    TRY(seal_set_mac_of(load->set_key, row, mac));
    summary_add(&load->found, mac);
    return seal_open_attributes(held, row, ret_attributes);
}

static CK_RV load_row(void *context, const struct store_row *row)
{
    struct load *load = context;
    _cleanup_(blob_discard) struct blob attributes = {0};
    CK_RV rv = open_row(load, row, &attributes);
    if (rv == CKR_ENCRYPTED_DATA_INVALID && seal_is_newer(row)) {
        (void) fail_newer_row(load->custody, &row->id);
        return CKR_OK;
    }
    if (rv == CKR_ENCRYPTED_DATA_INVALID) {
        (void) sealed_objects_fail_row(load->custody, &row->id);
        return CKR_OK;
    }
    TRY(rv);
    struct sealed_object object = {
        .id = row->id,
        .version = row->version,
        .attributes = blob_view(&attributes),
        .value_len = seal_value_len(row),
    };
    return load->each(load->context, &object);
}

static void report_difference(const struct custody *custody, const struct summary *expected,
                              const struct summary *found)
{
    const char *what = "objects were replaced or put back to an older version";
    if (found->count < expected->count)
        what = "objects are missing";
    if (found->count > expected->count)
        what = "objects were added or put back";
    log_line(LOG_LEVEL_ERROR,
             "token '%s': its store holds %llu objects where %llu were recorded: %s behind the "
             "token's back; restore the store from a backup if they matter",
             custody->name, (unsigned long long) found->count, (unsigned long long) expected->count,
             what);
}

CK_RV sealed_objects_load(struct custody *custody, sealed_object_fn *each, void *context)
{
    struct stored_summary before;
    struct stored_summary after;
    CK_RV rv = sealed_objects_read_summary(custody, &custody->keyring, &before);
    bool verifiable = rv == CKR_OK;
    if (rv != CKR_OK && rv != CKR_ENCRYPTED_DATA_INVALID)
        return rv;
    _cleanup_(load_end) struct load load = {.custody = custody, .each = each, .context = context};
    TRY(load_begin(&load));
    TRY(custody->store->ops->read_objects(custody->store, load_row, &load));
    if (!verifiable) {
        (void) sealed_objects_fail_summary(custody);
        return CKR_OK;
    }
    atomic_store(&custody->objects_generation, before.summary.generation);
    custody_generation_follow(custody, &custody->keyring, before.summary.generation);
    rv = sealed_objects_read_summary(custody, &custody->keyring, &after);
    /* With a commit in between the rows belong to neither summary; custody_tick will call for
     * another load, which is compared again. */
    if (rv == CKR_OK && before.version == after.version &&
        !summary_same_set(&before.summary, &load.found))
        report_difference(custody, &before.summary, &load.found);
    return CKR_OK;
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
        return fail_newer_row(request->custody, &row->id);
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
