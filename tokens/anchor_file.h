/*
 * A small file outside the store that is replaced as a whole: read by anybody who may, written by
 * one process at a time.
 *
 * File and folder are hostile until checked, as with the SQLite file: a symbolic link, a file that
 * group or others can reach, a folder that everyone may write are refused. The lock is on the file
 * itself (flock), so that it needs no further file; whoever waited looks whether it is still the
 * one of that name. Failures are logged once and carry a cause.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/bytes.h"

struct anchor_file {
    const char *token; /* its name, for messages */
    const char *path;  /* absolute */
};

/* Closed with anchor_lock_release. */
struct anchor_lock {
    const struct anchor_file *of;
    int folder;
    int file;
    uid_t owner;
    gid_t group;
};

#define ANCHOR_LOCK_NONE ((struct anchor_lock){.folder = -1, .file = -1})

/* The whole content, `size` bytes at most; a longer file is damaged, and *ret_len is size + 1 then.
 * STORE_ABSENT, not logged, when there is no such file. */
CK_RV anchor_file_read(const struct anchor_file *file, unsigned char *bytes, size_t size,
                       size_t *ret_len);

/* Without waiting: STORE_CONFLICT, not logged, while another has the lock. STORE_ABSENT, not
 * logged, when there is no file and none is to be made; one that is made is empty. */
CK_RV anchor_file_try_lock(const struct anchor_file *file, bool create,
                           struct anchor_lock *ret_lock);
void anchor_lock_release(struct anchor_lock *lock);

/* Durable under its name when it returns: a temporary file, fsync, rename, fsync of the folder. */
CK_RV anchor_file_replace(const struct anchor_lock *lock, struct view bytes);
