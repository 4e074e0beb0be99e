#include "tokens/source_gcp.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "tokens/gcp_inspect.h"
#include "tokens/gcp_key.h"
#include "tokens/gcp_request.h"
#include "tokens/gcp_secret.h"
#include "tokens/json.h"

/* Google bounds plaintext and associated data by 64 KiB each. */
#define CONTEXT_LEN_MAX 65536
/* Of a data key it has about 110 bytes; of the longest direct key 1.1 KiB. */
#define CIPHERTEXT_LEN_MAX 8192
#define PLAINTEXT_LEN_MAX 1024
#define CRC_DIGITS_MAX 10
/* A wrapped data key: these four bytes, the format, the name of the key version, Google's
 * ciphertext. A bare ciphertext, as gcloud makes it, begins with 10. */
#define WRAPPED_MAGIC 0x494b4743u /* "IKGC" */
#define WRAPPED_MAGIC_LEN 4
#define WRAPPED_FORMAT 1

/* ---- configuration ---- */

static const struct conf_key gcp_keys[] = {
    {.name = "project_id",
     .type = CONF_STRING,
     .required = true,
     .help = "the id of the project that has the key ring",
     .check = gcp_key_project_fault},
    {.name = "location",
     .type = CONF_STRING,
     .required = true,
     .help = "the key ring's location: europe-west3, global",
     .check = gcp_key_location_fault},
    {.name = "key_ring",
     .type = CONF_STRING,
     .required = true,
     .help = "the key ring, made by: gcloud kms keyrings create NAME --location LOCATION",
     .check = gcp_key_name_fault},
    {.name = "crypto_key",
     .type = CONF_STRING,
     .required = true,
     .help = "the key, made by: gcloud kms keys create NAME --keyring RING --location LOCATION "
             "--purpose encryption",
     .check = gcp_key_name_fault},
    {.name = "credentials_file",
     .type = CONF_PATH,
     .help = "file with the Google credential, whatever the environment has"},
    {.name = "endpoint",
     .type = CONF_STRING,
     .help = "where KMS is, if not at https://cloudkms.googleapis.com",
     .check = source_http_check_url},
    {.name = "secretmanager_endpoint",
     .type = CONF_STRING,
     .help = "where Secret Manager is, if not at " GCP_SECRET_ENDPOINT
             ", for ciphertext = secretmanager:NAME",
     .check = gcp_secret_endpoint_fault},
    SOURCE_HTTP_KEYS,
    {.name = NULL},
};

static void gcp_close(struct source *source)
{
    struct gcp *gcp = (struct gcp *) source;
    access_token_free(&gcp->token);
    source_http_close(&gcp->http);
    access_token_free(&gcp->secret_token);
    mem_free(gcp->secret_endpoint);
    mem_free(gcp->project);
    mem_free(gcp->key);
    mem_free(gcp->credentials_file);
    mem_free(gcp);
}

static CK_RV check_section(const struct conf_section *section)
{
    static const char *const needed[] = {"project_id", "location", "key_ring", "crypto_key"};
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (conf_string(section, needed[i], NULL) == NULL)
            return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                              "[token %s] in line %zu: source = gcp needs %s", section->name,
                              conf_section_line(section), needed[i]);
    }
    return CKR_OK;
}

static CK_RV configure(struct gcp *gcp, const struct conf_section *section)
{
    static const struct source_http_options options = {
        .service = "Google Cloud KMS",
        .endpoint_key = "endpoint",
        .endpoint_default = "https://cloudkms.googleapis.com",
    };
    TRY(check_section(section));
    const char *file = conf_string(section, "credentials_file", NULL);
    gcp->key =
        mem_format("projects/%s/locations/%s/keyRings/%s/cryptoKeys/%s",
                   conf_string(section, "project_id", ""), conf_string(section, "location", ""),
                   conf_string(section, "key_ring", ""), conf_string(section, "crypto_key", ""));
    gcp->credentials_file = file == NULL ? NULL : mem_strdup(file);
    gcp->project = mem_strdup(conf_string(section, "project_id", ""));
    gcp->secret_endpoint = source_http_copy_endpoint(
        conf_string(section, "secretmanager_endpoint", GCP_SECRET_ENDPOINT));
    if (gcp->key == NULL || gcp->project == NULL || gcp->secret_endpoint == NULL ||
        (file != NULL && gcp->credentials_file == NULL))
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    TRY(source_http_open(&options, section, &gcp->http));
    TRY(access_token_new(gcp->http.token, gcp_request_fetch_secret_token, gcp, &gcp->secret_token));
    return access_token_new(gcp->http.token, gcp_request_fetch_token, gcp, &gcp->token);
}

