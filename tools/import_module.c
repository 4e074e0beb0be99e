#include "tools/import_module.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "include/indexkey.h"
#include "tools/failure.h"
#include "tools/input.h"
#include "tools/other_module.h"

#define ID_MAX 64
#define WRAPPING_KEY_LEN 32
#define WRAPPED_MAX 64

struct import_module {
    struct other_module other;
    CK_OBJECT_HANDLE key;
};

void import_module_close(struct import_module **module)
{
    if (*module == NULL)
        return;
    other_module_close(&(*module)->other);
    mem_free(*module);
    *module = NULL;
}

static CK_RV find_key(struct import_module *module, const struct options *options)
{
    const char *label = options_value(options, OPTION_FROM_LABEL);
    const char *id = options_value(options, OPTION_FROM_ID);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[3] = {{CKA_CLASS, &class, sizeof(class)}};
    CK_ULONG template_count = 1;
    unsigned char id_bytes[ID_MAX];
    size_t id_len = 0;
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    if (label == NULL && id == NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "which key there? name it by --from-label or --from-id");
    if (id != NULL && !input_parse_hex(id, id_bytes, sizeof(id_bytes), &id_len))
        return FAIL_TOOL(EXIT_CODE_USAGE, "--from-id must be 1 to %d bytes in hexadecimal", ID_MAX);
    if (label != NULL)
        template[template_count++] =
            (CK_ATTRIBUTE){CKA_LABEL, (void *) (uintptr_t) label, strlen(label)};
    if (id != NULL)
        template[template_count++] = (CK_ATTRIBUTE){CKA_ID, id_bytes, id_len};
    TRY(other_module_check(
        module->other.calls->C_FindObjectsInit(module->other.session, template, template_count),
        "C_FindObjectsInit"));
    TRY(other_module_check(
        module->other.calls->C_FindObjects(module->other.session, found, 2, &count),
        "C_FindObjects"));
    TRY(other_module_check(module->other.calls->C_FindObjectsFinal(module->other.session),
                           "C_FindObjectsFinal"));
    if (count != 1)
        return FAIL_TOOL(count == 0 ? EXIT_CODE_NOT_FOUND : EXIT_CODE_USAGE,
                         "the other token has %s such key; check --from-label and --from-id",
                         count == 0 ? "no" : "more than one");
    module->key = found[0];
    return CKR_OK;
}

CK_RV import_module_open(const struct options *options, struct import_module **ret_module)
{
    static const struct other_module_options names = {OPTION_FROM_MODULE, OPTION_FROM_TOKEN,
                                                      OPTION_FROM_PIN_FILE, OPTION_FROM_PIN_ENV};
    _cleanup_(import_module_close) struct import_module *module = mem_calloc(1, sizeof(*module));
    if (module == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "the other module");
    TRY(other_module_open(options, &names, &module->other));
    TRY(find_key(module, options));
    *ret_module = TAKE(module);
    return CKR_OK;
}

/* Empty where the module does not give it, though the key is extractable. */
static CK_RV read_value(struct import_module *module, struct secret *ret_value)
{
    CK_BBOOL extractable = CK_FALSE;
    CK_ATTRIBUTE flag = {CKA_EXTRACTABLE, &extractable, sizeof(extractable)};
    _cleanup_(secret_clear) struct secret value = {0};
    TRY(other_module_check(
        module->other.calls->C_GetAttributeValue(module->other.session, module->key, &flag, 1),
        "C_GetAttributeValue"));
    if (!extractable)
        return FAIL_TOOL(EXIT_CODE_REFUSED,
                         "that key is not extractable, and its token keeps it so for good: make a "
                         "new index key here and encrypt the index anew, reading by the old one");
    TRY(failure_of(secret_new(INDEXKEY_KEY_LEN, &value), INDEXKEY_CAUSE_NONE, "the key"));
    CK_ATTRIBUTE wanted = {CKA_VALUE, value.bytes, value.len};
    CK_RV rv =
        module->other.calls->C_GetAttributeValue(module->other.session, module->key, &wanted, 1);
    if (rv == CKR_ATTRIBUTE_SENSITIVE)
        return CKR_OK;
    if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && wanted.ulValueLen != INDEXKEY_KEY_LEN))
        return FAIL_TOOL(EXIT_CODE_FAILED, "that key has not the %d bytes of an index key",
                         INDEXKEY_KEY_LEN);
    TRY(other_module_check(rv, "C_GetAttributeValue"));
    *ret_value = secret_move(&value);
    return CKR_OK;
}

/* Under a session key there, AES-256 for one use. */
static CK_RV wrap_there(struct import_module *module, const struct secret *wrapping_key,
                        CK_BYTE wrapped[WRAPPED_MAX], CK_ULONG *ret_len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_TOKEN, &no, sizeof(no)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_WRAP, &yes, sizeof(yes)},
        {CKA_VALUE, wrapping_key->bytes, wrapping_key->len},
    };
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_OBJECT_HANDLE under;
    CK_ULONG len = WRAPPED_MAX;
    TRY(other_module_check(
        module->other.calls->C_CreateObject(module->other.session, template,
                                            sizeof(template) / sizeof(template[0]), &under),
        "C_CreateObject of a wrapping key"));
    TRY(other_module_check(module->other.calls->C_WrapKey(module->other.session, &mechanism, under,
                                                          module->key, wrapped, &len),
                           "C_WrapKey"));
    *ret_len = len;
    return CKR_OK;
}

static CK_RV read_wrapped(struct import_module *module, struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret wrapping_key = {0};
    CK_BYTE wrapped[WRAPPED_MAX];
    CK_ULONG len;
    TRY(failure_of(crypto_random_secret(WRAPPING_KEY_LEN, &wrapping_key), INDEXKEY_CAUSE_NONE,
                   "a wrapping key"));
    TRY(wrap_there(module, &wrapping_key, wrapped, &len));
    /* RFC 3394 adds eight bytes. */
    if (len != INDEXKEY_KEY_LEN + 8)
        return FAIL_TOOL(EXIT_CODE_FAILED, "that key has not the %d bytes of an index key",
                         INDEXKEY_KEY_LEN);
    return failure_of(crypto_key_unwrap(&wrapping_key, (struct view){wrapped, len}, ret_value),
                      INDEXKEY_CAUSE_NONE, "what the other module's C_WrapKey gave");
}

CK_RV import_module_create(struct import_module *module, const struct token *token,
                           CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *ret_key)
{
    _cleanup_(secret_clear) struct secret value = {0};
    TRY(read_value(module, &value));
    if (value.len == 0)
        TRY(read_wrapped(module, &value));
    template[count] = (CK_ATTRIBUTE){CKA_VALUE, value.bytes, value.len};
    return token_check(token, C_CreateObject(token->session, template, count + 1, ret_key),
                       "C_CreateObject");
}
