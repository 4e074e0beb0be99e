/* `source = vault` as it is meant to be used: configuration, tokens, what goes over the wire. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/contract/vault_fixture.h"

#define CONTEXT "context"
#define CONTEXT_BASE64 "Y29udGV4dA=="
#define TOKEN_FILE "vault.token"
#define DECRYPT_MAX 300

static struct fake_service fake;
static const struct kms_settings plain_settings;

static void start_fake(void)
{
    vault_start(&fake);
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void reset_fake(void)
{
    kms_reset(&fake);
}

/* What reached the server so far. */
static const char *requests(void)
{
    fake_service_command(&fake, "{\"do\": \"requests\"}");
    return fake.answer;
}

static int count_in(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static CK_RV make(struct source *source, const char *context, struct blob *ret_wrapped)
{
    return kms_make(source, kms_call(&plain_settings, view_text(context)), ret_wrapped);
}

static CK_RV unwrap(struct source *source, const char *context, const struct blob *wrapped)
{
    struct source_call call = kms_call(&plain_settings, view_text(context));
    return kms_unwrap(source, call, blob_view(wrapped));
}

/* ---- configuration ---- */

static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {"vault_addr = https://v.example\nkey_name = k\nvault_token_env = A\nvault_token_file = /b",
     "keep one of them"},
    {"key_name = k", "vault_addr"},
    {"vault_addr = https://v.example", "key_name"},
    {"vault_addr = http://v.example:8200\nkey_name = k", "vault_addr must be"},
    {"vault_addr = https://user:secret@v.example\nkey_name = k", "vault_addr must be"},
    {"vault_addr = v.example:8200\nkey_name = k", "vault_addr must be"},
    {"vault_addr = https://v.example\nkey_name = k\nvault_auth = ldap",
     "vault_auth must be one of token"},
    {"vault_addr = https://v.example\nkey_name = a/b", "key_name must be"},
    {"vault_addr = https://v.example\nkey_name = ..", "key_name must be"},
    {"vault_addr = https://v.example\nkey_name = k?x", "key_name must be"},
    {"vault_addr = https://v.example\nkey_name = -k", "key_name must be"},
    {"vault_addr = https://v.example\nkey_name = k\ntransit_mount = /transit",
     "transit_mount must be"},
    {"vault_addr = https://v.example\nkey_name = k\ntransit_mount = a//b", "transit_mount must be"},
    {"vault_addr = https://v.example\nkey_name = k\ntransit_mount = a/../sys",
     "transit_mount must be"},
    {"vault_addr = https://v.example\nkey_name = k\nvault_namespace = team a",
     "vault_namespace must be"},
    {"vault_addr = https://v.example\nkey_name = k\nvault_token_env = A=b",
     "vault_token_env must be"},
    {"vault_addr = https://v.example\nkey_name = k\nvault_token_file = b",
     "vault_token_file must be"},
    {"vault_addr = https://v.example\nkey_name = k\nclient_key = /k.pem", "without client_cert"},
    {"vault_addr = https://v.example\nkey_name = k\nvault_tokn_env = A", "vault_token_env"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("vault", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

START_TEST(the_token_comes_from_vault_token_by_default)
{
    struct source *source = NULL;
    struct blob wrapped = {0};
    char text[1024];
    (void) snprintf(text, sizeof(text), "vault_addr = %s\nca_file = %s\nkey_name = index-keys",
                    fake_service_url(&fake, "/"), fake_service_certificate("ca.pem"));
    kms_write_conf("vault", "memory:", text);
    ck_assert_uint_eq(kms_try_open(&source), CKR_OK);
    ck_assert_int_eq(unsetenv("VAULT_TOKEN"), 0);
    kms_assert_failed(make(source, "", &wrapped), INDEXKEY_CAUSE_CONFIG, "VAULT_TOKEN");
    ck_assert_int_eq(setenv("VAULT_TOKEN", VAULT_TOKEN_GOOD, 1), 0);
    ck_assert_uint_eq(make(source, "", &wrapped), CKR_OK);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(plain_http_serves_on_loopback)
{
    struct fake_service plain;
    struct fake_service_options options = {.handler = "fake_vault:FakeVault"};
    struct blob wrapped = {0};
    fake_service_start(&plain, &options);
    struct kms_settings settings = {.addr = fake_service_url(&plain, "")};
    struct source *source = vault_open(&fake, &settings);
    ck_assert_uint_eq(make(source, CONTEXT, &wrapped), CKR_OK);
    ck_assert_uint_eq(unwrap(source, CONTEXT, &wrapped), CKR_OK);
    blob_clear(&wrapped);
    source_close(&source);
    fake_service_stop(&plain);
}
END_TEST

/* ---- the wire ---- */

START_TEST(a_context_is_bound_by_encrypt)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    reset_fake();
    ck_assert_uint_eq(make(source, CONTEXT, &wrapped), CKR_OK);
    ck_assert_int_eq(memcmp(wrapped.bytes, "vault:v1:", 9), 0);
    const char *sent = requests();
    ck_assert_int_eq(count_in(sent, "\"method\": \"POST\""), 2);
    const char *first = strstr(sent, "/v1/transit/datakey/plaintext/index-keys");
    const char *second = strstr(sent, "/v1/transit/encrypt/index-keys");
    ck_assert(first != NULL && second != NULL && first < second);
    ck_assert_ptr_nonnull(strstr(sent, "{\\\"bits\\\":256}"));
    ck_assert_int_eq(count_in(sent, "\\\"associated_data\\\":\\\"" CONTEXT_BASE64 "\\\""), 1);
    ck_assert_int_eq(count_in(sent, "\"x-vault-token\": \"" VAULT_TOKEN_GOOD "\""), 2);
    ck_assert_int_eq(count_in(sent, "\"x-vault-request\": \"true\""), 2);
    ck_assert_int_eq(count_in(sent, "x-vault-namespace"), 0);
    ck_assert_ptr_nonnull(strstr(sent, "indexkey"));
    reset_fake();
    ck_assert_uint_eq(unwrap(source, CONTEXT, &wrapped), CKR_OK);
    sent = requests();
    ck_assert_int_eq(count_in(sent, "\"method\": "), 1);
    ck_assert_ptr_nonnull(strstr(sent, "/v1/transit/decrypt/index-keys"));
    ck_assert_int_eq(count_in(sent, "\\\"associated_data\\\":\\\"" CONTEXT_BASE64 "\\\""), 1);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(without_a_context_datakey_is_enough)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    reset_fake();
    ck_assert_uint_eq(make(source, "", &wrapped), CKR_OK);
    ck_assert_uint_eq(unwrap(source, "", &wrapped), CKR_OK);
    const char *sent = requests();
    ck_assert_int_eq(count_in(sent, "\"method\": "), 2);
    ck_assert_int_eq(count_in(sent, "associated_data"), 0);
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_TAMPERED,
                      "another context");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_namespace_goes_with_every_request)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = "vault_namespace = team-a"};
    struct source *source = vault_open(&fake, &settings);
    reset_fake();
    ck_assert_uint_eq(make(source, CONTEXT, &wrapped), CKR_OK);
    ck_assert_uint_eq(unwrap(source, CONTEXT, &wrapped), CKR_OK);
    fake_service_command(&fake, "%s",
                         HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": []"));
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_CREDENTIAL, "lookup-self");
    const char *sent = requests();
    ck_assert_int_eq(count_in(sent, "\"method\": "), 5);
    ck_assert_int_eq(count_in(sent, "\"x-vault-namespace\": \"team-a\""), 5);
    reset_fake();
    /* The same name in another namespace is another key. */
    struct source *other = vault_open(&fake, &plain_settings);
    kms_assert_failed(unwrap(other, CONTEXT, &wrapped), INDEXKEY_CAUSE_TAMPERED, "another key");
    blob_clear(&wrapped);
    source_close(&other);
    source_close(&source);
}
END_TEST

