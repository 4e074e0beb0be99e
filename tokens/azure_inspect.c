#include "tokens/azure_inspect.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/inspection.h"
#include "tokens/json.h"

static const struct azure_act act = {
    .permission = "keys/get",
    .what = "look at the key",
    .grant = "give it Microsoft.KeyVault/vaults/keys/read on the key (the role Key Vault Crypto "
             "Service Encryption User has it), or the permission in the vault's access policy",
};

/* The id points into the reply. */
static CK_RV get(struct azure *azure, const struct source_call *call, struct view version,
                 struct json **ret_reply, struct azure_key_id *ret_id)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    struct azure_key_id id;
    _cleanup_(mem_free_pointer) char *path =
        mem_format("/keys/%s/%.*s", azure->key, (int) version.len, (const char *) version.bytes);
    if (path == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to %s", azure->http.token, act.what);
    const struct azure_reading reading = {.act = &act, .path = path, .resource = azure->key};
    TRY(azure_request_get(azure, call, &reading, &result));
    CK_RV rv = json_parse((struct view){result.body.bytes, result.body.len}, &reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&azure->http, &result, "it is not the JSON of Key Vault");
    TRY(rv);
    const char *text = json_text(reply, "key.kid");
    bool is_it = text != NULL && azure_key_id_read(text, azure->http.endpoint, &id) &&
                 azure_key_names_equal(id.name, view_text(azure->key)) &&
                 (version.len == 0 || view_equal(id.version, version));
    if (!is_it)
        return source_http_fail_reply(&azure->http, &result,
                                      "it is of another key, or version, than was asked for");
    *ret_reply = TAKE(reply);
    *ret_id = id;
    return CKR_OK;
}

static void put_version(char ret_fact[SOURCE_FACT_MAX], struct view version)
{
    (void) snprintf(ret_fact, SOURCE_FACT_MAX, "%.*s", (int) version.len,
                    (const char *) version.bytes);
}

/* Of the version. Azure unwraps by one that has expired, and wraps no more. */
static void put_version_facts(const struct json *reply, struct source_inspection *inspection)
{
    const char *type = json_text(reply, "key.kty");
    const char *recovery = json_text(reply, "attributes.recoveryLevel");
    bool is_enabled = false;
    int64_t begin_s = 0;
    bool is_told = json_flag(reply, "attributes.enabled", &is_enabled);
    (void) json_seconds(reply, "attributes.nbf", &begin_s);
    (void) json_seconds(reply, "attributes.exp", &inspection->expiry_s);
    (void) snprintf(inspection->kind, sizeof(inspection->kind), "%.40s%s%.60s",
                    type == NULL ? "" : type, recovery == NULL ? "" : ", ",
                    recovery == NULL ? "" : recovery);
    inspection_put(inspection->state, !is_told ? "" : is_enabled ? "enabled" : "disabled");
    inspection->is_usable = is_enabled && begin_s <= clock_utc_s();
}

CK_RV azure_inspect_key(struct azure *azure, const struct source_call *call, struct view version,
                        struct source_inspection *ret_inspection)
{
    struct source_inspection inspection = {.key = ""};
    _cleanup_(json_free) struct json *newest = NULL;
    _cleanup_(json_free) struct json *wrapping = NULL;
    struct azure_key_id id = {.name = {NULL, 0}};
    TRY(get(azure, call, (struct view){NULL, 0}, &newest, &id));
    put_version(inspection.newest_version, id.version);
    (void) snprintf(inspection.key, sizeof(inspection.key), "%s/keys/%s", azure->http.endpoint,
                    azure->key);
    if (version.len > 0) {
        TRY(get(azure, call, version, &wrapping, &id));
        put_version(inspection.version, version);
    }
    put_version_facts(wrapping == NULL ? newest : wrapping, &inspection);
    *ret_inspection = inspection;
    return CKR_OK;
}
