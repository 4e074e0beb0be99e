/* What Google Cloud KMS says of the key and version that wrapped, whatever it answers. */
#include <string.h>

#include "tests/contract/gcp_fixture.h"

#define MEMBERS(of, members) HANDLER("\"members\", \"of\": \"" of "\", \"members\": {" members "}")
#define STATE(state) HANDLER("\"state\", \"state\": \"" state "\"")
#define ROTATE HANDLER("\"rotate\"")

static struct fake_service fake;
static const struct kms_settings plain;

static void start_fake(void)
{
    gcp_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

/* With something that the key has wrapped. */
static struct source *begin(struct blob *ret_wrapped)
{
    gcp_reset(&fake);
    struct source *source = gcp_open(&fake, &plain);
    kms_assert_ok(kms_make_in(source, gcp_context, ret_wrapped));
    return source;
}

static const struct {
    const char *script[2];
    const char *told; /* behind the key's name */
    bool is_usable;
    int64_t deletion_s;
} keys[] = {
    {{NULL},
     " (SOFTWARE), wrapped by version 1, newest version 1, state ENABLED, rotation off",
     true,
     0},
    {{ROTATE, MEMBERS("key", "\"rotationPeriod\": \"7776000s\", \"nextRotationTime\": "
                             "\"2027-03-01T00:00:00.123456789Z\"")},
     " (SOFTWARE), wrapped by version 1, newest version 2, state ENABLED, rotation every 90 days, "
     "next 2027-03-01T00:00:00Z",
     true,
     0},
    {{STATE("DISABLED")},
     " (SOFTWARE), wrapped by version 1, newest version 1, state DISABLED, rotation off",
     false,
     0},
    {{ROTATE, STATE("DESTROY_SCHEDULED")},
     " (SOFTWARE), wrapped by version 1, newest version 2, state DESTROY_SCHEDULED, rotation off, "
     "deletion 2027-03-01T00:00:00Z",
     false,
     1803859200},
    {{MEMBERS("key", "\"primary\": null"), MEMBERS("version", "\"protectionLevel\": null")},
     ", wrapped by version 1, state ENABLED, rotation off",
     true,
     0},
    {{MEMBERS("key", "\"rotationPeriod\": \"99999999999999999999s\", \"primary\": {\"name\": "
                     "\"projects/p\\u001b\"}"),
      MEMBERS("version", "\"state\": \"\\u001b[31mENABLED\\n\", \"destroyTime\": \"soon\"")},
     " (SOFTWARE), wrapped by version 1, state ?[31mENABLED?, rotation off",
     false,
     0},
};

START_TEST(a_key_is_told)
{
    struct source_inspection key;
    struct blob wrapped = {0};
    char told[1024];
    struct source *source = begin(&wrapped);
    for (size_t i = 0; i < COUNT_OF(keys[_i].script) && keys[_i].script[i] != NULL; i++)
        fake_service_command(&fake, "%s", keys[_i].script[i]);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    (void) snprintf(told, sizeof(told), "%s%s", GCP_KEY_NAME_GOOD, keys[_i].told);
    ck_assert_str_eq(kms_told(&key), told);
    ck_assert_int_eq(key.is_usable, keys[_i].is_usable);
    ck_assert_int_eq(key.deletion_s, keys[_i].deletion_s);
    ck_assert_uint_eq(fixture_log_count(), 0);
    kms_end(source, &wrapped);
}
END_TEST

/* The primary version would wrap; a key may have none. */
START_TEST(a_key_that_wrapped_nothing_is_told)
{
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = begin(&wrapped);
    fake_service_command(&fake, "%s", STATE("DISABLED"));
    fake_service_command(&fake, "%s", ROTATE);
    kms_assert_ok(kms_inspect(source, (struct view){NULL, 0}, &key));
    ck_assert_str_eq(kms_told(&key), GCP_KEY_NAME_GOOD
                     " (SOFTWARE), newest version 2, state ENABLED, rotation off");
    ck_assert(key.is_usable);
    fake_service_command(&fake, "%s", MEMBERS("key", "\"primary\": null"));
    kms_assert_ok(kms_inspect(source, (struct view){NULL, 0}, &key));
    ck_assert_str_eq(kms_told(&key), GCP_KEY_NAME_GOOD ", rotation off");
    ck_assert(!key.is_usable);
    kms_end(source, &wrapped);
}
END_TEST

static const struct {
    const char *script;
    enum indexkey_cause cause;
    const char *says;
} failures[] = {
    {HANDLER("\"deny\", \"act\": \"get_key\""), INDEXKEY_CAUSE_DENIED,
     "cloudkms.cryptoKeys.get); grant it roles/cloudkms.viewer"},
    {HANDLER("\"deny\", \"act\": \"get\""), INDEXKEY_CAUSE_DENIED,
     "cloudkms.cryptoKeyVersions.get); grant it roles/cloudkms.viewer"},
    {HANDLER("\"delete_key\""), INDEXKEY_CAUSE_DELETED, "no such key"},
    {MEMBERS("key", "\"name\": \"projects/p\""), INDEXKEY_CAUSE_SERVER, "of another key"},
    {MEMBERS("key", "\"name\": null"), INDEXKEY_CAUSE_SERVER, "of another key"},
    {MEMBERS("version", "\"name\": \"" GCP_KEY_NAME_GOOD "/cryptoKeyVersions/2\""),
     INDEXKEY_CAUSE_SERVER, "of another key, or version"},
    {"{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"path\": \"cryptoKeys\", "
     "\"status\": 200, \"body\": \"\"}",
     INDEXKEY_CAUSE_SERVER, "not the JSON"},
    {"{\"do\": \"fault\", \"kind\": \"endless\", \"times\": -1, \"path\": \"cryptoKeys\"}",
     INDEXKEY_CAUSE_SERVER, ""},
};

START_TEST(a_failure_is_told)
{
    struct blob wrapped = {0};
    struct source *source = begin(&wrapped);
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
    tcase_add_test(cases, a_key_that_wrapped_nothing_is_told);
    tcase_add_loop_test(cases, a_failure_is_told, 0, (int) COUNT_OF(failures));
    return fixture_run("source gcp: inspection", cases);
}
