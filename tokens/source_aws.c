#include "tokens/source_aws.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tokens/aws_exchange.h"
#include "tokens/aws_inspect.h"
#include "tokens/aws_parameter.h"
#include "tokens/aws_replicas.h"
#include "tokens/json.h"

/* As AWS bounds them for Decrypt. */
#define CIPHERTEXT_LEN_MAX 6144
#define PLAINTEXT_LEN_MAX 4096
#define PROFILE_LEN_MAX 128
/* A metadata service is on the machine or its host. */
#define NEAR_CONNECT_MS 1000
#define CONTEXT_FORMAT 1
#define CONTEXT_FIELD_MAX 65536
/* Stands for the token's name in the EncryptionContext. Names with "aws:" are AWS's own. */
#define CONTEXT_TOKEN "indexkey:token"
/* A wrapped data key: these four bytes, the format, the ARN of the KMS key, AWS's ciphertext. A
 * bare ciphertext, as the aws command makes it, begins with 1. */
#define WRAPPED_MAGIC 0x494b4157u /* "IKAW" */
#define WRAPPED_MAGIC_LEN 4
#define WRAPPED_FORMAT 1

static const struct aws_act make_act = {"GenerateDataKey", "make a data key"};
static const struct aws_act wrap_act = {"Encrypt", "wrap the data key"};
/* By the permissions kms:ReEncryptFrom and kms:ReEncryptTo. */
static const struct aws_act rewrap_act = {"ReEncrypt", "wrap the data key anew"};
static const struct aws_act unwrap_act = {"Decrypt", "unwrap the data key"};

/* ---- configuration ---- */

static const char *check_profile(const char *value)
{
    size_t len = strlen(value);
    return len > 0 && len <= PROFILE_LEN_MAX && strchr(value, ']') == NULL
               ? NULL
               : "the name of a profile in ~/.aws/credentials or ~/.aws/config";
}

/* Host header and path are signed as they are written here. */
static const char *check_endpoint(const char *value)
{
    struct http_target target;
    const char *fault = http_url_read(value, &target);
    if (fault != NULL)
        return fault;
    for (const char *at = target.authority; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~')
            return "a URL in ASCII (xn--… for other names)";
    }
    return target.has_path ? "a URL without a path: https://HOST[:PORT]" : NULL;
}

static const struct conf_key aws_keys[] = {
    {.name = "key_id",
     .type = CONF_STRING,
     .required = true,
     .help = "the KMS key: its ARN, its id, alias/NAME, or the alias's ARN",
     .check = aws_key_fault},
    {.name = "aws_region",
     .type = CONF_STRING,
     .help = "the key's Region; by default the ARN's, else AWS_REGION's, else the profile's",
     .check = aws_region_fault},
    {.name = "aws_profile",
     .type = CONF_STRING,
     .help = "the profile whose credentials are used, whatever the environment has",
     .check = check_profile},
    {.name = "role_arn",
     .type = CONF_STRING,
     .help = "the role that is assumed by AWS STS, with the credentials that were found",
     .check = aws_role_arn_fault},
    {.name = "external_id",
     .type = CONF_STRING,
     .help = "what the role's trust policy wants to hear, with role_arn",
     .check = aws_role_external_id_fault},
    {.name = "role_session_name",
     .type = CONF_STRING,
     .help = "the session's name in CloudTrail, with role_arn; default indexkey",
     .check = aws_role_session_name_fault},
    {.name = "role_duration",
     .type = CONF_DURATION,
     .min = (uint64_t) AWS_ROLE_DURATION_MIN_S * CLOCK_MS_PER_S,
     .max = (uint64_t) AWS_ROLE_DURATION_MAX_S * CLOCK_MS_PER_S,
     .help = "how long a session of role_arn lasts; default 1h"},
    {.name = "sts_endpoint",
     .type = CONF_STRING,
     .help = "where STS is, if not at https://sts.REGION.amazonaws.com",
     .check = check_endpoint},
    {.name = "use_fips",
     .type = CONF_BOOL,
     .help = "the FIPS endpoints of AWS (kms-fips.REGION.amazonaws.com); default no"},
    {.name = "replicas",
     .type = CONF_STRING,
     .help = "Regions with replicas of a multi-Region key, asked when its own is unreachable",
     .check = aws_replicas_fault},
    {.name = "endpoint",
     .type = CONF_STRING,
     .help = "where KMS is, if not at https://kms.REGION.amazonaws.com: a VPC endpoint",
     .check = check_endpoint},
    {.name = "ssm_endpoint",
     .type = CONF_STRING,
     .help = "where Systems Manager is, for ciphertext = ssm:NAME; by default its Region's",
     .check = check_endpoint},
    {.name = "secretsmanager_endpoint",
     .type = CONF_STRING,
     .help = "where Secrets Manager is, for ciphertext = secretsmanager:NAME; by default its "
             "Region's",
     .check = check_endpoint},
    SOURCE_HTTP_KEYS,
    {.name = NULL},
};

