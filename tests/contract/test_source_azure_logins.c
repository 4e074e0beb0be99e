/* Who logs in to Azure for `source = azure`, in which order, and how tokens of the module do. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/contract/azure_fixture.h"

static struct fake_service fake;
static const struct kms_settings plain;
static const struct kms_settings with_kw = {.addr = AZURE_AT_HSM, .more = "algorithm = A256KW"};
static const struct kms_settings with_gcm = {.addr = AZURE_AT_HSM, .more = "algorithm = A256GCM"};

static void start_fake(void)
{
    azure_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void reset_fake(void)
{
    kms_reset(&fake);
}

static int requests(void)
{
    return fake_service_count(&fake, "requests");
}

static int tokens_given(void)
{
    fake_service_command(&fake, "%s", HANDLER("\"tokens\""));
    return (int) strtol(strstr(fake.answer, ": ") + 2, NULL, 10);
}

/* ---- access tokens ---- */

START_TEST(a_token_is_used_until_it_nears_its_end)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    int before = tokens_given();
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    for (int i = 0; i < 5; i++)
        kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    ck_assert_int_eq(tokens_given(), before + 1);
    source_close(&source);
    fake_service_command(&fake, "%s", HANDLER("\"lifetime\", \"seconds\": 2"));
    source = azure_open(&fake, &plain);
    for (int i = 0; i < 8; i++) {
        kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
        (void) usleep(500000);
    }
    ck_assert_int_ge(tokens_given(), before + 3);
    ck_assert_int_le(tokens_given(), before + 5);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_token_that_is_refused_is_replaced_once)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    int before = requests();
    fake_service_command(&fake, "%s", HANDLER("\"revoke_tokens\""));
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    /* Refused, a new token, taken. */
    ck_assert_int_eq(requests(), before + 3);
    ck_assert_uint_eq(fixture_log_count(), 0);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* The vault moves to a tenant that has no such application, and comes back. */
