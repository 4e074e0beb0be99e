/* What Vault says of the key that wrapped, whatever it answers. */
#include <string.h>

#include "tests/contract/vault_fixture.h"

#define STATUS(number, body)                                                                       \
    "{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"status\": " #number                \
    ", \"body\": " body "}"
#define SETTINGS(members) HANDLER("\"configure_key\", \"settings\": {" members "}")
#define KEY "transit/keys/index-keys (aes256-gcm96, deletion not allowed)"

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

static const struct {
    const char *script[2];
    const char *told;
    bool is_usable;
} keys[] = {
    {{NULL},
     KEY ", wrapped by version 1, newest version 1, oldest usable version 1, rotation off",
     true},
    {{HANDLER("\"rotate\""), SETTINGS("\"auto_rotate_period\": 2592000")},
     KEY
     ", wrapped by version 1, newest version 2, oldest usable version 1, rotation every 30 days",
     true},
    {{HANDLER("\"rotate\""), HANDLER("\"min_version\", \"version\": 2")},
     KEY ", wrapped by version 1, newest version 2, oldest usable version 2, rotation off",
     false},
    {{HANDLER("\"rotate\""), SETTINGS("\"min_available_version\": 2, \"auto_rotate_period\": 90")},
     KEY ", wrapped by version 1, newest version 2, oldest usable version 2, rotation every 90 s",
     false},
    {{SETTINGS("\"min_decryption_version\": 0, \"min_available_version\": -7")},
     KEY ", wrapped by version 1, newest version 1, oldest usable version 1, rotation off",
     true},
    {{SETTINGS("\"deletion_allowed\": true, \"type\": null, \"auto_rotate_period\": \"1h\"")},
     "transit/keys/index-keys (transit, deletion allowed), wrapped by version 1, newest version 1, "
     "oldest usable version 1",
     true},
    {{SETTINGS("\"type\": \"a\\u001b[2Jb\\nc\\u00fc\", \"auto_rotate_period\": -1")},
     "transit/keys/index-keys (a?[2Jb?c\?\?, deletion not allowed), wrapped by version 1, newest "
     "version 1, oldest usable version 1",
     true},
};

START_TEST(a_key_is_told)
{
    static const struct kms_settings settings;
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = vault_begin(&fake, &settings, &wrapped);
    for (size_t i = 0; i < COUNT_OF(keys[_i].script) && keys[_i].script[i] != NULL; i++)
        fake_service_command(&fake, "%s", keys[_i].script[i]);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(kms_told(&key), keys[_i].told);
    ck_assert_int_eq(key.is_usable, keys[_i].is_usable);
    ck_assert_uint_eq(fixture_log_count(), 0);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_key_that_wrapped_nothing_is_told)
{
    static const struct kms_settings settings;
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = vault_begin(&fake, &settings, &wrapped);
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    fake_service_command(&fake, "%s", HANDLER("\"min_version\", \"version\": 2"));
    kms_assert_ok(kms_inspect(source, (struct view){NULL, 0}, &key));
    ck_assert_str_eq(kms_told(&key),
                     KEY ", newest version 2, oldest usable version 2, rotation off");
    ck_assert(key.is_usable);
    vault_end(source, &wrapped);
}
END_TEST

/* Of what could be longer than a line. */
START_TEST(a_long_text_is_cut_off)
{
    static const struct kms_settings settings;
    struct source_inspection key;
    struct blob wrapped = {0};
    char type[4001];
    memset(type, 'x', sizeof(type) - 1);
    type[sizeof(type) - 1] = '\0';
    struct source *source = vault_begin(&fake, &settings, &wrapped);
    fake_service_command(&fake, SETTINGS("\"type\": \"%s\""), type);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_uint_lt(strlen(kms_told(&key)), 300);
    ck_assert_ptr_nonnull(strstr(kms_told(&key), "xxx, deletion not allowed)"));
    vault_end(source, &wrapped);
}
END_TEST

static const struct {
    const char *script;
    enum indexkey_cause cause;
    const char *says;
} failures[] = {
    {HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"decrypt\", \"lookup-self\"]"),
     INDEXKEY_CAUSE_DENIED, "path \"transit/keys/index-keys\" { capabilities = [\"read\"] }"},
    {HANDLER("\"revoke\", \"token\": \"good-token\""), INDEXKEY_CAUSE_CREDENTIAL,
     "wrong, expired or revoked"},
    {HANDLER("\"delete_key\""), INDEXKEY_CAUSE_DELETED, "no key of this name"},
    {HANDLER("\"unmount\""), INDEXKEY_CAUSE_CONFIG, "nothing is mounted there"},
    {HANDLER("\"seal\""), INDEXKEY_CAUSE_SERVER, "operator unseal"},
    {SETTINGS("\"latest_version\": \"2\""), INDEXKEY_CAUSE_SERVER, "no versions"},
    {SETTINGS("\"latest_version\": 0"), INDEXKEY_CAUSE_SERVER, "no versions"},
    {SETTINGS("\"min_decryption_version\": 9"), INDEXKEY_CAUSE_SERVER, "no versions"},
    {SETTINGS("\"min_decryption_version\": null"), INDEXKEY_CAUSE_SERVER, "no versions"},
    {STATUS(200, "\"\""), INDEXKEY_CAUSE_SERVER, "no versions"},
    {STATUS(200, "[]"), INDEXKEY_CAUSE_SERVER, "no versions"},
    {STATUS(405, "{\"errors\": [\"unsupported operation\"]}"), INDEXKEY_CAUSE_CONFIG,
     "no transit engine"},
};

START_TEST(a_failure_is_told)
{
    static const struct kms_settings settings = {.deadline_ms = 1500};
    struct blob wrapped = {0};
    struct source *source = vault_begin(&fake, &settings, &wrapped);
    fake_service_command(&fake, "%s", failures[_i].script);
    kms_assert_not_told(source, blob_view(&wrapped), failures[_i].cause, failures[_i].says);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(too_long_an_answer_is_refused)
{
    static const struct kms_settings settings;
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = vault_begin(&fake, &settings, &wrapped);
    fake_service_fault(&fake, "\"kind\": \"endless\", \"times\": -1");
    kms_assert_failed(kms_inspect(source, blob_view(&wrapped), &key), INDEXKEY_CAUSE_SERVER, "");
    vault_end(source, &wrapped);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("inspect");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_key_is_told, 0, (int) COUNT_OF(keys));
    tcase_add_test(cases, a_key_that_wrapped_nothing_is_told);
    tcase_add_test(cases, a_long_text_is_cut_off);
    tcase_add_loop_test(cases, a_failure_is_told, 0, (int) COUNT_OF(failures));
    tcase_add_test(cases, too_long_an_answer_is_refused);
    return fixture_run("source vault: inspection", cases);
}
