#include "tests/contract/aws_emulator.h"

#include <stdlib.h>
#include <string.h>

#define COMMAND_MAX 8192

const char *aws_emulator_folder(void)
{
    const char *folder = getenv("INDEXKEY_AWS_FOLDER");
    ck_assert_msg(folder != NULL, "INDEXKEY_AWS_FOLDER is not set: see aws_emulators.sh");
    return folder;
}

bool aws_emulator_copy(const char *line, const char *name, char value[AWS_EMULATOR_VALUE_MAX])
{
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || line[len] != '=')
        return false;
    (void) snprintf(value, AWS_EMULATOR_VALUE_MAX, "%s", line + len + 1);
    value[strcspn(value, "\n")] = '\0';
    /* printf %q leaves the values that come here as they are, or in single quotes. */
    if (value[0] == '\'') {
        memmove(value, value + 1, strlen(value));
        value[strcspn(value, "'")] = '\0';
    }
    return true;
}

const char *aws_emulator_variable(const char *name)
{
    static char values[16][AWS_EMULATOR_VALUE_MAX];
    static size_t next;
    char *value = values[next++ % COUNT_OF(values)];
    char path[512];
    char line[AWS_EMULATOR_VALUE_MAX];
    (void) snprintf(path, sizeof(path), "%s/env", aws_emulator_folder());
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    bool found = false;
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = aws_emulator_copy(line, name, value);
    (void) fclose(file);
    ck_assert_msg(found, "no %s in %s", name, path);
    return value;
}

void aws_emulator_run(const char *command, const char *arguments, const char *name,
                      char value[AWS_EMULATOR_VALUE_MAX])
{
    char text[COMMAND_MAX];
    char line[AWS_EMULATOR_VALUE_MAX];
    (void) snprintf(text, sizeof(text), "'%s/aws.sh' %s '%s' %s", FAKE_SERVICE_FOLDER, command,
                    aws_emulator_folder(), arguments);
    FILE *output = popen(text, "r");
    ck_assert_ptr_nonnull(output);
    while (fgets(line, sizeof(line), output) != NULL) {
        if (name == NULL && value != NULL)
            (void) snprintf(value, AWS_EMULATOR_VALUE_MAX, "%s", line);
        else if (name != NULL)
            (void) aws_emulator_copy(line, name, value);
    }
    ck_assert_msg(pclose(output) == 0, "%s", text);
}

void aws_emulator_administer(const char *command)
{
    aws_emulator_run("admin", command, NULL, NULL);
}

struct kms_settings aws_emulator_settings(const char *more)
{
    return (struct kms_settings){
        .addr = aws_emulator_variable("AWS_ENDPOINT"),
        .ca = aws_emulator_variable("AWS_CA_BUNDLE"),
        .key = aws_emulator_variable("KEY_ID"),
        .region = aws_emulator_variable("AWS_REGION"),
        .access = aws_emulator_variable("ACCESS_KEY_ID"),
        .secret = aws_emulator_variable("SECRET_ACCESS_KEY"),
        .more = more,
    };
}
