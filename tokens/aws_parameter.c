#include "tokens/aws_parameter.h"

#include <string.h>

#include "tokens/ciphertext.h"
#include "tokens/json.h"

/* Behind the name of a secret, in its ARN: "-a1B2c3". */
#define ARN_SUFFIX_LEN 7
#define ARN_BEGIN "arn:"

static const char allow[] = "allow it in the identity's IAM policy";
static const char allow_key[] =
    "allow kms:Decrypt on that KMS key, in its key policy or the identity's IAM policy";
static const char key_refuses[] = "the KMS key that protects the value itself does not admit";
static const char look_at_key[] = "look at the KMS key that protects the value itself";

static const struct aws_refusal ssm_refusals[] = {
    {"ParameterNotFound", NULL, INDEXKEY_CAUSE_CONFIG,
     "there is no such parameter in this account and Region, or it was deleted",
     "write it with aws ssm put-parameter, or correct ssm:NAME and aws_region"},
    {"ParameterVersionNotFound", NULL, INDEXKEY_CAUSE_CONFIG,
     "the parameter has no such version or label", "correct what stands behind ssm:NAME:"},
    {"InvalidKeyId", "pending deletion", INDEXKEY_CAUSE_DELETED,
     "the KMS key that protects the value itself is pending deletion",
     "aws kms cancel-key-deletion, then enable-key"},
    {"InvalidKeyId", "isabled", INDEXKEY_CAUSE_DISABLED,
     "the KMS key that protects the value itself is disabled", "aws kms enable-key"},
    {"InvalidKeyId", NULL, INDEXKEY_CAUSE_DISABLED,
     "the KMS key that protects the value itself cannot be used", look_at_key},
    {"AccessDeniedException", "ciphertext refers to", INDEXKEY_CAUSE_DENIED, key_refuses,
     allow_key},
    {"AccessDeniedException", "kms:Decrypt", INDEXKEY_CAUSE_DENIED, key_refuses, allow_key},
    {"AccessDeniedException", NULL, INDEXKEY_CAUSE_DENIED, "this identity has not the permission",
     allow},
    {"ValidationException", NULL, INDEXKEY_CAUSE_CONFIG, "it does not take the name for one",
     "correct ssm:NAME"},
    {"UnknownOperationException", NULL, INDEXKEY_CAUSE_CONFIG, "this is no Systems Manager",
     "check ssm_endpoint"},
    {.code = NULL},
};

static const struct aws_refusal secret_refusals[] = {
    {"ResourceNotFoundException", "staging label", INDEXKEY_CAUSE_CONFIG,
     "the secret has no value yet", "write it with aws secretsmanager put-secret-value"},
    {"ResourceNotFoundException", NULL, INDEXKEY_CAUSE_CONFIG,
     "there is no such secret in this account and Region, or it was deleted",
     "write it with aws secretsmanager create-secret, or correct secretsmanager:NAME and "
     "aws_region"},
    {"InvalidRequestException", "deletion", INDEXKEY_CAUSE_DELETED,
     "the secret is marked for deletion",
     "aws secretsmanager restore-secret, before its recovery window ends"},
    {"InvalidRequestException", "deleted", INDEXKEY_CAUSE_DELETED, "the secret is deleted",
     "aws secretsmanager restore-secret, before its recovery window ends"},
    {"InvalidRequestException", NULL, INDEXKEY_CAUSE_CONFIG,
     "the secret's state allows no reading of it", "look at aws secretsmanager describe-secret"},
    {"DecryptionFailure", NULL, INDEXKEY_CAUSE_DISABLED,
     "the KMS key that protects the value itself cannot be used", look_at_key},
    {"AccessDeniedException", "to KMS", INDEXKEY_CAUSE_DENIED, key_refuses, allow_key},
    {"AccessDeniedException", NULL, INDEXKEY_CAUSE_DENIED, "this identity has not the permission",
     "allow it in the identity's IAM policy, or in the secret's resource policy"},
    {"InvalidParameterException", NULL, INDEXKEY_CAUSE_CONFIG, "it does not take the name for one",
     "correct secretsmanager:NAME"},
    {"ValidationException", NULL, INDEXKEY_CAUSE_CONFIG, "it does not take the name for one",
     "correct secretsmanager:NAME"},
    {"UnknownOperationException", NULL, INDEXKEY_CAUSE_CONFIG, "this is no Secrets Manager",
     "check secretsmanager_endpoint"},
    {.code = NULL},
};

/* One request. */
struct reading {
    struct aws_exchange exchange;
    struct http_result result;
    const char *name;   /* behind the scheme */
    struct aws_arn arn; /* its resource is empty where the name is no ARN */
    struct json *rest;  /* of the reply, once the value was taken out */
};

static void reading_clear(struct reading *reading)
{
    aws_exchange_clear(&reading->exchange);
    http_result_clear(&reading->result);
    json_free(&reading->rest);
}

struct store {
    const char *scheme;
    struct aws_service service;
    struct aws_act act;
    const char *member; /* of the request, with the name */
    CK_RV (*take)(struct reading *reading, struct secret *ret_value);
};

/* ---- replies ---- */

static CK_RV parse_rest(struct reading *reading)
{
    const struct secret *body = &reading->result.body;
    CK_RV rv = json_parse((struct view){body->bytes, body->len}, &reading->rest);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&reading->exchange.http, &reading->result,
                                      "it is not the JSON of that service");
    return rv;
}

static CK_RV fail_other(const struct reading *reading)
{
    return source_http_fail_reply(&reading->exchange.http, &reading->result,
                                  "it is of another parameter than was asked for");
}

