/*
 * credential_process of an AWS profile: a command that writes credentials as JSON on its output.
 *
 * Run without a shell, split into words as the AWS CLI does it (quotes and backslashes of POSIX
 * sh). The child is in a process group of its own with /dev/null as input and error output and no
 * other file of the host open; the group is killed at the deadline, on cancellation, and when it
 * writes too much. What a command that ended well has left running is its own matter. It has the
 * host's environment, user and rights: whoever may write the profile may run commands as the host.
 */
#pragma once

#include "tokens/aws_sts.h"

#define AWS_PROCESS_WORDS_MAX 64
#define AWS_PROCESS_COMMAND_MAX ((size_t) 4096)

/* Logged, with the cause; never what the command wrote. */
CK_RV aws_process_run(const struct aws_fetch *fetch, const char *command,
                      struct aws_credentials *credentials, int64_t *ret_lifetime_s);

/* No I/O. The words stand in `text`, which is changed; NULL behind the last. False: a quote that
 * does not end, too many words, or none. */
bool aws_process_split(char *text, char *ret_words[AWS_PROCESS_WORDS_MAX + 1]);
