#include "tokens/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cause.h"

static void close_descriptor(const int *descriptor)
{
    if (*descriptor >= 0)
        (void) close(*descriptor);
}

/* By errno. Lack of descriptors or memory goes by; the rest is for somebody to repair. */
static CK_RV fail_open(const struct secret_file *file)
{
    if (errno == EACCES || errno == EPERM)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': no permission to read its %s %s; it must be readable by the "
                          "user that runs this process",
                          file->token, file->what, file->path);
    if (errno == ELOOP)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s is a symbolic link; name the file itself",
                          file->token, file->what, file->path);
    return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER, "token '%s': cannot read its %s %s: %m", file->token,
                      file->what, file->path);
}

static CK_RV check(const struct secret_file *file, int descriptor, struct stat *status)
{
    if (fstat(descriptor, status) != 0)
        return fail_open(file);
    if (!S_ISREG(status->st_mode) || status->st_size > (off_t) file->len_max)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s is not a regular file of at most %zu bytes; name "
                          "the right file",
                          file->token, file->what, file->path, file->len_max);
    if (status->st_uid != 0 && status->st_uid != geteuid())
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s belongs to user %u; it must belong to root or to "
                          "the user that runs this process: chown it",
                          file->token, file->what, file->path, (unsigned int) status->st_uid);
    if ((status->st_mode & file->refused) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s is open to others (mode %04o); chmod 600 it, and "
                          "replace what is in it if others had access",
                          file->token, file->what, file->path,
                          (unsigned int) status->st_mode & 07777u);
    return CKR_OK;
}

static CK_RV read_all(const struct secret_file *file, int descriptor, struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {0};
    /* One byte more than a file may have, to notice one that grew. */
    TRY(secret_new(file->len_max + 1, &text));
    size_t len = 0;
    while (len < text.len) {
        ssize_t got = read(descriptor, text.bytes + len, text.len - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_open(file);
        if (got == 0)
            break;
        len += (size_t) got;
    }
    if (len > file->len_max)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s is longer than %zu bytes; shorten it", file->token,
                          file->what, file->path, file->len_max);
    text.len = len;
    *ret_text = secret_move(&text);
    return CKR_OK;
}

CK_RV secret_file_read(const struct secret_file *file, struct secret *ret_text, mode_t *ret_mode)
{
    /* O_NONBLOCK: a FIFO in its place must not hold the call until somebody writes to it. */
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    flags |= file->follows_links ? 0 : O_NOFOLLOW;
    _cleanup_(close_descriptor) int descriptor = open(file->path, flags);
    if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *ret_mode = 0;
        return CKR_OK;
    }
    if (descriptor < 0)
        return fail_open(file);
    struct stat status;
    TRY(check(file, descriptor, &status));
    TRY(read_all(file, descriptor, ret_text));
    *ret_mode = status.st_mode;
    return CKR_OK;
}
