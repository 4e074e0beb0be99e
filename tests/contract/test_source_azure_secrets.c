/* Ciphertexts of direct keys in the secrets of a Key Vault: `ciphertext = secret:…`. */
#include <string.h>

#include "tests/contract/azure_fixture.h"
#include "tests/contract/parameters.h"

#define FAULT_AT(place, members)                                                                   \
    "{\"do\": \"fault\", \"times\": -1, \"path\": \"" place "\", " members "}"
#define STATUS(number, body)                                                                       \
    FAULT_AT("/secrets/", "\"kind\": \"status\", \"status\": " #number ", \"body\": " body)
#define SAYS(number, code, message)                                                                \
    STATUS(number, "{\"error\": {\"code\": \"" code "\", \"message\": \"" message "\"}}")
#define INNER(code)                                                                                \
    STATUS(403, "{\"error\": {\"code\": \"Forbidden\", \"message\": \"something new\", "           \
                "\"innererror\": {\"code\": \"" code "\"}}}")
#define ALTER(member, value) HANDLER("\"alter\", \"member\": \"" member "\", \"value\": " value)
#define OLD "00000000000000000000000000000001"
#define NEW "00000000000000000000000000000002"
#define READ(text) NULL, INDEXKEY_CAUSE_NONE, text
#define CONFIG INDEXKEY_CAUSE_CONFIG
#define SERVER INDEXKEY_CAUSE_SERVER
#define DENIED INDEXKEY_CAUSE_DENIED

static struct fake_service fake;

static void put(const char *name, const char *value, const char *version)
{
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"secret\", \"name\": \"%s\", \"value\": "
                         "\"%s\", \"version\": \"%s\"}",
                         name, value, version);
}

