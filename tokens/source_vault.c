#include "tokens/source_vault.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tokens/json.h"
#include "tokens/vault_batch.h"
#include "tokens/vault_ciphertext.h"
#include "tokens/vault_inspect.h"
#include "tokens/vault_kv.h"
#include "tokens/vault_login.h"
#include "tokens/vault_request.h"

#define MOUNT_DEFAULT "transit"
#define KV_SCHEME "kv:"
#define DATA_KEY_BITS INT64_C(256)

static const struct vault_act make_act = {.path = "datakey/plaintext", .what = "make a data key"};
static const struct vault_act wrap_act = {.path = "encrypt", .what = "wrap the data key"};
static const struct vault_act unwrap_act = {.path = "decrypt", .what = "unwrap the data key"};

/* ---- configuration ---- */

static const struct conf_key vault_keys[] = {
    {.name = "vault_addr",
     .type = CONF_STRING,
     .required = true,
     .help = "where Vault is: https://vault.example:8200",
     .check = source_http_check_url},
    {.name = "key_name",
     .type = CONF_STRING,
     .required = true,
     .help = "the transit key, made by: vault write -f transit/keys/NAME",
     .check = vault_check_name},
    {.name = "transit_mount",
     .type = CONF_STRING,
     .help = "where the transit engine is mounted; transit by default",
     .check = vault_check_path},
    {.name = "vault_namespace",
     .type = CONF_STRING,
     .help = "the namespace of the mount and of the token",
     .check = vault_check_path},
    VAULT_LOGIN_KEYS,
    SOURCE_HTTP_KEYS,
    {.name = NULL},
};

static void vault_close(struct source *source)
{
    struct vault *vault = (struct vault *) source;
    vault_auth_close(&vault->auth);
    source_http_close(&vault->server.http);
    mem_free(vault->mount);
    mem_free(vault->key);
    mem_free(vault->server.namespace);
    mem_free(vault);
}

/* NULL stays NULL. False when memory is short. */
static bool copy_string(const struct conf_section *section, const char *name, const char *fallback,
                        char **ret_copy)
{
    const char *value = conf_string(section, name, fallback);
    *ret_copy = value == NULL ? NULL : mem_strdup(value);
    return value == NULL || *ret_copy != NULL;
}

static CK_RV configure(struct vault *vault, const struct conf_section *section)
{
    static const struct source_http_options options = {
        .service = "Vault",
        .endpoint_key = "vault_addr",
    };
    if (conf_string(section, "key_name", NULL) == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: source = vault needs key_name", section->name,
                          conf_section_line(section));
    bool good = copy_string(section, "transit_mount", MOUNT_DEFAULT, &vault->mount) &&
                copy_string(section, "key_name", NULL, &vault->key) &&
                copy_string(section, "vault_namespace", NULL, &vault->server.namespace);
    if (!good)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    TRY(source_http_open(&options, section, &vault->server.http));
    return vault_auth_open(section, &vault->server, &vault->auth);
}

static CK_RV vault_open(const struct conf_section *section, struct source **ret_source)
{
    struct vault *vault = mem_calloc(1, sizeof(*vault));
    if (vault == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    vault->base.ops = &source_vault_ops;
    CK_RV rv = configure(vault, section);
    if (rv != CKR_OK) {
        vault_close(&vault->base);
        return rv;
    }
    *ret_source = &vault->base;
    return CKR_OK;
}

/* ---- ciphertexts ---- */

/* The reply of `encrypt` and `datakey`, without plaintext. */
static CK_RV take_ciphertext(const struct vault *vault, const struct http_result *result,
                             struct blob *ret_wrapped)
{
    _cleanup_(json_free) struct json *reply = NULL;
    if (json_parse((struct view){result->body.bytes, result->body.len}, &reply) != CKR_OK)
        return source_http_fail_reply(&vault->server.http, result, "it is not the JSON of Vault");
    const char *text = json_text(reply, "data.ciphertext");
    int64_t version;
    if (text == NULL || !vault_ciphertext_version(view_text(text), &version))
        return source_http_fail_reply(&vault->server.http, result,
                                      "its ciphertext has not the form vault:vN:BASE64");
    int64_t told = version;
    (void) json_number(reply, "data.key_version", &told);
    if (told != version)
        return source_http_fail_reply(&vault->server.http, result,
                                      "its ciphertext is of another key version than it says");
    if (blob_from(text, strlen(text), ret_wrapped) != CKR_OK)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a wrapped key",
                    vault->server.http.token);
    return CKR_OK;
}

/* ---- calls ---- */