START_TEST(a_key_that_is_missing_is_not_created)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.key = "index-kyes"};
    struct source *source = vault_open(&fake, &settings);
    reset_fake();
    kms_assert_failed(make(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_DELETED,
                      "no key of this name");
    fake_service_command(&fake, "%s", HANDLER("\"keys\""));
    ck_assert_ptr_nonnull(strstr(fake.answer, "[\"index-keys\"]"));
    source_close(&source);
}
END_TEST

START_TEST(another_engine_gets_no_plaintext)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    reset_fake();
    fake_service_fault(&fake, "\"kind\": \"status\", \"status\": 204, \"times\": -1");
    kms_assert_failed(make(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_CONFIG, "no transit engine");
    ck_assert_int_eq(count_in(requests(), "/encrypt/"), 0);
    reset_fake();
    source_close(&source);
}
END_TEST

START_TEST(connections_are_used_again)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    reset_fake();
    ck_assert_uint_eq(make(source, CONTEXT, &wrapped), CKR_OK);
    for (int i = 0; i < 20; i++)
        ck_assert_uint_eq(unwrap(source, CONTEXT, &wrapped), CKR_OK);
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 22);
    ck_assert_int_eq(fake_service_count(&fake, "connections"), 1);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

#define DATA_KEY "\"plaintext\": \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""
static const char *const bad_replies[] = {
    DATA_KEY,
    DATA_KEY ", \"ciphertext\": \"\"",
    DATA_KEY ", \"ciphertext\": 7",
    DATA_KEY ", \"ciphertext\": \"AAAA\"",
    DATA_KEY ", \"ciphertext\": \"vault:v:AAAA\"",
    DATA_KEY ", \"ciphertext\": \"vault:v0:AAAA\"",
    DATA_KEY ", \"ciphertext\": \"vault:v01:AAAA\"",
    DATA_KEY ", \"ciphertext\": \"vault:v1234567890:AAAA\"",
    DATA_KEY ", \"ciphertext\": \"vault:v1\"",
    DATA_KEY ", \"ciphertext\": \"vault:v1:\"",
    DATA_KEY ", \"ciphertext\": \"vault:v1:AA AA\"",
    DATA_KEY ", \"ciphertext\": \"vault:v1:AAAA\", \"key_version\": 2",
    "\"plaintext\": \"AAAA\", \"ciphertext\": \"vault:v1:AAAA\"",
    "\"ciphertext\": \"vault:v1:AAAA\"",
};