START_TEST(a_vault_may_move_to_another_tenant)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    fake_service_command(
        &fake, "%s", HANDLER("\"tenant\", \"tenant\": \"00000000-0000-0000-0000-000000000000\""));
    kms_assert_failed(kms_unwrap_in(source, azure_context, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_CONFIG, "no such tenant");
    fake_service_command(&fake, "%s", HANDLER("\"tenant\", \"tenant\": \"" AZURE_TENANT_GOOD "\""));
    fake_service_command(&fake, "%s", HANDLER("\"lifetime\", \"seconds\": 60"));
    (void) kms_unwrap_in(source, azure_context, blob_view(&wrapped));
    source_close(&source);
    source = azure_open(&fake, &plain);
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* The challenge never says where a secret goes. */
START_TEST(the_challenges_host_gets_nothing)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    fake_service_fault(
        &fake,
        "\"kind\": \"status\", \"path\": \"/keys\", \"status\": 401, \"headers\": "
        "{\"WWW-Authenticate\": \"Bearer authorization=\\\"https://evil.absent/" AZURE_TENANT_GOOD
        "\\\", resource=\\\"https://vault.here:%d\\\"\"}, "
        "\"body\": \"\"",
        fake.port);
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    ck_assert_int_eq(requests(), 3);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- credentials ---- */

static void set_host(const char *name, const char *path)
{
    kms_set_variable(name, fake_service_url(&fake, path));
}

static void assert_logs_in(const struct kms_settings *settings, struct blob *wrapped)
{
    struct source *source = kms_open();
    kms_assert_ok(kms_make(source, kms_call(settings, azure_context), wrapped));
    source_close(&source);
    blob_clear(wrapped);
}

static void assert_refused(enum indexkey_cause cause, const char *says)
{
    struct source *source = kms_open();
    struct blob wrapped = {0};
    kms_assert_failed(kms_make_in(source, azure_context, &wrapped), cause, says);
    source_close(&source);
}

static int count_sent(const char *part)
{
    int count = 0;
    fake_service_command(&fake, "{\"do\": \"requests\"}");
    for (const char *at = strstr(fake.answer, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

START_TEST(a_secret_may_be_in_a_file)
{
    char more[512];
    struct blob wrapped = {0};
    struct kms_settings settings = {.secret = "wrong~secret", .more = more};
    (void) snprintf(more, sizeof(more), "client_secret_file = %s", fixture_path("secret"));
    azure_configure(&fake, &settings);
    assert_refused(INDEXKEY_CAUSE_CONFIG, "does not exist");
    fixture_write("secret", AZURE_SECRET_GOOD "\n", 0600);
    assert_logs_in(&settings, &wrapped);
    fixture_write("secret", AZURE_SECRET_GOOD " and more\n", 0600);
    assert_refused(INDEXKEY_CAUSE_CONFIG, "one line without blanks");
    ck_assert_int_eq(chmod(fixture_path("secret"), 0644), 0);
    assert_refused(INDEXKEY_CAUSE_CONFIG, "is open to others");
    fixture_remove("secret");
}
END_TEST

static const char *const bad_pems[] = {
    "no PEM\n",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n"
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "-----BEGIN CERTIFICATE-----\nAAAA\n",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY",
};

START_TEST(a_certificate_logs_in)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.secret = ""};
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"certificate\", \"file\": \"%s\"}",
                         fixture_path("client.pem"));
    azure_configure(&fake, &settings);
    kms_set_variable("AZURE_CLIENT_CERTIFICATE_PATH", fixture_path("client.pem"));
    assert_logs_in(&settings, &wrapped);
    assert_logs_in(&settings, &wrapped);
    fake_service_command(&fake, "%s", HANDLER("\"forget_certificates\""));
    assert_refused(INDEXKEY_CAUSE_CREDENTIAL, "the certificate is not the application's");
    for (size_t i = 0; i < COUNT_OF(bad_pems); i++) {
        fixture_write("client.pem", bad_pems[i], 0600);
        assert_refused(INDEXKEY_CAUSE_CONFIG, "no certificate with an RSA key");
    }
    fixture_remove("client.pem");
}
END_TEST

START_TEST(a_workload_identity_logs_in)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.secret = ""};
    char link[256];
    (void) snprintf(link, sizeof(link), "%s", fixture_path("link"));
    fake_service_command(&fake, "{\"do\": \"handler\", \"what\": \"federate\", \"file\": \"%s\"}",
                         fixture_path("token"));
    ck_assert_int_eq(symlink(fixture_path("token"), link), 0);
    ck_assert_int_eq(chmod(fixture_path("token"), 0644), 0);
    azure_configure(&fake, &settings);
    kms_set_variable("AZURE_FEDERATED_TOKEN_FILE", link);
    assert_logs_in(&settings, &wrapped);
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"federate\", \"file\": \"%s\", "
                         "\"subject\": \"system:serviceaccount:other:other\"}",
                         fixture_path("token"));
    assert_refused(INDEXKEY_CAUSE_CREDENTIAL, "subject is not trusted");
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"federate\", \"file\": \"%s\", "
                         "\"seconds\": -10}",
                         fixture_path("token"));
    assert_refused(INDEXKEY_CAUSE_CREDENTIAL, "not within its time");
    fixture_remove("link");
    fixture_remove("token");
}
END_TEST

