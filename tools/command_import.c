#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "include/indexkey.h"
#include "tools/command.h"
#include "tools/import_module.h"
#include "tools/input.h"
#include "tools/object.h"

#define KEY_TEXT_MAX 128 /* base64 of 32 bytes, with room for line ends */
#define ID_MAX 32
#define ID_MADE 16
#define TEMPLATE_COUNT 9

/* What becomes an index key, with all that it points to. */
struct wanted {
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_BBOOL yes;
    CK_BBOOL no;
    unsigned char id[ID_MAX];
    size_t id_len;
    CK_ATTRIBUTE template[TEMPLATE_COUNT + 1]; /* the value comes last */
};

static CK_RV fill_id(const struct token *token, const char *text, struct wanted *wanted)
{
    if (text != NULL) {
        if (!input_parse_hex(text, wanted->id, sizeof(wanted->id), &wanted->id_len))
            return FAIL_TOOL(EXIT_CODE_USAGE, "--id must be 1 to %d bytes in hexadecimal", ID_MAX);
        return CKR_OK;
    }
    wanted->id_len = ID_MADE;
    return token_check(token, C_GenerateRandom(token->session, wanted->id, ID_MADE),
                       "C_GenerateRandom");
}

static CK_RV fill_wanted(const struct token *token, const struct options *options,
                         struct wanted *wanted)
{
    const char *label = options_value(options, OPTION_LABEL);
    *wanted = (struct wanted){
        .class = CKO_SECRET_KEY, .type = CKK_GENERIC_SECRET, .yes = CK_TRUE, .no = CK_FALSE};
    TRY(fill_id(token, options_value(options, OPTION_ID), wanted));
    const CK_ATTRIBUTE template[TEMPLATE_COUNT] = {
        {CKA_CLASS, &wanted->class, sizeof(wanted->class)},
        {CKA_KEY_TYPE, &wanted->type, sizeof(wanted->type)},
        {CKA_TOKEN, &wanted->yes, sizeof(wanted->yes)},
        {CKA_PRIVATE, &wanted->yes, sizeof(wanted->yes)},
        {CKA_SENSITIVE, &wanted->yes, sizeof(wanted->yes)},
        {CKA_EXTRACTABLE, &wanted->no, sizeof(wanted->no)},
        {CKA_DERIVE, &wanted->yes, sizeof(wanted->yes)},
        {CKA_LABEL, (void *) (uintptr_t) label, strlen(label)},
        {CKA_ID, wanted->id, wanted->id_len},
    };
    memcpy(wanted->template, template, sizeof(template));
    return CKR_OK;
}

/* Java and Python clients refuse two secret keys with one label. */
static CK_RV check_label_is_free(const struct token *token, const char *label)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_LABEL, (void *) (uintptr_t) label, strlen(label)}};
    _cleanup_(mem_free_pointer) CK_OBJECT_HANDLE *keys = NULL;
    size_t count;
    TRY(token_find(token, template, 2, &keys, &count));
    if (count > 0)
        return FAIL_TOOL(EXIT_CODE_FAILED,
                         "token '%s' has a key '%s' already; choose another label", token->label,
                         label);
    return CKR_OK;
}

static CK_RV create_from_file(const struct token *token, const char *path, struct wanted *wanted,
                              CK_OBJECT_HANDLE *ret_key)
{
    _cleanup_(secret_clear) struct secret text = {0};
    _cleanup_(secret_clear) struct secret value = {0};
    const char *what = "an index key (32 bytes in base64: openssl rand -base64 32)";
    TRY(input_read_secret(path, what, KEY_TEXT_MAX, &text));
    CK_RV rv = crypto_base64_secret((struct view){text.bytes, text.len}, INDEXKEY_KEY_LEN, &value);
    if (rv == CKR_DATA_INVALID)
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s: not %s", path, what);
    TRY(failure_of(rv, INDEXKEY_CAUSE_NONE, "the key"));
    wanted->template[TEMPLATE_COUNT] = (CK_ATTRIBUTE){CKA_VALUE, value.bytes, value.len};
    return token_check(
        token, C_CreateObject(token->session, wanted->template, TEMPLATE_COUNT + 1, ret_key),
        "C_CreateObject");
}

static CK_RV create_from_module(const struct token *token, const struct options *options,
                                struct wanted *wanted, CK_OBJECT_HANDLE *ret_key)
{
    _cleanup_(import_module_close) struct import_module *module = NULL;
    TRY(import_module_open(options, &module));
    return import_module_create(module, token, wanted->template, TEMPLATE_COUNT, ret_key);
}

static CK_RV check_usage(const struct options *options)
{
    bool has_file = options_argument(options) != NULL;
    if (!options_has(options, OPTION_LABEL) || *options_value(options, OPTION_LABEL) == '\0')
        return FAIL_TOOL(EXIT_CODE_USAGE, "import: give the new key a --label");
    if (has_file == options_has(options, OPTION_FROM_MODULE))
        return FAIL_TOOL(EXIT_CODE_USAGE, "import: give a file, - for standard input, or "
                                          "--from-module; one of them");
    return CKR_OK;
}

CK_RV command_import(struct run *run)
{
    const struct options *options = run->options;
    const char *label = options_value(options, OPTION_LABEL);
    struct token token = {0};
    struct wanted wanted;
    CK_OBJECT_HANDLE key;
    _cleanup_(blob_clear) struct blob unique_id = {0};
    TRY(check_usage(options));
    TRY(token_select(options, &token));
    TRY(token_login(&token, options));
    TRY(check_label_is_free(&token, label));
    TRY(fill_wanted(&token, options, &wanted));
    if (options_has(options, OPTION_FROM_MODULE))
        TRY(create_from_module(&token, options, &wanted, &key));
    else
        TRY(create_from_file(&token, options_argument(options), &wanted, &key));
    TRY(object_bytes(&token, key, CKA_UNIQUE_ID, &unique_id));
    output_text(run->output, "token", token.label);
    output_text(run->output, "label", label);
    output_hex(run->output, "id", (struct view){wanted.id, wanted.id_len});
    output_view(run->output, "unique_id", blob_view(&unique_id));
    output_text(run->output, "note",
                "whoever has the former copy has the key: destroy it where it came from");
    return CKR_OK;
}
