/* Ciphertexts of direct keys that stand in Vault's key-value engine: `ciphertext = kv:…`. */
#include <string.h>

#include "tests/contract/vault_fixture.h"

#define STATUS(number, body)                                                                       \
    "{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"status\": " #number                \
    ", \"body\": " body "}"

#define SECTIONS                                                                                   \
    "[key plain]\ntoken = vectors\nciphertext = kv:secret/index/plain\n"                           \
    "[key named]\ntoken = vectors\nciphertext = kv:secret/index/other#named\n"                     \
    "[key absent]\ntoken = vectors\nciphertext = kv:secret/absent\n"

static struct fake_service fake;

static void start_fake(void)
{
    vault_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void put(const char *path, const char *fields)
{
    fake_service_command(
        &fake, "{\"do\": \"handler\", \"what\": \"parameter\", \"path\": \"%s\", \"fields\": {%s}}",
        path, fields);
}

static const struct {
    const char *place;
    const char *script;
    enum indexkey_cause cause;
    const char *says; /* or what is read */
} reads[] = {
    {"kv:secret/index/key", NULL, INDEXKEY_CAUSE_NONE, "vault:v1:AAAA"},
    {"kv:secret/index/key#other", NULL, INDEXKEY_CAUSE_NONE, "another"},
    {"kv:secret/index/key#absent", NULL, INDEXKEY_CAUSE_CONFIG, "no text in the field absent"},
    {"kv:secret/index/key#number", NULL, INDEXKEY_CAUSE_CONFIG, "no text in the field number"},
    {"kv:secret/index/key#empty", NULL, INDEXKEY_CAUSE_CONFIG, "no text in the field empty"},
    {"kv:secret/index/absent", NULL, INDEXKEY_CAUSE_CONFIG, "nothing at that path"},
    {"kv:other/index/key", NULL, INDEXKEY_CAUSE_CONFIG, "nothing is mounted there"},
    {"kv:secret", NULL, INDEXKEY_CAUSE_CONFIG, "not of the form"},
    {"kv:/secret/key", NULL, INDEXKEY_CAUSE_CONFIG, "not of the form"},
    {"kv:secret/../sys/mounts", NULL, INDEXKEY_CAUSE_CONFIG, "not of the form"},
    {"kv:secret/a?b", NULL, INDEXKEY_CAUSE_CONFIG, "not of the form"},
    {"kv:secret/key#", NULL, INDEXKEY_CAUSE_CONFIG, "not of the form"},
    {"kv:secret/key#a.b", NULL, INDEXKEY_CAUSE_CONFIG, "not of the form"},
    {"ssm:secret/key", NULL, INDEXKEY_CAUSE_CONFIG, "no parameter store for ssm:"},
    {"kv:secret/index/key",
     HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"decrypt\", "
             "\"lookup-self\"]"),
     INDEXKEY_CAUSE_DENIED, "path \"secret/data/index/key\" { capabilities = [\"read\"] }"},
    {"kv:secret/index/key", HANDLER("\"revoke\", \"token\": \"good-token\""),
     INDEXKEY_CAUSE_CREDENTIAL, "wrong, expired or revoked"},
    {"kv:secret/index/key", HANDLER("\"seal\""), INDEXKEY_CAUSE_SERVER, "operator unseal"},
    {"kv:secret/index/key", STATUS(200, "\"\""), INDEXKEY_CAUSE_CONFIG, "no text in the field"},
    {"kv:secret/index/key", STATUS(200, "{\"data\": {\"data\": null}}"), INDEXKEY_CAUSE_CONFIG,
     "no text in the field"},
    {"kv:secret/index/key", STATUS(405, "{\"errors\": [\"unsupported operation\"]}"),
     INDEXKEY_CAUSE_CONFIG, "no kv engine"},
};

START_TEST(a_parameter_is_read_or_is_not)
{
    static const struct kms_settings settings;
    struct secret value = {0};
    kms_reset(&fake);
    put("index/key", "\"ciphertext\": \"vault:v1:AAAA\", \"other\": \"another\", \"number\": 7, "
                     "\"empty\": \"\", \"canary\": \"secret-canary\"");
    struct source *source = vault_open(&fake, &settings);
    if (reads[_i].script != NULL)
        fake_service_command(&fake, "%s", reads[_i].script);
    struct source_call call = kms_call(&settings, (struct view){0});
    fixture_forget_log();
    CK_RV rv = source_read_parameter(source, &call, reads[_i].place, &value);
    if (reads[_i].cause == INDEXKEY_CAUSE_NONE) {
        kms_assert_ok(rv);
        ck_assert_uint_eq(value.len, strlen(reads[_i].says));
        ck_assert_mem_eq(value.bytes, reads[_i].says, value.len);
    } else {
        kms_assert_failed(rv, reads[_i].cause, reads[_i].says);
        ck_assert_ptr_null(value.bytes);
    }
    ck_assert_ptr_null(strstr(fixture_log(), "secret-canary"));
    secret_clear(&value);
    source_close(&source);
}
END_TEST

/* ---- by a login ---- */

static void put_ciphertext(const char *path, const char *field)
{
    char fields[256];
    fake_service_command(&fake, "%s", HANDLER("\"encrypt\", \"contexts\": [\"\"]"));
    const char *text = strstr(fake.answer, "vault:v1:");
    ck_assert_ptr_nonnull(text);
    (void) snprintf(fields, sizeof(fields), "\"%s\": \"%.*s\"", field, (int) strcspn(text, "\""),
                    text);
    put(path, fields);
}

static size_t count_of(CK_SESSION_HANDLE session, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *) label, strlen(label)};
    CK_OBJECT_HANDLE found;
    CK_ULONG count;
    ck_assert_uint_eq(C_FindObjectsInit(session, &template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &found, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    return count;
}

START_TEST(direct_keys_open_from_parameters)
{
    static const struct kms_settings settings = {.more = "\n" SECTIONS};
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    CK_SESSION_HANDLE session;
    kms_reset(&fake);
    put_ciphertext("index/plain", "ciphertext");
    put_ciphertext("index/other", "named");
    vault_configure(&fake, &settings);
    kms_init_token();
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    fixture_forget_log();
    ck_assert_uint_eq(C_Login(session, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
    ck_assert_uint_eq(count_of(session, "plain"), 1);
    ck_assert_uint_eq(count_of(session, "named"), 1);
    ck_assert_uint_eq(count_of(session, "absent"), 0);
    ck_assert_msg(strstr(fixture_log(), "[key absent] is not shown until the next C_Login "
                                        "(config)") != NULL,
                  "%s", fixture_log());
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("kv");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_parameter_is_read_or_is_not, 0, (int) COUNT_OF(reads));
    tcase_add_test(cases, direct_keys_open_from_parameters);
    return fixture_run("source vault: parameters", cases);
}
