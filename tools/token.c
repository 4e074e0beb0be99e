#include "tools/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"
#include "tools/failure.h"
#include "tools/input.h"
#include "tools/pin.h"

#define FOUND_AT_ONCE 256
#define ID_MAX 64

static bool is_up;

CK_RV tokens_begin(const struct options *options)
{
    CK_C_INITIALIZE_ARGS args = {
        .flags = CKF_OS_LOCKING_OK,
        /* The configuration's path; the standard's type is not const. */
        .pReserved = (void *) (uintptr_t) options_value(options, OPTION_CONF),
    };
    cause_clear();
    CK_RV rv = C_Initialize(&args);
    is_up = rv == CKR_OK;
    if (rv == CKR_OK)
        return CKR_OK;
    (void) failure_of(rv, cause_last(), "C_Initialize");
    failure_set(EXIT_CODE_CONFIG, "%s", failure_last()->text);
    return rv;
}

void tokens_finish(void)
{
    if (is_up)
        (void) C_Finalize(NULL);
    is_up = false;
}

/* Blank-padded and not NUL-terminated. */
static void copy_padded(const unsigned char *field, size_t len, char *text)
{
    while (len > 0 && field[len - 1] == ' ')
        len--;
    memcpy(text, field, len);
    text[len] = '\0';
}

/* The description is "indexkey [token NAME]". */
static void copy_name(const CK_SLOT_INFO *info, char *name)
{
    char text[sizeof(info->slotDescription) + 1];
    copy_padded(info->slotDescription, sizeof(info->slotDescription), text);
    const char *start = strstr(text, "[token ");
    start = start == NULL ? text : start + strlen("[token ");
    (void) snprintf(name, TOKEN_NAME_MAX + 1, "%.*s", (int) strcspn(start, "]"), start);
}

static CK_RV describe(CK_SLOT_ID slot, struct token *token)
{
    CK_SLOT_INFO info;
    TRY(failure_of(C_GetSlotInfo(slot, &info), INDEXKEY_CAUSE_NONE, "C_GetSlotInfo"));
    token->slot = slot;
    token->is_present = (info.flags & CKF_TOKEN_PRESENT) != 0;
    copy_name(&info, token->name);
    return CKR_OK;
}

CK_RV tokens_list(struct token **ret_tokens, size_t *ret_count)
{
    CK_ULONG count = 0;
    TRY(failure_of(C_GetSlotList(CK_FALSE, NULL, &count), INDEXKEY_CAUSE_NONE, "C_GetSlotList"));
    _cleanup_(mem_free_pointer) CK_SLOT_ID *slots = mem_calloc(count + 1, sizeof(*slots));
    _cleanup_(mem_free_pointer) struct token *tokens = mem_calloc(count + 1, sizeof(*tokens));
    if (slots == NULL || tokens == NULL)
        return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "the list of tokens");
    TRY(failure_of(C_GetSlotList(CK_FALSE, slots, &count), INDEXKEY_CAUSE_NONE, "C_GetSlotList"));
    for (CK_ULONG i = 0; i < count; i++)
        TRY(describe(slots[i], &tokens[i]));
    *ret_tokens = TAKE(tokens);
    *ret_count = count;
    return CKR_OK;
}

CK_RV token_refresh(struct token *token)
{
    cause_clear();
    CK_RV rv = C_GetTokenInfo(token->slot, &token->info);
    TRY(failure_of(rv, cause_last(), "C_GetTokenInfo"));
    if ((token->info.flags & CKF_TOKEN_INITIALIZED) != 0)
        copy_padded(token->info.label, sizeof(token->info.label), token->label);
    return CKR_OK;
}

/* By label, else by the section's name, else by the slot. Tokens whose store does not answer have
 * no label: the others are found all the same. */
