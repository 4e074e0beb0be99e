#include "module/approvals_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rv.h"
#include "module/approval.h"

#define ENDING ".approval"
#define FILES_MAX 1024

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void) close(*fd);
}

static void close_folder(DIR **folder)
{
    if (*folder != NULL)
        (void) closedir(*folder);
}

static bool is_approval(const char *name)
{
    size_t len = strlen(name);
    size_t ending = sizeof(ENDING) - 1;

    return len > ending && strcmp(name + len - ending, ENDING) == 0;
}

/* One byte more than an approval has tells a longer file. 0: not read. O_NONBLOCK lets a FIFO be
 * opened and then refused. */
static size_t read_file(DIR *folder, const char *name, unsigned char text[APPROVAL_LEN_MAX + 1])
{
    struct stat status;
    size_t len = 0;
    ssize_t got = 1;
    _cleanup_(close_fd) int fd =
        openat(dirfd(folder), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        log_line(LOG_LEVEL_WARNING, "%s: this approval cannot be read, or is no regular file",
                 name);
        return 0;
    }
    while (got > 0 && len <= APPROVAL_LEN_MAX) {
        got = read(fd, text + len, APPROVAL_LEN_MAX + 1 - len);
        if (got > 0)
            len += (size_t) got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    return len;
}

void approvals_folder_each(const char *path, approvals_folder_fn *each, void *context)
{
    unsigned char text[APPROVAL_LEN_MAX + 1];
    _cleanup_(close_folder) DIR *folder = NULL;
    size_t count = 0;
    /* opendir knows no O_CLOEXEC of its own on every libc. */
    _cleanup_(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        log_line(LOG_LEVEL_WARNING, "%s: the folder of approvals cannot be read: %m", path);
        return;
    }
    fd = -1; /* the folder's now */
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (!is_approval(entry->d_name))
            continue;
        if (++count > FILES_MAX) {
            log_line(LOG_LEVEL_WARNING, "%s: more than %u approvals; remove the old ones", path,
                     FILES_MAX);
            return;
        }
        size_t len = read_file(folder, entry->d_name, text);
        if (len > 0)
            each(context, (struct view){text, len}, entry->d_name);
    }
}