static void aws_close(struct source *source)
{
    struct aws *aws = (struct aws *) source;
    access_token_free(&aws->sessions);
    http_client_free(&aws->near);
    source_http_close(&aws->http);
    aws_replicas_free(aws);
    aws_role_clear(&aws->role);
    mem_free(aws->sts_endpoint);
    mem_free(aws->ssm_endpoint);
    mem_free(aws->secretsmanager_endpoint);
    mem_free(aws->key);
    mem_free(aws->profile);
    mem_free(aws);
}

/* That of the section, or of the key's ARN; KMS knows an ARN only in its own Region. */
static CK_RV configure_region(struct aws *aws, const struct conf_section *section)
{
    const char *configured = conf_string(section, "aws_region", NULL);
    struct view region = aws_key_region(aws->key);
    if (configured != NULL && region.len > 0 && !view_equal(region, view_text(configured)))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: aws_region is %s, and key_id is the ARN of a "
                          "key in %.*s; remove aws_region",
                          section->name, conf_section_line(section), configured, (int) region.len,
                          (const char *) region.bytes);
    if (configured != NULL)
        region = view_text(configured);
    if (region.len > 0)
        memcpy(aws->region, region.bytes, region.len);
    return CKR_OK;
}

/* NULL in `*ret_copy` where the key is not set, as in the next one. */
static CK_RV copy_string(const struct conf_section *section, const char *name, char **ret_copy)
{
    const char *value = conf_string(section, name, NULL);
    if (value == NULL)
        return CKR_OK;
    *ret_copy = mem_strdup(value);
    if (*ret_copy == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    return CKR_OK;
}

static CK_RV copy_endpoint(const struct conf_section *section, const char *name, char **ret_copy)
{
    const char *value = conf_string(section, name, NULL);
    if (value == NULL)
        return CKR_OK;
    *ret_copy = source_http_copy_endpoint(value);
    if (*ret_copy == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    return CKR_OK;
}

static CK_RV configure_role(struct aws *aws, const struct conf_section *section)
{
    static const char *const others[] = {"external_id", "role_session_name"};
    TRY(copy_string(section, "role_arn", &aws->role.arn));
    TRY(copy_string(section, "external_id", &aws->role.external_id));
    TRY(copy_string(section, "role_session_name", &aws->role.session_name));
    aws->role.duration_s =
        (int64_t) conf_duration_ms(section, "role_duration",
                                   (uint64_t) AWS_ROLE_DURATION_S * CLOCK_MS_PER_S) /
        CLOCK_MS_PER_S;
    for (size_t i = 0; aws->role.arn == NULL && i < sizeof(others) / sizeof(others[0]); i++) {
        if (conf_string(section, others[i], NULL) != NULL)
            return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                              "[token %s] in line %zu: %s is of no use without role_arn",
                              section->name, conf_section_line(section), others[i]);
    }
    return CKR_OK;
}

static CK_RV configure_replicas(struct aws *aws, const struct conf_section *section)
{
    const char *replicas = conf_string(section, "replicas", NULL);
    if (replicas == NULL)
        return CKR_OK;
    if (!aws_key_is_multi_region(aws->key))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: replicas needs key_id to be the id or ARN of a "
                          "multi-Region key (mrk-…)",
                          section->name, conf_section_line(section));
    if (aws_replicas_read(replicas, aws) != CKR_OK)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    return CKR_OK;
}

