/* Ciphertexts of direct keys in Systems Manager (ssm:) and Secrets Manager (secretsmanager:). */
#include <string.h>

#include "tests/contract/aws_fixture.h"
#include "tests/contract/parameters.h"

#define STATUS(number, body)                                                                       \
    "{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"status\": " #number                \
    ", \"body\": " body "}"
#define SAYS(code, message) STATUS(400, "{\"__type\": \"" code "\", \"message\": \"" message "\"}")
#define REPLY(body) STATUS(200, body)
#define ALTER(member, value) HANDLER("\"alter\", \"member\": \"" member "\", \"value\": " value)
#define DENY(act) HANDLER("\"deny\", \"act\": \"" act "\"")
#define PROTECT(code, message)                                                                     \
    HANDLER("\"protect\", \"code\": \"" code "\", \"message\": \"" message "\"")
#define SSM_ARN "arn:aws:ssm:" AWS_REGION_GOOD ":111122223333:parameter/index/key"
#define SECRET_ARN "arn:aws:secretsmanager:" AWS_REGION_GOOD ":111122223333:secret:index/key"
#define READ(text) NULL, INDEXKEY_CAUSE_NONE, text
#define CONFIG INDEXKEY_CAUSE_CONFIG
#define SERVER INDEXKEY_CAUSE_SERVER
#define DENIED INDEXKEY_CAUSE_DENIED

static struct fake_service fake;

