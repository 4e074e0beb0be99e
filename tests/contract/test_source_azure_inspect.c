/* What Azure Key Vault says of the key and version that wrapped, whatever it answers. */
#include <string.h>

#include "tests/contract/azure_fixture.h"

#define ATTRIBUTES(members) HANDLER("\"attributes\", \"attributes\": {" members "}")
#define ALTER(member, value) HANDLER("\"alter\", \"member\": \"" member "\", \"value\": " value)

static struct fake_service fake;
static const struct kms_settings plain;

static void start_fake(void)
{
    azure_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

/* With something that the key has wrapped. */
static struct source *begin(const struct kms_settings *settings, struct blob *ret_wrapped)
{
    kms_reset(&fake);
    struct source *source = azure_open(&fake, settings);
    kms_assert_ok(kms_make_in(source, azure_context, ret_wrapped));
    return source;
}

static const struct {
    const char *script;
    const char *kind;
    const char *state;
    bool is_usable;
    int64_t expiry_s;
} keys[] = {
    {ATTRIBUTES(""), "RSA, Recoverable+Purgeable", "enabled", true, 0},
    {HANDLER("\"disable\""), "RSA, Recoverable+Purgeable", "disabled", false, 0},
    {ATTRIBUTES("\"exp\": 1803859200"), "RSA, Recoverable+Purgeable", "enabled", true, 1803859200},
    {ATTRIBUTES("\"nbf\": 4102444800"), "RSA, Recoverable+Purgeable", "enabled", false, 0},
    {ATTRIBUTES("\"enabled\": \"yes\", \"recoveryLevel\": 7, \"exp\": -5"), "RSA", "", false, 0},
    {ATTRIBUTES("\"recoveryLevel\": \"a\\u001b[2J\\nb\""), "RSA, a?[2J?b", "enabled", true, 0},
    {ALTER("attributes", "null"), "RSA", "", false, 0},
};

START_TEST(a_key_is_told)
{
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = begin(&plain, &wrapped);
    fake_service_command(&fake, "%s", keys[_i].script);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_ptr_nonnull(strstr(kms_told(&key), "/keys/" AZURE_KEY_GOOD " ("));
    ck_assert_str_eq(key.kind, keys[_i].kind);
    ck_assert_str_eq(key.state, keys[_i].state);
    ck_assert_uint_eq(strlen(key.version), 32);
    ck_assert_str_eq(key.version, key.newest_version);
    ck_assert_int_eq(key.is_usable, keys[_i].is_usable);
    ck_assert_int_eq(key.expiry_s, keys[_i].expiry_s);
    ck_assert_uint_eq(fixture_log_count(), 0);
    kms_end(source, &wrapped);
}
END_TEST

/* In vault and HSM: the version that wrapped is looked at, not the one that would. */
START_TEST(an_older_version_is_told)
{
    static const struct kms_settings settings[] = {
        {.addr = NULL},
        {.addr = AZURE_AT_HSM, .more = "algorithm = A256GCM"},
    };
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = begin(&settings[_i], &wrapped);
    fake_service_command(&fake, "%s", HANDLER("\"disable\""));
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_ne(key.version, key.newest_version);
    ck_assert_str_eq(key.state, "disabled");
    ck_assert(!key.is_usable);
    kms_assert_ok(kms_inspect(source, (struct view){NULL, 0}, &key));
    ck_assert_str_eq(key.version, "");
    ck_assert_uint_eq(strlen(key.newest_version), 32);
    ck_assert_str_eq(key.state, "enabled");
    ck_assert(key.is_usable);
    kms_end(source, &wrapped);
}
END_TEST

static const struct {
    const char *script;
    enum indexkey_cause cause;
    const char *says;
} failures[] = {
    {HANDLER("\"deny\", \"act\": \"get\""), INDEXKEY_CAUSE_DENIED,
     "give it Microsoft.KeyVault/vaults/keys/read"},
    {HANDLER("\"delete_key\""), INDEXKEY_CAUSE_DELETED, "no such key or version"},
    {HANDLER("\"make_key\""), INDEXKEY_CAUSE_DELETED, "no such key or version"},
    {ALTER("key", "null"), INDEXKEY_CAUSE_SERVER, "of another key"},
    {ALTER("key", "{\"kid\": \"https://other.vault.here/keys/index-keys/1\"}"),
     INDEXKEY_CAUSE_SERVER, "of another key"},
    {"{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"path\": \"/keys/\", "
     "\"status\": 200, \"body\": \"\"}",
     INDEXKEY_CAUSE_SERVER, "not the JSON"},
    {"{\"do\": \"fault\", \"kind\": \"endless\", \"times\": -1, \"path\": \"/keys/\"}",
     INDEXKEY_CAUSE_SERVER, ""},
};

START_TEST(a_failure_is_told)
{
    struct blob wrapped = {0};
    struct source *source = begin(&plain, &wrapped);
    fake_service_command(&fake, "%s", failures[_i].script);
    kms_assert_not_told(source, blob_view(&wrapped), failures[_i].cause, failures[_i].says);
    kms_end(source, &wrapped);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("inspect");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_key_is_told, 0, (int) COUNT_OF(keys));
    tcase_add_loop_test(cases, an_older_version_is_told, 0, 2);
    tcase_add_loop_test(cases, a_failure_is_told, 0, (int) COUNT_OF(failures));
    return fixture_run("source azure: inspection", cases);
}
