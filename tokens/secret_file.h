/*
 * Small files that hold a credential: read whole, bounded, into secret memory, and only where
 * nobody else could have written them.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/secret.h"

struct secret_file {
    const char *token; /* the token's name, for log lines */
    const char *what;  /* "AWS credentials file" */
    const char *path;
    size_t len_max;
    mode_t refused;     /* permission bits that it must not have */
    bool follows_links; /* Kubernetes puts its tokens behind symbolic links */
};

/* CKR_OK with nothing returned (an empty secret, mode 0) when there is no such file. A symbolic
 * link (unless they are followed), what is no regular file, too long, another user's or has refused
 * bits is CAUSE_CONFIG; anything else that keeps it from being read is CAUSE_SERVER; logged. */
CK_RV secret_file_read(const struct secret_file *file, struct secret *ret_text, mode_t *ret_mode);
