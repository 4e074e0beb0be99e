#include "tokens/ciphertext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cause.h"
#include "base/crypto.h"
#include "tokens/secret_file.h"

#define SCHEME_BASE64 "base64:"
#define SCHEME_VAULT "vault:"
#define SCHEME_ENV "env:"
#define SCHEME_FILE "file:"
#define WHAT_MAX 128
#define FORMS                                                                                      \
    "base64:TEXT, vault:vN:TEXT, env:NAME, file:/PATH or a parameter of the source's service "     \
    "(kv:, "                                                                                       \
    "ssm:, secretsmanager:, secretmanager:, secret:)"

/* Of the parameter stores of all sources. */
static const char *const parameter_schemes[] = {
    "kv:", "ssm:", "secretsmanager:", "secretmanager:", "secret:"};
#define PARAMETER_SCHEME_COUNT (sizeof(parameter_schemes) / sizeof(parameter_schemes[0]))

/* What follows the scheme; NULL when the place has another one. */
static const char *after(const char *place, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncmp(place, scheme, len) == 0 && place[len] != '\0' ? place + len : NULL;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_base64(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=';
}

static bool is_all(struct view text, bool (*is_one)(unsigned char c))
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_one(text.bytes[i]) && !is_space(text.bytes[i]))
            return false;
    }
    return true;
}

static bool is_printable(unsigned char c)
{
    return c > ' ' && c < 0x7f;
}

/* Without white space anywhere: base64(1) breaks lines, and a file ends with a newline. */
static CK_RV squeeze(struct view text, struct secret *ret_squeezed)
{
    _cleanup_(secret_clear) struct secret squeezed = {0};
    TRY(secret_new(text.len, &squeezed));
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_space(text.bytes[i]))
            squeezed.bytes[len++] = text.bytes[i];
    }
    squeezed.len = len;
    *ret_squeezed = secret_move(&squeezed);
    return CKR_OK;
}

/* CKR_DATA_INVALID, not logged. */
static CK_RV decode(struct view text, struct secret *ret_bytes)
{
    _cleanup_(secret_clear) struct secret squeezed = {0};
    TRY(squeeze(text, &squeezed));
    if (squeezed.len == 0 || squeezed.len % 4 != 0)
        return CKR_DATA_INVALID;
    size_t len = squeezed.len / 4 * 3;
    for (size_t i = 1; i <= 2 && squeezed.bytes[squeezed.len - i] == '='; i++)
        len--;
    return crypto_base64_secret((struct view){squeezed.bytes, squeezed.len}, len, ret_bytes);
}

/* Ciphertexts of the services begin with a byte that is no text, but Vault's: so each form tells
 * itself apart. */
static CK_RV read_form(struct view content, struct secret *ret_ciphertext)
{
    if (content.len == 0 || content.len > CIPHERTEXT_LEN_MAX)
        return CKR_DATA_INVALID;
    if (is_all(content, is_base64))
        return decode(content, ret_ciphertext);
    if (is_all(content, is_printable))
        return squeeze(content, ret_ciphertext);
    return secret_from(content.bytes, content.len, ret_ciphertext);
}

static CK_RV read_variable(const struct ciphertext_owner *owner, const char *name,
                           struct secret *ret_ciphertext)
{
    /* NULL too in a process with raised privileges, whose environment is not to be believed. */
    const char *text = secure_getenv(name);
    if (text == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s with the ciphertext of [key %s] "
                          "is not set; set it",
                          owner->token, name, owner->key);
    return read_form(view_text(text), ret_ciphertext);
}

static CK_RV read_file(const struct ciphertext_owner *owner, const char *path,
                       struct secret *ret_ciphertext)
{
    char what[WHAT_MAX];
    (void) snprintf(what, sizeof(what), "[key %s] ciphertext file", owner->key);
    const struct secret_file file = {
        .token = owner->token,
        .what = what,
        .path = path,
        .len_max = CIPHERTEXT_LEN_MAX,
        /* Everybody may read a ciphertext; who may write it chooses the key. */
        .refused = S_IWGRP | S_IWOTH,
    };
    _cleanup_(secret_clear) struct secret content = {0};
    mode_t mode = 0;
    TRY(secret_file_read(&file, &content, &mode));
    if (mode == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s does not exist; put it there", owner->token, what,
                          path);
    return read_form((struct view){content.bytes, content.len}, ret_ciphertext);
}

bool ciphertext_is_parameter(const char *place)
{
    for (size_t i = 0; i < PARAMETER_SCHEME_COUNT; i++) {
        if (after(place, parameter_schemes[i]) != NULL)
            return true;
    }
    return false;
}

const char *ciphertext_fault(const char *place)
{
    const char *path = after(place, SCHEME_FILE);
    if (ciphertext_is_parameter(place))
        return is_all(view_text(place), is_printable) ? NULL : "printable ASCII after its scheme";
    if (path != NULL)
        return path[0] == '/' ? NULL : "an absolute path after file:";
    const char *name = after(place, SCHEME_ENV);
    if (name != NULL)
        return strchr(name, '=') == NULL ? NULL
                                         : "the name of a variable after env:, not its value";
    const char *text = after(place, SCHEME_BASE64);
    if (text != NULL)
        return is_all(view_text(text), is_base64) ? NULL : "base64 after base64:";
    return after(place, SCHEME_VAULT) != NULL ? NULL : FORMS;
}

/* `rv` is what reading it gave. */
static CK_RV finish(const struct ciphertext_owner *owner, CK_RV rv)
{
    if (rv != CKR_DATA_INVALID)
        return rv;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': the ciphertext of [key %s] is empty, longer than %d bytes or no "
                      "base64; put there what the source made",
                      owner->token, owner->key, CIPHERTEXT_LEN_MAX);
}

CK_RV ciphertext_from_parameter(const struct ciphertext_owner *owner, struct view value,
                                struct secret *ret_ciphertext)
{
    return finish(owner, read_form(value, ret_ciphertext));
}

CK_RV ciphertext_read(const struct ciphertext_owner *owner, const char *place,
                      struct secret *ret_ciphertext)
{
    const char *name = after(place, SCHEME_ENV);
    const char *path = after(place, SCHEME_FILE);
    const char *text = after(place, SCHEME_BASE64);
    if (name != NULL)
        return finish(owner, read_variable(owner, name, ret_ciphertext));
    if (path != NULL)
        return finish(owner, read_file(owner, path, ret_ciphertext));
    return finish(owner, text != NULL ? decode(view_text(text), ret_ciphertext)
                                      : read_form(view_text(place), ret_ciphertext));
}