/* Ends the request's body, which so far has one member. */
static CK_RV finish_body(const struct vault *vault, const struct source_call *call,
                         struct json_writer *writer, struct secret *ret_body)
{
    if (call->context.len > 0)
        json_write_base64(writer, "associated_data", call->context);
    json_write_end_object(writer);
    CK_RV rv = json_write_finish(writer, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to Vault", vault->server.http.token);
    return CKR_OK;
}

static CK_RV vault_wrap(struct source *source, const struct source_call *call,
                        const struct secret *data_key, struct blob *ret_wrapped)
{
    const struct vault *vault = (const struct vault *) source;
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    json_write_object(&writer, NULL);
    json_write_base64(&writer, "plaintext", (struct view){data_key->bytes, data_key->len});
    TRY(finish_body(vault, call, &writer, &body));
    TRY(vault_request_send(vault, call, &wrap_act, &body, &result));
    return take_ciphertext(vault, &result, ret_wrapped);
}

static CK_RV vault_unwrap(struct source *source, const struct source_call *call,
                          struct view wrapped, struct secret *ret_data_key)
{
    const struct vault *vault = (const struct vault *) source;
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(json_free) struct json *rest = NULL;
    int64_t version;
    if (!vault_ciphertext_version(wrapped, &version))
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "token '%s': its wrapped key is no ciphertext of Vault (vault:vN:…); "
                          "restore the store from a backup",
                          vault->server.http.token);
    json_write_object(&writer, NULL);
    json_write_view(&writer, "ciphertext", wrapped);
    TRY(finish_body(vault, call, &writer, &body));
    TRY(vault_request_send(vault, call, &unwrap_act, &body, &result));
    CK_RV rv =
        json_base64_take(&result.body, "data.plaintext", 1, VAULT_PLAINTEXT_LEN_MAX, &data_key);
    if (rv == CKR_OK)
        rv = json_parse((struct view){result.body.bytes, result.body.len}, &rest);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&vault->server.http, &result,
                                      "it has no key where Vault puts it");
    TRY(rv);
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

/* By transit/datakey: the key, and its ciphertext without a context. */
static CK_RV ask_data_key(const struct vault *vault, const struct source_call *call,
                          struct secret *ret_data_key, struct blob *ret_wrapped)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct source_call without_context = *call;
    without_context.context = (struct view){0};
    json_write_object(&writer, NULL);
    json_write_number(&writer, "bits", DATA_KEY_BITS);
    TRY(finish_body(vault, &without_context, &writer, &body));
    TRY(vault_request_send(vault, call, &make_act, &body, &result));
    CK_RV rv =
        json_base64_take(&result.body, "data.plaintext", DATA_KEY_LEN, DATA_KEY_LEN, &data_key);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&vault->server.http, &result, "it has no key of 256 bits");
    TRY(rv);
    TRY(take_ciphertext(vault, &result, ret_wrapped));
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

/* Vault's datakey takes no associated data (1.21), so that a context needs `encrypt` as well. Vault
 * makes the key all the same: `encrypt` creates a transit key that is missing, where the policy
 * allows it, and on a mount of another engine would store the plaintext; `datakey` does neither. */
static CK_RV vault_make_data_key(struct source *source, const struct source_call *call,
                                 struct secret *ret_data_key, struct blob *ret_wrapped)
{
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(blob_clear) struct blob wrapped = {0};
    TRY(ask_data_key((const struct vault *) source, call, &data_key, &wrapped));
    if (call->context.len > 0) {
        blob_clear(&wrapped);
        TRY(vault_wrap(source, call, &data_key, &wrapped));
    }
    *ret_data_key = secret_move(&data_key);
    *ret_wrapped = blob_move(&wrapped);
    return CKR_OK;
}

static void vault_describe(struct source *source, struct view wrapped,
                           char ret_text[SOURCE_KEY_TEXT_MAX])
{
    const struct vault *vault = (const struct vault *) source;
    int64_t version;
    if (vault_ciphertext_version(wrapped, &version))
        (void) snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "%s/keys/%s version %lld", vault->mount,
                        vault->key, (long long) version);
}

static CK_RV vault_inspect(struct source *source, const struct source_call *call,
                           struct view wrapped, struct source_inspection *ret_inspection)
{
    int64_t version = 0;
    (void) vault_ciphertext_version(wrapped, &version);
    return vault_inspect_key((const struct vault *) source, call, version, ret_inspection);
}

static CK_RV vault_unwrap_many(struct source *source, const struct source_call *call,
                               struct source_item *items, size_t count)
{
    return vault_batch_unwrap((const struct vault *) source, call, items, count);
}

static CK_RV vault_read_parameter(struct source *source, const struct source_call *call,
                                  const char *place, struct secret *ret_value)
{
    return vault_kv_read((const struct vault *) source, call, place + strlen(KV_SCHEME), ret_value);
}

static void vault_forget(struct source *source)
{
    vault_auth_forget(((struct vault *) source)->auth);
}

const struct source_ops source_vault_ops = {
    .name = "vault",
    .keys = vault_keys,
    .takes_credential = true,
    .open = vault_open,
    .close = vault_close,
    .wrap = vault_wrap,
    .unwrap = vault_unwrap,
    .make_data_key = vault_make_data_key,
    /* No rewrap: Vault's decrypts without associated data, and so refuses a key with a context. */
    .describe = vault_describe,
    .inspect = vault_inspect,
    .unwrap_many = vault_unwrap_many,
    .parameter_schemes = KV_SCHEME,
    .read_parameter = vault_read_parameter,
    .forget = vault_forget,
};
