#include "tokens/source_azure.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tokens/azure_inspect.h"
#include "tokens/azure_request.h"
#include "tokens/azure_secret.h"
#include "tokens/azure_wrapped.h"
#include "tokens/base64url.h"
#include "tokens/http_url.h"
#include "tokens/jwt_assertion.h"

/* A direct key may have another length than a data key; source_unwrap insists on that. */
#define PLAINTEXT_LEN_MAX 1024

#define GIVE_ROLE                                                                                  \
    "give it the role Key Vault Crypto Service Encryption User on the key (on Managed HSM, and "   \
    "for A256GCM: Managed HSM Crypto User), or the permission in the vault's access policy"
#define WRAP(operation, permission)                                                                \
    {                                                                                              \
        operation, permission, "wrap the data key", GIVE_ROLE, false                               \
    }
#define UNWRAP(operation, permission)                                                              \
    {                                                                                              \
        operation, permission, "unwrap the data key", GIVE_ROLE, true                              \
    }

/* wrapKey of A256GCM is `encrypt`. */
static const struct {
    struct azure_act wrap;
    struct azure_act unwrap;
} acts[AZURE_ALGORITHM_COUNT] = {
    [AZURE_RSA_OAEP_256] = {WRAP("wrapkey", "keys/wrapKey"), UNWRAP("unwrapkey", "keys/unwrapKey")},
    [AZURE_A256KW] = {WRAP("wrapkey", "keys/wrapKey"), UNWRAP("unwrapkey", "keys/unwrapKey")},
    [AZURE_A256GCM] = {WRAP("encrypt", "keys/encrypt"), UNWRAP("decrypt", "keys/decrypt")},
};

/* ---- configuration ---- */

static const char *check_vault_url(const char *value)
{
    struct http_target target;
    const char *fault = http_url_read(value, &target);
    if (fault != NULL)
        return fault;
    return target.has_path ? "a URL without a path: https://NAME.vault.azure.net" : NULL;
}

static const struct conf_key azure_keys[] = {
    {.name = "vault_url",
     .type = CONF_STRING,
     .required = true,
     .help = "where the vault is: https://NAME.vault.azure.net, https://NAME.managedhsm.azure.net",
     .check = check_vault_url},
    {.name = "key_name",
     .type = CONF_STRING,
     .required = true,
     .help = "the key, made by: az keyvault key create --kty RSA --size 3072",
     .check = azure_key_name_fault},
    {.name = "key_version",
     .type = CONF_STRING,
     .help = "the version that wraps; the newest by default. What was wrapped names its own",
     .check = azure_key_version_fault},
    {.name = "algorithm",
     .type = CONF_CHOICE,
     .choices = AZURE_ALGORITHM_NAMES,
     .help = "RSA-OAEP-256 by default; on Managed HSM A256KW, or A256GCM, which binds the context"},
    {.name = "azure_auth",
     .type = CONF_CHOICE,
     .choices = AZURE_AUTH_NAMES,
     .help = "how to log in; auto, the default, takes the first credential that is there"},
    {.name = "tenant_id",
     .type = CONF_STRING,
     .help = "the tenant; AZURE_TENANT_ID, else the vault's by default",
     .check = azure_tenant_fault},
    {.name = "client_id",
     .type = CONF_STRING,
     .help = "the application, or the user-assigned managed identity; AZURE_CLIENT_ID by default",
     .check = azure_identity_check_client},
    {.name = "client_secret_env",
     .type = CONF_STRING,
     .help = "name of the variable with the client secret; " AZURE_SECRET_VARIABLE " by default",
     .check = azure_identity_check_variable},
    {.name = "client_secret_file", .type = CONF_PATH, .help = "file with the client secret"},
    {.name = "client_certificate_file",
     .type = CONF_PATH,
     .help = "PEM file with the application's certificate and its RSA key"},
    {.name = "federated_token_file",
     .type = CONF_PATH,
     .help = "file with the token of a workload identity; AZURE_FEDERATED_TOKEN_FILE by default"},
    {.name = "authority_host",
     .type = CONF_STRING,
     .help = "Entra ID of another cloud; AZURE_AUTHORITY_HOST, else "
             "https://login.microsoftonline.com by default",
     .check = source_http_check_url},
    SOURCE_HTTP_KEYS,
    {.name = NULL},
};

