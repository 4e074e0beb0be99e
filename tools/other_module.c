#include "tools/other_module.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "include/indexkey.h"
#include "tools/pin.h"

#define SLOTS_MAX 256

CK_RV other_module_check(CK_RV rv, const char *call)
{
    char name[32];
    if (rv == CKR_OK)
        return CKR_OK;
    enum exit_code exit = failure_exit_code(rv, INDEXKEY_CAUSE_NONE);
    return FAIL_TOOL(exit, "the other module's %s: %s", call, failure_rv_name(rv, name));
}

void other_module_close(struct other_module *module)
{
    if (module->calls != NULL)
        (void) module->calls->C_Finalize(NULL);
    /* Not unloaded: many modules do not bear it, and the process ends soon. */
    *module = (struct other_module){0};
}

static CK_RV load(struct other_module *module, const char *path, const char *option)
{
    CK_C_GetFunctionList get;
    CK_FUNCTION_LIST *calls = NULL;
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND, "--%s: it cannot be loaded: %s", option, dlerror());
    *(void **) &get = dlsym(library, "C_GetFunctionList");
    if (get == NULL)
        return FAIL_TOOL(EXIT_CODE_FAILED, "%s is no PKCS #11 module", path);
    TRY(other_module_check(get(&calls), "C_GetFunctionList"));
    TRY(other_module_check(calls->C_Initialize(&args), "C_Initialize"));
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

static CK_RV open_session(struct other_module *module, const char *label, const char *option)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;
    TRY(other_module_check(module->calls->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList"));
    for (CK_ULONG i = 0; i < count; i++) {
        if (module->calls->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
            (label != NULL && !label_matches(&info, label)) ||
            (info.flags & CKF_TOKEN_INITIALIZED) == 0)
            continue;
        CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        return other_module_check(
            module->calls->C_OpenSession(slots[i], flags, NULL, NULL, &module->session),
            "C_OpenSession");
    }
    return FAIL_TOOL(EXIT_CODE_NOT_FOUND, "the other module has no such token; check --%s", option);
}

static CK_RV log_in(struct other_module *module, const struct options *options,
                    const struct other_module_options *names)
{
    char file_option[32];
    _cleanup_(secret_clear) struct secret pin = {0};
    const struct pin_source source = {
        .whose = "the user PIN of the other module's token",
        .file = options_value(options, names->pin_file),
        .variable = options_value(options, names->pin_env),
        .file_option = file_option,
    };
    (void) snprintf(file_option, sizeof(file_option), "--%s", option_rows[names->pin_file].name);
    TRY(pin_read(&source, &pin));
    return other_module_check(module->calls->C_Login(module->session, CKU_USER, pin.bytes, pin.len),
                              "C_Login");
}

CK_RV other_module_open(const struct options *options, const struct other_module_options *names,
                        struct other_module *ret_module)
{
    _cleanup_(other_module_close) struct other_module module = {0};
    TRY(load(&module, options_value(options, names->module), option_rows[names->module].name));
    TRY(open_session(&module, options_value(options, names->token),
                     option_rows[names->token].name));
    TRY(log_in(&module, options, names));
    *ret_module = module;
    module.calls = NULL;
    return CKR_OK;
}
