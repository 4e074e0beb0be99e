/*
 * The file of an audit log, which several processes append to.
 *
 * Lines are appended whole, under flock, between audit_file_begin and audit_file_end. Where the
 * path names another file by then (logrotate has renamed ours), that one is opened or made first. A
 * write that the disk takes in part is taken back. What a killed process has left without a newline
 * is ended by the next writer, and stays. One thread at a time, except audit_file_sync.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tokens/audit_line.h"

struct audit_file {
    const char *path;  /* the caller's */
    const char *token; /* for log lines */
    int fd;            /* -1: not open */
    dev_t device;
    ino_t inode;
    off_t end; /* of the last line that this process has seen, whose hash is `above` */
    unsigned char above[AUDIT_HASH_LEN];
};

void audit_file_init(struct audit_file *file, const char *token, const char *path);
void audit_file_close(struct audit_file *file);

/* Takes the lock, within 5 s; `above` is the hash of the last line, zeros in an empty file.
 * *ret_is_new: another file than the last time. CKR_DEVICE_ERROR (INDEXKEY_CAUSE_AUDIT), logged. */
CK_RV audit_file_begin(struct audit_file *file, bool *ret_is_new);
/* All or nothing, of one line, without its newline. */
CK_RV audit_file_append(struct audit_file *file, struct view line);
void audit_file_end(struct audit_file *file);

/* What was appended is on disk. Beside an append of another thread. */
CK_RV audit_file_sync(const char *token, const char *path, int fd);

/* SHA-256 of a line, without its newline; of more than AUDIT_LINE_MAX bytes the last count. */
CK_RV audit_file_hash(struct view line, unsigned char ret_hash[AUDIT_HASH_LEN]);
