#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cause.h"
#include "module/admin.h"
#include "tools/command.h"
#include "tools/confirm.h"
#include "tools/token.h"

/* A file, and what went wrong with it. */
struct file {
    const char *path;
    int fd;
    int error; /* errno */
    uint64_t len;
};

static void file_close(struct file *file)
{
    if (file->fd >= 0)
        (void) close(file->fd);
    file->fd = -1;
}

static CK_RV file_fail(const struct file *file, int error)
{
    char text[128];
    return FAIL_TOOL(error == ENOENT ? EXIT_CODE_NOT_FOUND : EXIT_CODE_FAILED, "%s: %s", file->path,
                     strerror_r(error, text, sizeof(text)));
}

static CK_RV write_file(void *context, struct view bytes)
{
    struct file *file = context;
    size_t done = 0;
    while (done < bytes.len) {
        ssize_t put = write(file->fd, bytes.bytes + done, bytes.len - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            file->error = errno;
            return CKR_DEVICE_ERROR;
        }
        done += (size_t) put;
    }
    file->len += bytes.len;
    return CKR_OK;
}

static CK_RV read_file(void *context, unsigned char *bytes, size_t len, size_t *ret_len)
{
    struct file *file = context;
    ssize_t got;
    do {
        got = read(file->fd, bytes, len);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        file->error = errno;
        return CKR_DEVICE_ERROR;
    }
    *ret_len = (size_t) got;
    return CKR_OK;
}

/* On disk, or not there. */
static CK_RV backup_to(const struct token *token, struct file *file)
{
    CK_RV rv = admin_backup(token->session, write_file, file);
    if (rv == CKR_OK && fsync(file->fd) != 0)
        file->error = errno;
    if (rv == CKR_OK && file->error == 0)
        return CKR_OK;
    (void) unlink(file->path);
    return file->error != 0 ? file_fail(file, file->error) : token_check(token, rv, "the backup");
}

CK_RV command_backup(struct run *run)
{
    struct token token = {0};
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    _cleanup_(file_close) struct file file = {.path = options_argument(run->options)};
    file.fd = open(file.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file.fd < 0)
        return file_fail(&file, errno);
    TRY(backup_to(&token, &file));
    output_text(run->output, "token", token.label);
    output_text(run->output, "file", file.path);
    output_number(run->output, "bytes", file.len);
    return CKR_OK;
}

/* The SO's PIN if the options have one, else the user's. */
static CK_RV read_pin(const struct token *token, const struct options *options,
                      struct admin_restore *what, struct secret *ret_pin)
{
    what->is_so = token_has_so_pin(options);
    if (!what->is_so && (token->info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0)
        return CKR_OK;
    return what->is_so ? token_read_so_pin(token, options, ret_pin)
                       : token_read_pin(token, options, ret_pin);
}

CK_RV command_restore(struct run *run)
{
    const struct options *options = run->options;
    _cleanup_(secret_clear) struct secret pin = {0};
    struct token token = {0};
    struct admin_restore what = {.read = read_file, .force = options_has(options, OPTION_FORCE)};
    TRY(token_select(options, &token));
    _cleanup_(file_close) struct file file = {.path = options_argument(options)};
    file.fd = open(file.path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file.fd < 0)
        return file_fail(&file, errno);
    TRY(read_pin(&token, options, &what, &pin));
    if (what.force)
        TRY(confirm(options, "put the token back to its backup", view_text(token.name)));
    what.context = &file;
    what.pin = (struct view){pin.bytes, pin.len};
    cause_clear();
    CK_RV rv = admin_restore(token.slot, &what);
    if (file.error != 0)
        return file_fail(&file, file.error);
    TRY(failure_of(rv, cause_last(), "the restoration"));
    TRY(token_refresh(&token));
    output_text(run->output, "token", token.label);
    output_view(run->output, "serial",
                (struct view){token.info.serialNumber, sizeof(token.info.serialNumber)});
    return CKR_OK;
}
