#include "tokens/sealed_internal.h"

static CK_RV read_wrapping_key(struct custody *custody, char ret_text[CUSTODY_KEY_TEXT_MAX])
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    CK_RV rv = custody_read_token(custody, &record);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    TRY(rv);
    if (view_equal(record.source, view_text(custody->source->ops->name)))
        source_describe(custody->source, record.wrapped, ret_text);
    return CKR_OK;
}

static CK_RV read_summary(struct custody *custody, struct custody_status *status)
{
    struct stored_summary stored;
    status->epoch = keyring_epoch(&custody->keyring);
    status->is_open = status->epoch != 0;
    if (!status->is_open)
        return CKR_OK;
    CK_RV rv = custody_confirm_keys(custody);
    if (sealed_objects_is_gone(rv))
        return custody_fail_gone(custody);
    TRY(rv);
    rv = sealed_objects_read_summary(custody, &custody->keyring, &stored);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return sealed_objects_fail_summary(custody);
    TRY(rv);
    status->epoch = keyring_epoch(&custody->keyring);
    status->generation = stored.summary.generation;
    status->row_count = stored.summary.count;
    return CKR_OK;
}

CK_RV custody_status(struct custody *custody, struct custody_status *ret_status)
{
    struct custody_status status = {
        .source = custody->source->ops->name,
        .store = custody->store->ops->scheme,
    };
    cause_clear();
    TRY(custody_info(custody, &status.info));
    if (status.info.initialized) {
        TRY(read_wrapping_key(custody, status.wrapping_key));
        TRY(read_summary(custody, &status));
    }
    *ret_status = status;
    return CKR_OK;
}
