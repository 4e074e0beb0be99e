#include "tokens/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "tokens/source_local.h"

/* Base64 of 32 bytes is 44; the rest is room for white space. */
#define KEY_FILE_MAX 1024

static const struct conf_key file_keys[] = {
    {.name = "key_file",
     .type = CONF_PATH,
     .required = true,
     .help = "file with the root key, made by: openssl rand -base64 32"},
    {.name = NULL},
};

static void close_descriptor(const int *descriptor)
{
    if (*descriptor >= 0)
        (void) close(*descriptor);
}

/* By errno. */
static CK_RV fail_open(const char *token, const char *path)
{
    switch (errno) {
    case ENOENT:
        return FAIL_CAUSE(INDEXKEY_CAUSE_DELETED,
                          "token '%s': its root key file %s does not exist; put it back, or make "
                          "one for a new token with: openssl rand -base64 32",
                          token, path);
    case EACCES:
    case EPERM:
        return FAIL_CAUSE(INDEXKEY_CAUSE_DENIED,
                          "token '%s': no permission to read its root key file %s; it must belong "
                          "to the user that runs this process",
                          token, path);
    case ELOOP:
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its root key file %s is a symbolic link; set key_file to "
                          "the file itself",
                          token, path);
    default:
        return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER, "token '%s': cannot read its root key file %s: %m",
                          token, path);
    }
}

/* A key that others can read or replace guards nothing. */
static CK_RV check_file(const char *token, const char *path, int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fail_open(token, path);
    if (!S_ISREG(status.st_mode) || status.st_size > KEY_FILE_MAX)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its root key file %s is not a regular file of at most %d "
                          "bytes; make one with: openssl rand -base64 32",
                          token, path, KEY_FILE_MAX);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its root key file %s belongs to user %u; it must belong to "
                          "root or to the user that runs this process: chown it",
                          token, path, (unsigned int) status.st_uid);
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its root key file %s can be read or written by others (mode "
                          "%04o); chmod 600 it, and replace the key if others had access",
                          token, path, (unsigned int) status.st_mode & 07777u);
    return CKR_OK;
}

/* `text` has room for one byte more than a file may have, to notice one that grew. */
static CK_RV read_text(const char *token, const char *path, int descriptor, struct secret *text,
                       size_t *ret_len)
{
    size_t len = 0;
    while (len < text->len) {
        ssize_t got = read(descriptor, text->bytes + len, text->len - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_open(token, path);
        if (got == 0)
            break;
        len += (size_t) got;
    }
    *ret_len = len;
    return CKR_OK;
}

static CK_RV read_file(const char *token, const char *place, struct secret *ret_root)
{
    /* O_NONBLOCK: a FIFO in its place must not hold the call until somebody writes to it. */
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    _cleanup_(close_descriptor) int descriptor = open(place, flags);
    if (descriptor < 0)
        return fail_open(token, place);
    TRY(check_file(token, place, descriptor));
    _cleanup_(secret_clear) struct secret text = {0};
    size_t len = 0;
    TRY(secret_new(KEY_FILE_MAX + 1, &text));
    TRY(read_text(token, place, descriptor, &text, &len));
    CK_RV rv = crypto_base64_secret((struct view){text.bytes, len}, ROOT_KEY_LEN, ret_root);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its root key file %s is not the base64 of %d bytes; put the "
                          "key back, or make one for a new token with: openssl rand -base64 32",
                          token, place, ROOT_KEY_LEN);
    return rv;
}

static CK_RV file_open(const struct conf_section *section, struct source **ret_source)
{
    return source_local_open(&source_file_ops, section, "key_file", read_file, ret_source);
}

const struct source_ops source_file_ops = {
    .name = "file",
    .keys = file_keys,
    .open = file_open,
    .close = source_local_close,
    .wrap = source_local_wrap,
    .unwrap = source_local_unwrap,
    .describe = source_local_describe,
};
