#include "tools/command.h"

#define COMMON (OPTION_BIT(OPTION_CONF) | OPTION_BIT(OPTION_JSON) | OPTION_BIT(OPTION_HELP))
#define TOKEN (COMMON | OPTION_BIT(OPTION_TOKEN))
#define LOGIN (TOKEN | OPTION_BIT(OPTION_PIN_FILE) | OPTION_BIT(OPTION_PIN_ENV))

static const struct command commands[] = {
    {
        .name = "check",
        .arguments = "",
        .summary = "looks at configuration, permissions, stores and sources; a line for each",
        .options = LOGIN,
        .run = command_check,
    },
    {
        .name = "status",
        .arguments = "",
        .summary = "shows the tokens; with a PIN, how many keys they hold",
        .options = LOGIN,
        .run = command_status,
    },
    {
        .name = "keys",
        .arguments = "[KEY]",
        .summary = "lists the keys of a token",
        .arguments_max = 1,
        .options = LOGIN | OPTION_BIT(OPTION_ID),
        .run = command_keys,
    },
    {
        .name = "import",
        .arguments = "[FILE|-]",
        .summary = "takes an index key from a base64 file, standard input or another module",
        .arguments_max = 1,
        .options = LOGIN | OPTION_BIT(OPTION_LABEL) | OPTION_BIT(OPTION_ID) |
                   OPTION_BIT(OPTION_FROM_MODULE) | OPTION_BIT(OPTION_FROM_TOKEN) |
                   OPTION_BIT(OPTION_FROM_LABEL) | OPTION_BIT(OPTION_FROM_ID) |
                   OPTION_BIT(OPTION_FROM_PIN_FILE) | OPTION_BIT(OPTION_FROM_PIN_ENV),
        .run = command_import,
    },
};

const struct command *commands_all(size_t *ret_count)
{
    *ret_count = sizeof(commands) / sizeof(commands[0]);
    return commands;
}