START_TEST(the_machines_identity_logs_in)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.secret = ""};
    azure_configure(&fake, &settings);
    set_host("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    assert_logs_in(&settings, &wrapped);
    ck_assert_int_eq(count_sent("client_id=" AZURE_CLIENT_GOOD), 1);
    ck_assert_int_eq(count_sent("\"metadata\": \"true\""), 1);
    settings.access = "00000000-0000-0000-0000-000000000000";
    azure_configure(&fake, &settings);
    set_host("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    assert_refused(INDEXKEY_CAUSE_CREDENTIAL, "has no such identity");
    fake_service_fault(&fake, "\"kind\": \"status\", \"path\": \"/metadata\", \"status\": 410");
    settings.access = AZURE_CLIENT_GOOD;
    azure_configure(&fake, &settings);
    set_host("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    assert_logs_in(&settings, &wrapped);
}
END_TEST

START_TEST(a_machine_without_any_credential_is_told)
{
    struct kms_settings settings = {.secret = ""};
    azure_configure(&fake, &settings);
    kms_set_variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", "https://127.0.0.1:1");
    assert_refused(INDEXKEY_CAUSE_UNREACHABLE, "has found neither client secret");
    kms_set_variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://example.org");
    assert_refused(INDEXKEY_CAUSE_CONFIG, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
}
END_TEST

START_TEST(a_challenge_that_is_too_long_is_none)
{
    char text[1100];
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fake_service_fault(&fake,
                       "\"kind\": \"status\", \"path\": \"/keys\", \"status\": 401, \"headers\": "
                       "{\"WWW-Authenticate\": \"Bearer %s\"}, \"body\": \"\"",
                       text);
    kms_assert_failed(kms_make_in(source, azure_context, &wrapped), INDEXKEY_CAUSE_SERVER,
                      "without a challenge");
    source_close(&source);
}
END_TEST

START_TEST(app_service_logs_in)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.secret = ""};
    azure_configure(&fake, &settings);
    set_host("IDENTITY_ENDPOINT", "/msi/token");
    kms_set_variable("IDENTITY_HEADER", AZURE_HEADER_GOOD);
    assert_logs_in(&settings, &wrapped);
    ck_assert_int_eq(count_sent("/metadata/"), 0);
    kms_set_variable("IDENTITY_HEADER", "wrong");
    assert_refused(INDEXKEY_CAUSE_CREDENTIAL, "managed identity of App Service");
    kms_set_variable("IDENTITY_HEADER", "two words");
    assert_refused(INDEXKEY_CAUSE_CONFIG, "IDENTITY_HEADER");
    kms_set_variable("IDENTITY_ENDPOINT", "http://example.org/msi/token");
    assert_refused(INDEXKEY_CAUSE_CONFIG, "IDENTITY_ENDPOINT must be https");
}
END_TEST

/* All of them are there; each is used, by the order, once those before it are gone. */
START_TEST(the_first_credential_is_taken)
{
    static const char *const variables[] = {"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH",
                                            "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"};
    static const char *const sent[] = {"client_secret=", "client_assertion=", "client_assertion=",
                                       "/msi/token", "/metadata/identity"};
    struct blob wrapped = {0};
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"certificate\", \"file\": \"%s\"}",
                         fixture_path("client.pem"));
    fake_service_command(&fake, "{\"do\": \"handler\", \"what\": \"federate\", \"file\": \"%s\"}",
                         fixture_path("token"));
    azure_configure(&fake, &plain);
    kms_set_variable("AZURE_CLIENT_CERTIFICATE_PATH", fixture_path("client.pem"));
    kms_set_variable("AZURE_FEDERATED_TOKEN_FILE", fixture_path("token"));
    set_host("IDENTITY_ENDPOINT", "/msi/token");
    kms_set_variable("IDENTITY_HEADER", AZURE_HEADER_GOOD);
    set_host("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    for (size_t i = 0; i < COUNT_OF(sent); i++) {
        fake_service_clear(&fake);
        assert_logs_in(&plain, &wrapped);
        ck_assert_int_eq(count_sent(sent[i]), 1);
        ck_assert_int_eq(requests(), 3);
        if (i < COUNT_OF(variables))
            kms_set_variable(variables[i], "");
    }
    fixture_remove("client.pem");
    fixture_remove("token");
}
END_TEST

static const struct {
    const char *auth;
    const char *says;
} auths[] = {
    {"secret", "AZURE_CLIENT_SECRET"},
    {"certificate", "AZURE_CLIENT_CERTIFICATE_PATH"},
    {"workload", "AZURE_FEDERATED_TOKEN_FILE"},
};

