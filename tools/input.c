#include "tools/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/failure.h"

void input_close(int *fd)
{
    if (*fd > STDIN_FILENO)
        (void) close(*fd);
}

static CK_RV fail_errno(const char *path, const char *what)
{
    char text[128];
    enum exit_code exit = errno == ENOENT ? EXIT_CODE_NOT_FOUND : EXIT_CODE_FAILED;
    return FAIL_TOOL(exit, "%s: %s cannot be read: %s", path, what,
                     strerror_r(errno, text, sizeof(text)));
}

static CK_RV open_input(const char *path, const char *what, int *ret_fd)
{
    struct stat status;
    if (strcmp(path, "-") == 0) {
        *ret_fd = STDIN_FILENO;
        return CKR_OK;
    }
    _cleanup_(input_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) != 0)
        return fail_errno(path, what);
    if (S_ISDIR(status.st_mode))
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s: a folder cannot be read as %s", path, what);
    if (S_ISREG(status.st_mode) && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return FAIL_TOOL(EXIT_CODE_REFUSED,
                         "%s: others may use the file of %s (mode %04o); run chmod 600 on it", path,
                         what, (unsigned) status.st_mode & 07777U);
    *ret_fd = fd;
    fd = -1;
    return CKR_OK;
}

CK_RV input_read_secret(const char *path, const char *what, size_t len_max, struct secret *ret_text)
{
    _cleanup_(input_close) int fd = -1;
    _cleanup_(secret_clear) struct secret text = {0};
    size_t len = 0;
    TRY(open_input(path, what, &fd));
    /* One byte more tells what is too long. */
    TRY(failure_of(secret_new(len_max + 1, &text), INDEXKEY_CAUSE_NONE, what));
    while (len <= len_max) {
        ssize_t got = read(fd, text.bytes + len, len_max + 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(path, what);
        if (got == 0)
            break;
        len += (size_t) got;
    }
    if (len > len_max)
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s: longer than %zu bytes, so it is not %s", path,
                         len_max, what);
    if (len == 0)
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s: empty, so it is not %s", path, what);
    text.len = len;
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool input_parse_hex(const char *text, unsigned char *bytes, size_t len_max, size_t *ret_len)
{
    size_t len = strlen(text);
    if (len == 0 || len % 2 != 0 || len / 2 > len_max)
        return false;
    for (size_t i = 0; i < len / 2; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char) (high << 4 | low);
    }
    *ret_len = len / 2;
    return true;
}
