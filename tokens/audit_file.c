#include "tokens/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cause.h"
#include "base/clock.h"
#include "base/crypto.h"

#define PATIENCE_MS 5000
#define POLL_NS 500000L
#define FOLDER_MAX 4096

void audit_file_init(struct audit_file *file, const char *token, const char *path)
{
    *file = (struct audit_file){.path = path, .token = token, .fd = -1};
}

void audit_file_close(struct audit_file *file)
{
    if (file->fd >= 0)
        (void) close(file->fd);
    file->fd = -1;
}

CK_RV audit_file_hash(struct view line, unsigned char ret_hash[AUDIT_HASH_LEN])
{
    size_t skipped = line.len > AUDIT_LINE_MAX ? line.len - AUDIT_LINE_MAX : 0;

    return crypto_sha256((struct view){line.bytes + skipped, line.len - skipped}, ret_hash);
}

/* By errno. */
static CK_RV fail(const struct audit_file *file, const char *what)
{
    return FAIL_CAUSE(
        INDEXKEY_CAUSE_AUDIT,
        "token '%s': cannot %s its audit log %s: %m; what must be recorded is refused "
        "until that is repaired",
        file->token, what, file->path);
}

/* A new file's name is on disk too. */
static CK_RV sync_folder(const struct audit_file *file)
{
    char folder[FOLDER_MAX];
    const char *slash = strrchr(file->path, '/');
    size_t len = slash == NULL ? 0 : (size_t) (slash - file->path) + 1;

    if (len == 0 || len >= sizeof(folder))
        return CKR_OK;
    memcpy(folder, file->path, len);
    folder[len] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(file, "open the folder of");
    int result = fsync(fd);
    (void) close(fd);
    return result == 0 ? CKR_OK : fail(file, "sync the folder of");
}

static CK_RV open_path(struct audit_file *file)
{
    const int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    struct stat status;
    bool is_made = false;

    /* What stands in the former file may not be on disk yet. */
    if (file->fd >= 0)
        TRY(audit_file_sync(file->token, file->path, file->fd));
    audit_file_close(file);
    file->fd = open(file->path, flags);
    if (file->fd < 0 && errno == ENOENT) {
        file->fd = open(file->path, flags | O_CREAT, 0600);
        is_made = true;
    }
    if (file->fd < 0 || fstat(file->fd, &status) != 0)
        return fail(file, "open");
    if (!S_ISREG(status.st_mode) || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        audit_file_close(file);
        return FAIL_CAUSE(INDEXKEY_CAUSE_AUDIT,
                          "token '%s': its audit log %s is no regular file, or others may write "
                          "it; chmod 600 it",
                          file->token, file->path);
    }
    file->device = status.st_dev;
    file->inode = status.st_ino;
    file->end = -1;
    return is_made ? sync_folder(file) : CKR_OK;
}

static CK_RV take_lock(const struct audit_file *file)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    int64_t end_ms = clock_boot_ms() + PATIENCE_MS;

    while (flock(file->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR && errno != EWOULDBLOCK)
            return fail(file, "lock");
        if (clock_boot_ms() >= end_ms)
            return fail(file, "wait any longer for another process to release");
        (void) nanosleep(&pause, NULL);
    }
    return CKR_OK;
}

/* True when the path still names what is open. */
static bool is_current(const struct audit_file *file)
{
    struct stat status;

    return lstat(file->path, &status) == 0 && status.st_dev == file->device &&
           status.st_ino == file->inode;
}

/* The hash of the last line, whoever wrote it; `end` is set to the file's. */
static CK_RV look_above(struct audit_file *file, off_t size)
{
    unsigned char tail[AUDIT_LINE_MAX + 2];
    size_t len = size < (off_t) sizeof(tail) ? (size_t) size : sizeof(tail);
    struct view line = {tail, len};

    if (len > 0 && pread(file->fd, tail, len, size - (off_t) len) != (ssize_t) len)
        return fail(file, "read");
    if (len > 0 && tail[len - 1] == '\n')
        line.len--;
    const unsigned char *before = memrchr(line.bytes, '\n', line.len);
    if (before != NULL) {
        line.len -= (size_t) (before + 1 - line.bytes);
        line.bytes = before + 1;
    }
    memset(file->above, 0, sizeof(file->above));
    if (size > 0)
        TRY(audit_file_hash(line, file->above));
    file->end = size;
    /* Left by a process that was killed while it wrote. */
    if (len > 0 && tail[len - 1] != '\n') {
        if (write(file->fd, "\n", 1) != 1)
            return fail(file, "write");
        file->end++;
    }
    return CKR_OK;
}

static CK_RV begin_locked(struct audit_file *file)
{
    struct stat status;

    if (fstat(file->fd, &status) != 0)
        return fail(file, "read");
    return status.st_size == file->end ? CKR_OK : look_above(file, status.st_size);
}

CK_RV audit_file_begin(struct audit_file *file, bool *ret_is_new)
{
    bool is_new = false;

    for (;;) {
        if (file->fd < 0 || !is_current(file)) {
            TRY(open_path(file));
            is_new = true;
        }
        TRY(take_lock(file));
        if (is_current(file))
            break;
        audit_file_end(file);
    }
    CK_RV rv = begin_locked(file);
    if (rv != CKR_OK)
        audit_file_end(file);
    else
        *ret_is_new = is_new;
    return rv;
}

void audit_file_end(struct audit_file *file)
{
    (void) flock(file->fd, LOCK_UN);
}

CK_RV audit_file_append(struct audit_file *file, struct view line)
{
    static char newline[] = "\n";
    struct iovec parts[] = {{(void *) (uintptr_t) line.bytes, line.len}, {newline, 1}};
    unsigned char hash[AUDIT_HASH_LEN];

    TRY(audit_file_hash(line, hash));
    ssize_t written = writev(file->fd, parts, 2);
    if (written != (ssize_t) line.len + 1) {
        if (written >= 0)
            errno = ENOSPC;
        CK_RV rv = fail(file, "write");
        /* Where that fails too, the next writer ends the line. */
        if (written <= 0 || ftruncate(file->fd, file->end) != 0)
            file->end = -1;
        return rv;
    }
    file->end += written;
    memcpy(file->above, hash, sizeof(hash));
    return CKR_OK;
}

CK_RV audit_file_sync(const char *token, const char *path, int fd)
{
    const struct audit_file file = {.path = path, .token = token};

    return fdatasync(fd) == 0 ? CKR_OK : fail(&file, "sync");
}
