#include "tokens/azure_secret.h"

#include <string.h>

#include "base/alloc.h"
#include "tokens/azure_request.h"
#include "tokens/json.h"

enum {
    STATUS_BAD_REQUEST = 400,
    STATUS_FORBIDDEN = 403,
    STATUS_NOT_FOUND = 404,
    STATUS_CONFLICT = 409,
};

static const struct azure_act act = {
    .permission = "secrets/get",
    .what = "read a ciphertext",
    .grant = "give it the role Key Vault Secrets User on the secret, or the permission in the "
             "vault's access policy",
};

static const struct azure_refusal refusals[] = {
    {STATUS_FORBIDDEN, "SecretDisabled", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DISABLED,
     "the secret's version is disabled", "az keyvault secret set-attributes --enabled true"},
    {STATUS_FORBIDDEN, "disabled secret", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DISABLED,
     "the secret's version is disabled", "az keyvault secret set-attributes --enabled true"},
    {STATUS_NOT_FOUND, "SecretNotFound", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CONFIG,
     "the vault has no such secret or version, or it was deleted",
     "write it with az keyvault secret set, bring it back with az keyvault secret recover, or "
     "correct secret:NAME"},
    {STATUS_NOT_FOUND, "", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CONFIG,
     "there is no such vault, or it is a Managed HSM, which has no secrets", "check vault_url"},
    {STATUS_CONFLICT, "Recovered", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_SERVER,
     "the secret is being recovered", "try again in a minute"},
    {STATUS_CONFLICT, "Deleted", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_DELETED, "the secret is deleted",
     "az keyvault secret recover, before its retention ends"},
    {STATUS_BAD_REQUEST, "BadParameter", AZURE_EITHER_SIDE, INDEXKEY_CAUSE_CONFIG,
     "it does not take the name for one", "correct secret:NAME"},
    {.status = 0},
};

/* Views into what was configured; the version is empty for the newest. */
static bool take_apart(const char *text, struct azure_key_id *ret_name)
{
    size_t len = strcspn(text, "/");
    struct azure_key_id name = {.name = {(const unsigned char *) text, len}};
    bool has_version = text[len] == '/';
    if (has_version)
        name.version = view_text(text + len + 1);
    if (!azure_key_is_name(name.name) || (has_version && !azure_key_is_version(name.version)))
        return false;
    *ret_name = name;
    return true;
}

static CK_RV take_value(const struct azure *azure, const struct azure_key_id *name,
                        struct http_result *result, struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret value = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    struct azure_key_id id;
    CK_RV rv = json_secret_take(&result->body, "value", &value);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&azure->http, result,
                                      "it has no text where Key Vault puts a secret's value");
    TRY(rv);
    rv = json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&azure->http, result, "it is not the JSON of Key Vault");
    TRY(rv);
    const char *text = json_text(reply, "id");
    if (text == NULL || !azure_secret_id_read(text, azure->http.endpoint, &id))
        return source_http_fail_reply(&azure->http, result, "it names no secret of this vault");
    if (!azure_key_names_equal(id.name, name->name) ||
        (name->version.len > 0 && !view_equal(id.version, name->version)))
        return source_http_fail_reply(&azure->http, result,
                                      "it is of another secret, or version, than was asked for");
    *ret_value = secret_move(&value);
    return CKR_OK;
}

CK_RV azure_secret_read(struct source *source, const struct source_call *call, const char *place,
                        struct secret *ret_value)
{
    struct azure *azure = (struct azure *) source;
    const char *text = place + strlen(AZURE_SECRET_SCHEMES);
    struct azure_key_id name;
    if (!take_apart(text, &name))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s is not of the form secret:NAME or secret:NAME/VERSION "
                          "(letters, digits and -); correct it",
                          azure->http.token, place);
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(mem_free_pointer) char *path = mem_format("/secrets/%s", text);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a name", azure->http.token);
    const struct azure_reading reading = {
        .act = &act,
        .path = path,
        .resource = place,
        .refusals = refusals,
    };
    TRY(azure_request_get(azure, call, &reading, &result));
    return take_value(azure, &name, &result, ret_value);
}
