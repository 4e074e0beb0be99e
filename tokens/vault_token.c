#include "tokens/vault_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_descriptor(const int *descriptor)
{
    if (*descriptor >= 0)
        (void) close(*descriptor);
}

/* It goes into a header: printable and without blanks (RFC 9110, 5.5). */
static bool is_token(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= VAULT_TOKEN_LEN_MAX;
}

/* By errno. Lack of descriptors or memory goes by; the rest is for somebody to repair. */
static CK_RV fail_file(const char *section, const char *path)
{
    if (errno == ENOENT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s does not exist; let Vault Agent "
                          "write it, or correct vault_token_file",
                          section, path);
    if (errno == EACCES || errno == EPERM)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': no permission to read its Vault token file %s; it must be "
                          "readable by the user that runs this process",
                          section, path);
    if (errno == ELOOP)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s is a symbolic link; set "
                          "vault_token_file to the file itself",
                          section, path);
    return FAIL_CAUSE(INDEXKEY_CAUSE_SERVER, "token '%s': cannot read its Vault token file %s: %m",
                      section, path);
}

/* Its owner and its group may be others than this process's: Vault Agent's, which writes it with
 * mode 0640. Whoever owns it can only choose another identity at the same Vault. */
static CK_RV check_file(const char *section, const char *path, int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fail_file(section, path);
    if (!S_ISREG(status.st_mode))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s is not a regular file; correct "
                          "vault_token_file",
                          section, path);
    if ((status.st_mode & (S_IWGRP | S_IRWXO)) != 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s is open to others (mode %04o); "
                          "chmod 600 it, and revoke the token if others had access",
                          section, path, (unsigned int) status.st_mode & 07777u);
    return CKR_OK;
}

static CK_RV read_text(const char *section, const char *path, int descriptor, struct secret *text)
{
    size_t len = 0;
    while (len < text->len) {
        ssize_t got = read(descriptor, text->bytes + len, text->len - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_file(section, path);
        if (got == 0)
            break;
        len += (size_t) got;
    }
    while (len > 0 && (text->bytes[len - 1] == '\n' || text->bytes[len - 1] == '\r'))
        len--;
    text->len = len;
    return CKR_OK;
}

static CK_RV from_file(const char *section, const char *path, struct secret *ret_token)
{
    /* O_NONBLOCK: a FIFO in its place must not hold the call until somebody writes to it. */
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    _cleanup_(close_descriptor) int descriptor = open(path, flags);
    if (descriptor < 0)
        return fail_file(section, path);
    TRY(check_file(section, path, descriptor));
    _cleanup_(secret_clear) struct secret text = {0};
    /* One byte more than a token and its line end have, to notice a file that is too long. */
    TRY(secret_new(VAULT_TOKEN_LEN_MAX + sizeof("\r\n"), &text));
    TRY(read_text(section, path, descriptor, &text));
    if (!is_token((struct view){text.bytes, text.len}))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s does not hold one Vault token (one "
                          "line of at most %d characters); write the token alone into it",
                          section, path, VAULT_TOKEN_LEN_MAX);
    *ret_token = secret_move(&text);
    return CKR_OK;
}

static CK_RV from_variable(const char *section, const char *variable, struct secret *ret_token)
{
    /* NULL too in a process with raised privileges, whose environment is not to be believed. */
    const char *text = secure_getenv(variable);
    if (text == NULL || *text == '\0')
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s with its Vault token is not "
                          "set; set it, or set vault_token_file instead of vault_token_env",
                          section, variable);
    struct view token = view_text(text);
    if (!is_token(token))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s does not hold a Vault token (at "
                          "most %d characters, no blanks); set it to the token alone",
                          section, variable, VAULT_TOKEN_LEN_MAX);
    return secret_from(token.bytes, token.len, ret_token);
}

CK_RV vault_token_read(const char *section, const struct vault_token_place *place,
                       const struct source_call *call, struct secret *ret_token)
{
    if (call->credential.len == 0)
        return place->file != NULL ? from_file(section, place->file, ret_token)
                                   : from_variable(section, place->variable, ret_token);
    if (!is_token(call->credential))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN is no Vault token; log in with a "
                          "Vault token as the PIN",
                          section);
    return secret_from(call->credential.bytes, call->credential.len, ret_token);
}
