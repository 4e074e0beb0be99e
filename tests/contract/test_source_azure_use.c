/* `source = azure` as it is meant to be used: configuration, credentials, what goes over the wire. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/contract/azure_fixture.h"
#include "tokens/json.h"

#define ALLOCATIONS_MAX 600
#define ENVELOPE_MAGIC "IKAZ\1"
/* RFC 3394, 4.6: 256 bits of key data under a key of 256 bits. */
#define RFC3394_KEY "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
#define RFC3394_DATA                                                                               \
    "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF"                             \
    "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F"
#define RFC3394_WRAPPED                                                                            \
    "\x28\xC9\xF4\x04\xC4\xB8\x10\xF4\xCB\xCC\xB3\x5C\xFB\x87\xF8\x26\x3F\x57\x86\xE2"             \
    "\xD8\x0E\xD3\x26\xCB\xC7\xF0\xE7\x1A\x99\xF4\x3B\xFB\x98\x8B\x9B\x7A\x02\xDD\x21"

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

static CK_RV make(struct source *source, struct view context, struct blob *ret_wrapped)
{
    return kms_make(source, kms_call(&plain, context), ret_wrapped);
}

static CK_RV unwrap(struct source *source, struct view context, struct view wrapped)
{
    return kms_unwrap(source, kms_call(&plain, context), wrapped);
}