static const struct token *match_token(const struct token *tokens, size_t count, const char *wanted)
{
    char *end;
    unsigned long slot = strtoul(wanted, &end, 10);
    bool is_number = end != wanted && *end == '\0';
    for (size_t i = 0; i < count; i++) {
        if (*tokens[i].label != '\0' && strcmp(tokens[i].label, wanted) == 0)
            return &tokens[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tokens[i].name, wanted) == 0)
            return &tokens[i];
    }
    for (size_t i = 0; is_number && i < count; i++) {
        if (tokens[i].slot == slot)
            return &tokens[i];
    }
    return NULL;
}

CK_RV token_pick(struct token *tokens, size_t count, const char *wanted,
                 const struct token **ret_token)
{
    failure_divert(failure_drop_line, NULL);
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].is_present)
            (void) token_refresh(&tokens[i]);
    }
    failure_divert(NULL, NULL);
    *ret_token = match_token(tokens, count, wanted);
    if (*ret_token == NULL)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND,
                         "no token has the label, section or slot '%s'; see indexkey status",
                         wanted);
    return CKR_OK;
}

CK_RV token_select(const struct options *options, struct token *ret_token)
{
    const char *wanted = options_value(options, OPTION_TOKEN);
    _cleanup_(mem_free_pointer) struct token *tokens = NULL;
    size_t count;
    TRY(tokens_begin(options));
    TRY(tokens_list(&tokens, &count));
    if (count == 0)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND,
                         "the configuration has no [token] section; see indexkey check");
    if (wanted == NULL && count > 1)
        return FAIL_TOOL(EXIT_CODE_USAGE, "the configuration has %zu tokens; name one by --token",
                         count);
    const struct token *found = tokens;
    if (wanted != NULL)
        TRY(token_pick(tokens, count, wanted, &found));
    if (!found->is_present)
        return FAIL_TOOL(EXIT_CODE_CONFIG,
                         "the section [token %s] is wrong, so the token is absent; see indexkey "
                         "check",
                         found->name);
    *ret_token = *found;
    return token_refresh(ret_token);
}

CK_RV token_check(const struct token *token, CK_RV rv, const char *call)
{
    CK_SESSION_INFO info;
    enum indexkey_cause cause = cause_last();
    if (rv == CKR_OK)
        return CKR_OK;
    if (token->session != CK_INVALID_HANDLE && C_GetSessionInfo(token->session, &info) == CKR_OK)
        cause = (enum indexkey_cause) info.ulDeviceError;
    return failure_of(rv, cause, call);
}

/* Of the label; of the section while the token has none. */
static void name_pin(const struct token *token, const char *role, char *whose, size_t size)
{
    (void) snprintf(whose, size, "the %s PIN of token '%s'", role,
                    *token->label == '\0' ? token->name : token->label);
}

CK_RV token_read_pin(const struct token *token, const struct options *options,
                     struct secret *ret_pin)
{
    char whose[96];
    const struct pin_source source = {
        .whose = whose,
        .file = options_value(options, OPTION_PIN_FILE),
        .variable = options_value(options, OPTION_PIN_ENV),
        .file_option = "--pin-file",
    };
    name_pin(token, "user", whose, sizeof(whose));
    return pin_read(&source, ret_pin);
}

CK_RV token_read_so_pin(const struct token *token, const struct options *options,
                        struct secret *ret_pin)
{
    char whose[96];
    const struct pin_source source = {
        .whose = whose,
        .file = options_value(options, OPTION_SO_PIN_FILE),
        .variable = options_value(options, OPTION_SO_PIN_ENV),
        .file_option = "--so-pin-file",
    };
    name_pin(token, "SO", whose, sizeof(whose));
    return pin_read(&source, ret_pin);
}

CK_RV token_check_initialized(const struct token *token)
{
    if ((token->info.flags & CKF_TOKEN_INITIALIZED) == 0)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND,
                         "[token %s] is not initialised; do that first: pkcs11-tool --init-token",
                         token->name);
    return CKR_OK;
}

bool token_has_so_pin(const struct options *options)
{
    return options_has(options, OPTION_SO_PIN_FILE) || options_has(options, OPTION_SO_PIN_ENV);
}

