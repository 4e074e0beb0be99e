#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "module/admin_audit.h"
#include "tokens/audit_line.h"
#include "tokens/audit_verify.h"
#include "tools/command.h"
#include "tools/input.h"
#include "tools/logs.h"
#include "tools/token.h"

#define PUBLIC_KEYS_MAX 64
#define FINDINGS "found file line detail"
#define HEX_LEN (2 * (size_t) ED25519_PUBLIC_LEN)

/* ---- show ---- */

static const struct {
    enum audit_field field;
    const char *name;
} shown[] = {
    {AUDIT_TIME, "time"},     {AUDIT_TOKEN, "token"},         {AUDIT_EVENT, "event"},
    {AUDIT_PHASE, "phase"},   {AUDIT_ROLE, "role"},           {AUDIT_PID, "pid"},
    {AUDIT_UID, "uid"},       {AUDIT_PROGRAM, "program"},     {AUDIT_KEY, "key"},
    {AUDIT_LABEL, "label"},   {AUDIT_MECHANISM, "mechanism"}, {AUDIT_USES, "uses"},
    {AUDIT_RESULT, "result"}, {AUDIT_CAUSE, "cause"},
};

static void show_line(const struct audit_line *line, struct output *output)
{
    output_record(output);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        if (audit_line_has(line, shown[i].field))
            output_view(output, shown[i].name, line->values[shown[i].field]);
    }
    output_end_record(output);
}

/* Returns the number of lines that are none of an audit log. */
static size_t show_file(const struct audit_input *file, struct output *output)
{
    const unsigned char *at = file->text.bytes;
    const unsigned char *end = at + file->text.len;
    size_t strange = 0;
    while (at < end) {
        const unsigned char *line_end = memchr(at, '\n', (size_t) (end - at));
        struct audit_line line;
        if (line_end == NULL)
            line_end = end;
        if (audit_line_parse((struct view){at, (size_t) (line_end - at)}, &line))
            show_line(&line, output);
        else
            strange++;
        at = line_end + 1;
    }
    return strange;
}

CK_RV command_audit_show(struct run *run)
{
    _cleanup_(logs_clear) struct logs logs = {0};
    size_t strange = 0;
    TRY(logs_read(run->options, &logs));
    output_list(run->output, "lines", "time role event phase label mechanism result");
    for (size_t i = 0; i < logs.count; i++)
        strange += show_file(&logs.files[i], run->output);
    output_end_list(run->output);
    output_number(run->output, "other_lines", strange);
    return CKR_OK;
}

/* ---- verify ---- */

struct keys {
    unsigned char bytes[PUBLIC_KEYS_MAX][ED25519_PUBLIC_LEN];
    size_t count;
};

static bool add_key(struct view text, struct keys *keys)
{
    char hex[HEX_LEN + 1];
    size_t len;
    if (text.len != HEX_LEN || keys->count == PUBLIC_KEYS_MAX)
        return false;
    memcpy(hex, text.bytes, HEX_LEN);
    hex[HEX_LEN] = '\0';
    if (!input_parse_hex(hex, keys->bytes[keys->count], ED25519_PUBLIC_LEN, &len) ||
        len != ED25519_PUBLIC_LEN)
        return false;
    keys->count++;
    return true;
}

static bool add_lines(struct view text, struct keys *keys)
{
    while (text.len > 0) {
        const unsigned char *end = memchr(text.bytes, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t) (end - text.bytes);
        if (len > 0 && !add_key((struct view){text.bytes, len}, keys))
            return false;
        len += end != NULL;
        text = (struct view){text.bytes + len, text.len - len};
    }
    return keys->count > 0;
}

static CK_RV read_keys(const struct options *options, struct keys *keys)
{
    const char *given = options_value(options, OPTION_PUBLIC_KEY);
    struct audit_input file;
    keys->count = 0;
    if (add_key(view_text(given), keys))
        return CKR_OK;
    TRY(logs_read_file(given, &file));
    bool good = add_lines(file.text, keys);
    mem_free((void *) (uintptr_t) file.text.bytes);
    if (!good)
        return FAIL_TOOL(EXIT_CODE_FAILED,
                         "%s: must have a public key of %zu hexadecimal digits on each line, at "
                         "most %d",
                         given, HEX_LEN, PUBLIC_KEYS_MAX);
    return CKR_OK;
}

static void show_finding(void *context, const struct audit_finding *finding)
{
    struct output *output = context;
    output_record(output);
    output_text(output, "found", audit_found_name(finding->kind));
    output_text(output, "file", finding->file);
    output_number(output, "line", finding->line);
    output_text(output, "detail", finding->text);
    output_end_record(output);
}

static void show_verdict(const struct audit_verdict *verdict, struct run *run)
{
    output_flag(run->output, "good", verdict->wrong == 0);
    output_number(run->output, "lines", verdict->lines);
    output_number(run->output, "writers", verdict->writers);
    output_number(run->output, "good_signatures", verdict->good_signatures);
    output_number(run->output, "wrong", verdict->wrong);
    output_number(run->output, "unproved", verdict->unproved);
    if (verdict->wrong > 0)
        run->exit = EXIT_CODE_TAMPERED;
}

/* Without the token: whoever holds its public keys. */
static CK_RV verify_alone(struct run *run, struct audit_verification *verification,
                          struct audit_verdict *verdict)
{
    struct keys keys;
    TRY(read_keys(run->options, &keys));
    verification->public_keys = keys.bytes;
    verification->public_key_count = keys.count;
    /* C_Initialize, which would do it, needs a configuration. */
    TRY(failure_of(crypto_init(), INDEXKEY_CAUSE_NONE, "OpenSSL"));
    output_list(run->output, "findings", FINDINGS);
    CK_RV rv = audit_verify(verification, verdict);
    output_end_list(run->output);
    crypto_finish();
    return failure_of(rv, INDEXKEY_CAUSE_NONE, "verifying the logs");
}

/* By the token's own keys, that of the MACs too. */
static CK_RV verify_logged_in(struct run *run, const struct audit_verification *verification,
                              struct audit_verdict *verdict)
{
    struct token token = {0};
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    output_list(run->output, "findings", FINDINGS);
    CK_RV rv = admin_audit_verify(token.session, verification, verdict);
    output_end_list(run->output);
    return token_check(&token, rv, "verifying the logs");
}

CK_RV command_audit_verify(struct run *run)
{
    const char *head_path = options_value(run->options, OPTION_HEAD);
    _cleanup_(logs_clear) struct logs logs = {0};
    struct audit_input head = {0};
    struct audit_verdict verdict;
    TRY(logs_read(run->options, &logs));
    if (head_path != NULL)
        TRY(logs_read_file(head_path, &head));
    struct audit_verification verification = {
        .files = logs.files,
        .file_count = logs.count,
        .head = head,
        .found = show_finding,
        .context = run->output,
    };
    CK_RV rv = options_has(run->options, OPTION_PUBLIC_KEY)
                   ? verify_alone(run, &verification, &verdict)
                   : verify_logged_in(run, &verification, &verdict);
    mem_free((void *) (uintptr_t) head.text.bytes);
    TRY(rv);
    show_verdict(&verdict, run);
    return CKR_OK;
}

/* ---- key ---- */

CK_RV command_audit_key(struct run *run)
{
    unsigned char public_key[ED25519_PUBLIC_LEN];
    struct token token = {0};
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    TRY(token_check(&token, admin_audit_public_key(token.session, public_key),
                    "the audit public key"));
    output_text(run->output, "token", token.label);
    output_hex(run->output, "public_key", (struct view){public_key, sizeof(public_key)});
    return CKR_OK;
}