START_TEST(a_reply_that_is_no_data_key_is_refused)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    reset_fake();
    fake_service_fault(&fake, "\"kind\": \"status\", \"status\": 200, \"body\": {\"data\": {%s}}",
                       bad_replies[_i]);
    kms_assert_failed(make(source, "", &wrapped), INDEXKEY_CAUSE_SERVER, "makes no sense");
    ck_assert_ptr_null(wrapped.bytes);
    source_close(&source);
}
END_TEST

START_TEST(a_ciphertext_that_is_too_long_is_refused)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    char letters[4097];
    memset(letters, 'A', sizeof(letters) - 1);
    letters[sizeof(letters) - 1] = '\0';
    reset_fake();
    fake_service_command(&fake,
                         "{\"do\": \"fault\", \"kind\": \"status\", \"status\": 200, \"body\": "
                         "{\"data\": {" DATA_KEY ", \"ciphertext\": \"vault:v1:%s\"}}}",
                         letters);
    kms_assert_failed(make(source, "", &wrapped), INDEXKEY_CAUSE_SERVER, "makes no sense");
    source_close(&source);
}
END_TEST

/* ---- the token's file ---- */

static void make_link(void)
{
    fixture_write("target", VAULT_TOKEN_GOOD, 0600);
    ck_assert_int_eq(symlink(fixture_path("target"), fixture_path(TOKEN_FILE)), 0);
}

static void make_fifo(void)
{
    ck_assert_int_eq(mkfifo(fixture_path(TOKEN_FILE), 0600), 0);
}