static CK_RV gcp_open(const struct conf_section *section, struct source **ret_source)
{
    struct gcp *gcp = mem_calloc(1, sizeof(*gcp));
    if (gcp == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    gcp->base.ops = &source_gcp_ops;
    CK_RV rv = configure(gcp, section);
    if (rv != CKR_OK) {
        gcp_close(&gcp->base);
        return rv;
    }
    *ret_source = &gcp->base;
    return CKR_OK;
}

/* ---- requests ---- */

/* JSON has an int64 as a string. */
static void write_bytes(struct json_writer *writer, const char *name, const char *crc_name,
                        struct view bytes)
{
    char crc[CRC_DIGITS_MAX + 1];
    (void) snprintf(crc, sizeof(crc), "%lu", (unsigned long) crc32c(bytes));
    json_write_base64(writer, name, bytes);
    json_write_text(writer, crc_name, crc);
}

/* No associated data for an empty context, since gcloud makes direct keys without. */
static CK_RV finish_body(const struct gcp *gcp, const struct source_call *call,
                         struct json_writer *writer, struct secret *ret_body)
{
    if (call->context.len > CONTEXT_LEN_MAX)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its context.* is longer than the %d bytes that Google Cloud "
                          "KMS takes; shorten it",
                          gcp->http.token, CONTEXT_LEN_MAX);
    if (call->context.len > 0)
        write_bytes(writer, "additionalAuthenticatedData", "additionalAuthenticatedDataCrc32c",
                    call->context);
    json_write_end_object(writer);
    CK_RV rv = json_write_finish(writer, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to Google Cloud KMS", gcp->http.token);
    return CKR_OK;
}

/* ---- replies ---- */

static CK_RV parse(const struct gcp *gcp, const struct http_result *result, struct json **ret_reply)
{
    CK_RV rv = json_parse((struct view){result->body.bytes, result->body.len}, ret_reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&gcp->http, result, "it is not the JSON of Google Cloud KMS");
    return rv;
}

/* True when KMS says that what it got is what was sent. */
static bool is_verified(const struct json *reply, const char *name)
{
    bool verified = false;
    return json_flag(reply, name, &verified) && verified;
}

static CK_RV check_encrypted(const struct gcp *gcp, const struct source_call *call,
                             const struct http_result *result, const struct json *reply)
{
    const char *name = json_text(reply, "name");
    if (name == NULL || !gcp_key_has_version(gcp->key, view_text(name)))
        return source_http_fail_reply(&gcp->http, result,
                                      "it is of another key than was asked for");
    if (!is_verified(reply, "verifiedPlaintextCrc32c") ||
        (call->context.len > 0 && !is_verified(reply, "verifiedAdditionalAuthenticatedDataCrc32c")))
        return source_http_fail_reply(&gcp->http, result,
                                      "it does not confirm the checksums of what was sent");
    return CKR_OK;
}

/* Key version and ciphertext as the wrapped data key. */
static CK_RV take_ciphertext(const struct gcp *gcp, const struct source_call *call,
                             const struct http_result *result, struct blob *ret_wrapped)
{
    _cleanup_(json_free) struct json *reply = NULL;
    _cleanup_(secret_clear) struct secret ciphertext = {0};
    TRY(parse(gcp, result, &reply));
    TRY(check_encrypted(gcp, call, result, reply));
    const char *text = json_text(reply, "ciphertext");
    CK_RV rv = text == NULL
                   ? CKR_DATA_INVALID
                   : json_base64_decode(view_text(text), 1, CIPHERTEXT_LEN_MAX, &ciphertext);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&gcp->http, result, "it has no ciphertext where KMS puts it");
    TRY(rv);
    struct view bytes = {ciphertext.bytes, ciphertext.len};
    if (!gcp_request_crc_is_right(reply, "ciphertextCrc32c", bytes))
        return source_http_fail_reply(&gcp->http, result,
                                      "its ciphertext has another checksum than it says");
    struct writer writer = {0};
    write_u32(&writer, WRAPPED_MAGIC);
    write_u8(&writer, WRAPPED_FORMAT);
    write_string(&writer, view_text(json_text(reply, "name")));
    write_raw(&writer, bytes);
    return writer_finish(&writer, ret_wrapped);
}

static CK_RV take_plaintext(const struct gcp *gcp, struct http_result *result,
                            struct secret *ret_key)
{
    _cleanup_(secret_clear) struct secret key = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    CK_RV rv = json_base64_take(&result->body, "plaintext", 1, PLAINTEXT_LEN_MAX, &key);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&gcp->http, result, "it has no key where KMS puts it");
    TRY(rv);
    TRY(parse(gcp, result, &reply));
    if (!gcp_request_crc_is_right(reply, "plaintextCrc32c", (struct view){key.bytes, key.len}))
        return source_http_fail_reply(&gcp->http, result,
                                      "its key has another checksum than it says");
    *ret_key = secret_move(&key);
    return CKR_OK;
}

/* ---- wrapped data keys ---- */

struct wrapped {
    struct view version; /* empty: a bare ciphertext */
    struct view ciphertext;
};

