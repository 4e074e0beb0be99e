/* What is done to a token as a whole: shred, rewrap, another token key. */
#include "base/cause.h"
#include "module/admin.h"
#include "tools/command.h"
#include "tools/pin.h"
#include "tools/token.h"

CK_RV command_shred(struct run *run)
{
    struct token token = {0};
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    TRY(token_check(&token, admin_token_shred(token.session), "the change of epoch"));
    output_text(run->output, "token", token.label);
    output_text(run->output, "shredded", "locally");
    output_text(run->output, "note",
                "final against copies and backups of the store once the version of the source's "
                "key that wrapped their data key is destroyed; indexkey rewrap moves this token "
                "off it first");
    return CKR_OK;
}

CK_RV command_rewrap(struct run *run)
{
    struct token token = {0};
    struct admin_rewrap report;
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    TRY(token_check(&token, admin_token_rewrap(token.session, &report), "the rewrap"));
    output_text(run->output, "token", token.label);
    output_text(run->output, "old_key", *report.old_key == '\0' ? NULL : report.old_key);
    output_text(run->output, "new_key", *report.new_key == '\0' ? NULL : report.new_key);
    return CKR_OK;
}

CK_RV command_rotate_token_key(struct run *run)
{
    _cleanup_(secret_clear) struct secret so_pin = {0};
    _cleanup_(secret_clear) struct secret user_pin = {0};
    struct token token = {0};
    if (options_argument(run->options) != NULL || options_has(run->options, OPTION_ID))
        return FAIL_TOOL(EXIT_CODE_USAGE, "rotate: --token-key or a key, one of them");
    TRY(token_select(run->options, &token));
    TRY(token_check_initialized(&token));
    TRY(token_read_so_pin(&token, run->options, &so_pin));
    if ((token.info.flags & CKF_USER_PIN_INITIALIZED) != 0 &&
        (token.info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0)
        TRY(token_read_pin(&token, run->options, &user_pin));
    cause_clear();
    CK_RV rv = admin_token_rotate_key(token.slot, (struct view){so_pin.bytes, so_pin.len},
                                      (struct view){user_pin.bytes, user_pin.len});
    TRY(failure_of(rv, cause_last(), "the rotation of the token key"));
    output_text(run->output, "token", token.label);
    output_text(run->output, "note",
                "all processes have to log in again; backups from before open with the PINs of "
                "their day");
    return CKR_OK;
}
