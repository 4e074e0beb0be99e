#include "tokens/vault_kv.h"

#include <string.h>

#include "base/alloc.h"
#include "tokens/json.h"
#include "tokens/vault_names.h"

#define FIELD_DEFAULT "ciphertext"

static const struct vault_act read_act = {
    .path = "data",
    .what = "read a ciphertext",
    .capability = "read",
};

static const struct vault_refusal refusals[] = {
    {VAULT_NOT_FOUND, "no handler for route", INDEXKEY_CAUSE_CONFIG, "nothing is mounted there",
     "correct kv:MOUNT/PATH or vault_namespace, or mount it with vault secrets enable kv-v2"},
    {VAULT_NOT_FOUND, "namespace not found", INDEXKEY_CAUSE_CONFIG, "the namespace does not exist",
     "correct vault_namespace"},
    {VAULT_NOT_FOUND, "", INDEXKEY_CAUSE_CONFIG,
     "there is nothing at that path, or its latest version was deleted",
     "write it with vault kv put MOUNT/PATH ciphertext=…, or correct kv:MOUNT/PATH"},
    {VAULT_BAD_METHOD, "", INDEXKEY_CAUSE_CONFIG, "what is mounted there is no kv engine",
     "correct kv:MOUNT/PATH"},
    {.status = 0},
};

/* "MOUNT/PATH#FIELD", taken apart in place. */
struct name {
    char *text;
    const char *mount;
    const char *path;
    const char *field;
};

static void name_clear(struct name *name)
{
    mem_free(name->text);
}

static CK_RV take_apart(const struct vault *vault, const char *text, struct name *ret_name)
{
    struct name name = {.text = mem_strdup(text), .field = FIELD_DEFAULT};
    if (name.text == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a name", vault->server.http.token);
    *ret_name = name;
    char *hash = strchr(name.text, '#');
    if (hash != NULL) {
        *hash = '\0';
        ret_name->field = hash + 1;
    }
    char *slash = strchr(name.text, '/');
    bool is_good = slash != NULL && vault_check_path(name.text) == NULL &&
                   vault_check_name(ret_name->field) == NULL &&
                   strchr(ret_name->field, '.') == NULL;
    if (!is_good)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': kv:%s is not of the form kv:MOUNT/PATH or "
                          "kv:MOUNT/PATH#FIELD (letters, digits, _, - and .); correct it",
                          vault->server.http.token, text);
    *slash = '\0';
    ret_name->mount = name.text;
    ret_name->path = slash + 1;
    return CKR_OK;
}

/* The other fields may be secret: they are not parsed. */
static CK_RV take_field(const struct vault *vault, const struct name *name,
                        struct http_result *result, struct secret *ret_value)
{
    _cleanup_(mem_free_pointer) char *path = mem_format("data.data.%s", name->field);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a name", vault->server.http.token);
    CK_RV rv = json_secret_take(&result->body, path, ret_value);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s/%s at %s has no text in the field %s; write it with "
                          "vault kv patch, or correct kv:MOUNT/PATH#FIELD",
                          vault->server.http.token, name->mount, name->path,
                          vault->server.http.endpoint, name->field);
    return rv;
}

CK_RV vault_kv_read(const struct vault *vault, const struct source_call *call, const char *name,
                    struct secret *ret_value)
{
    _cleanup_(name_clear) struct name parts = {.text = NULL};
    _cleanup_(http_result_clear) struct http_result result = {0};
    TRY(take_apart(vault, name, &parts));
    struct vault_request request = {
        .method = "GET",
        .act = &read_act,
        .mount = parts.mount,
        .name = parts.path,
        .refusals = refusals,
    };
    TRY(vault_request_run(vault, call, &request, &result));
    return take_field(vault, &parts, &result, ret_value);
}
