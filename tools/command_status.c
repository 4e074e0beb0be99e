#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "module/admin.h"
#include "tools/command.h"
#include "tools/sections.h"
#include "tools/token.h"

#define LEASE_DEFAULT_MS (UINT64_C(15) * 60 * 1000)
#define GRACE_DEFAULT_MS (UINT64_C(60) * 60 * 1000)

static const char *pin_word(CK_FLAGS flags, CK_FLAGS low, CK_FLAGS final_try, CK_FLAGS locked)
{
    if ((flags & locked) != 0)
        return "locked";
    if ((flags & final_try) != 0)
        return "set, one try left";
    return (flags & low) != 0 ? "set, wrong ones were tried" : "set";
}

static void show_pins(const struct token *token, struct output *output)
{
    CK_FLAGS flags = token->info.flags;
    if ((flags & CKF_TOKEN_INITIALIZED) == 0)
        return;
    output_text(output, "so_pin",
                pin_word(flags, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED));
    output_text(
        output, "user_pin",
        (flags & CKF_USER_PIN_INITIALIZED) == 0
            ? "not set"
            : pin_word(flags, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED));
}

static CK_RV show_section(const struct conf_section *section, struct output *output)
{
    static const char *const logins[] = {"pin", "credential", "ambient"};
    _cleanup_(mem_free_pointer) char *store = NULL;
    if (section == NULL || section->bad)
        return CKR_OK;
    TRY(sections_store_shown(conf_string(section, "store", ""), &store));
    output_text(output, "source", conf_string(section, "source", ""));
    output_text(output, "store", store);
    output_text(output, "login", logins[conf_choice(section, "login", 0)]);
    output_number(output, "lease_seconds",
                  conf_duration_ms(section, "lease", LEASE_DEFAULT_MS) / CLOCK_MS_PER_S);
    output_number(output, "grace_seconds",
                  conf_duration_ms(section, "grace", GRACE_DEFAULT_MS) / CLOCK_MS_PER_S);
    return CKR_OK;
}

static CK_RV show_token(struct token *token, const struct conf *conf, struct output *output)
{
    char serial[sizeof(token->info.serialNumber) + 1] = "";
    CK_RV rv = token->is_present ? token_refresh(token) : CKR_OK;
    bool initialized = (token->info.flags & CKF_TOKEN_INITIALIZED) != 0;
    const char *state = initialized ? "initialised" : "not initialised";
    if (rv != CKR_OK)
        state = "store does not open";
    memcpy(serial, token->info.serialNumber, sizeof(token->info.serialNumber));
    output_text(output, "section", token->name);
    output_number(output, "slot", token->slot);
    output_text(output, "label", initialized ? token->label : NULL);
    output_text(output, "state", token->is_present ? state : "section is wrong");
    output_text(output, "serial", initialized ? serial : NULL);
    output_text(output, "error", rv == CKR_OK ? NULL : failure_last()->text);
    TRY(show_section(sections_find(conf, token->name), output));
    show_pins(token, output);
    return CKR_OK;
}

static CK_RV count_objects(const struct token *token, CK_OBJECT_CLASS class, const char *name,
                           struct output *output)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}};
    _cleanup_(mem_free_pointer) CK_OBJECT_HANDLE *found = NULL;
    size_t count;
    TRY(token_find(token, template, 1, &found, &count));
    output_number(output, name, count);
    return CKR_OK;
}

/* Subkey objects count too: they are what applications find. */
static CK_RV show_open(const struct token *token, struct output *output)
{
    struct admin_status status;
    TRY(token_check(token, admin_token_status(token->slot, &status), "the token's status"));
    output_text(output, "wrapping_key", *status.wrapping_key == '\0' ? NULL : status.wrapping_key);
    output_number(output, "epoch", status.epoch);
    output_number(output, "generation", status.generation);
    return CKR_OK;
}

static CK_RV show_counts(struct token *token, const struct options *options, struct output *output)
{
    TRY(token_login(token, options));
    TRY(show_open(token, output));
    TRY(count_objects(token, CKO_SECRET_KEY, "secret_keys", output));
    return count_objects(token, CKO_DATA, "data_objects", output);
}

static CK_RV show_one(struct run *run, const struct conf *conf)
{
    struct token token = {0};
    TRY(token_select(run->options, &token));
    output_record(run->output);
    CK_RV rv = show_token(&token, conf, run->output);
    if (rv == CKR_OK && token_has_pin(run->options))
        rv = show_counts(&token, run->options, run->output);
    output_end_record(run->output);
    return rv;
}

static CK_RV show_all(struct run *run, const struct conf *conf)
{
    _cleanup_(mem_free_pointer) struct token *tokens = NULL;
    size_t count;
    TRY(tokens_begin(run->options));
    TRY(tokens_list(&tokens, &count));
    for (size_t i = 0; i < count; i++) {
        output_record(run->output);
        CK_RV rv = show_token(&tokens[i], conf, run->output);
        output_end_record(run->output);
        TRY(rv);
    }
    return CKR_OK;
}

/* A PIN is of one token. */
CK_RV command_status(struct run *run)
{
    _cleanup_(conf_free) struct conf *conf = NULL;
    _cleanup_(mem_free_pointer) char *path = NULL;
    bool one = options_has(run->options, OPTION_TOKEN) || token_has_pin(run->options);
    CK_RV rv = sections_load(run->options, failure_drop_line, NULL, &conf, &path);
    if (rv != CKR_OK) {
        /* C_Initialize says why. */
        TRY(tokens_begin(run->options));
        return failure_of(rv, INDEXKEY_CAUSE_CONFIG, "the configuration");
    }
    output_text(run->output, "configuration", path);
    output_list(run->output, "tokens", NULL);
    rv = one ? show_one(run, conf) : show_all(run, conf);
    output_end_list(run->output);
    return rv;
}
