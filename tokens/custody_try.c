#include "tokens/custody_internal.h"

#include "tokens/http.h"

static CK_RV try_fresh_key(struct custody *custody)
{
    _cleanup_(secret_clear) struct secret made = {0};
    _cleanup_(secret_clear) struct secret opened = {0};
    _cleanup_(blob_clear) struct blob wrapped = {0};
    struct source_call call = custody_source_call(custody, (struct view){0});
    TRY(source_make_data_key(custody->source, &call, &made, &wrapped));
    call = custody_source_call(custody, (struct view){0});
    TRY(source_unwrap(custody->source, &call, blob_view(&wrapped), &opened));
    if (!secret_equal(&made, &opened))
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER,
                          "token '%s': its source unwrapped another key than it had wrapped",
                          custody->name);
    return CKR_OK;
}

CK_RV custody_try_source(struct custody *custody, bool *ret_initialized)
{
    _cleanup_(token_record_clear) struct token_record record = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    http_clock_forget();
    CK_RV rv = custody_read_token(custody, &record);
    bool initialized = rv != STORE_ABSENT;
    if (initialized) {
        TRY(rv);
        TRY(custody_unwrap(custody, &record, (struct view){0}, &data_key));
    } else {
        TRY(try_fresh_key(custody));
    }
    *ret_initialized = initialized;
    return CKR_OK;
}

bool custody_clock_ahead(int64_t *ret_ahead_s)
{
    return http_clock_ahead(ret_ahead_s);
}
