#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/secret.h"
#include "module/admin_check.h"
#include "tools/check_files.h"
#include "tools/command.h"
#include "tools/report.h"
#include "tools/sections.h"
#include "tools/token.h"

/* AWS refuses requests that are five minutes off; tokens and certificates suffer earlier. */
#define CLOCK_WARN_S 60
#define CLOCK_FAIL_S 300
#define PROBE_LEN 32
#define EXPIRY_WARN_S (INT64_C(30) * 24 * 60 * 60)

static void check_memory(struct report *report)
{
    _cleanup_(secret_clear) struct secret probe = {0};
    if (secret_new(PROBE_LEN, &probe) == CKR_OK && secrets_are_locked())
        report_ok(report, "memory", "keys are kept out of swap and cores");
    else
        report_warn(report, "memory",
                    "keys may be swapped out: this user may not lock memory; raise its "
                    "RLIMIT_MEMLOCK (ulimit -l)");
}

static void check_clock(struct report *report)
{
    int64_t ahead_s;
    if (!admin_check_clock(&ahead_s))
        return;
    long long off_s = ahead_s < 0 ? -(long long) ahead_s : (long long) ahead_s;
    const char *direction = ahead_s < 0 ? "ahead of" : "behind";
    if (off_s >= CLOCK_FAIL_S)
        report_fail(report, "clock", EXIT_CODE_FAILED,
                    "this host's clock is %lld s %s the source's; set it (chrony, ntpd)", off_s,
                    direction);
    else if (off_s >= CLOCK_WARN_S)
        report_warn(report, "clock",
                    "this host's clock is %lld s %s the source's; set it (chrony, ntpd)", off_s,
                    direction);
    else
        report_ok(report, "clock", "%lld s off the source's", off_s);
}

/* A source that is reached by plain http is on this host. */
static bool has_tls(const struct conf_section *section)
{
    static const char *const addresses[] = {"vault_addr", "endpoint", "vault_url"};
    static const char *const remote[] = {"vault", "aws", "azure", "gcp", "kmip"};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        if (strncmp(conf_string(section, addresses[i], ""), "http:", 5) == 0)
            return false;
    }
    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
        if (strcmp(conf_string(section, "source", ""), remote[i]) == 0)
            return true;
    }
    return false;
}

/* False: nobody there who could be asked more. */
static bool check_source(struct report *report, const struct token *token,
                         const struct conf_section *section)
{
    bool initialized;
    int64_t began_ms = clock_boot_ms();
    cause_clear();
    CK_RV rv = admin_check_source(token->slot, &initialized);
    (void) failure_of(rv, cause_last(), "the source");
    bool tls_failed = rv != CKR_OK && failure_last()->cause == INDEXKEY_CAUSE_TLS;
    if (rv != CKR_OK)
        report_failure(report, tls_failed ? "tls" : "source");
    else
        report_ok(report, "source", "%s in %lld ms",
                  initialized ? "it unwrapped the token's data key"
                              : "it wrapped and unwrapped a key made for this check",
                  (long long) (clock_boot_ms() - began_ms));
    if (rv == CKR_OK && has_tls(section))
        report_ok(report, "tls", "TLS 1.2 or later, certificate verified");
    check_clock(report);
    return rv == CKR_OK || cause_is_denial(failure_last()->cause);
}

/* Never a fail: who may unwrap need not be permitted to ask, and what keeps the key from unwrapping
 * is the source's fail already. */
static void check_root_key(struct report *report, const struct token *token,
                           const struct conf_section *section)
{
    static const char check[] = "root-key";
    struct admin_root_key key;
    cause_clear();
    CK_RV rv = admin_check_root_key(token->slot, &key);
    if (rv == CKR_FUNCTION_NOT_SUPPORTED) {
        report_ok(report, check, "source = %s tells nothing of its key",
                  conf_string(section, "source", ""));
        return;
    }
    if (failure_of(rv, cause_last(), "the source") != CKR_OK)
        report_warn(report, check, "%s", failure_last()->text);
    else if (!key.is_usable)
        report_warn(report, check, "it unwraps nothing as it is: %s", key.text);
    else if (key.deletion_s != 0)
        report_warn(report, check, "it will be destroyed: %s", key.text);
    else if (key.expiry_s != 0 && key.expiry_s - clock_utc_s() < EXPIRY_WARN_S)
        report_warn(report, check, "it expires in less than 30 days: %s", key.text);
    else
        report_ok(report, check, "%s", key.text);
}