static void start_fake(void)
{
    kms_start(&fake, "fake_aws_stores:FakeAwsStores");
    fake_service_command(
        &fake, "%s",
        HANDLER("\"parameter\", \"name\": \"/index/key\", \"value\": \"AQICAHsecond\""));
    fake_service_command(
        &fake, "%s",
        HANDLER("\"parameter\", \"name\": \"/index/key\", \"value\": \"AQICAHcanary\""));
    fake_service_command(&fake, "%s",
                         HANDLER("\"parameter\", \"name\": \"plain\", \"value\": \"AQIC\", "
                                 "\"type\": \"String\""));
    fake_service_command(&fake, "%s",
                         HANDLER("\"parameter\", \"name\": \"list\", \"value\": \"A,B\", "
                                 "\"type\": \"StringList\""));
    fake_service_command(
        &fake, "%s", HANDLER("\"secret\", \"name\": \"index/key\", \"text\": \"AQICAHcanary\""));
    fake_service_command(&fake, "%s",
                         HANDLER("\"secret\", \"name\": \"bytes\", \"bytes\": \"AQICeA==\""));
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static const struct parameter_row rows[] = {
    /* Systems Manager. */
    {"ssm:/index/key", READ("AQICAHcanary")},
    {"ssm:/index/key:1", READ("AQICAHsecond")},
    {"ssm:" SSM_ARN, READ("AQICAHcanary")},
    {"ssm:" SSM_ARN ":1", READ("AQICAHsecond")},
    {"ssm:plain", READ("AQIC")},
    {"ssm:list", NULL, CONFIG, "no parameter of the type String or SecureString"},
    {"ssm:/index/absent", NULL, CONFIG, "no such parameter"},
    {"ssm:/index/key:9", NULL, CONFIG, "no such version"},
    {"ssm:a b", NULL, CONFIG, "correct ssm:NAME"},
    {"ssm:" SECRET_ARN, NULL, CONFIG, "is no ARN of AWS Systems Manager"},
    {"ssm:arn:aws:ssm", NULL, CONFIG, "is no ARN of AWS Systems Manager"},
    {"ssm:arn:aws:ssm:us-east-1:111122223333:parameter/index/key", NULL, INDEXKEY_CAUSE_CREDENTIAL,
     "another Region than the endpoint's"},
    {"ssm:arn:aws:ssm:us-east-1:111122223333:parameter/index/key",
     HANDLER("\"region\", \"region\": \"us-east-1\""), INDEXKEY_CAUSE_NONE, "AQICAHcanary"},
    {"ssm:/index/key", DENY("GetParameter"), DENIED,
     "has not the permission ssm:GetParameter; allow it in the identity's IAM policy"},
    {"ssm:/index/key",
     PROTECT("AccessDeniedException", "The ciphertext refers to a customer master key that does "
                                      "not exist, or you are not allowed to access."),
     DENIED, "allow kms:Decrypt"},
    {"ssm:/index/key", PROTECT("InvalidKeyId", "k is disabled. (DisabledException)"),
     INDEXKEY_CAUSE_DISABLED, "aws kms enable-key"},
    {"ssm:/index/key", PROTECT("InvalidKeyId", "k is pending deletion."), INDEXKEY_CAUSE_DELETED,
     "cancel-key-deletion"},
    {"ssm:/index/key", PROTECT("InvalidKeyId", "something new"), INDEXKEY_CAUSE_DISABLED,
     "protects the value itself cannot be used"},
    {"ssm:/index/key", SAYS("ThrottlingException", "Rate exceeded"), INDEXKEY_CAUSE_THROTTLED,
     "request quota"},
    {"ssm:/index/key", STATUS(500, "{\"__type\": \"InternalServerError\"}"), SERVER,
     "the service itself fails"},
    {"ssm:/index/key", SAYS("BrandNewException", "x"), INDEXKEY_CAUSE_INTERNAL,
     "AWS Systems Manager refuses the request"},
    {"ssm:/index/key", SAYS("UnknownOperationException", "x"), CONFIG, "check ssm_endpoint"},
    {"ssm:/index/key", STATUS(403, "\"<html>\""), SERVER,
     "is not AWS Systems Manager refuses; check ssm_endpoint"},
    {"ssm:/index/key", ALTER("Name", "\"/index/other\""), SERVER, "another parameter"},
    {"ssm:/index/key", ALTER("Name", "null"), SERVER, "another parameter"},
    {"ssm:/index/key", ALTER("Value", "7"), SERVER, "no text where Systems Manager"},
    {"ssm:/index/key", ALTER("Value", "\"\""), SERVER, "no text where Systems Manager"},
    {"ssm:/index/key", ALTER("Value", "\"\\u00e9\""), SERVER, "no text where Systems Manager"},
    {"ssm:/index/key", ALTER("Type", "null"), CONFIG, "no parameter of the type"},
    {"ssm:/index/key", REPLY("\"\""), SERVER, "no text where"},
    {"ssm:/index/key", REPLY("\"{\\\"Parameter\\\": {\\\"Value\\\": \\\"A\\\"}\""), SERVER,
     "not the JSON"},
    {"ssm:/index/key", "{\"do\": \"fault\", \"kind\": \"endless\", \"times\": -1}", SERVER,
     "AWS Systems Manager at"},

    /* Secrets Manager. */
    {"secretsmanager:index/key", READ("AQICAHcanary")},
    {"secretsmanager:" SECRET_ARN, READ("AQICAHcanary")},
    {"secretsmanager:" SECRET_ARN "-a1B2c3", READ("AQICAHcanary")},
    {"secretsmanager:bytes", READ("\1\2\2x")},
    {"secretsmanager:absent", NULL, CONFIG, "no such secret"},
    {"secretsmanager:index key", NULL, CONFIG, "correct secretsmanager:NAME"},
    {"secretsmanager:" SSM_ARN, NULL, CONFIG, "is no ARN of AWS Secrets Manager"},
    {"secretsmanager:index/key", HANDLER("\"mark\", \"name\": \"index/key\""),
     INDEXKEY_CAUSE_DELETED, "restore-secret"},
    {"secretsmanager:index/key", HANDLER("\"drop\", \"name\": \"index/key\""), CONFIG,
     "no such secret"},
    {"secretsmanager:index/key", HANDLER("\"empty\", \"name\": \"index/key\""), CONFIG,
     "no value yet"},
    {"secretsmanager:index/key", DENY("GetSecretValue"), DENIED,
     "permission secretsmanager:GetSecretValue"},
    {"secretsmanager:index/key", PROTECT("AccessDeniedException", "Access to KMS is not allowed"),
     DENIED, "allow kms:Decrypt"},
    {"secretsmanager:index/key", PROTECT("DecryptionFailure", "x"), INDEXKEY_CAUSE_DISABLED,
     "protects the value itself"},
    {"secretsmanager:index/key", SAYS("InvalidRequestException", "something new"), CONFIG,
     "describe-secret"},
    {"secretsmanager:index/key", SAYS("ThrottlingException", "x"), INDEXKEY_CAUSE_THROTTLED,
     "request quota"},
    {"secretsmanager:index/key", STATUS(500, "{\"__type\": \"InternalServiceError\"}"), SERVER,
     "the service itself fails"},
    {"secretsmanager:index/key", HANDLER("\"revoke\", \"access\": \"AKIDGOOD\""),
     INDEXKEY_CAUSE_CREDENTIAL, "access key id"},
    {"secretsmanager:index/key", ALTER("Name", "\"index/other\""), SERVER, "another parameter"},
    {"secretsmanager:" SECRET_ARN, ALTER("ARN", "\"" SECRET_ARN "\""), INDEXKEY_CAUSE_NONE,
     "AQICAHcanary"},
    {"secretsmanager:" SECRET_ARN, ALTER("ARN", "\"" SECRET_ARN "-other-a1B2c3\""), SERVER,
     "another parameter"},
    {"secretsmanager:" SECRET_ARN, ALTER("ARN", "null"), SERVER, "another parameter"},
    {"secretsmanager:index/key", ALTER("SecretString", "{}"), SERVER, "neither text nor bytes"},
    {"secretsmanager:bytes", ALTER("SecretBinary", "\"AQIC*\""), SERVER, "neither text nor bytes"},

    {"secret:index-key", NULL, CONFIG, "no parameter store for secret:"},
};

/* Both stores at the fake. */
static const char *endpoints(const char *more)
{
    static char text[2048];
    char url[256];
    (void) snprintf(url, sizeof(url), "%s", fake_service_url(&fake, ""));
    (void) snprintf(text, sizeof(text), "ssm_endpoint = %s\nsecretsmanager_endpoint = %s\n%s", url,
                    url, more);
    return text;
}

START_TEST(a_parameter_is_read_or_is_not)
{
    const struct kms_settings settings = {.more = endpoints("")};
    kms_reset(&fake);
    struct source *source = aws_open(&fake, &settings);
    parameters_check(&fake, source, &rows[_i]);
    source_close(&source);
}
END_TEST

START_TEST(a_secure_string_comes_decrypted)
{
    const struct kms_settings settings = {.more = endpoints("")};
    const struct parameter_row row = {"ssm:/index/key", READ("AQICAHcanary")};
    kms_reset(&fake);
    struct source *source = aws_open(&fake, &settings);
    parameters_check(&fake, source, &row);
    kms_assert_sent(&fake, "\"WithDecryption\": true", true);
    source_close(&source);
}
END_TEST

static const char *const places[] = {"ssm:" SSM_ARN, "secretsmanager:bytes"};

START_TEST(no_allocation_that_fails_is_forgotten)
{
    const struct kms_settings settings = {.more = endpoints("")};
    kms_reset(&fake);
    struct source *source = aws_open(&fake, &settings);
    parameters_check_memory(source, places[_i]);
    source_close(&source);
}
END_TEST

static void put(const char *what, const char *name, const char *member, const char *value)
{
    fake_service_command(
        &fake, "{\"do\": \"handler\", \"what\": \"%s\", \"name\": \"%s\", \"%s\": \"%s\"}", what,
        name, member, value);
}

START_TEST(direct_keys_open_from_parameters)
{
    const struct kms_settings settings = {
        .more = endpoints(parameters_sections("ssm:/direct/plain", "secretsmanager:direct/bytes",
                                              "ssm:/direct/absent"))};
    kms_reset(&fake);
    put("parameter", "/direct/plain", "value", parameters_ciphertext(&fake));
    put("secret", "direct/bytes", "bytes", parameters_ciphertext(&fake));
    aws_configure(&fake, &settings);
    parameters_assert_login();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("parameters");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_parameter_is_read_or_is_not, 0, (int) COUNT_OF(rows));
    tcase_add_test(cases, a_secure_string_comes_decrypted);
    tcase_add_loop_test(cases, no_allocation_that_fails_is_forgotten, 0, (int) COUNT_OF(places));
    tcase_add_test(cases, direct_keys_open_from_parameters);
    return fixture_run("source aws: parameters", cases);
}