START_TEST(a_way_that_is_named_is_the_only_one)
{
    char more[64];
    struct kms_settings settings = {.secret = "", .more = more};
    (void) snprintf(more, sizeof(more), "azure_auth = %s", auths[_i].auth);
    azure_configure(&fake, &settings);
    set_host("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    assert_refused(INDEXKEY_CAUSE_CONFIG, auths[_i].says);
    settings.more = "azure_auth = managed";
    settings.secret = "wrong~secret";
    struct blob wrapped = {0};
    azure_configure(&fake, &settings);
    set_host("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    assert_logs_in(&settings, &wrapped);
}
END_TEST

/* ---- logins ---- */

START_TEST(the_credential_is_the_pin)
{
    enum indexkey_cause cause;
    struct kms_settings settings = {.more = "login = credential"};
    azure_configure(&fake, &settings);
    kms_init_token();
    settings.secret = "";
    azure_configure(&fake, &settings);
    ck_assert_uint_eq(kms_login(AZURE_SECRET_GOOD, &cause), CKR_OK);
    ck_assert_uint_eq(kms_login("wrong~secret", &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_ptr_null(strstr(fixture_log(), "wrong~secret"));
    ck_assert_uint_eq(kms_login("no secret", &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
    fake_service_command(&fake, "%s", HANDLER("\"deny\", \"act\": \"unwrapKey\""));
    ck_assert_uint_eq(kms_login(AZURE_SECRET_GOOD, &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_DENIED);
}
END_TEST

/* A token that one PIN got is not another PIN's. */
START_TEST(a_wrong_pin_is_refused_beside_a_right_one)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    struct source_call call = kms_call(&plain, azure_context);
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    call.credential = view_text(AZURE_SECRET_GOOD);
    kms_assert_ok(kms_unwrap(source, call, blob_view(&wrapped)));
    call.credential = view_text("wrong~secret");
    kms_assert_failed(kms_unwrap(source, call, blob_view(&wrapped)), INDEXKEY_CAUSE_CREDENTIAL,
                      "client secret is wrong");
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(the_environment_logs_in)
{
    enum indexkey_cause cause;
    struct kms_settings settings = {.more = "login = ambient\ncontext.tenant = acme"};
    azure_configure(&fake, &settings);
    kms_init_token();
    ck_assert_uint_eq(kms_login(NULL, &cause), CKR_OK);
    settings.more = "login = ambient\ncontext.tenant = other";
    azure_configure(&fake, &settings);
    ck_assert_uint_eq(kms_login(NULL, &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CONTEXT);
    settings.more = "login = ambient\ncontext.tenant = acme";
    settings.secret = "wrong~secret";
    azure_configure(&fake, &settings);
    ck_assert_uint_eq(kms_login(NULL, &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
}
END_TEST

static CK_SESSION_HANDLE begin_session(void)
{
    CK_SESSION_HANDLE session;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session),
                      CKR_OK);
    CK_RV rv = C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR) FIXTURE_PIN, strlen(FIXTURE_PIN));
    ck_assert_msg(rv == CKR_OK, "%lx %s", rv, fixture_log());
    return session;
}

static CK_OBJECT_HANDLE make_key(CK_SESSION_HANDLE session)
{
    static CK_BYTE label[] = "mac";
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_OBJECT_HANDLE key;
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)},
                               {CKA_SIGN, &yes, sizeof(yes)},
                               {CKA_LABEL, label, sizeof(label) - 1},
                               {CKA_VALUE_LEN, &len, sizeof(len)}};
    ck_assert_uint_eq(C_GenerateKey(session, &mechanism, template, COUNT_OF(template), &key),
                      CKR_OK);
    return key;
}

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session)
{
    static CK_BYTE label[] = "mac";
    CK_ATTRIBUTE template[] = {{CKA_LABEL, label, sizeof(label) - 1}};
    CK_OBJECT_HANDLE key;
    CK_ULONG count = 0;
    ck_assert_uint_eq(C_FindObjectsInit(session, template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &key, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    ck_assert_uint_eq(count, 1);
    return key;
}

static void sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE ret_mac[32])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE message[] = "message";
    CK_ULONG len = 32;
    ck_assert_uint_eq(C_SignInit(session, &mechanism, key), CKR_OK);
    ck_assert_uint_eq(C_Sign(session, message, sizeof(message), ret_mac, &len), CKR_OK);
}

/* The pg_tde lesson: a rotation is proved by a restart. */
START_TEST(keys_work_after_rotation_and_restart)
{
    static const struct kms_settings *const kinds[] = {&plain, &with_kw, &with_gcm};
    CK_BYTE before[32];
    CK_BYTE after[32];
    azure_configure(&fake, kinds[_i]);
    kms_init_token();
    CK_SESSION_HANDLE session = begin_session();
    sign(session, make_key(session), before);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    session = begin_session();
    sign(session, find_key(session), after);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    ck_assert_int_eq(memcmp(before, after, sizeof(before)), 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("logins");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, reset_fake);
    tcase_add_test(cases, a_token_is_used_until_it_nears_its_end);
    tcase_add_test(cases, a_token_that_is_refused_is_replaced_once);
    tcase_add_test(cases, a_vault_may_move_to_another_tenant);
    tcase_add_test(cases, the_challenges_host_gets_nothing);
    tcase_add_test(cases, a_secret_may_be_in_a_file);
    tcase_add_test(cases, a_certificate_logs_in);
    tcase_add_test(cases, a_workload_identity_logs_in);
    tcase_add_test(cases, the_machines_identity_logs_in);
    tcase_add_test(cases, a_machine_without_any_credential_is_told);
    tcase_add_test(cases, a_challenge_that_is_too_long_is_none);
    tcase_add_test(cases, app_service_logs_in);
    tcase_add_test(cases, the_first_credential_is_taken);
    tcase_add_loop_test(cases, a_way_that_is_named_is_the_only_one, 0, (int) COUNT_OF(auths));
    tcase_add_test(cases, the_credential_is_the_pin);
    tcase_add_test(cases, a_wrong_pin_is_refused_beside_a_right_one);
    tcase_add_test(cases, the_environment_logs_in);
    tcase_add_loop_test(cases, keys_work_after_rotation_and_restart, 0, 3);
    return fixture_run("source azure: logins", cases);
}