/* False: nothing more can be asked. */
static bool check_store(struct report *report, struct token *token)
{
    if (token_refresh(token) != CKR_OK) {
        report_failure(report, "store");
        return false;
    }
    if ((token->info.flags & CKF_TOKEN_INITIALIZED) == 0)
        report_warn(report, "store",
                    "no token in it yet; make one: pkcs11-tool --init-token --slot %lu --label %s",
                    (unsigned long) token->slot, token->name);
    else
        report_ok(report, "store", "it opens, in this version's format; token '%s', serial %.16s",
                  token->label, token->info.serialNumber);
    if ((token->info.flags & (CKF_USER_PIN_LOCKED | CKF_SO_PIN_LOCKED)) != 0)
        report_warn(report, "pins", "the %s PIN is locked",
                    (token->info.flags & CKF_SO_PIN_LOCKED) != 0 ? "SO" : "user");
    return true;
}

static bool check_login(struct report *report, struct token *token)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}};
    _cleanup_(mem_free_pointer) CK_OBJECT_HANDLE *keys = NULL;
    size_t count;
    int64_t began_ms = clock_boot_ms();
    if (token_login(token, report->run->options) != CKR_OK ||
        token_find(token, template, 1, &keys, &count) != CKR_OK) {
        report_failure(report, "login");
        return false;
    }
    report_ok(report, "login", "in %lld ms; %zu secret keys, subkeys among them",
              (long long) (clock_boot_ms() - began_ms), count);
    return true;
}

static void check_token(struct report *report, struct token *token,
                        const struct conf_section *section)
{
    const struct options *options = report->run->options;
    bool may_ask = false;
    report->subject = token->name;
    if (section == NULL || section->bad || !token->is_present) {
        report_fail(report, "section", EXIT_CODE_CONFIG,
                    "wrong, so this token is absent; the lines above say why");
        return;
    }
    check_files(report, section);
    if (!check_store(report, token))
        return;
    /* Under `login = credential` the source's credential is the PIN. */
    if (strcmp(conf_string(section, "source", ""), "") != 0 &&
        conf_choice(section, "login", 0) != 1)
        may_ask = check_source(report, token, section);
    else
        report_warn(report, "source",
                    "not asked: under login = credential its credential is the PIN; give "
                    "--token and --pin-file");
    bool initialized = (token->info.flags & CKF_TOKEN_INITIALIZED) != 0;
    if (initialized &&
        (token_has_pin(options) || (token->info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0))
        may_ask = check_login(report, token) || may_ask;
    if (may_ask)
        check_root_key(report, token, section);
}

static bool is_wanted(const struct token *token, const struct token *selected)
{
    return selected == NULL || selected->slot == token->slot;
}

static CK_RV check_tokens(struct report *report, const struct conf *conf)
{
    _cleanup_(mem_free_pointer) struct token *tokens = NULL;
    const char *wanted = options_value(report->run->options, OPTION_TOKEN);
    size_t count;
    TRY(tokens_list(&tokens, &count));
    if (token_has_pin(report->run->options) && wanted == NULL && count > 1)
        return FAIL_TOOL(EXIT_CODE_USAGE, "a PIN is of one token; name it by --token");
    const struct token *selected = NULL;
    if (wanted != NULL)
        TRY(token_pick(tokens, count, wanted, &selected));
    for (size_t i = 0; i < count; i++) {
        if (is_wanted(&tokens[i], selected))
            check_token(report, &tokens[i], sections_find(conf, tokens[i].name));
    }
    return CKR_OK;
}

static CK_RV check_all(struct report *report)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    _cleanup_(mem_free_pointer) char *path = NULL;
    size_t count;
    if (sections_load(report->run->options, report_take_line, report, &conf, &path) != CKR_OK)
        return CKR_OK;
    (void) conf_tokens(conf, &count);
    if (path == NULL)
        report_fail(report, "file", EXIT_CODE_NOT_FOUND,
                    "none: name it by --conf or INDEXKEY_CONF, or write "
                    "/etc/indexkey/indexkey.conf");
    else
        report_ok(report, "file", "%s: %zu tokens", path, count);
    failure_divert(report_take_line, report);
    CK_RV rv = tokens_begin(report->run->options);
    failure_divert(NULL, NULL);
    if (rv != CKR_OK)
        return CKR_OK;
    check_memory(report);
    return check_tokens(report, conf);
}

CK_RV command_check(struct run *run)
{
    struct report report;
    report_begin(&report, run);
    CK_RV rv = check_all(&report);
    report_end(&report);
    return rv;
}
