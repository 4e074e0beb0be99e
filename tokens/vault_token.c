#include "tokens/vault_token.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "tokens/secret_file.h"

/* It goes into a header: printable and without blanks (RFC 9110, 5.5). */
static bool is_token(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= VAULT_TOKEN_LEN_MAX;
}

static CK_RV from_file(const char *section, const char *path, struct secret *ret_token)
{
    struct secret_file file = {
        .token = section,
        .what = "Vault token file",
        .path = path,
        .len_max = VAULT_TOKEN_LEN_MAX,
        /* Vault Agent writes it with mode 0640. */
        .refused = S_IWGRP | S_IRWXO,
    };
    _cleanup_(secret_clear) struct secret text = {0};
    mode_t mode = 0;
    TRY(secret_file_read(&file, &text, &mode));
    if (mode == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s does not exist; let Vault Agent "
                          "write it, or correct vault_token_file",
                          section, path);
    while (text.len > 0 && (text.bytes[text.len - 1] == '\n' || text.bytes[text.len - 1] == '\r'))
        text.len--;
    if (!is_token((struct view){text.bytes, text.len}))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its Vault token file %s does not hold one Vault token (one "
                          "line without blanks); write the token alone into it",
                          section, path);
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
