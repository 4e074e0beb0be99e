#include "tokens/custody_internal.h"

#include "tokens/inspection.h"

/* What wrapped the data key, if this source did. */
static CK_RV ask(struct custody *custody, const struct source_call *call,
                 struct source_inspection *inspection)
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    struct view wrapped = {NULL, 0};
    CK_RV rv = custody_read_token(custody, &record);
    if (rv != STORE_ABSENT)
        TRY(rv);
    if (rv == CKR_OK && view_equal(record.source, view_text(custody->source->ops->name)))
        wrapped = record.wrapped;
    return source_inspect(custody->source, call, wrapped, inspection);
}

CK_RV custody_inspect_source(struct custody *custody, struct custody_root_key *ret_key)
{
    _cleanup_(secret_clear) struct secret credential = {0};
    struct source_inspection inspection;
    cause_clear();
    CK_RV rv = custody_copy_credential(custody, &credential);
    if (rv != CKR_USER_NOT_LOGGED_IN)
        TRY(rv);
    struct source_call call =
        custody_source_call(custody, (struct view){credential.bytes, credential.len});
    TRY(ask(custody, &call, &inspection));
    inspection_tell(&inspection, ret_key->text, sizeof(ret_key->text));
    ret_key->is_usable = inspection.is_usable;
    ret_key->deletion_s = inspection.deletion_s;
    ret_key->expiry_s = inspection.expiry_s;
    return CKR_OK;
}