/* For metadata services, and what they give. */
static CK_RV configure_sessions(struct aws *aws, const struct conf_section *section)
{
    const struct http_options near = {
        .ca_file = conf_string(section, "ca_file", NULL),
        .direct = true,
        .connect_ms = NEAR_CONNECT_MS,
    };
    TRY(http_client_new(&near, &aws->near));
    return access_token_new(aws->http.token, aws_session_fetch, aws, &aws->sessions);
}

static CK_RV configure(struct aws *aws, const struct conf_section *section)
{
    /* The default gives way to the Region's own address at each call. */
    static const struct source_http_options options = {
        .service = "AWS KMS",
        .endpoint_key = "endpoint",
        .endpoint_default = "https://kms.amazonaws.com",
    };
    TRY(copy_string(section, "key_id", &aws->key));
    if (aws->key == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: source = aws needs key_id", section->name,
                          conf_section_line(section));
    TRY(copy_string(section, "aws_profile", &aws->profile));
    TRY(copy_endpoint(section, "sts_endpoint", &aws->sts_endpoint));
    TRY(copy_endpoint(section, "ssm_endpoint", &aws->ssm_endpoint));
    TRY(copy_endpoint(section, "secretsmanager_endpoint", &aws->secretsmanager_endpoint));
    aws->has_endpoint = conf_string(section, "endpoint", NULL) != NULL;
    aws->uses_fips = conf_bool(section, "use_fips", false);
    TRY(configure_region(aws, section));
    TRY(configure_role(aws, section));
    TRY(configure_replicas(aws, section));
    TRY(source_http_open(&options, section, &aws->http));
    return configure_sessions(aws, section);
}

static CK_RV aws_open(const struct conf_section *section, struct source **ret_source)
{
    struct aws *aws = mem_calloc(1, sizeof(*aws));
    if (aws == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    aws->base.ops = &source_aws_ops;
    CK_RV rv = configure(aws, section);
    if (rv != CKR_OK) {
        aws_close(&aws->base);
        return rv;
    }
    *ret_source = &aws->base;
    return CKR_OK;
}

/* ---- requests ---- */

static CK_RV write_pair(const struct aws *aws, struct view name, struct view value,
                        struct json_writer *writer)
{
    if (view_equal(name, view_text(CONTEXT_TOKEN)))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': context." CONTEXT_TOKEN " stands for the token's own name; "
                          "give this key another name",
                          aws->http.token);
    _cleanup_(mem_free_pointer) char *text =
        mem_format("%.*s", (int) name.len, (const char *) name.bytes);
    if (text == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a request", aws->http.token);
    json_write_view(writer, text, value);
    return CKR_OK;
}

/* The canonical context as a map; no map for an empty one, since `aws kms generate-data-key` makes
 * direct keys without. */
static CK_RV write_context(const struct aws *aws, const char *member, struct view context,
                           struct json_writer *writer)
{
    if (context.len == 0)
        return CKR_OK;
    struct reader reader = reader_of(context);
    uint8_t format = read_u8(&reader);
    struct view token = read_string(&reader, CONTEXT_FIELD_MAX);
    json_write_object(writer, member);
    /* A direct key's context has no token. */
    if (token.len > 0)
        json_write_view(writer, CONTEXT_TOKEN, token);
    while (!reader.failed && !reader_done(&reader)) {
        struct view name = read_string(&reader, CONTEXT_FIELD_MAX);
        struct view value = read_string(&reader, CONTEXT_FIELD_MAX);
        if (!reader.failed)
            TRY(write_pair(aws, name, value, writer));
    }
    json_write_end_object(writer);
    if (reader.failed || format != CONTEXT_FORMAT)
        return FAIL_CAUSE(INDEXKEY_CAUSE_INTERNAL, "token '%s': its context is malformed",
                          aws->http.token);
    return CKR_OK;
}

static CK_RV end_body(const struct aws *aws, struct json_writer *writer, struct secret *ret_body)
{
    json_write_end_object(writer);
    CK_RV rv = json_write_finish(writer, ret_body);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its context.* is no UTF-8; AWS takes nothing else",
                          aws->http.token);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to AWS KMS", aws->http.token);
    return CKR_OK;
}