static void start_fake(void)
{
    azure_start(&fake);
    put("index-key", "AQICAHfirst", OLD);
    put("index-key", "AQICAHcanary", NEW);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static const struct parameter_row rows[] = {
    {"secret:index-key", READ("AQICAHcanary")},
    {"secret:Index-Key", READ("AQICAHcanary")},
    {"secret:index-key/" OLD, READ("AQICAHfirst")},
    {"secret:absent", NULL, CONFIG, "no such secret or version"},
    {"secret:index-key/" OLD "9", NULL, CONFIG, "no such secret or version"},
    {"secret:index_key", NULL, CONFIG, "not of the form"},
    {"secret:/index-key", NULL, CONFIG, "not of the form"},
    {"secret:index-key/", NULL, CONFIG, "not of the form"},
    {"secret:../keys/index-keys", NULL, CONFIG, "not of the form"},
    {"secret:index-key/" OLD "/x", NULL, CONFIG, "not of the form"},
    {"secret:index-key?x=y", NULL, CONFIG, "not of the form"},
    {"secretsmanager:index-key", NULL, CONFIG, "no parameter store for secretsmanager:"},

    {"secret:index-key", HANDLER("\"disable_secret\", \"name\": \"index-key\""),
     INDEXKEY_CAUSE_DISABLED, "az keyvault secret set-attributes --enabled true"},
    {"secret:index-key", HANDLER("\"delete_secret\", \"name\": \"index-key\""), CONFIG,
     "az keyvault secret recover"},
    {"secret:index-key", HANDLER("\"deny\", \"act\": \"getSecret\""), DENIED,
     "has not the permission: secrets/get; give it the role Key Vault Secrets User"},
    {"secret:index-key", INNER("ForbiddenByFirewall"), DENIED, "the vault's firewall"},
    {"secret:index-key", INNER("AccessDenied"), DENIED, "secrets/get"},
    {"secret:index-key", SAYS(409, "ObjectIsBeingRecovered", "x"), SERVER, "being recovered"},
    {"secret:index-key", SAYS(409, "ObjectIsDeletedButRecoverable", "x"), INDEXKEY_CAUSE_DELETED,
     "the secret is deleted"},
    {"secret:index-key", SAYS(400, "BadParameter", "x"), CONFIG, "correct secret:NAME"},
    {"secret:index-key", SAYS(404, "NotFound", "x"), CONFIG, "a Managed HSM, which has no secrets"},
    {"secret:index-key", SAYS(429, "Throttled", "x"), INDEXKEY_CAUSE_THROTTLED, "Azure Key Vault"},
    {"secret:index-key", SAYS(503, "x", "x"), SERVER, "Azure Key Vault"},
    {"secret:index-key", STATUS(403, "\"<html>\""), SERVER, "not Key Vault refuses"},
    {"secret:index-key", HANDLER("\"forget_secret\""), INDEXKEY_CAUSE_CREDENTIAL,
     "the client secret is wrong"},
    {"secret:index-key", FAULT_AT("/secrets/", "\"kind\": \"endless\""), SERVER,
     "Azure Key Vault at"},

    {"secret:index-key", ALTER("id", "null"), SERVER, "names no secret of this vault"},
    {"secret:index-key", ALTER("id", "\"https://evil.example/secrets/index-key/" NEW "\""), SERVER,
     "names no secret of this vault"},
    {"secret:index-key", ALTER("value", "null"), SERVER, "no text"},
    {"secret:index-key", ALTER("value", "{}"), SERVER, "no text"},
    {"secret:index-key", ALTER("value", "\"\""), SERVER, "no text"},
    {"secret:index-key", ALTER("value", "\"\\u00e9\""), SERVER, "no text"},
    {"secret:index-key", STATUS(200, "\"\""), SERVER, "no text"},
    {"secret:index-key", STATUS(200, "\"{\\\"value\\\": \\\"A\\\"\""), SERVER, "not the JSON"},
};

START_TEST(a_secret_is_read_or_is_not)
{
    static const struct kms_settings settings;
    kms_reset(&fake);
    struct source *source = azure_open(&fake, &settings);
    parameters_check(&fake, source, &rows[_i]);
    source_close(&source);
}
END_TEST

/* Of this vault, but what was not asked for. */
static const struct {
    const char *place;
    const char *answered;
} others[] = {
    {"secret:index-key", "/secrets/other/" NEW},
    {"secret:index-key", "/keys/index-key/" NEW},
    {"secret:index-key", "/secrets/index-key"},
    {"secret:index-key/" OLD, "/secrets/index-key/" NEW},
};

START_TEST(another_secret_is_refused)
{
    static const struct kms_settings settings;
    char script[512];
    struct parameter_row row = {others[_i].place, script, SERVER,
                                _i == 1 || _i == 2 ? "names no secret" : "another secret"};
    kms_reset(&fake);
    struct source *source = azure_open(&fake, &settings);
    (void) snprintf(script, sizeof(script), ALTER("id", "\"%s\""),
                    fake_service_url_at(&fake, AZURE_VAULT_HOST, others[_i].answered));
    parameters_check(&fake, source, &row);
    source_close(&source);
}
END_TEST

START_TEST(no_allocation_that_fails_is_forgotten)
{
    static const struct kms_settings settings;
    kms_reset(&fake);
    struct source *source = azure_open(&fake, &settings);
    parameters_check_memory(source, "secret:index-key");
    source_close(&source);
}
END_TEST

/* The bare ciphertext is of the newest version of the key, which is the only one. */
START_TEST(direct_keys_open_from_secrets)
{
    const struct kms_settings settings = {
        .more = parameters_sections("secret:plain", "secret:index-key/" OLD "a", "secret:absent")};
    kms_reset(&fake);
    put("plain", parameters_ciphertext(&fake), NEW);
    put("index-key", parameters_ciphertext(&fake), OLD "a");
    azure_configure(&fake, &settings);
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
    tcase_add_loop_test(cases, another_secret_is_refused, 0, (int) COUNT_OF(others));
    tcase_add_test(cases, no_allocation_that_fails_is_forgotten);
    tcase_add_test(cases, direct_keys_open_from_secrets);
    return fixture_run("source azure: secrets", cases);
}
