#include "tokens/vault_names.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NAME_LEN_MAX 255

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* As Vault has it for names in paths: letters, digits and _, with - and . between. */
static bool is_name(const char *text, size_t len)
{
    if (len == 0 || len > NAME_LEN_MAX || !is_word(text[0]) || !is_word(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_word(text[i]) && text[i] != '-' && text[i] != '.')
            return false;
    }
    return true;
}

static bool is_path(const char *text)
{
    if (strlen(text) > NAME_LEN_MAX)
        return false;
    size_t len = strcspn(text, "/");
    for (; text[len] == '/'; text += len + 1, len = strcspn(text, "/")) {
        if (!is_name(text, len))
            return false;
    }
    return is_name(text, len);
}

const char *vault_check_name(const char *value)
{
    return is_name(value, strlen(value)) ? NULL : "a name: letters, digits, _, - and .";
}

const char *vault_check_path(const char *value)
{
    return is_path(value) ? NULL : "names of letters, digits, _, - and ., with / between them";
}

const char *vault_check_text(const char *value)
{
    const char *at = value;
    while (*at > ' ' && *at <= '~')
        at++;
    return *at == '\0' && at != value && at - value <= NAME_LEN_MAX
               ? NULL
               : "at most 255 characters without blanks";
}

const char *vault_check_variable(const char *value)
{
    return *value != '\0' && strchr(value, '=') == NULL
               ? NULL
               : "the name of an environment variable, not its value";
}