bool token_has_pin(const struct options *options)
{
    return options_has(options, OPTION_PIN_FILE) || options_has(options, OPTION_PIN_ENV) ||
           token_has_so_pin(options);
}

CK_RV token_login(struct token *token, const struct options *options)
{
    _cleanup_(secret_clear) struct secret pin = {0};
    TRY(token_check_initialized(token));
    TRY(token_check(token,
                    C_OpenSession(token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                  &token->session),
                    "C_OpenSession"));
    bool is_so = token_has_so_pin(options);
    if (is_so)
        TRY(token_read_so_pin(token, options, &pin));
    else if ((token->info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0)
        TRY(token_read_pin(token, options, &pin));
    CK_USER_TYPE user = is_so ? CKU_SO : CKU_USER;
    return token_check(token, C_Login(token->session, user, pin.bytes, pin.len), "C_Login");
}

static CK_RV collect(const struct token *token, CK_OBJECT_HANDLE **keys, size_t *ret_count)
{
    size_t count = 0;
    for (;;) {
        CK_ULONG found = 0;
        void *grown = mem_resize(*keys, count + FOUND_AT_ONCE, sizeof(**keys));
        if (grown == NULL)
            return failure_of(CKR_HOST_MEMORY, INDEXKEY_CAUSE_NONE, "the list of keys");
        *keys = grown;
        TRY(token_check(token, C_FindObjects(token->session, *keys + count, FOUND_AT_ONCE, &found),
                        "C_FindObjects"));
        count += found;
        if (found == 0)
            break;
    }
    *ret_count = count;
    return CKR_OK;
}

CK_RV token_find(const struct token *token, CK_ATTRIBUTE *template, CK_ULONG template_count,
                 CK_OBJECT_HANDLE **ret_keys, size_t *ret_count)
{
    _cleanup_(mem_free_pointer) CK_OBJECT_HANDLE *keys = NULL;
    size_t count = 0;
    TRY(token_check(token, C_FindObjectsInit(token->session, template, template_count),
                    "C_FindObjectsInit"));
    CK_RV rv = collect(token, &keys, &count);
    CK_RV ended = C_FindObjectsFinal(token->session);
    TRY(rv);
    TRY(token_check(token, ended, "C_FindObjectsFinal"));
    *ret_keys = TAKE(keys);
    *ret_count = count;
    return CKR_OK;
}

CK_RV token_find_one(const struct token *token, const char *label, const char *id,
                     CK_OBJECT_HANDLE *ret_key)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    unsigned char id_bytes[ID_MAX];
    size_t id_len = 0;
    size_t count;
    CK_ATTRIBUTE template[3] = {{CKA_CLASS, &class, sizeof(class)}};
    CK_ULONG template_count = 1;
    _cleanup_(mem_free_pointer) CK_OBJECT_HANDLE *keys = NULL;
    if (label == NULL && id == NULL)
        return FAIL_TOOL(EXIT_CODE_USAGE, "which key? name its label, or its --id");
    if (id != NULL && !input_parse_hex(id, id_bytes, sizeof(id_bytes), &id_len))
        return FAIL_TOOL(EXIT_CODE_USAGE, "--id must be 1 to %d bytes in hexadecimal", ID_MAX);
    if (label != NULL)
        template[template_count++] =
            (CK_ATTRIBUTE){CKA_LABEL, (void *) (uintptr_t) label, strlen(label)};
    if (id != NULL)
        template[template_count++] = (CK_ATTRIBUTE){CKA_ID, id_bytes, id_len};
    TRY(token_find(token, template, template_count, &keys, &count));
    if (count == 0)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND, "token '%s' has no such key; see indexkey keys",
                         token->label);
    if (count > 1)
        return FAIL_TOOL(EXIT_CODE_USAGE, "token '%s' has %zu such keys; name one by --id",
                         token->label, count);
    *ret_key = keys[0];
    return CKR_OK;
}