static CK_RV finish_body(const struct aws *aws, const struct source_call *call,
                         struct json_writer *writer, struct secret *ret_body)
{
    TRY(write_context(aws, "EncryptionContext", call->context, writer));
    return end_body(aws, writer, ret_body);
}

/* ---- replies ---- */

/* The rest of a reply, once the key was taken out. It must be of the KMS key `arn`; NULL is any
 * that fits key_id. */
static CK_RV read_rest(const struct aws_exchange *exchange, const struct http_result *result,
                       const struct view *arn, struct json **ret_reply)
{
    _cleanup_(json_free) struct json *reply = NULL;
    CK_RV rv = json_parse((struct view){result->body.bytes, result->body.len}, &reply);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&exchange->http, result, "it is not the JSON of AWS KMS");
    TRY(rv);
    const char *key = json_text(reply, "KeyId");
    if (key == NULL || !aws_key_is_key_arn(view_text(key)))
        return source_http_fail_reply(&exchange->http, result, "it names no KMS key by its ARN");
    bool fits = arn == NULL ? aws_key_matches(exchange->aws->key, view_text(key))
                            : view_equal(*arn, view_text(key));
    if (!fits)
        return source_http_fail_reply(&exchange->http, result,
                                      "it is of another KMS key than was asked for");
    *ret_reply = TAKE(reply);
    return CKR_OK;
}

static CK_RV take_plaintext(const struct aws_exchange *exchange, struct http_result *result,
                            size_t len_min, size_t len_max, struct secret *ret_key)
{
    CK_RV rv = json_base64_take(&result->body, "Plaintext", len_min, len_max, ret_key);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&exchange->http, result,
                                      len_min == len_max ? "it has no key of 256 bits"
                                                         : "it has no key where KMS puts it");
    return rv;
}

/* ARN and ciphertext of a reply as the wrapped data key. */
static CK_RV take_ciphertext(const struct aws_exchange *exchange, const struct http_result *result,
                             struct blob *ret_wrapped)
{
    _cleanup_(json_free) struct json *reply = NULL;
    _cleanup_(secret_clear) struct secret ciphertext = {0};
    TRY(read_rest(exchange, result, NULL, &reply));
    const char *text = json_text(reply, "CiphertextBlob");
    CK_RV rv = text == NULL
                   ? CKR_DATA_INVALID
                   : json_base64_decode(view_text(text), 1, CIPHERTEXT_LEN_MAX, &ciphertext);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&exchange->http, result,
                                      "it has no ciphertext where KMS puts it");
    TRY(rv);
    struct writer writer = {0};
    write_u32(&writer, WRAPPED_MAGIC);
    write_u8(&writer, WRAPPED_FORMAT);
    write_string(&writer, view_text(json_text(reply, "KeyId")));
    write_raw(&writer, (struct view){ciphertext.bytes, ciphertext.len});
    return writer_finish(&writer, ret_wrapped);
}

/* ---- wrapped data keys ---- */

struct wrapped {
    struct view arn; /* empty: a bare ciphertext */
    struct view ciphertext;
};

