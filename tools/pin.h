/*
 * PINs: from a file, an environment variable or the terminal, never from the command line.
 */
#pragma once

#include "base/secret.h"

struct pin_source {
    const char *whose;       /* "the user PIN of token 'vectors'" */
    const char *file;        /* NULL: not from a file */
    const char *variable;    /* NULL: not from the environment */
    const char *file_option; /* for the remedy: "--pin-file" */
};

/* The first line, without its end; the variable is wiped and taken out of the environment. With
 * neither file nor variable the terminal is asked, without echo. Freed with secret_clear. Failures
 * are told by failure.h. */
CK_RV pin_read(const struct pin_source *source, struct secret *ret_pin);