/* The key operation that came last, without blanks between. */
static void assert_sent(const char *part, bool sent)
{
    fake_service_command(&fake, "%s", HANDLER("\"last\""));
    ck_assert_msg((strstr(fake.answer, part) != NULL) == sent, "%s in %s", part, fake.answer);
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

/* ---- configuration ---- */

#define GOOD "vault_url = https://v.vault.azure.net\nkey_name = k\n"

static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {"vault_url = https://v.vault.azure.net", "key_name"},
    {"key_name = k", "vault_url"},
    {"key_name = k\nvault_url = http://v.vault.azure.net", "vault_url must be"},
    {"key_name = k\nvault_url = https://v.vault.azure.net/keys", "vault_url must be a URL without"},
    {"key_name = k\nvault_url = https://user:secret@v.vault.azure.net", "vault_url must be"},
    {"key_name = a_b\nvault_url = https://v.vault.azure.net", "key_name must be"},
    {"key_name = a/b\nvault_url = https://v.vault.azure.net", "key_name must be"},
    {GOOD "key_version = ../x", "key_version must be"},
    {GOOD "algorithm = RSA1_5", "algorithm"},
    {GOOD "azure_auth = password", "azure_auth"},
    {GOOD "tenant_id = a/b", "tenant_id must be"},
    {GOOD "client_id = a b", "client_id must be"},
    {GOOD "client_secret_env = A=b", "client_secret_env must be"},
    {GOOD "client_secret_file = secret", "client_secret_file"},
    {GOOD "authority_host = http://login.example", "authority_host must be"},
    {GOOD "client_key = /k.pem", "without client_cert"},
    {GOOD "tenantid = x", "tenant_id"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("azure", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

/* ---- the wire ---- */

START_TEST(rsa_wraps_and_unwraps)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_ok(make(source, azure_context, &wrapped));
    assert_sent("\"path\": \"/keys/index-keys/wrapkey\"", true);
    assert_sent("\"alg\": \"RSA-OAEP-256\"", true);
    assert_sent("aad", false);
    ck_assert_int_eq(memcmp(wrapped.bytes, ENVELOPE_MAGIC, strlen(ENVELOPE_MAGIC)), 0);
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    assert_sent("/unwrapkey\"", true);
    /* The challenge, the token, two operations. */
    ck_assert_int_eq(requests(), 4);
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    ck_assert_int_eq(requests(), 5);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(the_hsm_wraps_by_aes)
{
    const struct kms_settings *settings = _i == 0 ? &with_kw : &with_gcm;
    struct source *source = azure_open(&fake, settings);
    struct blob wrapped = {0};
    kms_assert_ok(make(source, azure_context, &wrapped));
    assert_sent(_i == 0 ? "/wrapkey\"" : "/encrypt\"", true);
    assert_sent("\"aad\": \"AQAAAAd2ZWN0b3Jz\"", _i == 1);
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    assert_sent("\"aad\": \"AQAAAAd2ZWN0b3Jz\"", _i == 1);
    kms_assert_failed(unwrap(source, azure_context_other, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_TAMPERED, "context");
    wrapped.bytes[wrapped.len - 40] ^= 1;
    kms_assert_failed(unwrap(source, azure_context, blob_view(&wrapped)), INDEXKEY_CAUSE_TAMPERED,
                      "was changed");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* What was wrapped tells by what. */
START_TEST(the_algorithm_of_old_data_is_its_own)
{
    struct source *source = azure_open(&fake, &with_kw);
    struct blob wrapped = {0};
    kms_assert_ok(make(source, azure_context, &wrapped));
    source_close(&source);
    source = azure_open(&fake, &with_gcm);
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    assert_sent("\"alg\": \"A256KW\"", true);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(an_algorithm_that_does_not_fit_is_refused)
{
    static const struct kms_settings settings = {.more = "algorithm = A256KW"};
    struct source *source = azure_open(&fake, &settings);
    struct blob wrapped = {0};
    kms_assert_failed(make(source, azure_context, &wrapped), INDEXKEY_CAUSE_CONFIG,
                      "set algorithm to one of the key");
    source_close(&source);
}
END_TEST

START_TEST(old_data_opens_after_a_rotation)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob before = {0};
    struct blob after = {0};
    kms_assert_ok(make(source, azure_context, &before));
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    kms_assert_ok(make(source, azure_context, &after));
    kms_assert_ok(unwrap(source, azure_context, blob_view(&before)));
    kms_assert_ok(unwrap(source, azure_context, blob_view(&after)));
    ck_assert_int_ne(memcmp(before.bytes, after.bytes, 80), 0);
    blob_clear(&before);
    blob_clear(&after);
    source_close(&source);
}
END_TEST

START_TEST(a_version_may_be_pinned)
{
    struct kms_settings settings = {.more = "key_version = 0123456789abcdef0123456789abcdef"};
    struct source *source = azure_open(&fake, &settings);
    struct blob wrapped = {0};
    kms_assert_failed(make(source, azure_context, &wrapped), INDEXKEY_CAUSE_DELETED,
                      "check key_name and key_version");
    source_close(&source);
}
END_TEST

START_TEST(reply_of_another_version_is_refused)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    char kid[256];
    kms_assert_ok(make(source, azure_context, &wrapped));
    (void) snprintf(kid, sizeof(kid), "%s",
                    fake_service_url_at(&fake, AZURE_VAULT_HOST,
                                        _i == 0 ? "/keys/index-keys/0123456789abcdef"
                                                : "/keys/other/0123456789abcdef"));
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"alter\", \"member\": \"kid\", "
                         "\"value\": \"%s\"}",
                         kid);
    kms_assert_failed(unwrap(source, azure_context, blob_view(&wrapped)), INDEXKEY_CAUSE_SERVER,
                      "another key, or version");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

static const struct {
    const char *member;
    const char *value;
} bad_members[] = {
    {"value", "null"},  {"value", "\"\""}, {"value", "\"*\""}, {"iv", "null"},
    {"iv", "\"AAAA\""}, {"tag", "null"},   {"tag", "7"},       {"kid", "\"x\""},
};

START_TEST(a_wrap_without_a_member_is_refused)
{
    struct source *source = azure_open(&fake, &with_gcm);
    struct blob wrapped = {0};
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"alter\", \"member\": \"%s\", "
                         "\"value\": %s}",
                         bad_members[_i].member, bad_members[_i].value);
    kms_assert_failed(make(source, azure_context, &wrapped), INDEXKEY_CAUSE_SERVER,
                      "makes no sense");
    source_close(&source);
}
END_TEST

/* ---- direct keys ---- */

/* Unwraps what is no key of ours. */
static void assert_opens(struct source *source, struct view wrapped, const char *plaintext)
{
    struct secret key = {0};
    struct source_call call = kms_call(&plain, azure_context_none);
    fixture_forget_log();
    kms_assert_ok(source->ops->unwrap(source, &call, wrapped, &key));
    ck_assert_uint_eq(key.len, DATA_KEY_LEN);
    ck_assert_int_eq(memcmp(key.bytes, plaintext, DATA_KEY_LEN), 0);
    secret_clear(&key);
}

/* The vectors of RFC 3394 hold in the fake, and a ciphertext of somebody else's opens. */
START_TEST(a_bare_ciphertext_is_unwrapped)
{
    static const char wrapped[] = RFC3394_WRAPPED;
    struct view bytes = {(const unsigned char *) wrapped, sizeof(wrapped) - 1};
    struct source *source = azure_open(&fake, &with_kw);
    fake_service_command(
        &fake, "%s", HANDLER("\"import\", \"hex\": \"" RFC3394_KEY "\""));
    assert_opens(source, bytes, RFC3394_DATA);
    assert_sent("\"path\": \"/keys/index-keys/unwrapkey\"", true);
    kms_assert_failed(unwrap(source, azure_context, bytes), INDEXKEY_CAUSE_CONFIG,
                      "binds no context");
    source_close(&source);
}
END_TEST

/* As wrapKey answers, and as the az command prints it. */
START_TEST(a_json_of_azure_is_unwrapped)
{
    static const char *const forms[] = {
        "{\"kid\": \"%s\", \"value\": \"KMn0BMS4EPTLzLNc-4f4Jj9XhuLYDtMmy8fw5xqZ9Dv7mIubegLdIQ\"}",
        "{\"kid\":\"%s\",\"result\":\"KMn0BMS4EPTLzLNc+4f4Jj9XhuLYDtMmy8fw5xqZ9Dv7mIubegLdIQ==\","
        "\"algorithm\":\"A256KW\",\"iv\":null}",
    };
    char text[1024];
    char kid[512];
    struct json *last = NULL;
    struct source *source = azure_open(&fake, _i == 0 ? &with_kw : &with_gcm);
    struct blob wrapped = {0};
    fake_service_command(
        &fake, "%s", HANDLER("\"import\", \"hex\": \"" RFC3394_KEY "\""));
    /* An unwrap tells the version in its path. */
    kms_assert_ok(make(source, azure_context, &wrapped));
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    fake_service_command(&fake, "%s", HANDLER("\"last\""));
    ck_assert_uint_eq(json_parse(view_text(fake.answer), &last), CKR_OK);
    (void) snprintf(kid, sizeof(kid), "%s",
                    fake_service_url_at(&fake, AZURE_HSM_HOST, json_text(last, "path")));
    *strrchr(kid, '/') = '\0';
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    (void) snprintf(text, sizeof(text), forms[_i], kid);
    assert_opens(source, view_text(text), RFC3394_DATA);
    (void) snprintf(text, sizeof(text), forms[_i], "https://other.vault.azure.net/keys/k/0123");
    kms_assert_failed(unwrap(source, azure_context_none, view_text(text)), INDEXKEY_CAUSE_CONTEXT,
                      "of its JSON's kid");
    json_free(&last);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(what_is_no_wrapped_key_is_not_sent)
{
    static const char *const texts[] = {
        "",
        "IKAZ",
        "IKAZ\1",
        "IKAZ\2",
        "{\"value\": \"AAAA\"}",
        "{\"kid\": \"https://vectors.vault.here/keys/k/1\"}",
        "{\"kid\": \"https://vectors.vault.here/keys/k/1\", \"value\": \"*\"}",
        "{\"kid\": \"https://vectors.vault.here/keys/k/1\", \"value\": \"AAAA\", \"iv\": \"AAAA\"}",
        "{\"kid\": \"https://vectors.vault.here/keys/k/1\", \"value\": \"AAAA\", \"alg\": \"X\"}",
    };
    static unsigned char large[2049];
    struct source *source = azure_open(&fake, &plain);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        kms_assert_failed(unwrap(source, azure_context, view_text(texts[i])),
                          INDEXKEY_CAUSE_TAMPERED, "none of Azure's");
    kms_assert_failed(unwrap(source, azure_context, (struct view){large, sizeof(large)}),
                      INDEXKEY_CAUSE_TAMPERED, "none of Azure's");
    ck_assert_int_eq(requests(), 0);
    source_close(&source);
}
END_TEST

/* ---- tokens ---- */

START_TEST(a_token_is_used_until_it_nears_its_end)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    int before = tokens_given();
    kms_assert_ok(make(source, azure_context, &wrapped));
    for (int i = 0; i < 5; i++)
        kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    ck_assert_int_eq(tokens_given(), before + 1);
    source_close(&source);
    fake_service_command(&fake, "%s", HANDLER("\"lifetime\", \"seconds\": 2"));
    source = azure_open(&fake, &plain);
    for (int i = 0; i < 8; i++) {
        kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
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
    kms_assert_ok(make(source, azure_context, &wrapped));
    int before = requests();
    fake_service_command(&fake, "%s", HANDLER("\"revoke_tokens\""));
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
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
    kms_assert_ok(make(source, azure_context, &wrapped));
    fake_service_command(
        &fake, "%s",
        HANDLER("\"tenant\", \"tenant\": \"00000000-0000-0000-0000-000000000000\""));
    kms_assert_failed(unwrap(source, azure_context, blob_view(&wrapped)), INDEXKEY_CAUSE_CONFIG,
                      "no such tenant");
    fake_service_command(&fake, "%s",
                         HANDLER("\"tenant\", \"tenant\": \"" AZURE_TENANT_GOOD "\""));
    fake_service_command(&fake, "%s", HANDLER("\"lifetime\", \"seconds\": 60"));
    (void) unwrap(source, azure_context, blob_view(&wrapped));
    source_close(&source);
    source = azure_open(&fake, &plain);
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* The challenge never says where a secret goes. */
START_TEST(the_challenges_host_gets_nothing)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    fake_service_fault(&fake,
                       "\"kind\": \"status\", \"path\": \"/keys\", \"status\": 401, \"headers\": "
                       "{\"WWW-Authenticate\": \"Bearer authorization=\\\"https://evil.absent/"
                       AZURE_TENANT_GOOD "\\\", resource=\\\"https://vault.here:%d\\\"\"}, "
                       "\"body\": \"\"",
                       fake.port);
    kms_assert_ok(make(source, azure_context, &wrapped));
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
    kms_assert_failed(make(source, azure_context, &wrapped), cause, says);
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
    fake_service_command(&fake, "{\"do\": \"handler\", \"what\": \"certificate\", \"file\": \"%s\"}",
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
    kms_set_variable("IDENTITY_ENDPOINT", "http://example.org/msi/token");
    assert_refused(INDEXKEY_CAUSE_CONFIG, "IDENTITY_ENDPOINT");
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
    fake_service_command(&fake, "{\"do\": \"handler\", \"what\": \"certificate\", \"file\": \"%s\"}",
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
    kms_assert_ok(make(source, azure_context, &wrapped));
    call.credential = view_text(AZURE_SECRET_GOOD);
    kms_assert_ok(kms_unwrap(source, call, blob_view(&wrapped)));
    call.credential = view_text("wrong~secret");
    kms_assert_failed(kms_unwrap(source, call, blob_view(&wrapped)), INDEXKEY_CAUSE_CREDENTIAL,
                      "client secret is wrong");
    kms_assert_ok(unwrap(source, azure_context, blob_view(&wrapped)));
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
    ck_assert_uint_eq(
        C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), CKR_OK);
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

START_TEST(no_lack_of_memory_leaks_or_crashes)
{
    struct blob wrapped = {0};
    struct source *source = azure_open(&fake, &plain);
    kms_assert_ok(make(source, azure_context, &wrapped));
    source_close(&source);
    unsigned long nth = 1;
    for (CK_RV rv = CKR_HOST_MEMORY; rv != CKR_OK && nth < ALLOCATIONS_MAX; nth++) {
        source = kms_open();
        struct secret data_key = {0};
        struct source_call call = kms_call(&plain, azure_context);
        mem_fail_at(nth, false);
        rv = source_unwrap(source, &call, blob_view(&wrapped), &data_key);
        mem_fail_at(0, false);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "allocation %lu: %lx: %s", nth, rv,
                      fixture_log());
        secret_clear(&data_key);
        source_close(&source);
        ck_assert_uint_eq(secrets_in_use(), 0);
    }
    ck_assert_uint_gt(nth, 20);
    ck_assert_uint_lt(nth, ALLOCATIONS_MAX);
    blob_clear(&wrapped);
}
END_TEST

static void add_wire(TCase *cases)
{
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_test(cases, rsa_wraps_and_unwraps);
    tcase_add_loop_test(cases, the_hsm_wraps_by_aes, 0, 2);
    tcase_add_test(cases, the_algorithm_of_old_data_is_its_own);
    tcase_add_test(cases, an_algorithm_that_does_not_fit_is_refused);
    tcase_add_test(cases, old_data_opens_after_a_rotation);
    tcase_add_test(cases, a_version_may_be_pinned);
    tcase_add_loop_test(cases, reply_of_another_version_is_refused, 0, 2);
    tcase_add_loop_test(cases, a_wrap_without_a_member_is_refused, 0, (int) COUNT_OF(bad_members));
    tcase_add_test(cases, a_bare_ciphertext_is_unwrapped);
    tcase_add_loop_test(cases, a_json_of_azure_is_unwrapped, 0, 2);
    tcase_add_test(cases, what_is_no_wrapped_key_is_not_sent);
}

static void add_logins(TCase *cases)
{
    tcase_add_test(cases, a_token_is_used_until_it_nears_its_end);
    tcase_add_test(cases, a_token_that_is_refused_is_replaced_once);
    tcase_add_test(cases, a_vault_may_move_to_another_tenant);
    tcase_add_test(cases, the_challenges_host_gets_nothing);
    tcase_add_test(cases, a_secret_may_be_in_a_file);
    tcase_add_test(cases, a_certificate_logs_in);
    tcase_add_test(cases, a_workload_identity_logs_in);
    tcase_add_test(cases, the_machines_identity_logs_in);
    tcase_add_test(cases, app_service_logs_in);
    tcase_add_test(cases, the_first_credential_is_taken);
    tcase_add_loop_test(cases, a_way_that_is_named_is_the_only_one, 0, (int) COUNT_OF(auths));
    tcase_add_test(cases, the_credential_is_the_pin);
    tcase_add_test(cases, a_wrong_pin_is_refused_beside_a_right_one);
    tcase_add_test(cases, the_environment_logs_in);
    tcase_add_loop_test(cases, keys_work_after_rotation_and_restart, 0, 3);
    tcase_add_test(cases, no_lack_of_memory_leaks_or_crashes);
}

int main(void)
{
    TCase *cases = tcase_create("use");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, reset_fake);
    add_wire(cases);
    add_logins(cases);
    return fixture_run("source azure: use", cases);
}
