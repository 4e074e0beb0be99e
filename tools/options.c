#include "tools/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/rv.h"
#include "conf/conf_nearest.h"
#include "tools/command.h"

const struct option_row option_rows[OPTION_COUNT] = {
    [OPTION_HELP] = {"help", NULL, "shows this"},
    [OPTION_VERSION] = {"version", NULL, "shows the version"},
    [OPTION_JSON] = {"json", NULL, "one JSON document in place of text"},
    [OPTION_CONF] = {"conf", "FILE", "the configuration, in place of INDEXKEY_CONF"},
    [OPTION_TOKEN] = {"token", "LABEL|SLOT",
                      "the token, by its label, its section's name or its slot"},
    [OPTION_PIN_FILE] = {"pin-file", "FILE", "the user PIN: the first line of a file, mode 600"},
    [OPTION_PIN_ENV] = {"pin-env", "NAME", "the user PIN: an environment variable"},
    [OPTION_SO_PIN_FILE] = {"so-pin-file", "FILE", "the SO PIN: as --pin-file"},
    [OPTION_SO_PIN_ENV] = {"so-pin-env", "NAME", "the SO PIN: as --pin-env"},
    [OPTION_YES] = {"yes", NULL, "without asking at the terminal"},
    [OPTION_LABEL] = {"label", "LABEL", "the new key's label"},
    [OPTION_ID] = {"id", "HEX", "the key's CKA_ID, in hexadecimal"},
    [OPTION_FROM_MODULE] = {"from-module", "FILE", "the PKCS #11 module that has the key"},
    [OPTION_FROM_TOKEN] = {"from-token", "LABEL", "its token"},
    [OPTION_FROM_LABEL] = {"from-label", "LABEL", "the key's label there"},
    [OPTION_FROM_ID] = {"from-id", "HEX", "the key's CKA_ID there"},
    [OPTION_FROM_PIN_FILE] = {"from-pin-file", "FILE", "the user PIN there: as --pin-file"},
    [OPTION_FROM_PIN_ENV] = {"from-pin-env", "NAME", "the user PIN there: as --pin-env"},
    [OPTION_TO_MODULE] = {"to-module", "FILE", "the PKCS #11 module that the key goes to"},
    [OPTION_TO_TOKEN] = {"to-token", "LABEL", "its token"},
    [OPTION_TO_KEY] = {"to-key", "LABEL", "its RSA key pair, which migrate_to pins"},
    [OPTION_TO_PIN_FILE] = {"to-pin-file", "FILE", "the user PIN there: as --pin-file"},
    [OPTION_TO_PIN_ENV] = {"to-pin-env", "NAME", "the user PIN there: as --pin-env"},
    [OPTION_ACCEPT] = {"accept", NULL, "takes the store as it is for the newest"},
    [OPTION_PUBLIC_KEY] = {"public-key", "HEX|FILE",
                           "the token's audit public key; a file may have several, a line each"},
    [OPTION_HEAD] = {"head", "FILE", "signed lines of the log that were kept elsewhere"},
    [OPTION_PENDING] = {"pending", NULL, "those that were destroyed and can be had back"},
    [OPTION_UNIQUE_ID] = {"unique-id", "HEX", "the key's CKA_UNIQUE_ID"},
    [OPTION_ACTIVATION] = {"activation", "TIME|none",
                           "active from then on: 2026-12-31T23:59:59Z, or `now`"},
    [OPTION_DEACTIVATION] = {"deactivation", "TIME|none", "no longer active from then on"},
    [OPTION_OFF] = {"off", NULL, "ends it"},
    [OPTION_TOKEN_KEY] = {"token-key", NULL, "the key that seals the store; takes both PINs"},
    [OPTION_FORCE] = {"force", NULL, "over the same token, newer than the backup as it is"},
};

bool options_has(const struct options *options, enum option_id id)
{
    return options->values[id] != NULL;
}

const char *options_value(const struct options *options, enum option_id id)
{
    return options->values[id];
}

const char *options_argument(const struct options *options)
{
    return options->argument_count == 0 ? NULL : options->arguments[0];
}

/* Of one or two words; *ret_words of argv are its name. */
static const struct command *find_command(int argc, char **argv, int *ret_words)
{
    size_t count;
    const struct command *all = commands_all(&count);
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(all[i].name, " ");
        const char *second = all[i].name[len] == '\0' ? NULL : all[i].name + len + 1;
        if (strncmp(all[i].name, argv[1], len) != 0 || argv[1][len] != '\0')
            continue;
        if (second != NULL && (argc < 3 || strcmp(second, argv[2]) != 0))
            continue;
        *ret_words = second == NULL ? 1 : 2;
        return &all[i];
    }
    return NULL;
}

