#include "token.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckr.h"
#include "util.h"

static const char *const purposes[TOKEN_KEY_COUNT] = {
    [TOKEN_KEY_TOKEN] = "token",     [TOKEN_KEY_CENTROID] = "centroid",
    [TOKEN_KEY_PAYLOAD] = "payload", [TOKEN_KEY_ITEM] = "item",
    [TOKEN_KEY_QUERY] = "query",
};

// The module is never unloaded: some leave exit handlers behind that would then run unmapped code.
static bool token_load(struct token *token, const char *module)
{
    CK_C_GetFunctionList get_function_list;
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        return fail("cannot load the module: %s: check --module", dlerror());
    }
    *(void **)&get_function_list = dlsym(library, "C_GetFunctionList");
    if (get_function_list == NULL) {
        return fail("%s is no PKCS#11 module: it has no C_GetFunctionList", module);
    }
    if (!ckr_check(get_function_list(&token->calls), "C_GetFunctionList", module)) {
        return false;
    }
    if (token->calls == NULL || token->calls->version.major < 2) {
        return fail("%s speaks a Cryptoki older than 2.0", module);
    }
    return true;
}

static bool token_initialize(struct token *token, const char *module)
{
    if (!ckr_check(token->calls->C_Initialize(NULL), "C_Initialize", module)) {
        return false;
    }
    token->initialized = true;
    return true;
}

// Token labels are 32 bytes, padded with blanks and not terminated (Cryptoki 2.40, section 3.2).
static bool token_label_matches(const CK_TOKEN_INFO *info, const char *label)
{
    char padded[TOKEN_LABEL_LEN];

    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, strlen(label));
    return memcmp(padded, info->label, sizeof padded) == 0;
}

static bool token_slots(const struct token *token, CK_SLOT_ID **ret_slots, CK_ULONG *ret_count)
{
    _cleanup_(util_freep) CK_SLOT_ID *slots = NULL;
    CK_ULONG count = 0;
    CK_RV rv = token->calls->C_GetSlotList(CK_TRUE, NULL, &count);

    // A slot may appear between the two calls: then the second one says so, and is made again.
    while (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL) {
        free(slots);
        slots = util_alloc(count, sizeof *slots);
        if (slots == NULL) {
            return false;
        }
        rv = token->calls->C_GetSlotList(CK_TRUE, slots, &count);
        if (rv == CKR_OK) {
            *ret_slots = slots;
            *ret_count = count;
            slots = NULL;
            return true;
        }
    }
    return ckr_fail(rv, "C_GetSlotList", "the module");
}

// A token that cannot be read is passed over: it may be another one than the one wanted.
static bool token_find_slot(const struct token *token, const char *label, CK_SLOT_ID *ret_slot,
                            CK_TOKEN_INFO *ret_info)
{
    _cleanup_(util_freep) CK_SLOT_ID *slots = NULL;
    CK_ULONG count = 0;
    CK_ULONG found = 0;

    if (!token_slots(token, &slots, &count)) {
        return false;
    }
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;

        if (token->calls->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            token_label_matches(&info, label)) {
            *ret_slot = slots[i];
            *ret_info = info;
            found++;
        }
    }
    if (found != 1) {
        return fail("%s token is labelled \"%s\" (the module has %lu): check --token",
                    found == 0 ? "no" : "more than one", label, (unsigned long)count);
    }
    return true;
}

static bool token_open_sessions(struct token *token, CK_SLOT_ID slot, const char *label)
{
    while (token->session_count < TOKEN_KEY_COUNT) {
        if (!ckr_check(token->calls->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL,
                                                   &token->sessions[token->session_count]),
                       "C_OpenSession", label)) {
            return false;
        }
        token->session_count++;
    }
    return true;
}

static bool token_login(const struct token *token, const struct token_options *options,
                        CK_FLAGS flags)
{
    _cleanup_(pin_wipe) struct pin pin = { .len = 0 };
    CK_UTF8CHAR_PTR text = NULL;
    CK_RV rv;

    if ((flags & CKF_LOGIN_REQUIRED) == 0) {
        return true;
    }
    if ((flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0) {
        if (!pin_read(&options->pin, &pin)) {
            return false;
        }
        text = (CK_UTF8CHAR_PTR)pin.text;
    }
    rv = token->calls->C_Login(token->sessions[0], CKU_USER, text, (CK_ULONG)pin.len);
    return rv == CKR_USER_ALREADY_LOGGED_IN || ckr_check(rv, "C_Login", options->label);
}

static bool token_find_key(struct token *token, enum token_key purpose)
{
    char *label = token->key_labels[purpose];
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_LABEL, label, (CK_ULONG)strlen(label) },
    };
    CK_SESSION_HANDLE session = token->sessions[purpose];
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    CK_RV rv;

    if (!ckr_check(token->calls->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit",
                   label)) {
        return false;
    }
    rv = token->calls->C_FindObjects(session, found, 2, &count);
    if (!ckr_check(rv, "C_FindObjects", label) ||
        !ckr_check(token->calls->C_FindObjectsFinal(session), "C_FindObjectsFinal", label)) {
        return false;
    }
    if (count != 1) {
        return fail("the token has %s secret key \"%s\": an administrator must %s",
                    count == 0 ? "no" : "more than one", label,
                    count == 0 ? "make it (see README), or check --index" : "remove one");
    }
    token->keys[purpose] = found[0];
    return true;
}

static bool token_find_keys(struct token *token, const char *index)
{
    for (enum token_key purpose = 0; purpose < TOKEN_KEY_COUNT; purpose++) {
        snprintf(token->key_labels[purpose], sizeof token->key_labels[purpose], "%s/%s", index,
                 purposes[purpose]);
        if (!token_find_key(token, purpose)) {
            return false;
        }
    }
    return true;
}

bool token_open(const struct token_options *options, struct token **ret_token)
{
    _cleanup_(token_closep) struct token *token = NULL;
    CK_SLOT_ID slot = 0;
    CK_TOKEN_INFO info = { .flags = 0 };

    if (strlen(options->label) > TOKEN_LABEL_LEN || strlen(options->index) > TOKEN_INDEX_MAX_LEN) {
        return fail("--token has at most %u bytes, --index at most %u", TOKEN_LABEL_LEN,
                    TOKEN_INDEX_MAX_LEN);
    }
    token = util_alloc(1, sizeof *token);
    if (token == NULL || !token_load(token, options->module) ||
        !token_initialize(token, options->module) ||
        !token_find_slot(token, options->label, &slot, &info) ||
        !token_open_sessions(token, slot, options->label)) {
        return false;
    }
    if (!token_login(token, options, info.flags) || !token_find_keys(token, options->index)) {
        return false;
    }
    *ret_token = token;
    token = NULL;
    return true;
}

// Closing the last session logs out (Cryptoki 2.40, section 5.6); a failure here changes nothing.
void token_close(struct token *token)
{
    if (token == NULL) {
        return;
    }
    while (token->session_count > 0) {
        token->calls->C_CloseSession(token->sessions[--token->session_count]);
    }
    if (token->initialized) {
        token->calls->C_Finalize(NULL);
    }
    free(token);
}

void token_closep(struct token **token)
{
    token_close(*token);
}
