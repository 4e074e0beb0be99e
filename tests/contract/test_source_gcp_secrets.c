/* Ciphertexts of direct keys in Google Secret Manager: `ciphertext = secretmanager:…`. */
#include <stdlib.h>
#include <string.h>

#include "tests/contract/gcp_fixture.h"
#include "tests/contract/parameters.h"

#define STATUS(number, body)                                                                       \
    "{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"path\": \"/secrets/\", "           \
    "\"status\": " #number ", \"body\": " body "}"
#define ERROR(number, status, message)                                                             \
    STATUS(number, "{\"error\": {\"code\": " #number ", \"message\": \"" message                   \
                   "\", \"status\": \"" status "\"}}")
#define REASON(reason)                                                                             \
    STATUS(403, "{\"error\": {\"code\": 403, \"message\": \"something new\", \"status\": "         \
                "\"PERMISSION_DENIED\", \"details\": [{\"reason\": \"" reason "\"}]}}")
#define ALTER(member, value) HANDLER("\"alter\", \"member\": \"" member "\", \"value\": " value)
#define STATE(value) HANDLER("\"secret_state\", \"name\": \"index\", \"state\": " value)
#define ALL "projects/good-project/secrets/index"
#define NAMED(name) ALTER("secret", "\"" name "\"")
#define READ(text) NULL, INDEXKEY_CAUSE_NONE, text
#define CONFIG INDEXKEY_CAUSE_CONFIG
#define SERVER INDEXKEY_CAUSE_SERVER

static struct fake_service fake;

static void put(const char *name, const char *data)
{
    fake_service_command(
        &fake, "{\"do\": \"handler\", \"what\": \"secret\", \"name\": \"%s\", \"data\": \"%s\"}",
        name, data);
}

