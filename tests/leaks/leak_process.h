/*
 * Drives leak_app.c: starts it in the folder of tests/support/token_fixture.h, where its standard
 * output and error are kept in the files "stdout" and "stderr". A fault ends the running Check
 * test, and the application with it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tests/leaks/leak_app.h"

struct leak_process {
    pid_t pid;
    int commands; /* to its standard input */
    int answers;  /* from its standard output */
};

/* Returns when its eight sessions are between C_EncryptInit and C_Encrypt. The program is named by
 * LEAK_APP and its module by INDEXKEY_MODULE, in the environment. Without memfd_secret it runs as
 * on a kernel that lacks that call. */
struct leak_process leak_process_start(const char *conf, const struct leak_input *input,
                                       bool has_memfd_secret);
/* The answer must begin with `answer`; the number behind it, or 0. */
long leak_process_ask(const struct leak_process *process, enum leak_command asked,
                      const char *answer);
void leak_process_quit(const struct leak_process *process);

/* True when the kernel writes an aborted process's core into its folder, or gdb's gcore is here. */
bool leak_process_can_core(void);
/* Ends the process. Its core is the only file in the folder that begins with "core"; the path is
 * valid until fixture_path has been called four times more. */
const char *leak_process_core(const struct leak_process *process);
