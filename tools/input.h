/*
 * Secrets from files and standard input.
 */
#pragma once

#include "base/secret.h"

/* The whole of a file, or of standard input for "-", of at most `len_max` bytes. A regular file
 * that others may read is refused, but for standard input; a pipe is read to its end. `what` is
 * for messages. Freed with secret_clear. Failures are told by failure.h. */
CK_RV input_read_secret(const char *path, const char *what, size_t len_max,
                        struct secret *ret_text);

/* For the cleanup attribute on a descriptor; -1 and standard input are left alone. */
void input_close(int *fd);

/* Up to `len_max` bytes of hexadecimal digits, in pairs. False when it is nothing else. */
bool input_parse_hex(const char *text, unsigned char *bytes, size_t len_max, size_t *ret_len);
