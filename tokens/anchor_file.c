#include "tokens/anchor_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cause.h"
#include "tokens/store.h"

#define SUFFIX_NEW ".new"

static void close_descriptor(const int *descriptor)
{
    if (*descriptor >= 0)
        (void) close(*descriptor);
}

static const char *name_of(const struct anchor_file *file)
{
    return strrchr(file->path, '/') + 1;
}

/* errno still tells of it. */
static CK_RV fail_system(const struct anchor_file *file, const char *doing)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return FAIL_CAUSE(is_full ? INDEXKEY_CAUSE_STORE_FULL : INDEXKEY_CAUSE_STORE,
                      "token '%s': its anchor %s: %s: %m; %s", file->token, file->path, doing,
                      is_full ? "free space on its file system, or raise the quota"
                              : "let the user who runs the application own the file (mode 0600) "
                                "and its folder (mode 0700), on a file system mounted rw");
}

static CK_RV open_folder(const struct anchor_file *file, int *ret_folder)
{
    char path[PATH_MAX];
    /* With the slash: the folder of /anchor is / itself. */
    (void) snprintf(path, sizeof(path), "%.*s", (int) (name_of(file) - file->path), file->path);
    _cleanup_(close_descriptor) int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    if (folder < 0 || fstat(folder, &status) != 0)
        return fail_system(file, "opening its folder");
    /* Whoever may write the folder can put other files in place of ours. */
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': its anchor %s: everyone may write its folder; chmod o-w the "
                          "folder",
                          file->token, file->path);
    *ret_folder = folder;
    folder = -1;
    return CKR_OK;
}

static CK_RV check_status(const struct anchor_file *file, const struct stat *status)
{
    if (!S_ISREG(status->st_mode))
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': its anchor %s is not a regular file; name the file itself",
                          file->token, file->path);
    if ((status->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': its anchor %s is open to group or others (mode %04o); chmod "
                          "600 it, after a look at what they did",
                          file->token, file->path, (unsigned int) status->st_mode & 07777U);
    return CKR_OK;
}

static CK_RV open_file(const struct anchor_file *file, int folder, int flags, int *ret_file,
                       struct stat *ret_status)
{
    /* O_NONBLOCK: a FIFO in its place must not hold the call until somebody writes to it. */
    _cleanup_(close_descriptor) int opened =
        openat(folder, name_of(file), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
               S_IRUSR | S_IWUSR);
    if (opened < 0 && errno == ENOENT)
        return STORE_ABSENT;
    if (opened < 0 && errno == ELOOP)
        return FAIL_CAUSE(INDEXKEY_CAUSE_STORE,
                          "token '%s': its anchor %s is a symbolic link; name the file itself",
                          file->token, file->path);
    if (opened < 0 || fstat(opened, ret_status) != 0)
        return fail_system(file, "opening it");
    TRY(check_status(file, ret_status));
    *ret_file = opened;
    opened = -1;
    return CKR_OK;
}

CK_RV anchor_file_read(const struct anchor_file *file, unsigned char *bytes, size_t size,
                       size_t *ret_len)
{
    _cleanup_(close_descriptor) int folder = -1;
    _cleanup_(close_descriptor) int opened = -1;
    struct stat status;
    TRY(open_folder(file, &folder));
    TRY(open_file(file, folder, O_RDONLY, &opened, &status));
    if (status.st_size > (off_t) size) {
        *ret_len = size + 1;
        return CKR_OK;
    }
    ssize_t len = pread(opened, bytes, size, 0);
    if (len < 0)
        return fail_system(file, "reading it");
    *ret_len = (size_t) len;
    return CKR_OK;
}

/* False when the name belongs to another file by now: whoever had the lock has replaced it. */
static bool is_current(const struct anchor_lock *lock, const struct stat *locked)
{
    struct stat named;
    return fstatat(lock->folder, name_of(lock->of), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_dev == locked->st_dev && named.st_ino == locked->st_ino;
}

CK_RV anchor_file_try_lock(const struct anchor_file *file, bool create,
                           struct anchor_lock *ret_lock)
{
    _cleanup_(anchor_lock_release) struct anchor_lock lock = ANCHOR_LOCK_NONE;
    struct stat status;
    lock.of = file;
    TRY(open_folder(file, &lock.folder));
    TRY(open_file(file, lock.folder, O_RDONLY | (create ? O_CREAT : 0), &lock.file, &status));
    if (flock(lock.file, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK || errno == EINTR ? STORE_CONFLICT
                                                      : fail_system(file, "locking it");
    if (!is_current(&lock, &status))
        return STORE_CONFLICT;
    lock.owner = status.st_uid;
    lock.group = status.st_gid;
    *ret_lock = lock;
    lock = ANCHOR_LOCK_NONE;
    return CKR_OK;
}

void anchor_lock_release(struct anchor_lock *lock)
{
    /* By word: the child of a fork has the descriptor too, and would keep the lock. */
    if (lock->file >= 0)
        (void) flock(lock->file, LOCK_UN);
    close_descriptor(&lock->file);
    close_descriptor(&lock->folder);
    *lock = ANCHOR_LOCK_NONE;
}

static CK_RV write_new(const struct anchor_lock *lock, const char *name, struct view bytes)
{
    /* What a killed process left; the lock says that nobody is at work on it. */
    (void) unlinkat(lock->folder, name, 0);
    _cleanup_(close_descriptor) int made =
        openat(lock->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
               S_IRUSR | S_IWUSR);
    if (made < 0)
        return fail_system(lock->of, "making its successor");
    /* An administrator's act as root must not take it from the application. */
    if (geteuid() == 0 && fchown(made, lock->owner, lock->group) != 0)
        return fail_system(lock->of, "giving its successor to its owner");
    ssize_t written = write(made, bytes.bytes, bytes.len);
    if (written >= 0 && (size_t) written < bytes.len)
        errno = ENOSPC;
    if (written != (ssize_t) bytes.len || fsync(made) != 0)
        return fail_system(lock->of, "writing its successor");
    return CKR_OK;
}

CK_RV anchor_file_replace(const struct anchor_lock *lock, struct view bytes)
{
    const char *name = name_of(lock->of);
    char name_new[NAME_MAX + 1];
    (void) snprintf(name_new, sizeof(name_new), "%s" SUFFIX_NEW, name);
    TRY(write_new(lock, name_new, bytes));
    if (renameat(lock->folder, name_new, lock->folder, name) != 0 || fsync(lock->folder) != 0)
        return fail_system(lock->of, "putting its successor in its place");
    return CKR_OK;
}
