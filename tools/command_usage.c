#include "base/crypto.h"
#include "tokens/audit_usage.h"
#include "tools/command.h"
#include "tools/logs.h"

CK_RV command_usage(struct run *run)
{
    _cleanup_(logs_clear) struct logs logs = {0};
    _cleanup_(audit_usage_clear) struct audit_usage usage = {0};
    TRY(logs_read(run->options, &logs));
    /* For the lines' hashes: no token is asked, so that C_Initialize is not called. */
    TRY(failure_of(crypto_init(), INDEXKEY_CAUSE_NONE, "OpenSSL"));
    CK_RV rv = audit_usage(logs.files, logs.count, &usage);
    crypto_finish();
    TRY(failure_of(rv, INDEXKEY_CAUSE_NONE, "reading the logs"));
    output_list(run->output, "uses", "day label mechanism uses key");
    for (size_t i = 0; i < usage.count; i++) {
        const struct audit_usage_row *row = &usage.rows[i];
        output_record(run->output);
        output_view(run->output, "day", row->day);
        output_view(run->output, "key", row->key);
        output_view(run->output, "label", row->label);
        output_view(run->output, "mechanism", row->mechanism);
        output_number(run->output, "uses", row->uses);
        output_end_record(run->output);
    }
    output_end_list(run->output);
    return CKR_OK;
}