static CK_RV fail_tampered(const struct aws *aws)
{
    return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                      "token '%s': its wrapped key is no ciphertext of AWS KMS; restore the store "
                      "from a backup",
                      aws->http.token);
}

static bool split_wrapped(struct view bytes, struct wrapped *ret_wrapped)
{
    struct reader reader = reader_of(bytes);
    struct wrapped wrapped = {.ciphertext = bytes};
    if (bytes.len >= WRAPPED_MAGIC_LEN && read_u32(&reader) == WRAPPED_MAGIC) {
        uint8_t format = read_u8(&reader);
        wrapped.arn = read_string(&reader, AWS_KEY_LEN_MAX);
        wrapped.ciphertext = read_raw(&reader, (size_t) (reader.end - reader.at));
        if (reader.failed || format != WRAPPED_FORMAT || !aws_key_is_key_arn(wrapped.arn))
            return false;
    }
    *ret_wrapped = wrapped;
    return wrapped.ciphertext.len > 0 && wrapped.ciphertext.len <= CIPHERTEXT_LEN_MAX;
}

/* The version of the key is AWS's own affair: no answer tells it. */
static void aws_describe(struct source *source, struct view bytes,
                         char ret_text[SOURCE_KEY_TEXT_MAX])
{
    struct wrapped wrapped;
    (void) source;
    if (split_wrapped(bytes, &wrapped) && wrapped.arn.len > 0)
        (void) snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "%.*s", (int) wrapped.arn.len,
                        (const char *) wrapped.arn.bytes);
}

static CK_RV read_wrapped(const struct aws *aws, struct view bytes, struct wrapped *ret_wrapped)
{
    struct wrapped wrapped;
    if (!split_wrapped(bytes, &wrapped))
        return fail_tampered(aws);
    if (wrapped.arn.len > 0 && !aws_key_matches(aws->key, wrapped.arn))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': its data key was wrapped under the KMS key %.*s, and key_id "
                          "is %s; set the former key_id",
                          aws->http.token, (int) wrapped.arn.len, (const char *) wrapped.arn.bytes,
                          aws->key);
    *ret_wrapped = wrapped;
    return CKR_OK;
}

/* ---- calls ---- */

static CK_RV aws_make_data_key(struct source *source, const struct source_call *call,
                               struct secret *ret_data_key, struct blob *ret_wrapped)
{
    struct aws *aws = (struct aws *) source;
    _cleanup_(aws_exchange_clear) struct aws_exchange exchange = {.aws = aws};
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, "KeyId", aws->key);
    json_write_text(&writer, "KeySpec", "AES_256");
    TRY(finish_body(aws, call, &writer, &body));
    TRY(aws_exchange_begin(aws, call, &exchange));
    TRY(aws_exchange_send(&exchange, &make_act, &body, &result));
    TRY(take_plaintext(&exchange, &result, DATA_KEY_LEN, DATA_KEY_LEN, &data_key));
    TRY(take_ciphertext(&exchange, &result, ret_wrapped));
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

static CK_RV aws_wrap(struct source *source, const struct source_call *call,
                      const struct secret *data_key, struct blob *ret_wrapped)
{
    struct aws *aws = (struct aws *) source;
    _cleanup_(aws_exchange_clear) struct aws_exchange exchange = {.aws = aws};
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, "KeyId", aws->key);
    json_write_base64(&writer, "Plaintext", (struct view){data_key->bytes, data_key->len});
    TRY(finish_body(aws, call, &writer, &body));
    TRY(aws_exchange_begin(aws, call, &exchange));
    TRY(aws_exchange_send(&exchange, &wrap_act, &body, &result));
    return take_ciphertext(&exchange, &result, ret_wrapped);
}

