#include <string.h>

#include "base/crypto.h"
#include "tokens/custody_anchor.h"
#include "tokens/seal.h"

/* Others may commit while the rows are read. */
#define CONFLICTS_MAX 20

/* One look at every row. */
struct survey {
    struct custody *custody;
    const struct object_id *id;
    struct hmac *set_key;
    struct summary found;
    uint64_t version; /* of the row that is looked for; 0: there is none */
    struct blob attributes;
};

static void survey_clear(struct survey *survey)
{
    hmac_free(&survey->set_key);
    blob_discard(&survey->attributes);
}

static CK_RV survey_begin(struct survey *survey)
{
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&survey->custody->keyring, &held));
    return hmac_new(&held->set_key, &survey->set_key);
}

static CK_RV survey_row(void *context, const struct store_row *row)
{
    struct survey *survey = context;
    unsigned char mac[SHA256_LEN];
    TRY(seal_set_mac_of(survey->set_key, row, mac));
    summary_add(&survey->found, mac);
    if (memcmp(&row->id, survey->id, sizeof(row->id)) != 0)
        return CKR_OK;
    _cleanup_(keyring_release) struct keyring *held = NULL;
    TRY(keyring_hold(&survey->custody->keyring, &held));
    survey->version = row->version;
    return seal_open_attributes(held, row, &survey->attributes);
}

static CK_RV fail_difference(const struct custody *custody)
{
    cause_set(INDEXKEY_CAUSE_TAMPERED);
    return FAIL(CKR_DEVICE_ERROR,
                "token '%s': rows of its store were removed, added or put back behind the token's "
                "back, so that a count in it cannot be trusted; restore the store from a backup",
                custody->name);
}

/* STORE_CONFLICT when others committed meanwhile. */
static CK_RV survey_once(struct survey *survey)
{
    struct custody *custody = survey->custody;
    struct stored_summary before;
    struct stored_summary after;
    TRY(custody_read_summary(custody, &custody->keyring, &before));
    TRY(custody->store->ops->read_objects(custody->store, survey_row, survey));
    TRY(custody_read_summary(custody, &custody->keyring, &after));
    if (before.version != after.version)
        return STORE_CONFLICT;
    return summary_same_set(&before.summary, &survey->found) ? CKR_OK : fail_difference(custody);
}

CK_RV sealed_objects_verified_attributes(struct custody *custody, const struct object_id *id,
                                         uint64_t *ret_version, struct blob *ret_attributes)
{
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        _cleanup_(survey_clear) struct survey survey = {.custody = custody, .id = id};
        TRY(survey_begin(&survey));
        CK_RV rv = survey_once(&survey);
        if (rv == CKR_ENCRYPTED_DATA_INVALID)
            return fail_difference(custody);
        if (rv == STORE_CONFLICT)
            continue;
        TRY(rv);
        if (survey.version == 0)
            return CKR_OBJECT_HANDLE_INVALID;
        *ret_version = survey.version;
        *ret_attributes = blob_move(&survey.attributes);
        return CKR_OK;
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': others keep changing its store while it is looked through; try "
                      "again",
                      custody->name);
}