/* "AQICAHfirst", then "AQICAHcanary". */
static void start_fake(void)
{
    gcp_start(&fake);
    put("index", "QVFJQ0FIZmlyc3Q=");
    put("index", "QVFJQ0FIY2FuYXJ5");
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static const struct parameter_row rows[] = {
    {"secretmanager:index", READ("AQICAHcanary")},
    {"secretmanager:index/versions/latest", READ("AQICAHcanary")},
    {"secretmanager:index/versions/1", READ("AQICAHfirst")},
    {"secretmanager:" ALL, READ("AQICAHcanary")},
    {"secretmanager:" ALL "/versions/1", READ("AQICAHfirst")},
    {"secretmanager:projects/123456789012/secrets/index", READ("AQICAHcanary")},
    {"secretmanager:absent", NULL, CONFIG, "no such secret or version"},
    {"secretmanager:index/versions/3", NULL, CONFIG, "no such secret or version"},
    {"secretmanager:index/versions/alias", NULL, CONFIG, "correct secretmanager:NAME"},
    {"secretmanager:projects/other/secrets/index", NULL, INDEXKEY_CAUSE_DENIED,
     "secretmanager.versions.access"},
    {"secretmanager:/index", NULL, CONFIG, "not of the form"},
    {"secretmanager:index/", NULL, CONFIG, "not of the form"},
    {"secretmanager:index/versions", NULL, CONFIG, "not of the form"},
    {"secretmanager:index/versions/1/2", NULL, CONFIG, "not of the form"},
    {"secretmanager:../projects", NULL, CONFIG, "not of the form"},
    {"secretmanager:projects/../secrets/index", NULL, CONFIG, "not of the form"},
    {"secretmanager:index?x=y", NULL, CONFIG, "not of the form"},
    {"secretmanager:index:destroy", NULL, CONFIG, "not of the form"},
    {"secretmanager:index/versions/1:destroy", NULL, CONFIG, "not of the form"},
    {"secretmanager:projects/p/keys/index", NULL, CONFIG, "not of the form"},
    {"kv:secret/index", NULL, CONFIG, "no parameter store for kv:"},

    {"secretmanager:index", STATE("\"DISABLED\""), INDEXKEY_CAUSE_DISABLED, "versions enable"},
    {"secretmanager:index", STATE("\"DESTROYED\""), INDEXKEY_CAUSE_DELETED, "does not come back"},
    {"secretmanager:index", STATE("null"), CONFIG, "or it was deleted"},
    {"secretmanager:index", HANDLER("\"deny\", \"act\": \"access\""), INDEXKEY_CAUSE_DENIED,
     "roles/secretmanager.secretAccessor on the secret"},
    {"secretmanager:index", REASON("SERVICE_DISABLED"), INDEXKEY_CAUSE_DISABLED,
     "enable secretmanager.googleapis.com"},
    {"secretmanager:index", REASON("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), INDEXKEY_CAUSE_CREDENTIAL,
     "scope cloud-platform"},
    {"secretmanager:index", REASON("SECURITY_POLICY_VIOLATED"), INDEXKEY_CAUSE_DENIED,
     "VPC Service Controls"},
    {"secretmanager:index", ERROR(400, "FAILED_PRECONDITION", "Cloud KMS key is not enabled"),
     INDEXKEY_CAUSE_DISABLED, "protects the secret itself"},
    {"secretmanager:index", ERROR(429, "RESOURCE_EXHAUSTED", "x"), INDEXKEY_CAUSE_THROTTLED,
     "quota is used up"},
    {"secretmanager:index", ERROR(503, "UNAVAILABLE", "x"), SERVER, "the service itself fails"},
    {"secretmanager:index", ERROR(400, "BRAND_NEW", "x"), INDEXKEY_CAUSE_INTERNAL,
     "Google Secret Manager refuses the request"},
    {"secretmanager:index", ERROR(501, "UNIMPLEMENTED", "x"), CONFIG,
     "check secretmanager_endpoint"},
    {"secretmanager:index", ERROR(401, "UNAUTHENTICATED", "x"), INDEXKEY_CAUSE_CREDENTIAL,
     "access token"},
    {"secretmanager:index", STATUS(403, "\"<html>\""), SERVER,
     "is not Google Secret Manager refuses; check secretmanager_endpoint"},
    {"secretmanager:index", "{\"do\": \"fault\", \"kind\": \"endless\", \"times\": -1}", SERVER,
     "Google Secret Manager at"},
    {"secretmanager:index", HANDLER("\"revoke_tokens\""), INDEXKEY_CAUSE_NONE, "AQICAHcanary"},

    {"secretmanager:index", ALTER("dataCrc32c", "\"1\""), SERVER, "another checksum"},
    {"secretmanager:index", ALTER("dataCrc32c", "null"), SERVER, "another checksum"},
    {"secretmanager:index", ALTER("dataCrc32c", "7"), SERVER, "another checksum"},
    {"secretmanager:index", ALTER("data", "\"AQIC\""), SERVER, "another checksum"},
    {"secretmanager:index", ALTER("data", "null"), SERVER, "no bytes"},
    {"secretmanager:index", ALTER("data", "\"AQ*\""), SERVER, "no bytes"},
    {"secretmanager:index", ALTER("data", "{}"), SERVER, "no bytes"},
    {"secretmanager:index", NAMED("projects/1/secrets/other/versions/2"), SERVER,
     "another secret or version"},
    {"secretmanager:index/versions/2", NAMED("projects/1/secrets/index/versions/1"), SERVER,
     "another secret or version"},
    {"secretmanager:index", NAMED("projects/1/secrets/index/versions/latest"), SERVER,
     "another secret or version"},
    {"secretmanager:index", STATUS(200, "\"\""), SERVER, "no bytes"},
    {"secretmanager:index", STATUS(200, "{\"payload\": {\"data\": \"AQIC\"}}"), SERVER,
     "another secret or version"},
};

static const char *endpoint(const char *more)
{
    static char text[2048];
    (void) snprintf(text, sizeof(text), "secretmanager_endpoint = %s\n%s",
                    fake_service_url(&fake, "/"), more);
    return text;
}

START_TEST(a_secret_is_read_or_is_not)
{
    const struct kms_settings settings = {.more = endpoint("")};
    gcp_reset(&fake);
    struct source *source = gcp_open(&fake, &settings);
    parameters_check(&fake, source, &rows[_i]);
    source_close(&source);
}
END_TEST

static const char *const credentials[] = {GCP_USER, GCP_BY_FILE, GCP_BY_FILE GCP_IMPERSONATES, ""};

START_TEST(each_credential_gets_the_scope)
{
    const struct kms_settings settings = {.more = endpoint(""), .credential = credentials[_i]};
    const struct parameter_row row = {"secretmanager:index", READ("AQICAHcanary")};
    gcp_reset(&fake);
    struct source *source = gcp_open(&fake, &settings);
    parameters_check(&fake, source, &row);
    source_close(&source);
}
END_TEST

static long tokens_given(void)
{
    fake_service_command(&gcp_provider, "%s", HANDLER("\"tokens\""));
    const char *found = strstr(gcp_provider.answer, "\"tokens\": ");
    ck_assert_ptr_nonnull(found);
    return strtol(found + strlen("\"tokens\": "), NULL, 10);
}

/* What unwraps keeps an access token of its own, with the scope of KMS alone. */
START_TEST(the_scopes_are_kept_apart)
{
    const struct kms_settings settings = {.more = endpoint("")};
    const struct parameter_row row = {"secretmanager:index", READ("AQICAHcanary")};
    struct blob wrapped = {0};
    gcp_reset(&fake);
    struct source *source = gcp_open(&fake, &settings);
    long before = tokens_given();
    parameters_check(&fake, source, &row);
    parameters_check(&fake, source, &row);
    ck_assert_int_eq(tokens_given() - before, 1);
    kms_assert_ok(kms_make(source, kms_call(&settings, gcp_context), &wrapped));
    ck_assert_int_eq(tokens_given() - before, 2);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(no_allocation_that_fails_is_forgotten)
{
    const struct kms_settings settings = {.more = endpoint("")};
    gcp_reset(&fake);
    struct source *source = gcp_open(&fake, &settings);
    parameters_check_memory(source, "secretmanager:index/versions/1");
    source_close(&source);
}
END_TEST

START_TEST(direct_keys_open_from_secrets)
{
    const struct kms_settings settings = {
        .more = endpoint(parameters_sections("secretmanager:plain", "secretmanager:" ALL,
                                             "secretmanager:absent"))};
    gcp_reset(&fake);
    put("plain", parameters_ciphertext(&fake));
    put("index", parameters_ciphertext(&fake));
    gcp_configure(&fake, &settings);
    parameters_assert_login();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("secrets");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_secret_is_read_or_is_not, 0, (int) COUNT_OF(rows));
    tcase_add_loop_test(cases, each_credential_gets_the_scope, 0, (int) COUNT_OF(credentials));
    tcase_add_test(cases, the_scopes_are_kept_apart);
    tcase_add_test(cases, no_allocation_that_fails_is_forgotten);
    tcase_add_test(cases, direct_keys_open_from_secrets);
    return fixture_run("source gcp: secrets", cases);
}