static CK_RV fail_tampered(const struct gcp *gcp)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                      "token '%s': its wrapped key is no ciphertext of Google Cloud KMS; restore "
                      "the store from a backup",
                      gcp->http.token);
}

static bool split_wrapped(struct view bytes, struct wrapped *ret_wrapped)
{
    struct reader reader = reader_of(bytes);
    struct wrapped wrapped = {.ciphertext = bytes};
    if (bytes.len >= WRAPPED_MAGIC_LEN && read_u32(&reader) == WRAPPED_MAGIC) {
        uint8_t format = read_u8(&reader);
        wrapped.version = read_string(&reader, GCP_KEY_VERSION_LEN_MAX);
        wrapped.ciphertext = read_raw(&reader, (size_t) (reader.end - reader.at));
        if (reader.failed || format != WRAPPED_FORMAT || !gcp_key_is_version(wrapped.version))
            return false;
    }
    *ret_wrapped = wrapped;
    return wrapped.ciphertext.len > 0 && wrapped.ciphertext.len <= CIPHERTEXT_LEN_MAX;
}

static void gcp_describe(struct source *source, struct view bytes,
                         char ret_text[SOURCE_KEY_TEXT_MAX])
{
    struct wrapped wrapped;
    (void) source;
    if (split_wrapped(bytes, &wrapped) && wrapped.version.len > 0)
        (void) snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "%.*s", (int) wrapped.version.len,
                        (const char *) wrapped.version.bytes);
}

static CK_RV read_wrapped(const struct gcp *gcp, struct view bytes, struct wrapped *ret_wrapped)
{
    struct wrapped wrapped;
    if (!split_wrapped(bytes, &wrapped))
        return fail_tampered(gcp);
    if (wrapped.version.len > 0 && !gcp_key_has_version(gcp->key, wrapped.version))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': its data key was wrapped under the KMS key version %.*s, "
                          "which is none of %s; set the former project_id, location, key_ring and "
                          "crypto_key",
                          gcp->http.token, (int) wrapped.version.len,
                          (const char *) wrapped.version.bytes, gcp->key);
    *ret_wrapped = wrapped;
    return CKR_OK;
}

static CK_RV gcp_inspect(struct source *source, const struct source_call *call, struct view bytes,
                         struct source_inspection *ret_inspection)
{
    struct gcp *gcp = (struct gcp *) source;
    struct wrapped wrapped = {.version = {NULL, 0}};
    if (bytes.len > 0)
        TRY(read_wrapped(gcp, bytes, &wrapped));
    return gcp_inspect_key(gcp, call, wrapped.version, ret_inspection);
}

/* ---- calls ---- */

static CK_RV gcp_wrap(struct source *source, const struct source_call *call,
                      const struct secret *data_key, struct blob *ret_wrapped)
{
    static const struct gcp_act act = {
        .method = "encrypt",
        .permission = "cloudkms.cryptoKeyVersions.useToEncrypt",
        .what = "wrap the data key",
    };
    struct gcp *gcp = (struct gcp *) source;
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    json_write_object(&writer, NULL);
    write_bytes(&writer, "plaintext", "plaintextCrc32c",
                (struct view){data_key->bytes, data_key->len});
    TRY(finish_body(gcp, call, &writer, &body));
    TRY(gcp_request_send(gcp, call, &act, &body, &result));
    return take_ciphertext(gcp, call, &result, ret_wrapped);
}

static CK_RV gcp_unwrap(struct source *source, const struct source_call *call, struct view bytes,
                        struct secret *ret_data_key)
{
    struct gcp *gcp = (struct gcp *) source;
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct wrapped wrapped = {.version = {NULL, 0}};
    char version[GCP_KEY_VERSION_LEN_MAX + 1];
    TRY(read_wrapped(gcp, bytes, &wrapped));
    (void) snprintf(version, sizeof(version), "%.*s", (int) wrapped.version.len,
                    wrapped.version.len == 0 ? "" : (const char *) wrapped.version.bytes);
    struct gcp_act act = {
        .method = "decrypt",
        .permission = "cloudkms.cryptoKeyVersions.useToDecrypt",
        .what = "unwrap the data key",
        .version = *version == '\0' ? NULL : version,
    };
    json_write_object(&writer, NULL);
    write_bytes(&writer, "ciphertext", "ciphertextCrc32c", wrapped.ciphertext);
    TRY(finish_body(gcp, call, &writer, &body));
    TRY(gcp_request_send(gcp, call, &act, &body, &result));
    return take_plaintext(gcp, &result, ret_data_key);
}

const struct source_ops source_gcp_ops = {
    .name = "gcp",
    .keys = gcp_keys,
    .takes_credential = true,
    .open = gcp_open,
    .close = gcp_close,
    .wrap = gcp_wrap,
    .unwrap = gcp_unwrap,
    .describe = gcp_describe,
    .inspect = gcp_inspect,
    .parameter_schemes = GCP_SECRET_SCHEMES,
    .read_parameter = gcp_secret_read,
};
