#include <string.h>

#include "base/alloc.h"
#include "include/indexkey.h"
#include "tools/command.h"
#include "tools/key_text.h"
#include "tools/object.h"
#include "tools/pending.h"

/* A label that ends in /PURPOSE is a subkey object's: the token keeps such labels for them. */
static bool is_subkey_label(struct view label)
{
    for (int purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        const char *name = indexkey_purpose_name((enum indexkey_purpose) purpose);
        size_t len = strlen(name);
        if (label.len > len + 1 && label.bytes[label.len - len - 1] == '/' &&
            memcmp(label.bytes + label.len - len, name, len) == 0)
            return true;
    }
    return false;
}

static CK_RV show_keys(const struct token *token, const CK_OBJECT_HANDLE *keys, size_t count,
                       struct output *output)
{
    for (size_t i = 0; i < count; i++) {
        _cleanup_(blob_clear) struct blob label = {0};
        TRY(object_bytes(token, keys[i], CKA_LABEL, &label));
        if (is_subkey_label(blob_view(&label)))
            continue;
        output_record(output);
        CK_RV rv = key_text_show(token, keys[i], output);
        output_end_record(output);
        TRY(rv);
    }
    return CKR_OK;
}

CK_RV command_keys(struct run *run)
{
    const char *label = options_argument(run->options);
    const char *id = options_value(run->options, OPTION_ID);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}};
    struct token token = {0};
    _cleanup_(mem_free_pointer) CK_OBJECT_HANDLE *keys = NULL;
    CK_OBJECT_HANDLE key;
    size_t count = 1;
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    if (options_has(run->options, OPTION_PENDING)) {
        output_text(run->output, "token", token.label);
        return pending_show(&token, run->output);
    }
    if (label == NULL && id == NULL) {
        TRY(token_find(&token, template, 1, &keys, &count));
    } else {
        TRY(token_find_one(&token, label, id, &key));
    }
    output_text(run->output, "token", token.label);
    output_list(run->output, "keys", keys == NULL ? NULL : KEY_TEXT_COLUMNS);
    CK_RV rv = show_keys(&token, keys == NULL ? &key : keys, count, run->output);
    output_end_list(run->output);
    return rv;
}
