#include "tools/help.h"

#include <stdio.h>

#include "tools/command.h"

static void show_options(uint64_t bits)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        char head[48];
        if ((bits & OPTION_BIT(i)) == 0)
            continue;
        (void) snprintf(head, sizeof(head), "--%s%s%s", row->name, row->argument == NULL ? "" : " ",
                        row->argument == NULL ? "" : row->argument);
        (void) printf("  %-24s %s\n", head, row->help);
    }
}

static void show_command(const struct command *command)
{
    (void) printf("usage: indexkey %s [OPTIONS]%s%s\n\n%s.\n\n", command->name,
                  *command->arguments == '\0' ? "" : " ", command->arguments, command->summary);
    show_options(command->options);
}

static void show_all(void)
{
    size_t count;
    const struct command *all = commands_all(&count);
    (void) printf("usage: indexkey COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n");
    for (size_t i = 0; i < count; i++) {
        char head[48];
        (void) snprintf(head, sizeof(head), "%s %s", all[i].name, all[i].arguments);
        (void) printf("  %-24s %s\n", head, all[i].summary);
    }
    (void) printf("\n`indexkey help COMMAND` shows its options; indexkey(1) tells the rest.\n");
}

void help_show(const struct options *options)
{
    if (options->command == NULL)
        show_all();
    else
        show_command(options->command);
}
