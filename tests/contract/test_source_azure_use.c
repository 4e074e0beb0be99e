/* `source = azure` as it is meant to be used: configuration, what goes over the
 * wire, wrapped keys.
 */
#include <string.h>

#include "base/alloc.h"
#include "tests/contract/azure_fixture.h"
#include "tokens/json.h"

#define ALLOCATIONS_MAX 600
#define KID_MAX 512
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

static int requests(void)
{
    return fake_service_count(&fake, "requests");
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
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    kms_assert_sent(&fake, "\"path\": \"/keys/index-keys//wrapkey\"", true);
    kms_assert_sent(&fake, "\"alg\": \"RSA-OAEP-256\"", true);
    kms_assert_sent(&fake, "aad", false);
    ck_assert_int_eq(memcmp(wrapped.bytes, ENVELOPE_MAGIC, strlen(ENVELOPE_MAGIC)), 0);
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    kms_assert_sent(&fake, "/unwrapkey\"", true);
    /* The challenge, the token, two operations. */
    ck_assert_int_eq(requests(), 4);
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
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
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    kms_assert_sent(&fake, _i == 0 ? "/wrapkey\"" : "/encrypt\"", true);
    kms_assert_sent(&fake, "\"aad\": \"AQAAAAd2ZWN0b3Jz\"", _i == 1);
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    kms_assert_sent(&fake, "\"aad\": \"AQAAAAd2ZWN0b3Jz\"", _i == 1);
    kms_assert_failed(kms_unwrap_in(source, azure_context_other, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_TAMPERED, "context");
    wrapped.bytes[wrapped.len - 40] ^= 1;
    kms_assert_failed(kms_unwrap_in(source, azure_context, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_TAMPERED, "was changed");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* What was wrapped tells by what. */
START_TEST(the_algorithm_of_old_data_is_its_own)
{
    struct source *source = azure_open(&fake, &with_kw);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    source_close(&source);
    source = azure_open(&fake, &with_gcm);
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    kms_assert_sent(&fake, "\"alg\": \"A256KW\"", true);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(an_algorithm_that_does_not_fit_is_refused)
{
    static const struct kms_settings settings = {.more = "algorithm = A256KW"};
    struct source *source = azure_open(&fake, &settings);
    struct blob wrapped = {0};
    kms_assert_failed(kms_make_in(source, azure_context, &wrapped), INDEXKEY_CAUSE_CONFIG,
                      "set algorithm to one of the key");
    source_close(&source);
}
END_TEST

START_TEST(old_data_opens_after_a_rotation)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob before = {0};
    struct blob after = {0};
    kms_assert_ok(kms_make_in(source, azure_context, &before));
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    kms_assert_ok(kms_make_in(source, azure_context, &after));
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&before)));
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&after)));
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
    kms_assert_failed(kms_make_in(source, azure_context, &wrapped), INDEXKEY_CAUSE_DELETED,
                      "check key_name and key_version");
    source_close(&source);
}
END_TEST

