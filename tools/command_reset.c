#include <string.h>

#include "base/cause.h"
#include "module/admin_reset.h"
#include "tools/command.h"
#include "tools/confirm.h"
#include "tools/token.h"

#define LABEL_LEN 32

static CK_RV fill_label(const char *text, unsigned char label[LABEL_LEN])
{
    size_t len = strlen(text);
    if (len > LABEL_LEN)
        return FAIL_TOOL(EXIT_CODE_USAGE, "--label has at most %d bytes", LABEL_LEN);
    memset(label, ' ', LABEL_LEN);
    memcpy(label, text, len);
    return CKR_OK;
}

/* The typed serial tells this token from the one in the next window. */
CK_RV command_reset(struct run *run)
{
    const char *wanted = options_value(run->options, OPTION_LABEL);
    _cleanup_(secret_clear) struct secret pin = {0};
    unsigned char label[LABEL_LEN];
    struct token token = {0};
    TRY(token_select(run->options, &token));
    TRY(fill_label(wanted == NULL ? token.label : wanted, label));
    TRY(token_check_initialized(&token));
    TRY(token_read_so_pin(&token, run->options, &pin));
    TRY(confirm(run->options, "wipe the token with all its keys, by its serial",
                (struct view){token.info.serialNumber, sizeof(token.info.serialNumber)}));
    cause_clear();
    CK_RV rv = admin_token_reset(token.slot, (struct view){pin.bytes, pin.len}, label);
    TRY(failure_of(rv, cause_last(), "the reset"));
    TRY(token_refresh(&token));
    output_text(run->output, "token", token.label);
    output_view(run->output, "serial",
                (struct view){token.info.serialNumber, sizeof(token.info.serialNumber)});
    output_text(run->output, "next", "set its user PIN: pkcs11-tool --login-type so --init-pin");
    return CKR_OK;
}