static CK_RV aws_rewrap(struct source *source, const struct source_call *call, struct view bytes,
                        struct blob *ret_wrapped)
{
    struct aws *aws = (struct aws *) source;
    _cleanup_(aws_exchange_clear) struct aws_exchange exchange = {.aws = aws};
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    struct wrapped wrapped;
    TRY(read_wrapped(aws, bytes, &wrapped));
    json_write_object(&writer, NULL);
    json_write_base64(&writer, "CiphertextBlob", wrapped.ciphertext);
    if (wrapped.arn.len > 0)
        json_write_view(&writer, "SourceKeyId", wrapped.arn);
    json_write_text(&writer, "DestinationKeyId", aws->key);
    TRY(write_context(aws, "SourceEncryptionContext", call->context, &writer));
    TRY(write_context(aws, "DestinationEncryptionContext", call->context, &writer));
    TRY(end_body(aws, &writer, &body));
    TRY(aws_exchange_begin(aws, call, &exchange));
    TRY(aws_exchange_send(&exchange, &rewrap_act, &body, &result));
    return take_ciphertext(&exchange, &result, ret_wrapped);
}

static CK_RV aws_inspect(struct source *source, const struct source_call *call, struct view bytes,
                         struct source_inspection *ret_inspection)
{
    struct aws *aws = (struct aws *) source;
    struct wrapped wrapped = {.arn = {NULL, 0}};
    if (bytes.len > 0)
        TRY(read_wrapped(aws, bytes, &wrapped));
    struct view arn = aws_key_is_alias(aws->key) ? wrapped.arn : (struct view){NULL, 0};
    return aws_inspect_key(aws, call, arn, ret_inspection);
}

/* What is unwrapped in whichever Region. */
struct unwrapping {
    const struct aws *aws;
    const struct source_call *call;
    struct wrapped wrapped;
    bool pinned; /* by the wrapped key's ARN: an alias may have moved on to another key since */
};

static CK_RV compose_unwrap(void *context, const char *region, struct secret *ret_body)
{
    const struct unwrapping *unwrapping = context;
    const struct aws *aws = unwrapping->aws;
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(mem_free_pointer) char *key =
        aws->replica_count == 0 ? mem_strdup(aws->key) : aws_key_in_region(aws->key, region);
    if (key == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for a request", aws->http.token);
    json_write_object(&writer, NULL);
    json_write_view(&writer, "KeyId",
                    unwrapping->pinned ? unwrapping->wrapped.arn : view_text(key));
    json_write_base64(&writer, "CiphertextBlob", unwrapping->wrapped.ciphertext);
    return finish_body(aws, unwrapping->call, &writer, ret_body);
}

static CK_RV aws_unwrap(struct source *source, const struct source_call *call, struct view bytes,
                        struct secret *ret_data_key)
{
    struct aws *aws = (struct aws *) source;
    _cleanup_(aws_exchange_clear) struct aws_exchange exchange = {.aws = aws};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    struct unwrapping unwrapping = {.aws = aws, .call = call};
    TRY(read_wrapped(aws, bytes, &unwrapping.wrapped));
    const struct view *arn = &unwrapping.wrapped.arn;
    unwrapping.pinned = arn->len > 0 && aws_key_is_alias(aws->key);
    TRY(aws_exchange_begin(aws, call, &exchange));
    TRY(aws_replicas_send(&exchange, &unwrap_act, compose_unwrap, &unwrapping, &result));
    TRY(take_plaintext(&exchange, &result, 1, PLAINTEXT_LEN_MAX, &data_key));
    TRY(read_rest(&exchange, &result, unwrapping.pinned ? arn : NULL, &reply));
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}

const struct source_ops source_aws_ops = {
    .name = "aws",
    .keys = aws_keys,
    .takes_credential = true,
    .open = aws_open,
    .close = aws_close,
    .wrap = aws_wrap,
    .unwrap = aws_unwrap,
    .make_data_key = aws_make_data_key,
    .rewrap = aws_rewrap,
    .describe = aws_describe,
    .inspect = aws_inspect,
    .parameter_schemes = AWS_PARAMETER_SCHEMES,
    .read_parameter = aws_parameter_read,
};
