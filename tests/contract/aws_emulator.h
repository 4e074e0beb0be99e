/*
 * An emulator of AWS KMS for a test program, in the folder INDEXKEY_AWS_FOLDER that `aws.sh start`
 * has filled; see aws_emulators.sh. Every failure ends the test.
 */
#pragma once

#include "tests/contract/aws_fixture.h"

#define AWS_EMULATOR_VALUE_MAX 2048

const char *aws_emulator_folder(void);
/* A variable of its environment file. Valid until the sixteenth call from now. */
const char *aws_emulator_variable(const char *name);
/* The value where the line is NAME=VALUE. */
bool aws_emulator_copy(const char *line, const char *name, char value[AWS_EMULATOR_VALUE_MAX]);
/* `aws.sh COMMAND FOLDER ARGUMENTS`; the value of NAME in its output, or, where that is NULL, its
 * last line. Both may be NULL. */
void aws_emulator_run(const char *command, const char *arguments, const char *name,
                      char value[AWS_EMULATOR_VALUE_MAX]);
/* A command of aws_admin.py. */
void aws_emulator_administer(const char *command);
/* Of its user, with these lines. */
struct kms_settings aws_emulator_settings(const char *more);
