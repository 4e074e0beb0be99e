/* What an operator does to one key: states, times, holds, versions, destruction. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "module/admin.h"
#include "tools/command.h"
#include "tools/confirm.h"
#include "tools/key_text.h"
#include "tools/object.h"
#include "tools/token.h"

/* The key that the command line names, after a login. */
struct subject {
    struct token token;
    CK_OBJECT_HANDLE key;
};

static CK_RV open_subject(const struct run *run, struct subject *subject)
{
    *subject = (struct subject){.key = CK_INVALID_HANDLE};
    TRY(token_select(run->options, &subject->token));
    TRY(token_login(&subject->token, run->options));
    return token_find_one(&subject->token, options_argument(run->options),
                          options_value(run->options, OPTION_ID), &subject->key);
}

/* What the key is now, as `indexkey keys` shows it. */
static CK_RV show_subject(const struct run *run, const struct subject *subject)
{
    output_text(run->output, "token", subject->token.label);
    return key_text_show(&subject->token, subject->key, run->output);
}

static CK_RV set_state(struct run *run, CK_ULONG state)
{
    struct subject subject;
    TRY(open_subject(run, &subject));
    TRY(token_check(&subject.token, admin_key_set_state(subject.token.session, subject.key, state),
                    "the change of state"));
    return show_subject(run, &subject);
}

CK_RV command_suspend(struct run *run)
{
    return set_state(run, INDEXKEY_STATE_SUSPENDED);
}

CK_RV command_resume(struct run *run)
{
    return set_state(run, INDEXKEY_STATE_ACTIVE);
}

CK_RV command_deactivate(struct run *run)
{
    return set_state(run, INDEXKEY_STATE_DEACTIVATED);
}

CK_RV command_compromise(struct run *run)
{
    return set_state(run, INDEXKEY_STATE_COMPROMISED);
}

CK_RV command_hold(struct run *run)
{
    struct subject subject;
    TRY(open_subject(run, &subject));
    TRY(token_check(&subject.token,
                    admin_key_set_hold(subject.token.session, subject.key,
                                       !options_has(run->options, OPTION_OFF)),
                    "the hold"));
    return show_subject(run, &subject);
}

/* NULL in *ret_time: the option is not given. */
static CK_RV read_time(const struct options *options, enum option_id id, CK_ULONG *time,
                       const CK_ULONG **ret_time)
{
    const char *text = options_value(options, id);
    struct tm parts = {0};
    *ret_time = text == NULL ? NULL : time;
    *time = 0;
    if (text == NULL || strcmp(text, "none") == 0)
        return CKR_OK;
    if (strcmp(text, "now") == 0) {
        *time = (CK_ULONG) clock_utc_s();
        return CKR_OK;
    }
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    time_t seconds = end == NULL || *end != '\0' ? -1 : timegm(&parts);
    if (seconds <= 0)
        return FAIL_TOOL(EXIT_CODE_USAGE,
                         "--%s must be a time in UTC such as 2026-12-31T23:59:59Z, `now` or "
                         "`none`",
                         option_rows[id].name);
    *time = (CK_ULONG) seconds;
    return CKR_OK;
}

CK_RV command_times(struct run *run)
{
    struct subject subject;
    CK_ULONG activation_time;
    CK_ULONG deactivation_time;
    const CK_ULONG *activation;
    const CK_ULONG *deactivation;
    TRY(read_time(run->options, OPTION_ACTIVATION, &activation_time, &activation));
    TRY(read_time(run->options, OPTION_DEACTIVATION, &deactivation_time, &deactivation));
    if (activation == NULL && deactivation == NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "times: give --activation, --deactivation, or both");
    TRY(open_subject(run, &subject));
    TRY(token_check(
        &subject.token,
        admin_key_set_times(subject.token.session, subject.key, activation, deactivation),
        "the change of times"));
    return show_subject(run, &subject);
}

CK_RV command_rotate(struct run *run)
{
    struct subject subject;
    CK_OBJECT_HANDLE new_key;
    if (options_has(run->options, OPTION_TOKEN_KEY))
        return command_rotate_token_key(run);
    TRY(open_subject(run, &subject));
    TRY(token_check(&subject.token, admin_key_rotate(subject.token.session, subject.key, &new_key),
                    "the rotation"));
    output_text(run->output, "token", subject.token.label);
    output_list(run->output, "keys", KEY_TEXT_COLUMNS);
    const CK_OBJECT_HANDLE both[] = {new_key, subject.key};
    CK_RV rv = CKR_OK;
    for (size_t i = 0; rv == CKR_OK && i < 2; i++) {
        output_record(run->output);
        rv = key_text_show(&subject.token, both[i], run->output);
        output_end_record(run->output);
    }
    output_end_list(run->output);
    return rv;
}

CK_RV command_destroy(struct run *run)
{
    struct subject subject;
    _cleanup_(blob_clear) struct blob label = {0};
    TRY(open_subject(run, &subject));
    TRY(object_bytes(&subject.token, subject.key, CKA_LABEL, &label));
    TRY(confirm(run->options, "destroy the key", blob_view(&label)));
    TRY(show_subject(run, &subject));
    return token_check(&subject.token, C_DestroyObject(subject.token.session, subject.key),
                       "C_DestroyObject");
}
