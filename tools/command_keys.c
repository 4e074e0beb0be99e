#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "include/indexkey.h"
#include "tools/command.h"
#include "tools/object.h"

#define COLUMNS "label id kind bits subkeys"

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

static CK_RV has_subkey(const struct token *token, struct view label, const char *purpose,
                        bool *ret_found)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_OBJECT_HANDLE found;
    CK_ULONG count = 0;
    _cleanup_(mem_free_pointer) char *name =
        mem_format("%.*s/%s", (int) label.len, (const char *) label.bytes, purpose);
    if (name == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "the list of subkeys");
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, name, strlen(name)}};
    TRY(token_check(token, C_FindObjectsInit(token->session, template, 2), "C_FindObjectsInit"));
    TRY(token_check(token, C_FindObjects(token->session, &found, 1, &count), "C_FindObjects"));
    TRY(token_check(token, C_FindObjectsFinal(token->session), "C_FindObjectsFinal"));
    *ret_found = count > 0;
    return CKR_OK;
}

static CK_RV show_subkeys(const struct token *token, struct view label, struct output *output)
{
    output_word(output, "subkeys", NULL);
    for (int purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        const char *name = indexkey_purpose_name((enum indexkey_purpose) purpose);
        bool found = false;
        TRY(has_subkey(token, label, name, &found));
        if (found)
            output_word(output, "subkeys", name);
    }
    return CKR_OK;
}

/* In an operator's words, by what the key may do. */
static CK_RV find_kind(const struct token *token, CK_OBJECT_HANDLE key, const char **ret_kind)
{
    const CK_MECHANISM_TYPE only = CKM_SP800_108_COUNTER_KDF;
    _cleanup_(blob_clear) struct blob allowed = {0};
    CK_ULONG type;
    bool derives;
    bool signs;
    TRY(object_number(token, key, CKA_KEY_TYPE, CKK_GENERIC_SECRET, &type));
    TRY(object_flag(token, key, CKA_DERIVE, &derives));
    TRY(object_flag(token, key, CKA_SIGN, &signs));
    TRY(object_bytes(token, key, CKA_ALLOWED_MECHANISMS, &allowed));
    if (derives && !signs && allowed.len == sizeof(only) &&
        memcmp(allowed.bytes, &only, sizeof(only)) == 0)
        *ret_kind = "index key";
    else if (type == CKK_AES)
        *ret_kind = "AES key";
    else if (derives)
        *ret_kind = "derivation key";
    else
        *ret_kind = "MAC key";
    return CKR_OK;
}

static CK_RV show_flags(const struct token *token, CK_OBJECT_HANDLE key, struct output *output)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
    } flags[] = {
        {CKA_LOCAL, "local"},
        {CKA_SENSITIVE, "sensitive"},
        {CKA_EXTRACTABLE, "extractable"},
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        bool value;
        TRY(object_flag(token, key, flags[i].type, &value));
        output_flag(output, flags[i].name, value);
    }
    return CKR_OK;
}

static CK_RV show_key(const struct token *token, CK_OBJECT_HANDLE key, struct output *output)
{
    _cleanup_(blob_clear) struct blob label = {0};
    _cleanup_(blob_clear) struct blob id = {0};
    _cleanup_(blob_clear) struct blob unique_id = {0};
    CK_ULONG len;
    const char *kind;
    TRY(object_bytes(token, key, CKA_LABEL, &label));
    TRY(object_bytes(token, key, CKA_ID, &id));
    TRY(object_bytes(token, key, CKA_UNIQUE_ID, &unique_id));
    TRY(object_number(token, key, CKA_VALUE_LEN, 0, &len));
    TRY(find_kind(token, key, &kind));
    output_view(output, "label", blob_view(&label));
    output_hex(output, "id", blob_view(&id));
    output_view(output, "unique_id", blob_view(&unique_id));
    output_text(output, "kind", kind);
    output_number(output, "bits", 8 * len);
    TRY(show_flags(token, key, output));
    return show_subkeys(token, blob_view(&label), output);
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
        CK_RV rv = show_key(token, keys[i], output);
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
    if (label == NULL && id == NULL) {
        TRY(token_find(&token, template, 1, &keys, &count));
    } else {
        TRY(token_find_one(&token, label, id, &key));
    }
    output_text(run->output, "token", token.label);
    output_list(run->output, "keys", COLUMNS);
    CK_RV rv = show_keys(&token, keys == NULL ? &key : keys, count, run->output);
    output_end_list(run->output);
    return rv;
}