static void azure_close(struct source *source)
{
    struct azure *azure = (struct azure *) source;
    access_token_free(&azure->token);
    azure_identity_close(&azure->identity);
    source_http_close(&azure->http);
    (void) pthread_mutex_destroy(&azure->lock);
    mem_free(azure->key);
    mem_free(azure->version);
    mem_free(azure);
}

static CK_RV configure(struct azure *azure, const struct conf_section *section)
{
    static const struct source_http_options options = {
        .service = "Azure Key Vault",
        .endpoint_key = "vault_url",
    };
    const char *key = conf_string(section, "key_name", NULL);
    const char *version = conf_string(section, "key_version", NULL);
    if (key == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: source = azure needs key_name", section->name,
                          conf_section_line(section));
    azure->key = mem_strdup(key);
    azure->version = version == NULL ? NULL : mem_strdup(version);
    if (azure->key == NULL || (version != NULL && azure->version == NULL))
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    azure->algorithm = (enum azure_algorithm) conf_choice(section, "algorithm", AZURE_RSA_OAEP_256);
    TRY(azure_identity_open(section, &azure->identity));
    TRY(source_http_open(&options, section, &azure->http));
    return access_token_new(azure->http.token, azure_request_fetch, azure, &azure->token);
}

static CK_RV azure_open(const struct conf_section *section, struct source **ret_source)
{
    struct azure *azure = mem_calloc(1, sizeof(*azure));
    if (azure == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    azure->base.ops = &source_azure_ops;
    (void) pthread_mutex_init(&azure->lock, NULL);
    CK_RV rv = configure(azure, section);
    if (rv != CKR_OK) {
        azure_close(&azure->base);
        return rv;
    }
    *ret_source = &azure->base;
    return CKR_OK;
}

/* ---- requests ---- */

/* A member of bytes, as base64url; none for an empty one. */
static CK_RV write_bytes(struct json_writer *writer, const char *name, struct view bytes)
{
    _cleanup_(secret_clear) struct secret coded = {0};
    if (bytes.len == 0)
        return CKR_OK;
    TRY(jwt_assertion_base64url(bytes, &coded));
    json_write_view(writer, name, (struct view){coded.bytes, coded.len});
    return CKR_OK;
}

/* What goes into a request, apart from the key. */
struct parameters {
    enum azure_algorithm algorithm;
    struct view value;
    struct view iv;
    struct view tag;
    struct view context;
};

static CK_RV make_body(const struct azure *azure, const struct parameters *parameters,
                       struct secret *ret_body)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, "alg", azure_algorithm_name(parameters->algorithm));
    TRY(write_bytes(&writer, "value", parameters->value));
    TRY(write_bytes(&writer, "iv", parameters->iv));
    TRY(write_bytes(&writer, "tag", parameters->tag));
    if (parameters->algorithm == AZURE_A256GCM)
        TRY(write_bytes(&writer, "aad", parameters->context));
    json_write_end_object(&writer);
    CK_RV rv = json_write_finish(&writer, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to Azure Key Vault",
                    azure->http.token);
    return CKR_OK;
}

/* ---- replies ---- */

static bool is_key(const struct azure *azure, struct view name)
{
    return azure_key_names_equal(name, view_text(azure->key));
}

static struct view wrapping_version(const struct azure *azure)
{
    struct view newest = {NULL, 0};
    return azure->version == NULL ? newest : view_text(azure->version);
}

/* It must be of the key that was asked for, and of that version unless it is empty. The id points
 * into the reply. */
static CK_RV read_reply(const struct azure *azure, const struct http_result *result,
                        struct view version, struct json **ret_reply, struct azure_key_id *ret_id)
{
    _cleanup_(json_free) struct json *reply = NULL;
    struct azure_key_id id;
    CK_RV rv = json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&azure->http, result, "it is not the JSON of Key Vault");
    TRY(rv);
    const char *text = json_text(reply, "kid");
    if (text == NULL || !azure_key_id_read(text, azure->http.endpoint, &id))
        return source_http_fail_reply(&azure->http, result, "it names no key of this vault");
    if (!is_key(azure, id.name) || (version.len > 0 && !view_equal(id.version, version)))
        return source_http_fail_reply(&azure->http, result,
                                      "it is of another key, or version, than was asked for");
    *ret_reply = TAKE(reply);
    *ret_id = id;
    return CKR_OK;
}

