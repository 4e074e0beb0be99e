/*
 * The wrapped data key under the newest version of the source's key. The data key stays, and with
 * it both roles and everything below: one record changes, by one commit.
 */
#include <stdio.h>

#include "tokens/custody_internal.h"

/* Logins do not touch the record; a new PIN does. */
#define CONFLICTS_MAX 20

_Static_assert(CUSTODY_KEY_TEXT_MAX == SOURCE_KEY_TEXT_MAX, "a report has room for the text");

/* Before it is committed: a data key that does not open again is a token that is lost. */
static CK_RV check_opens(struct custody *custody, struct view credential, struct view wrapped,
                         const struct secret *data_key)
{
    struct source_call call = custody_source_call(custody, credential);
    _cleanup_(secret_clear) struct secret opened = {0};
    TRY(source_unwrap(custody->source, &call, wrapped, &opened));
    if (!secret_equal(&opened, data_key))
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': what its source wrapped anew opens to another key; nothing "
                          "was changed",
                          custody->name);
    return CKR_OK;
}

static CK_RV commit_record(struct custody *custody, const struct token_record *record,
                           const struct secret *data_key)
{
    _cleanup_(blob_clear) struct blob bytes = {0};
    TRY(token_record_encode(record, data_key, &bytes));
    const struct store_change change = {
        .record = RECORD_TOKEN, .expected = record->version, .attributes = blob_view(&bytes)};
    return custody->store->ops->commit(custody->store, &change, 1);
}

static CK_RV rewrap_once(struct custody *custody, struct view credential,
                         struct custody_rewrap *ret_report)
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(blob_clear) struct blob wrapped = {0};
    CK_RV rv = custody_read_token(custody, &record);
    if (rv == STORE_ABSENT)
        return custody_fail_gone(custody);
    TRY(rv);
    TRY(custody_unwrap(custody, &record, credential, &data_key));
    source_describe(custody->source, record.wrapped, ret_report->old_key);
    struct source_call call = custody_source_call(custody, credential);
    TRY(source_rewrap(custody->source, &call, record.wrapped, &data_key, &wrapped));
    TRY(check_opens(custody, credential, blob_view(&wrapped), &data_key));
    record.wrapped = blob_view(&wrapped);
    source_describe(custody->source, record.wrapped, ret_report->new_key);
    return commit_record(custody, &record, &data_key);
}

CK_RV custody_rewrap(struct custody *custody, struct custody_rewrap *ret_report)
{
    _cleanup_(secret_clear) struct secret credential = {0};
    struct custody_rewrap report;
    cause_clear();
    TRY(custody_copy_credential(custody, &credential));
    for (size_t i = 0; i < CONFLICTS_MAX; i++) {
        CK_RV rv = rewrap_once(custody, (struct view){credential.bytes, credential.len}, &report);
        if (rv == CKR_OK)
            *ret_report = report;
        if (rv != STORE_CONFLICT)
            return rv;
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                      "token '%s': other processes keep changing its record; try again",
                      custody->name);
}
