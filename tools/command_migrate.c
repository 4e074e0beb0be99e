/* An index key, or its subkeys, on another module. */
#include "tools/command.h"
#include "tools/migrate.h"
#include "tools/other_module.h"
#include "tools/token.h"

/* One of the two ways to bring a key there. */
struct way {
    CK_RV (*transfer)(const struct provision_job *job);
    CK_RV (*check)(const struct provision_job *job);
    CK_RV (*tell)(const struct provision_job *job, struct output *output);
};

static CK_RV check_usage(const struct options *options)
{
    const char *command = options->command->name;
    if (!options_has(options, OPTION_TO_MODULE))
        return FAIL_TOOL(EXIT_CODE_USAGE, "%s: which module does it go to? name it by --to-module",
                         command);
    if (!options_has(options, OPTION_TO_KEY))
        return FAIL_TOOL(EXIT_CODE_USAGE,
                         "%s: what is it wrapped to? name the RSA key pair there by --to-key",
                         command);
    return CKR_OK;
}

/* The approvals of a second person are those in the configuration's folder. */
static CK_RV run_way(struct run *run, const struct way *way)
{
    static const struct other_module_options names = {OPTION_TO_MODULE, OPTION_TO_TOKEN,
                                                      OPTION_TO_PIN_FILE, OPTION_TO_PIN_ENV};
    const struct options *options = run->options;
    struct token token = {0};
    CK_FUNCTION_LIST *calls = NULL;
    _cleanup_(other_module_close) struct other_module other = {0};
    TRY(check_usage(options));
    TRY(token_select(options, &token));
    TRY(token_login(&token, options));
    TRY(token_check(&token, C_GetFunctionList(&calls), "C_GetFunctionList"));
    TRY(other_module_open(options, &names, &other));
    const struct provision_job job = {
        .from = {"this token", calls, token.session},
        .to = {"the other module", other.calls, other.session},
        .label = options_argument(options),
        .rsa_label = options_value(options, OPTION_TO_KEY),
    };
    TRY(token_check(&token, way->transfer(&job), "the transfer"));
    TRY(token_check(&token, way->check(&job), "the comparison"));
    output_text(run->output, "token", token.label);
    TRY(token_check(&token, way->tell(&job, run->output), "the list of keys"));
    output_text(run->output, "note",
                "compared: both modules give the same answers with these keys");
    return CKR_OK;
}

static CK_RV tell_index_key(const struct provision_job *job, struct output *output)
{
    output_word(output, "keys", job->label);
    return CKR_OK;
}

/* Some may be missing there, as a policy kept them back. */
static CK_RV tell_subkeys(const struct provision_job *job, struct output *output)
{
    for (unsigned char purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        char label[PEER_LABEL_LEN];
        CK_ULONG count = 0;
        TRY(provision_label(job, purpose, label));
        TRY(peer_count(&job->to, CKO_SECRET_KEY, label, &count));
        if (count > 0)
            output_word(output, "keys", label);
    }
    return CKR_OK;
}

CK_RV command_migrate(struct run *run)
{
    static const struct way way = {migrate_transfer, migrate_check, tell_index_key};
    return run_way(run, &way);
}

CK_RV command_provision(struct run *run)
{
    static const struct way way = {provision_transfer, provision_check, tell_subkeys};
    return run_way(run, &way);
}