/* The bytes of a member. CKR_DATA_INVALID, not logged. */
static CK_RV take_bytes(const struct json *reply, const char *name, size_t len_min, size_t len_max,
                        struct secret *ret_bytes)
{
    const char *text = json_text(reply, name);
    return text == NULL ? CKR_DATA_INVALID
                        : base64url_decode(view_text(text), len_min, len_max, ret_bytes);
}

static CK_RV take_ciphertext(const struct azure *azure, const struct source_call *call,
                             const struct secret *data_key, const struct http_result *result,
                             struct blob *ret_wrapped)
{
    _cleanup_(json_free) struct json *reply = NULL;
    _cleanup_(secret_clear) struct secret value = {0};
    _cleanup_(secret_clear) struct secret iv = {0};
    _cleanup_(secret_clear) struct secret tag = {0};
    struct azure_key_id id = {.name = {NULL, 0}};
    TRY(read_reply(azure, result, wrapping_version(azure), &reply, &id));
    CK_RV rv = take_bytes(reply, "value", 1, AZURE_CIPHERTEXT_LEN_MAX, &value);
    bool is_gcm = azure->algorithm == AZURE_A256GCM;
    if (rv == CKR_OK && is_gcm)
        rv = take_bytes(reply, "iv", AZURE_IV_LEN, AZURE_IV_LEN, &iv);
    if (rv == CKR_OK && is_gcm)
        rv = take_bytes(reply, "tag", AZURE_TAG_LEN, AZURE_TAG_LEN, &tag);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&azure->http, result,
                                      "it has no ciphertext where Key Vault puts it");
    TRY(rv);
    const struct azure_wrapped wrapped = {
        .algorithm = azure->algorithm,
        .name = id.name,
        .version = id.version,
        .iv = {iv.bytes, iv.len},
        .tag = {tag.bytes, tag.len},
        .ciphertext = {value.bytes, value.len},
    };
    return azure_wrapped_write(&wrapped, data_key, call->context, ret_wrapped);
}

/* ---- wrapped keys ---- */

static CK_RV fail_tampered(const struct azure *azure, const char *why)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                      "token '%s': its wrapped key %s; restore the store from a backup",
                      azure->http.token, why);
}

/* By the name that it has in itself, if any. */
static CK_RV check_key(const struct azure *azure, struct azure_wrapped *wrapped)
{
    struct azure_key_id id = {wrapped->name, wrapped->version};
    bool is_it =
        wrapped->key_id == NULL || azure_key_id_read(wrapped->key_id, azure->http.endpoint, &id);
    if (!is_it || (id.name.len > 0 && !is_key(azure, id.name)))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': its key was wrapped by the key %.*s%s, and the configured "
                          "one is %s at %s; set the former key_name and vault_url",
                          azure->http.token, (int) id.name.len, (const char *) id.name.bytes,
                          wrapped->key_id != NULL ? " of its JSON's kid" : "", azure->key,
                          azure->http.endpoint);
    wrapped->version = id.version;
    if (id.version.len == 0)
        wrapped->version = wrapping_version(azure);
    return CKR_OK;
}

static CK_RV read_wrapped(const struct azure *azure, const struct source_call *call,
                          struct view bytes, struct azure_wrapped *ret_wrapped)
{
    _cleanup_(azure_wrapped_clear) struct azure_wrapped wrapped = {.json = NULL};
    CK_RV rv = azure_wrapped_read(bytes, azure->algorithm, &wrapped);
    if (rv == CKR_DATA_INVALID)
        return fail_tampered(azure, "is none of Azure's ciphertexts");
    TRY(rv);
    TRY(check_key(azure, &wrapped));
    /* Such a ciphertext opens under any context. */
    if (call->context.len > 0 && wrapped.head.len == 0 && wrapped.algorithm != AZURE_A256GCM)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s binds no context to a direct key; remove its context.* "
                          "and pin it by check_value, or wrap it with A256GCM",
                          azure->http.token, azure_algorithm_name(wrapped.algorithm));
    *ret_wrapped = wrapped;
    wrapped = (struct azure_wrapped){.json = NULL};
    return CKR_OK;
}

