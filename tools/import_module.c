#include "tools/import_module.h"

#include <dlfcn.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "include/indexkey.h"
#include "tools/failure.h"
#include "tools/input.h"
#include "tools/pin.h"

#define SLOTS_MAX 256
#define ID_MAX 64
#define WRAPPING_KEY_LEN 32
#define WRAPPED_MAX 64

struct import_module {
    void *library;
    CK_FUNCTION_LIST *calls; /* NULL until C_Initialize has succeeded */
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
};

static CK_RV check(CK_RV rv, const char *call)
{
    char name[32];
    if (rv == CKR_OK)
        return CKR_OK;
    enum exit_code exit = failure_exit_code(rv, INDEXKEY_CAUSE_NONE);
    return FAIL_TOOL(exit, "the other module's %s: %s", call, failure_rv_name(rv, name));
}

void import_module_close(struct import_module **module)
{
    struct import_module *closed = *module;
    if (closed == NULL)
        return;
    if (closed->calls != NULL)
        (void) closed->calls->C_Finalize(NULL);
    /* Not unloaded: many modules do not bear it, and the process ends soon. */
    mem_free(closed);
    *module = NULL;
}

static CK_RV load(struct import_module *module, const char *path)
{
    CK_C_GetFunctionList get;
    CK_FUNCTION_LIST *calls = NULL;
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module->library == NULL)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND, "--from-module: it cannot be loaded: %s", dlerror());
    *(void **) &get = dlsym(module->library, "C_GetFunctionList");
    if (get == NULL)
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s is no PKCS #11 module", path);
    TRY(check(get(&calls), "C_GetFunctionList"));
    TRY(check(calls->C_Initialize(&args), "C_Initialize"));
    module->calls = calls;
    return CKR_OK;
}

static bool label_matches(const CK_TOKEN_INFO *info, const char *label)
{
    size_t len = strlen(label);
    if (len > sizeof(info->label) || memcmp(info->label, label, len) != 0)
        return false;
    for (size_t i = len; i < sizeof(info->label); i++) {
        if (info->label[i] != ' ')
            return false;
    }
    return true;
}

static CK_RV open_session(struct import_module *module, const char *label)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;
    TRY(check(module->calls->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList"));
    for (CK_ULONG i = 0; i < count; i++) {
        if (module->calls->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
            (label != NULL && !label_matches(&info, label)) ||
            (info.flags & CKF_TOKEN_INITIALIZED) == 0)
            continue;
        return check(module->calls->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION,
                                                  NULL, NULL, &module->session),
                     "C_OpenSession");
    }
    return FAIL_TOOL(EXIT_CODE_NOT_FOUND, "the other module has no such token; check --from-token");
}

static CK_RV log_in(struct import_module *module, const struct options *options)
{
    _cleanup_(secret_clear) struct secret pin = {0};
    const struct pin_source source = {
        .whose = "the user PIN of the other module's token",
        .file = options_value(options, OPTION_FROM_PIN_FILE),
        .variable = options_value(options, OPTION_FROM_PIN_ENV),
        .file_option = "--from-pin-file",
    };
    TRY(pin_read(&source, &pin));
    return check(module->calls->C_Login(module->session, CKU_USER, pin.bytes, pin.len), "C_Login");
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
    TRY(check(module->calls->C_FindObjectsInit(module->session, template, template_count),
              "C_FindObjectsInit"));
    TRY(check(module->calls->C_FindObjects(module->session, found, 2, &count), "C_FindObjects"));
    TRY(check(module->calls->C_FindObjectsFinal(module->session), "C_FindObjectsFinal"));
    if (count != 1)
        return FAIL_TOOL(count == 0 ? EXIT_CODE_NOT_FOUND : EXIT_CODE_USAGE,
                         "the other token has %s such key; check --from-label and --from-id",
                         count == 0 ? "no" : "more than one");
    module->key = found[0];
    return CKR_OK;
}

CK_RV import_module_open(const struct options *options, struct import_module **ret_module)
{
    _cleanup_(import_module_close) struct import_module *module = mem_calloc(1, sizeof(*module));
    if (module == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "the other module");
    TRY(load(module, options_value(options, OPTION_FROM_MODULE)));
    TRY(open_session(module, options_value(options, OPTION_FROM_TOKEN)));
    TRY(log_in(module, options));
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
    TRY(check(module->calls->C_GetAttributeValue(module->session, module->key, &flag, 1),
              "C_GetAttributeValue"));
    if (!extractable)
        return FAIL_TOOL(EXIT_CODE_REFUSED,
                         "that key is not extractable, and its token keeps it so for good: make a "
                         "new index key here and encrypt the index anew, reading by the old one");
    TRY(failure_of(secret_new(INDEXKEY_KEY_LEN, &value), INDEXKEY_CAUSE_NONE, "the key"));
    CK_ATTRIBUTE wanted = {CKA_VALUE, value.bytes, value.len};
    CK_RV rv = module->calls->C_GetAttributeValue(module->session, module->key, &wanted, 1);
    if (rv == CKR_ATTRIBUTE_SENSITIVE)
        return CKR_OK;
    if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && wanted.ulValueLen != INDEXKEY_KEY_LEN))
        return FAIL_TOOL(EXIT_CODE_FAILED, "that key has not the %d bytes of an index key",
                         INDEXKEY_KEY_LEN);
    TRY(check(rv, "C_GetAttributeValue"));
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
    TRY(check(module->calls->C_CreateObject(module->session, template,
                                            sizeof(template) / sizeof(template[0]), &under),
              "C_CreateObject of a wrapping key"));
    TRY(check(
        module->calls->C_WrapKey(module->session, &mechanism, under, module->key, wrapped, &len),
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
