#include "tools/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rv.h"
#include "tools/failure.h"
#include "tools/input.h"

static CK_RV fail_errno(const char *path)
{
    char text[128];
    enum exit_code exit = errno == ENOENT ? EXIT_CODE_NOT_FOUND : EXIT_CODE_FAILED;
    return FAIL_TOOL(exit, "%s: cannot be read: %s", path, strerror_r(errno, text, sizeof(text)));
}

CK_RV logs_read_file(const char *path, struct audit_input *ret_file)
{
    struct stat status;
    _cleanup_(input_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) != 0)
        return fail_errno(path);
    if (!S_ISREG(status.st_mode) || (uintmax_t) status.st_size > LOG_FILE_MAX)
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s: not a regular file of at most 1 GiB", path);
    /* What is appended meanwhile is left for the next time. */
    size_t size = (size_t) status.st_size;
    size_t len = 0;
    _cleanup_(mem_free_pointer) unsigned char *bytes = mem_alloc(size);
    if (bytes == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, path);
    while (len < size) {
        ssize_t got = read(fd, bytes + len, size - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(path);
        if (got == 0)
            break;
        len += (size_t) got;
    }
    *ret_file = (struct audit_input){.name = path, .text = {bytes, len}};
    bytes = NULL;
    return CKR_OK;
}

void logs_clear(struct logs *logs)
{
    for (size_t i = 0; i < logs->count; i++)
        mem_free((void *) (uintptr_t) logs->files[i].text.bytes);
    mem_free(logs->files);
    *logs = (struct logs){0};
}

CK_RV logs_read(const struct options *options, struct logs *ret_logs)
{
    _cleanup_(logs_clear) struct logs logs = {0};
    logs.files = mem_calloc(options->argument_count, sizeof(*logs.files));
    if (logs.files == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "the logs");
    for (size_t i = 0; i < options->argument_count; i++) {
        TRY(logs_read_file(options->arguments[i], &logs.files[i]));
        logs.count++;
    }
    *ret_logs = logs;
    logs = (struct logs){0};
    return CKR_OK;
}
