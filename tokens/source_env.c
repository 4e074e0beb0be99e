#include "tokens/source_env.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "tokens/source_local.h"

static const char *check_name(const char *value)
{
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '=')
            return "the name of an environment variable, not its value";
    }
    return NULL;
}

static const struct conf_key env_keys[] = {
    {.name = "key_env",
     .type = CONF_STRING,
     .required = true,
     .help = "name of the environment variable with the root key (base64 of 32 bytes)",
     .check = check_name},
    {.name = NULL},
};

static CK_RV read_variable(const char *token, const char *place, struct secret *ret_root)
{
    /* NULL too in a process with raised privileges, whose environment is not to be believed. */
    const char *text = secure_getenv(place);
    if (text == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_DELETED,
                          "token '%s': the environment variable %s with its root key is not set; "
                          "set it to the output of: openssl rand -base64 32",
                          token, place);
    CK_RV rv = crypto_base64_secret(view_text(text), ROOT_KEY_LEN, ret_root);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s is not the base64 of %d bytes; "
                          "set it to the output of: openssl rand -base64 32",
                          token, place, ROOT_KEY_LEN);
    return rv;
}

static CK_RV env_open(const struct conf_section *section, struct source **ret_source)
{
    return source_local_open(&source_env_ops, section, "key_env", read_variable, ret_source);
}

const struct source_ops source_env_ops = {
    .name = "env",
    .keys = env_keys,
    .open = env_open,
    .close = source_local_close,
    .wrap = source_local_wrap,
    .unwrap = source_local_unwrap,
    .describe = source_local_describe,
};
