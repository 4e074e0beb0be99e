#include "tokens/vault_place.h"

#include <stdio.h>
#include <stdlib.h>

#include "tokens/secret_file.h"

#define WHAT_MAX 64

/* RFC 9110, 5.5. */
bool vault_place_is_fit(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= VAULT_TEXT_LEN_MAX;
}

static CK_RV from_file(const char *section, const struct vault_place *place,
                       struct secret *ret_text)
{
    char what[WHAT_MAX];
    (void) snprintf(what, sizeof(what), "%s file", place->what);
    const struct secret_file file = {
        .token = section,
        .what = what,
        .path = place->file,
        .len_max = VAULT_TEXT_LEN_MAX,
        .refused = place->refused,
        .follows_links = place->follows_links,
    };
    _cleanup_(secret_clear) struct secret text = {0};
    mode_t mode = 0;
    TRY(secret_file_read(&file, &text, &mode));
    if (mode == 0)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s does not exist; have it written there, or correct "
                          "%s",
                          section, what, place->file, place->file_key);
    while (text.len > 0 && (text.bytes[text.len - 1] == '\n' || text.bytes[text.len - 1] == '\r'))
        text.len--;
    if (!vault_place_is_fit((struct view){text.bytes, text.len}))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its %s %s does not hold one %s (one line without blanks); "
                          "write that alone into it",
                          section, what, place->file, place->what);
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static CK_RV from_variable(const char *section, const struct vault_place *place,
                           struct secret *ret_text)
{
    /* NULL too in a process with raised privileges, whose environment is not to be believed. */
    const char *value = secure_getenv(place->variable);
    if (value == NULL || *value == '\0')
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s with its %s is not set; set it, "
                          "or set %s",
                          section, place->variable, place->what, place->file_key);
    struct view text = view_text(value);
    if (!vault_place_is_fit(text))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': the environment variable %s does not hold a %s (at most %d "
                          "characters, no blanks); set it to that alone",
                          section, place->variable, place->what, VAULT_TEXT_LEN_MAX);
    return secret_from(text.bytes, text.len, ret_text);
}

CK_RV vault_place_read(const char *section, const struct vault_place *place,
                       struct secret *ret_text)
{
    return place->file != NULL ? from_file(section, place, ret_text)
                               : from_variable(section, place, ret_text);
}