START_TEST(reply_of_another_version_is_refused)
{
    struct source *source = azure_open(&fake, &plain);
    struct blob wrapped = {0};
    char kid[256];
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    (void) snprintf(kid, sizeof(kid), "%s",
                    fake_service_url_at(&fake, AZURE_VAULT_HOST,
                                        _i == 0 ? "/keys/index-keys/0123456789abcdef"
                                                : "/keys/other/0123456789abcdef"));
    fake_service_command(&fake,
                         "{\"do\": \"handler\", \"what\": \"alter\", \"member\": \"kid\", "
                         "\"value\": \"%s\"}",
                         kid);
    kms_assert_failed(kms_unwrap_in(source, azure_context, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_SERVER, "another key, or version");
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
    kms_assert_failed(kms_make_in(source, azure_context, &wrapped), INDEXKEY_CAUSE_SERVER,
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
    fake_service_command(&fake, "%s", HANDLER("\"import\", \"hex\": \"" RFC3394_KEY "\""));
    assert_opens(source, bytes, RFC3394_DATA);
    kms_assert_sent(&fake, "\"path\": \"/keys/index-keys//unwrapkey\"", true);
    kms_assert_failed(kms_unwrap_in(source, azure_context, bytes), INDEXKEY_CAUSE_CONFIG,
                      "binds no context");
    source_close(&source);
}
END_TEST

/* The key of RFC 3394 in the HSM, and its id, which the path of an unwrap tells. */
static void import_key(char kid[KID_MAX])
{
    struct json *last = NULL;
    struct blob wrapped = {0};
    struct source *source = azure_open(&fake, &with_kw);
    fake_service_command(&fake, "%s", HANDLER("\"import\", \"hex\": \"" RFC3394_KEY "\""));
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
    kms_assert_ok(kms_unwrap_in(source, azure_context, blob_view(&wrapped)));
    fake_service_command(&fake, "%s", HANDLER("\"last\""));
    ck_assert_uint_eq(json_parse(view_text(fake.answer), &last), CKR_OK);
    (void) snprintf(kid, KID_MAX, "%s",
                    fake_service_url_at(&fake, AZURE_HSM_HOST, json_text(last, "path")));
    *strrchr(kid, '/') = '\0';
    json_free(&last);
    blob_clear(&wrapped);
    source_close(&source);
}

/* As wrapKey answers, and as the az command prints it: what stands behind the key's id. */
static const char *const json_tails[] = {
    "\", \"value\": \"KMn0BMS4EPTLzLNc-4f4Jj9XhuLYDtMmy8fw5xqZ9Dv7mIubegLdIQ\"}",
    "\",\"result\":\"KMn0BMS4EPTLzLNc+4f4Jj9XhuLYDtMmy8fw5xqZ9Dv7mIubegLdIQ==\","
    "\"algorithm\":\"A256KW\",\"iv\":null}",
};

static void write_json(char text[2 * KID_MAX], int form, const char *kid)
{
    (void) snprintf(text, 2 * KID_MAX, "{\"kid\": \"%s%s", kid, json_tails[form]);
}

START_TEST(a_json_of_azure_is_unwrapped)
{
    char kid[KID_MAX];
    char text[2 * KID_MAX];
    import_key(kid);
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    struct source *source = azure_open(&fake, _i == 0 ? &with_kw : &with_gcm);
    write_json(text, _i, kid);
    assert_opens(source, view_text(text), RFC3394_DATA);
    write_json(text, _i, "https://other.vault.azure.net/keys/k/0123");
    kms_assert_failed(kms_unwrap_in(source, azure_context_none, view_text(text)),
                      INDEXKEY_CAUSE_CONTEXT, "of its JSON's kid");
    source_close(&source);
}
END_TEST

static CK_ULONG count_objects(const char *label)
{
    CK_ATTRIBUTE template[] = {{CKA_LABEL, (void *) label, strlen(label)}};
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_ULONG count = 0;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    ck_assert_uint_eq(C_Login(session, CKU_USER, NULL, 0), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsInit(session, template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &key, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    return count;
}

/* A [key] section, by C_Login after a rotation; with context.* it is refused. */
START_TEST(a_direct_key_is_an_object)
{
    char kid[KID_MAX];
    char text[2 * KID_MAX];
    struct kms_settings settings = {.addr = AZURE_AT_HSM, .more = text};
    import_key(kid);
    write_json(text, 0, kid);
    fixture_write("customers.json", text, 0600);
    (void) snprintf(text, sizeof(text),
                    "login = ambient\nalgorithm = A256KW\n"
                    "[key customers]\ntoken = vectors\nciphertext = file:%s\n%s",
                    fixture_path("customers.json"), _i == 0 ? "" : "context.tenant = acme\n");
    azure_configure(&fake, &settings);
    kms_init_token();
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    fixture_forget_log();
    ck_assert_uint_eq(count_objects("customers"), _i == 0 ? 1 : 0);
    ck_assert((strstr(fixture_log(), "binds no context") != NULL) == (_i == 1));
    fixture_remove("customers.json");
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
        kms_assert_failed(kms_unwrap_in(source, azure_context, view_text(texts[i])),
                          INDEXKEY_CAUSE_TAMPERED, "none of Azure's");
    kms_assert_failed(kms_unwrap_in(source, azure_context, (struct view){large, sizeof(large)}),
                      INDEXKEY_CAUSE_TAMPERED, "none of Azure's");
    ck_assert_int_eq(requests(), 0);
    source_close(&source);
}
END_TEST

START_TEST(no_lack_of_memory_leaks_or_crashes)
{
    struct blob wrapped = {0};
    struct source *source = azure_open(&fake, &plain);
    kms_assert_ok(kms_make_in(source, azure_context, &wrapped));
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

int main(void)
{
    TCase *cases = tcase_create("use");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, reset_fake);
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
    tcase_add_loop_test(cases, a_direct_key_is_an_object, 0, 2);
    tcase_add_test(cases, what_is_no_wrapped_key_is_not_sent);
    tcase_add_test(cases, no_lack_of_memory_leaks_or_crashes);
    return fixture_run("source azure: use", cases);
}
