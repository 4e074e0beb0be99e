#include "conf/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "conf/conf.h"

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void) close(*fd);
}

const char *conf_file_shown(const char *path)
{
    size_t len = strlen(path);
    return len <= 300 ? path : path + len - 300;
}

static const char *error_text(int error, char *buffer, size_t len)
{
    return strerror_r(error, buffer, len);
}

/* Whoever may write the folder can put another file in this one's place. */
static CK_RV check_folder(int folder, const char *shown)
{
    struct stat status;
    char text[128];
    if (fstat(folder, &status) != 0)
        return FAIL(CKR_FUNCTION_FAILED, "%s: cannot examine its folder: %s", shown,
                    error_text(errno, text, sizeof(text)));
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0)
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s: refused, everyone may write its folder; run chmod o-w on the folder",
                    shown);
    return CKR_OK;
}

static CK_RV check_file(const struct stat *status, const char *shown)
{
    if (!S_ISREG(status->st_mode))
        return FAIL(CKR_FUNCTION_FAILED, "%s: refused, not a regular file", shown);
    if (status->st_uid != 0 && status->st_uid != geteuid())
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s: refused, owned by user %lu; it must belong to root or to the user that "
                    "runs the application (chown)",
                    shown, (unsigned long) status->st_uid);
    if ((status->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s: refused, others may write it (mode %04o); run chmod go-w on it", shown,
                    (unsigned) status->st_mode & 07777U);
    if ((uintmax_t) status->st_size > CONF_FILE_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "%s: refused, larger than %zu bytes", shown,
                    CONF_FILE_MAX);
    return CKR_OK;
}

static CK_RV open_folder(const char *path, int *ret_folder)
{
    const char *shown = conf_file_shown(path);
    char name[CONF_PATH_MAX];
    char text[128];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t) (slash - path) + 1;
    if (len >= sizeof(name))
        return FAIL(CKR_FUNCTION_FAILED, "the configuration's path is too long");
    memcpy(name, path, len);
    name[len] = '\0';
    int folder = open(len == 0 ? "." : name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return FAIL(CKR_FUNCTION_FAILED, "%s: cannot open its folder: %s", shown,
                    error_text(errno, text, sizeof(text)));
    *ret_folder = folder;
    return CKR_OK;
}

/* Ownership leaves the variable, as with TAKE. */
static int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* The file is opened below the folder that was checked, not by its path a second time. O_NONBLOCK
 * lets a FIFO be opened and then refused. */
static CK_RV open_file(const char *path, int *ret_fd, size_t *ret_len)
{
    const char *shown = conf_file_shown(path);
    _cleanup_(close_fd) int folder = -1;
    _cleanup_(close_fd) int fd = -1;
    char text[128];
    struct stat status;
    TRY(open_folder(path, &folder));
    TRY(check_folder(folder, shown));
    const char *slash = strrchr(path, '/');
    fd = openat(folder, slash == NULL ? path : slash + 1,
                O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP)
        return FAIL(CKR_FUNCTION_FAILED, "%s: refused, it is a symbolic link; name the file itself",
                    shown);
    if (fd < 0 || fstat(fd, &status) != 0)
        return FAIL(CKR_FUNCTION_FAILED, "%s: cannot open the configuration: %s", shown,
                    error_text(errno, text, sizeof(text)));
    TRY(check_file(&status, shown));
    *ret_len = (size_t) status.st_size;
    *ret_fd = take_fd(&fd);
    return CKR_OK;
}

CK_RV conf_file_read(const char *path, char **ret_text, size_t *ret_len)
{
    const char *shown = conf_file_shown(path);
    _cleanup_(close_fd) int fd = -1;
    size_t size;
    char message[128];
    TRY(open_file(path, &fd, &size));
    /* One byte beyond the size tells a file that grows, and holds the final NUL. */
    _cleanup_(mem_free_pointer) char *text = mem_alloc(size + 1);
    if (text == NULL)
        return FAIL(CKR_HOST_MEMORY, "%s: out of memory for the configuration", shown);
    size_t len = 0;
    while (len <= size) {
        ssize_t got = read(fd, text + len, size + 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(CKR_FUNCTION_FAILED, "%s: cannot read the configuration: %s", shown,
                        error_text(errno, message, sizeof(message)));
        if (got == 0)
            break;
        len += (size_t) got;
    }
    if (len != size)
        return FAIL(CKR_FUNCTION_FAILED, "%s: changed while it was read; try again", shown);
    text[len] = '\0';
    *ret_text = TAKE(text);
    *ret_len = len;
    return CKR_OK;
}