/* The name as asked for, without what selects a version. */
static struct view parameter_name(const struct reading *reading)
{
    size_t before =
        reading->arn.resource.len == 0
            ? 0
            : (size_t) (reading->arn.resource.bytes - (const unsigned char *) reading->name);
    size_t len = before + strcspn(reading->name + before, ":");
    return (struct view){(const unsigned char *) reading->name, len};
}

static bool is_at(const struct json *reply, const char *path, struct view wanted)
{
    const char *text = json_text(reply, path);
    return text != NULL && view_equal(view_text(text), wanted);
}

static CK_RV take_parameter(struct reading *reading, struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret value = {0};
    CK_RV rv = json_secret_take(&reading->result.body, "Parameter.Value", &value);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&reading->exchange.http, &reading->result,
                                      "it has no text where Systems Manager puts the value");
    TRY(rv);
    TRY(parse_rest(reading));
    struct view name = parameter_name(reading);
    if (!is_at(reading->rest, "Parameter.Name", name) &&
        !is_at(reading->rest, "Parameter.ARN", name))
        return fail_other(reading);
    if (!is_at(reading->rest, "Parameter.Type", view_text("SecureString")) &&
        !is_at(reading->rest, "Parameter.Type", view_text("String")))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s is no parameter of the type String or SecureString; "
                          "write the ciphertext with aws ssm put-parameter --type SecureString",
                          reading->exchange.http.token, reading->exchange.resource);
    *ret_value = secret_move(&value);
    return CKR_OK;
}

/* An ARN may be asked for without the six random characters at its end. */
static bool is_secret_arn(struct view wanted, const char *found)
{
    size_t len = strlen(found);
    if (len == wanted.len + ARN_SUFFIX_LEN && found[wanted.len] == '-')
        len = wanted.len;
    return len == wanted.len && memcmp(found, wanted.bytes, len) == 0;
}

static bool is_secret(const struct reading *reading)
{
    struct view wanted = view_text(reading->name);
    const char *arn = json_text(reading->rest, "ARN");
    if (reading->arn.resource.len == 0)
        return is_at(reading->rest, "Name", wanted);
    return arn != NULL && is_secret_arn(wanted, arn);
}

/* A text, or bytes. */
static CK_RV take_secret(struct reading *reading, struct secret *ret_value)
{
    _cleanup_(secret_clear) struct secret value = {0};
    struct secret *body = &reading->result.body;
    CK_RV rv = json_secret_take(body, "SecretString", &value);
    if (rv == CKR_DATA_INVALID)
        rv = json_base64_take(body, "SecretBinary", 1, CIPHERTEXT_LEN_MAX, &value);
    if (rv == CKR_DATA_INVALID)
        return source_http_fail_reply(&reading->exchange.http, &reading->result,
                                      "it has neither text nor bytes where Secrets Manager puts "
                                      "the value");
    TRY(rv);
    TRY(parse_rest(reading));
    if (!is_secret(reading))
        return fail_other(reading);
    *ret_value = secret_move(&value);
    return CKR_OK;
}

/* ---- requests ---- */

static const struct store stores[] = {
    {
        .scheme = "ssm:",
        .service = {"ssm", "AWS Systems Manager", "AmazonSSM", "ssm_endpoint", ssm_refusals},
        .act = {"GetParameter", "read a ciphertext"},
        .member = "Name",
        .take = take_parameter,
    },
    {
        .scheme = "secretsmanager:",
        .service = {"secretsmanager", "AWS Secrets Manager", "secretsmanager",
                    "secretsmanager_endpoint", secret_refusals},
        .act = {"GetSecretValue", "read a ciphertext"},
        .member = "SecretId",
        .take = take_secret,
    },
};

/* source_read_parameter asks for no other schemes than these. */
static const struct store *store_of(const char *place)
{
    return &stores[strncmp(place, stores[0].scheme, strlen(stores[0].scheme)) == 0 ? 0 : 1];
}

static CK_RV read_name(const struct aws *aws, const struct store *store, const char *place,
                       struct reading *reading)
{
    reading->name = place + strlen(store->scheme);
    if (strncmp(reading->name, ARN_BEGIN, strlen(ARN_BEGIN)) == 0 &&
        !aws_arn_read(view_text(reading->name), store->service.name, &reading->arn))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': %s is no ARN of %s; correct it: "
                          "arn:PARTITION:%s:REGION:ACCOUNT:NAME",
                          aws->http.token, place, store->service.title, store->service.name);
    return CKR_OK;
}

static CK_RV make_body(const struct aws *aws, const struct store *store, const char *name,
                       struct secret *ret_body)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, store->member, name);
    if (store == &stores[0])
        json_write_flag(&writer, "WithDecryption", true);
    json_write_end_object(&writer);
    CK_RV rv = json_write_finish(&writer, ret_body);
    if (rv != CKR_OK)
        return FAIL(rv, "token '%s': no memory for a request to %s", aws->http.token,
                    store->service.title);
    return CKR_OK;
}

CK_RV aws_parameter_read(struct source *source, const struct source_call *call, const char *place,
                         struct secret *ret_value)
{
    struct aws *aws = (struct aws *) source;
    const struct store *store = store_of(place);
    _cleanup_(reading_clear) struct reading reading = {.name = NULL};
    _cleanup_(secret_clear) struct secret body = {0};
    TRY(read_name(aws, store, place, &reading));
    TRY(make_body(aws, store, reading.name, &body));
    const struct aws_place where = {
        .service = &store->service,
        .resource = place,
        .endpoint = store == &stores[0] ? aws->ssm_endpoint : aws->secretsmanager_endpoint,
        .region = reading.arn.region,
    };
    TRY(aws_exchange_begin_at(aws, call, &where, &reading.exchange));
    TRY(aws_exchange_send(&reading.exchange, &store->act, &body, &reading.result));
    return store->take(&reading, ret_value);
}