static void make_long(void)
{
    char text[8194];
    memset(text, 'A', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fixture_write(TOKEN_FILE, text, 0600);
}

/* Only root can give a file away. */
static void make_foreign(void)
{
    bool is_root = geteuid() == 0;
    fixture_write(TOKEN_FILE, VAULT_TOKEN_GOOD, is_root ? 0600 : 0604);
    ck_assert(!is_root || chown(fixture_path(TOKEN_FILE), 4242, 4242) == 0);
}

static const struct {
    const char *text; /* NULL: made by `make`, or not at all */
    unsigned int mode;
    void (*make)(void);
    const char *says; /* NULL: it serves */
} token_files[] = {
    {VAULT_TOKEN_GOOD, 0600},
    {VAULT_TOKEN_GOOD "\n", 0400},
    {VAULT_TOKEN_GOOD "\r\n", 0600},
    {VAULT_TOKEN_GOOD "\n", 0640},
    {VAULT_TOKEN_GOOD, 0644, .says = "open to others"},
    {VAULT_TOKEN_GOOD, 0660, .says = "open to others"},
    {VAULT_TOKEN_GOOD, 0602, .says = "open to others"},
    {"", 0600, .says = "does not hold one Vault token"},
    {"\n", 0600, .says = "does not hold one Vault token"},
    {VAULT_TOKEN_GOOD "\nmore\n", 0600, .says = "does not hold one Vault token"},
    {"good token", 0600, .says = "does not hold one Vault token"},
    {"good-token\x7f", 0600, .says = "does not hold one Vault token"},
    {NULL, 0, .says = "does not exist"},
    {NULL, 0, make_link, "symbolic link"},
    {NULL, 0, make_fifo, "not a regular file"},
    {NULL, 0, make_long, "at most 8192 bytes"},
    {NULL, 0, make_foreign, "Vault token file"},
};

static struct source *open_with_file(void)
{
    char more[256];
    (void) snprintf(more, sizeof(more), "vault_token_file = %s", fixture_path(TOKEN_FILE));
    struct kms_settings settings = {.more = more, .token = ""};
    return vault_open(&fake, &settings);
}

START_TEST(a_token_file_serves_or_is_refused)
{
    struct blob wrapped = {0};
    struct source *source = open_with_file();
    reset_fake();
    if (token_files[_i].text != NULL)
        fixture_write(TOKEN_FILE, token_files[_i].text, token_files[_i].mode);
    if (token_files[_i].make != NULL)
        token_files[_i].make();
    CK_RV rv = make(source, "", &wrapped);
    if (token_files[_i].says == NULL) {
        ck_assert_uint_eq(rv, CKR_OK);
    } else {
        kms_assert_failed(rv, INDEXKEY_CAUSE_CONFIG, token_files[_i].says);
        ck_assert_ptr_nonnull(strstr(fixture_log(), fixture_path(TOKEN_FILE)));
        ck_assert_ptr_null(strstr(fixture_log(), VAULT_TOKEN_GOOD));
        ck_assert_int_eq(fake_service_count(&fake, "requests"), 0);
    }
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_token_file_may_be_replaced)
{
    struct blob wrapped = {0};
    struct source *source = open_with_file();
    reset_fake();
    fixture_write(TOKEN_FILE, VAULT_TOKEN_GOOD "\n", 0600);
    ck_assert_uint_eq(make(source, CONTEXT, &wrapped), CKR_OK);
    fixture_write(TOKEN_FILE, "s.expired\n", 0600);
    kms_assert_failed(unwrap(source, CONTEXT, &wrapped), INDEXKEY_CAUSE_CREDENTIAL,
                      "give it a new");
    fixture_write(TOKEN_FILE, VAULT_TOKEN_GOOD "\n", 0600);
    ck_assert_uint_eq(unwrap(source, CONTEXT, &wrapped), CKR_OK);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- login = credential and ambient, by the C_* functions ---- */

static const struct {
    const char *login;
    const char *pin;
    const char *script;
    CK_RV rv;
    enum indexkey_cause cause;
} logins[] = {
    {"credential", VAULT_TOKEN_GOOD, NULL, CKR_OK, INDEXKEY_CAUSE_NONE},
    {"credential", "s.wrong", NULL, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"credential", "good-token\r\nX-Evil: 1", NULL, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"credential", VAULT_TOKEN_GOOD, HANDLER("\"revoke\", \"token\": \"good-token\""),
     CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"credential", VAULT_TOKEN_GOOD,
     HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"lookup-self\"]"),
     CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_DENIED},
    {"credential", VAULT_TOKEN_GOOD, HANDLER("\"delete_key\""), CKR_FUNCTION_FAILED,
     INDEXKEY_CAUSE_DELETED},
    {"credential", VAULT_TOKEN_GOOD, HANDLER("\"seal\""), CKR_DEVICE_ERROR, INDEXKEY_CAUSE_SERVER},
    {"ambient", NULL, NULL, CKR_OK, INDEXKEY_CAUSE_NONE},
    {"ambient", NULL, HANDLER("\"revoke\", \"token\": \"good-token\""), CKR_PIN_INCORRECT,
     INDEXKEY_CAUSE_CREDENTIAL},
    {"ambient", NULL, HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"lookup-self\"]"),
     CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_DENIED},
    {"ambient", NULL, HANDLER("\"seal\""), CKR_DEVICE_ERROR, INDEXKEY_CAUSE_SERVER},
};

