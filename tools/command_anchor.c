#include "base/cause.h"
#include "module/admin.h"
#include "tools/command.h"
#include "tools/token.h"

CK_RV command_anchor(struct run *run)
{
    _cleanup_(secret_clear) struct secret pin = {0};
    struct token token = {0};
    uint64_t generation;
    if (!options_has(run->options, OPTION_ACCEPT))
        return FAIL_TOOL(EXIT_CODE_USAGE, "anchor: --accept says that the store was put back on "
                                          "purpose; indexkey check looks at the anchor");
    TRY(token_select(run->options, &token));
    TRY(token_check_initialized(&token));
    TRY(token_read_so_pin(&token, run->options, &pin));
    cause_clear();
    CK_RV rv = admin_anchor_accept(token.slot, (struct view){pin.bytes, pin.len}, &generation);
    TRY(failure_of(rv, cause_last(), "the anchor"));
    output_text(run->output, "token", token.label);
    output_number(run->output, "generation", generation);
    return CKR_OK;
}