static CK_RV refuse_command(const char *wanted)
{
    size_t count;
    const struct command *all = commands_all(&count);
    struct conf_nearest nearest = conf_nearest_to(wanted);
    for (size_t i = 0; i < count; i++)
        conf_nearest_offer(&nearest, all[i].name, strlen(all[i].name));
    if (nearest.best != NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "'%s' is no command (nearest: '%s'); see indexkey help",
                         wanted, nearest.best);
    return FAIL_TOOL(EXIT_CODE_USAGE, "'%s' is no command; see indexkey help", wanted);
}

/* What stands behind the `=` may be a secret. */
static CK_RV refuse_option(const struct command *command, const char *given)
{
    char name[CONF_NEAREST_MAX + 1];
    given += strspn(given, "-");
    (void) snprintf(name, sizeof(name), "%.*s", (int) strcspn(given, "="), given);
    if (strcmp(name, "pin") == 0 || strcmp(name, "so-pin") == 0)
        return FAIL_TOOL(EXIT_CODE_USAGE,
                         "a PIN is never given on the command line, which all users can see; use "
                         "--%s-file or --%s-env",
                         name, name);
    struct conf_nearest nearest = conf_nearest_to(name);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if ((command->options & OPTION_BIT(i)) != 0)
            conf_nearest_offer(&nearest, option_rows[i].name, strlen(option_rows[i].name));
    }
    if (nearest.best != NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE,
                         "%s: unknown option '--%s' (nearest: '--%s'); see indexkey help %s",
                         command->name, name, nearest.best, command->name);
    return FAIL_TOOL(EXIT_CODE_USAGE, "%s: unknown option '--%s'; see indexkey help %s",
                     command->name, name, command->name);
}

/* Only what the command takes, so that abbreviations are those of its own options. */
static void fill_long_options(const struct command *command, struct option out[OPTION_COUNT + 1])
{
    size_t count = 0;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if ((command->options & OPTION_BIT(i)) == 0)
            continue;
        out[count++] = (struct option){
            .name = option_rows[i].name,
            .has_arg = option_rows[i].argument == NULL ? no_argument : required_argument,
            /* Above what getopt_long uses itself: ':', '?'. */
            .val = (int) i + 256,
        };
    }
    out[count] = (struct option){0};
}

static CK_RV set_option(struct options *options, int id)
{
    const char **value = &options->values[id];
    if (*value != NULL && option_rows[id].argument != NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "--%s is given twice; leave one out",
                         option_rows[id].name);
    *value = option_rows[id].argument == NULL ? "" : optarg;
    return CKR_OK;
}

static CK_RV read_options(int argc, char **argv, struct options *options)
{
    const struct command *command = options->command;
    struct option long_options[OPTION_COUNT + 1];
    fill_long_options(command, long_options);
    optind = 0;
    opterr = 0;
    for (;;) {
        int id = getopt_long(argc, argv, ":", long_options, NULL);
        if (id == -1)
            break;
        if (id == ':')
            return FAIL_TOOL(EXIT_CODE_USAGE, "%s: %s needs a value; see indexkey help %s",
                             command->name, argv[optind - 1], command->name);
        if (id == '?')
            return refuse_option(command, argv[optind - 1]);
        TRY(set_option(options, id - 256));
    }
    size_t count = (size_t) (argc - optind);
    if (options_has(options, OPTION_HELP))
        return CKR_OK;
    if (count > command->arguments_max || count < command->arguments_min)
        return FAIL_TOOL(EXIT_CODE_USAGE, "%s: %s; usage: indexkey %s %s", command->name,
                         count > command->arguments_max ? "too many arguments"
                                                        : "an argument is missing",
                         command->name, command->arguments);
    for (size_t i = 0; i < count; i++)
        options->arguments[i] = argv[optind + (int) i];
    options->argument_count = count;
    return CKR_OK;
}

static bool is_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Known before the rest, so that a line that is not understood is answered in JSON too. */
static const char *find_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return "";
    }
    return NULL;
}

CK_RV options_read(int argc, char **argv, struct options *ret_options)
{
    int words;
    *ret_options = (struct options){.values[OPTION_JSON] = find_json(argc, argv)};
    if (argc < 2)
        return FAIL_TOOL(EXIT_CODE_USAGE, "no command; see indexkey help");
    if (strcmp(argv[1], "--version") == 0) {
        ret_options->values[OPTION_VERSION] = "";
        return CKR_OK;
    }
    if (is_help(argv[1])) {
        ret_options->values[OPTION_HELP] = "";
        if (argc == 2)
            return CKR_OK;
        argv++;
        argc--;
    }
    const struct command *command = find_command(argc, argv, &words);
    if (command == NULL)
        return refuse_command(argv[1]);
    ret_options->command = command;
    /* getopt_long passes over argv[0]: the command's last word takes its place. */
    return read_options(argc - words, argv + words, ret_options);
}