static CK_RV take_plaintext(const struct azure *azure, struct http_result *result,
                            struct secret *ret_key)
{
    _cleanup_(secret_clear) struct secret text = {0};
    CK_RV rv = json_secret_take(&result->body, "value", &text);
    if (rv == CKR_OK)
        rv = base64url_decode((struct view){text.bytes, text.len}, 1, PLAINTEXT_LEN_MAX, ret_key);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&azure->http, result,
                                      "it has no key where Key Vault puts it");
    return rv;
}

/* ---- calls ---- */

static CK_RV azure_wrap(struct source *source, const struct source_call *call,
                        const struct secret *data_key, struct blob *ret_wrapped)
{
    struct azure *azure = (struct azure *) source;
    _cleanup_(azure_operation_clear) struct azure_operation operation = {
        .act = &acts[azure->algorithm].wrap,
        .version = wrapping_version(azure),
    };
    _cleanup_(http_result_clear) struct http_result result = {0};
    const struct parameters parameters = {
        .algorithm = azure->algorithm,
        .value = {data_key->bytes, data_key->len},
        .context = call->context,
    };
    TRY(make_body(azure, &parameters, &operation.body));
    TRY(azure_request_send(azure, call, &operation, &result));
    return take_ciphertext(azure, call, data_key, &result, ret_wrapped);
}

static CK_RV azure_unwrap(struct source *source, const struct source_call *call, struct view bytes,
                          struct secret *ret_data_key)
{
    struct azure *azure = (struct azure *) source;
    _cleanup_(azure_wrapped_clear) struct azure_wrapped wrapped = {.json = NULL};
    _cleanup_(azure_operation_clear) struct azure_operation operation = {.act = NULL};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    struct azure_key_id id;
    TRY(read_wrapped(azure, call, bytes, &wrapped));
    const struct parameters parameters = {wrapped.algorithm, wrapped.ciphertext, wrapped.iv,
                                          wrapped.tag, call->context};
    operation.act = &acts[wrapped.algorithm].unwrap;
    operation.version = wrapped.version;
    TRY(make_body(azure, &parameters, &operation.body));
    TRY(azure_request_send(azure, call, &operation, &result));
    TRY(take_plaintext(azure, &result, &data_key));
    TRY(read_reply(azure, &result, wrapped.version, &reply, &id));
    CK_RV rv =
        wrapped.head.len == 0 ? CKR_OK : azure_wrapped_verify(&wrapped, &data_key, call->context);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return fail_tampered(azure, "was changed, or was wrapped with another context");
    TRY(rv);
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

static void azure_describe(struct source *source, struct view bytes,
                           char ret_text[SOURCE_KEY_TEXT_MAX])
{
    const struct azure *azure = (const struct azure *) source;
    _cleanup_(azure_wrapped_clear) struct azure_wrapped wrapped = {.json = NULL};
    if (azure_wrapped_read(bytes, azure->algorithm, &wrapped) == CKR_OK && wrapped.version.len > 0)
        (void) snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "%s/keys/%.*s/%.*s", azure->http.endpoint,
                        (int) wrapped.name.len, (const char *) wrapped.name.bytes,
                        (int) wrapped.version.len, (const char *) wrapped.version.bytes);
}

static CK_RV azure_inspect(struct source *source, const struct source_call *call, struct view bytes,
                           struct source_inspection *ret_inspection)
{
    struct azure *azure = (struct azure *) source;
    _cleanup_(azure_wrapped_clear) struct azure_wrapped wrapped = {.json = NULL};
    if (bytes.len > 0)
        TRY(read_wrapped(azure, call, bytes, &wrapped));
    return azure_inspect_key(azure, call, wrapped.version, ret_inspection);
}

const struct source_ops source_azure_ops = {
    .name = "azure",
    .keys = azure_keys,
    .takes_credential = true,
    .open = azure_open,
    .close = azure_close,
    .wrap = azure_wrap,
    .unwrap = azure_unwrap,
    .describe = azure_describe,
    .inspect = azure_inspect,
    .parameter_schemes = AZURE_SECRET_SCHEMES,
    .read_parameter = azure_secret_read,
};