static void init_token_with(struct kms_settings *settings, const char *login, char more[64])
{
    (void) snprintf(more, 64, "login = %s", login);
    settings->more = more;
    reset_fake();
    vault_configure(&fake, settings);
    kms_init_token();
}

START_TEST(a_login_without_a_pin_of_its_own)
{
    char more[64];
    struct kms_settings settings = {0};
    enum indexkey_cause cause;
    bool is_ambient = strcmp(logins[_i].login, "ambient") == 0;
    init_token_with(&settings, logins[_i].login, more);
    /* The one that made the token does not help. */
    settings.token = is_ambient ? VAULT_TOKEN_GOOD : "";
    vault_configure(&fake, &settings);
    if (logins[_i].script != NULL)
        fake_service_command(&fake, "%s", logins[_i].script);
    CK_RV rv = kms_login(logins[_i].pin, &cause);
    ck_assert_msg(rv == logins[_i].rv && cause == logins[_i].cause, "%lx %s %s", rv,
                  cause_name(cause), fixture_log());
    ck_assert_ptr_null(strstr(fixture_log(), "good-token"));
}
END_TEST

/* The environment has a good token, by which the SO made the token. */
START_TEST(an_empty_pin_is_no_credential)
{
    char more[64];
    struct kms_settings settings = {0};
    enum indexkey_cause cause;
    init_token_with(&settings, "credential", more);
    ck_assert_uint_eq(kms_login(VAULT_TOKEN_GOOD, &cause), CKR_OK);
    ck_assert_uint_eq(kms_login("", &cause), CKR_PIN_INCORRECT);
}
END_TEST

/* ---- memory ---- */

START_TEST(no_allocation_that_fails_is_forgotten)
{
    struct blob wrapped = {0};
    struct source *source = vault_open(&fake, &plain_settings);
    reset_fake();
    ck_assert_uint_eq(make(source, CONTEXT, &wrapped), CKR_OK);
    ck_assert_uint_eq(unwrap(source, CONTEXT, &wrapped), CKR_OK);
    size_t in_use = secrets_in_use();
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long nth = 1;
    for (; rv != CKR_OK && nth < DECRYPT_MAX; nth++) {
        mem_fail_at(nth, false);
        rv = unwrap(source, CONTEXT, &wrapped);
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "allocation %lu: %lx %s", nth, rv,
                      fixture_log());
        ck_assert_uint_eq(secrets_in_use(), in_use);
        ck_assert_int_eq(mem_live(), live);
    }
    mem_fail_at(0, false);
    ck_assert_uint_gt(nth, 4);
    ck_assert_uint_lt(nth, DECRYPT_MAX);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("use");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_test(cases, the_token_comes_from_vault_token_by_default);
    tcase_add_test(cases, plain_http_serves_on_loopback);
    tcase_add_test(cases, a_context_is_bound_by_encrypt);
    tcase_add_test(cases, without_a_context_datakey_is_enough);
    tcase_add_test(cases, a_namespace_goes_with_every_request);
    tcase_add_test(cases, a_key_that_is_missing_is_not_created);
    tcase_add_test(cases, another_engine_gets_no_plaintext);
    tcase_add_test(cases, connections_are_used_again);
    tcase_add_loop_test(cases, a_reply_that_is_no_data_key_is_refused, 0,
                        (int) COUNT_OF(bad_replies));
    tcase_add_test(cases, a_ciphertext_that_is_too_long_is_refused);
    tcase_add_loop_test(cases, a_token_file_serves_or_is_refused, 0, (int) COUNT_OF(token_files));
    tcase_add_test(cases, a_token_file_may_be_replaced);
    tcase_add_loop_test(cases, a_login_without_a_pin_of_its_own, 0, (int) COUNT_OF(logins));
    tcase_add_test(cases, an_empty_pin_is_no_credential);
    tcase_add_test(cases, no_allocation_that_fails_is_forgotten);
    return fixture_run("source vault: use", cases);
}
