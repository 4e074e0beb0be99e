#include "tools/command.h"

#define OFFLINE (OPTION_BIT(OPTION_JSON) | OPTION_BIT(OPTION_HELP))
#define COMMON (OFFLINE | OPTION_BIT(OPTION_CONF))
#define TOKEN (COMMON | OPTION_BIT(OPTION_TOKEN))
#define USER (TOKEN | OPTION_BIT(OPTION_PIN_FILE) | OPTION_BIT(OPTION_PIN_ENV))
#define SO (TOKEN | OPTION_BIT(OPTION_SO_PIN_FILE) | OPTION_BIT(OPTION_SO_PIN_ENV))
#define LOGIN (USER | SO)

#define KEY (LOGIN | OPTION_BIT(OPTION_ID))
#define TO                                                                                         \
    (USER | OPTION_BIT(OPTION_TO_MODULE) | OPTION_BIT(OPTION_TO_TOKEN) |                           \
     OPTION_BIT(OPTION_TO_KEY) | OPTION_BIT(OPTION_TO_PIN_FILE) | OPTION_BIT(OPTION_TO_PIN_ENV))

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
        .options = KEY | OPTION_BIT(OPTION_PENDING),
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
    {
        .name = "migrate",
        .arguments = "KEY",
        .summary = "puts an index key on another module that derives its subkeys",
        .arguments_min = 1,
        .arguments_max = 1,
        .options = TO,
        .run = command_migrate,
    },
    {
        .name = "provision",
        .arguments = "KEY",
        .summary = "puts the subkeys of an index key on another module",
        .arguments_min = 1,
        .arguments_max = 1,
        .options = TO,
        .run = command_provision,
    },
    {
        .name = "rotate",
        .arguments = "[KEY]",
        .summary = "makes a new version of a key, which takes its label; or a new token key",
        .arguments_max = 1,
        .options = KEY | OPTION_BIT(OPTION_TOKEN_KEY),
        .run = command_rotate,
    },
    {
        .name = "suspend",
        .arguments = "[KEY]",
        .summary = "refuses every use of a key for a time",
        .arguments_max = 1,
        .options = KEY,
        .run = command_suspend,
    },
    {
        .name = "resume",
        .arguments = "[KEY]",
        .summary = "ends a suspension",
        .arguments_max = 1,
        .options = KEY,
        .run = command_resume,
    },
    {
        .name = "deactivate",
        .arguments = "[KEY]",
        .summary = "ends what a key protects anew; it reads on; for good",
        .arguments_max = 1,
        .options = KEY,
        .run = command_deactivate,
    },
    {
        .name = "compromise",
        .arguments = "[KEY]",
        .summary = "marks a key as known to others; it reads on; for good",
        .arguments_max = 1,
        .options = KEY,
        .run = command_compromise,
    },
    {
        .name = "times",
        .arguments = "[KEY]",
        .summary = "sets from when on a key is active, and no longer",
        .arguments_max = 1,
        .options = KEY | OPTION_BIT(OPTION_ACTIVATION) | OPTION_BIT(OPTION_DEACTIVATION),
        .run = command_times,
    },
    {
        .name = "hold",
        .arguments = "[KEY]",
        .summary = "keeps a key from being destroyed, until it is called with --off",
        .arguments_max = 1,
        .options = KEY | OPTION_BIT(OPTION_OFF),
        .run = command_hold,
    },
    {
        .name = "destroy",
        .arguments = "[KEY]",
        .summary = "destroys a key; with undo_window it can be had back for that time",
        .arguments_max = 1,
        .options = KEY | OPTION_BIT(OPTION_YES),
        .run = command_destroy,
    },
    {
        .name = "undelete",
        .arguments = "[KEY]",
        .summary = "has a destroyed key back; see keys --pending",
        .arguments_max = 1,
        .options = LOGIN | OPTION_BIT(OPTION_UNIQUE_ID),
        .run = command_undelete,
    },
    {
        .name = "purge",
        .arguments = "",
        .summary = "removes for good the destroyed keys whose time is over",
        .options = LOGIN,
        .run = command_purge,
    },
    {
        .name = "shred",
        .arguments = "",
        .summary = "makes what was destroyed unreadable in every copy of its rows",
        .options = LOGIN,
        .run = command_shred,
    },
    {
        .name = "rewrap",
        .arguments = "",
        .summary = "wraps the token's data key under the newest version of the source's key",
        .options = LOGIN,
        .run = command_rewrap,
    },
    {
        .name = "backup",
        .arguments = "FILE",
        .summary = "writes the whole token, sealed, into a new file",
        .arguments_min = 1,
        .arguments_max = 1,
        .options = LOGIN,
        .run = command_backup,
    },
    {
        .name = "restore",
        .arguments = "FILE",
        .summary = "puts a backup into an empty store, on any host with access to the source",
        .arguments_min = 1,
        .arguments_max = 1,
        .options = LOGIN | OPTION_BIT(OPTION_FORCE) | OPTION_BIT(OPTION_YES),
        .run = command_restore,
    },
    {
        .name = "anchor",
        .arguments = "",
        .summary = "with --accept, takes a store that was put back on purpose for the newest",
        .options = SO | OPTION_BIT(OPTION_ACCEPT),
        .run = command_anchor,
    },
    {
        .name = "reset",
        .arguments = "",
        .summary = "wipes a token whose source is gone for good, and begins a new one",
        .options = SO | OPTION_BIT(OPTION_LABEL),
        .run = command_reset,
    },
    {
        .name = "usage",
        .arguments = "LOG...",
        .summary = "counts the uses of keys by key, mechanism and day, from audit logs",
        .arguments_min = 1,
        .arguments_max = ARGUMENTS_MAX,
        .options = OFFLINE,
        .run = command_usage,
    },
    {
        .name = "audit show",
        .arguments = "LOG...",
        .summary = "shows the lines of audit logs, oldest file first",
        .arguments_min = 1,
        .arguments_max = ARGUMENTS_MAX,
        .options = OFFLINE,
        .run = command_audit_show,
    },
    {
        .name = "audit verify",
        .arguments = "LOG...",
        .summary = "verifies audit logs, oldest file first",
        .arguments_min = 1,
        .arguments_max = ARGUMENTS_MAX,
        .options = LOGIN | OPTION_BIT(OPTION_PUBLIC_KEY) | OPTION_BIT(OPTION_HEAD),
        .run = command_audit_verify,
    },
    {
        .name = "audit key",
        .arguments = "",
        .summary = "shows the token's audit public key, for whoever verifies its logs",
        .options = LOGIN,
        .run = command_audit_key,
    },
};

const struct command *commands_all(size_t *ret_count)
{
    *ret_count = sizeof(commands) / sizeof(commands[0]);
    return commands;
}
