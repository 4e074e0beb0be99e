/* What AWS KMS says of the key that wrapped, whatever it answers. */
#include <string.h>

#include "tests/contract/aws_fixture.h"

#define METADATA(members) HANDLER("\"metadata\", \"metadata\": {" members "}")
#define ROTATION(members) HANDLER("\"rotation\", \"rotation\": {" members "}")
#define STATE(state) HANDLER("\"state\", \"state\": \"" state "\"")
#define ALTER(value) HANDLER("\"alter\", \"member\": \"KeyMetadata\", \"value\": " value)
#define STATUS(number, body)                                                                       \
    "{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"status\": " #number                \
    ", \"body\": " body "}"
#define OTHER_ARN AWS_ACCOUNT_ARN "key/9876fedc-12ab-34cd-56ef-1234567890ab"

static struct fake_service fake;
static const struct kms_settings plain;

static void start_fake(void)
{
    aws_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

/* With something that the key has wrapped. */
static struct source *begin(const struct kms_settings *settings, struct blob *ret_wrapped)
{
    aws_reset(&fake);
    struct source *source = aws_open(&fake, settings);
    kms_assert_ok(kms_make_in(source, aws_context, ret_wrapped));
    return source;
}

static const struct {
    const char *script;
    const char *told; /* behind the key's ARN */
    bool is_usable;
    int64_t deletion_s;
    int64_t expiry_s;
} keys[] = {
    {METADATA(""), " (AWS_KMS), state Enabled, rotation off", true, 0, 0},
    {ROTATION("\"KeyRotationEnabled\": true, \"RotationPeriodInDays\": 365, \"NextRotationDate\": "
              "1.8038592E9"),
     " (AWS_KMS), state Enabled, rotation every 365 days, next 2027-03-01T00:00:00Z", true, 0, 0},
    {ROTATION("\"KeyRotationEnabled\": true"), " (AWS_KMS), state Enabled, rotation on", true, 0,
     0},
    {ROTATION("\"KeyRotationEnabled\": true, \"RotationPeriodInDays\": 9223372036854775807"),
     " (AWS_KMS), state Enabled, rotation on", true, 0, 0},
    {ROTATION("\"KeyRotationEnabled\": true, \"RotationPeriodInDays\": 90, \"NextRotationDate\": "
              "1e300"),
     " (AWS_KMS), state Enabled, rotation every 90 days", true, 0, 0},
    {STATE("Disabled"), " (AWS_KMS), state Disabled, rotation off", false, 0, 0},
    {STATE("PendingDeletion"),
     " (AWS_KMS), state PendingDeletion, rotation off, deletion 2027-03-01T00:00:00Z", false,
     1803859200, 0},
    {METADATA("\"Origin\": \"EXTERNAL\", \"MultiRegion\": true, \"ValidTo\": 1803859200"),
     " (EXTERNAL, multi-Region), state Enabled, rotation off, expires 2027-03-01T00:00:00Z", true,
     0, 1803859200},
    {METADATA("\"KeyState\": \"Updating\", \"Origin\": null"), ", state Updating, rotation off",
     true, 0, 0},
    {METADATA("\"KeyState\": \"\\u001b[31mEnabled\\n\\u00e9\", \"ValidTo\": -1, \"DeletionDate\": "
              "\"soon\""),
     " (AWS_KMS), state ?[31mEnabled?\?\?, rotation off", false, 0, 0},
    {HANDLER("\"deny\", \"act\": \"GetKeyRotationStatus\""),
     " (AWS_KMS), state Enabled, rotation not told (kms:GetKeyRotationStatus: "
     "AccessDeniedException)",
     true, 0, 0},
};

START_TEST(a_key_is_told)
{
    struct source_inspection key;
    struct blob wrapped = {0};
    char told[1024];
    struct source *source = begin(&plain, &wrapped);
    fake_service_command(&fake, "%s", keys[_i].script);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    (void) snprintf(told, sizeof(told), "%s%s", AWS_KEY_ARN_GOOD, keys[_i].told);
    ck_assert_str_eq(kms_told(&key), told);
    ck_assert_int_eq(key.is_usable, keys[_i].is_usable);
    ck_assert_int_eq(key.deletion_s, keys[_i].deletion_s);
    ck_assert_int_eq(key.expiry_s, keys[_i].expiry_s);
    ck_assert_uint_eq(fixture_log_count(), 0);
    ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_NONE);
    kms_end(source, &wrapped);
}
END_TEST

/* An alias moves on: what wrapped is still the former key, what would wrap is the new one. */
START_TEST(the_key_that_wrapped_is_told)
{
    static const struct kms_settings by_alias = {.key = AWS_ALIAS_GOOD};
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = begin(&by_alias, &wrapped);
    fake_service_command(&fake, "%s", HANDLER("\"move_alias\""));
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(key.key, AWS_KEY_ARN_GOOD);
    ck_assert_str_eq(key.rotation, "off");
    kms_assert_ok(kms_inspect(source, (struct view){NULL, 0}, &key));
    ck_assert_str_eq(key.key, OTHER_ARN);
    ck_assert_str_eq(key.rotation, "off");
    kms_end(source, &wrapped);
}
END_TEST

static const struct {
    const char *script;
    enum indexkey_cause cause;
    const char *says;
} failures[] = {
    {HANDLER("\"deny\", \"act\": \"DescribeKey\""), INDEXKEY_CAUSE_DENIED, "kms:DescribeKey"},
    {HANDLER("\"revoke\", \"access\": \"" AWS_ACCESS_GOOD "\""), INDEXKEY_CAUSE_CREDENTIAL,
     "not known"},
    {HANDLER("\"delete_key\""), INDEXKEY_CAUSE_DELETED, "no such KMS key"},
    {ALTER("null"), INDEXKEY_CAUSE_SERVER, "no ARN and state"},
    {ALTER("{\"Arn\": \"" AWS_KEY_ARN_GOOD "\"}"), INDEXKEY_CAUSE_SERVER, "no ARN and state"},
    {METADATA("\"Arn\": \"key\""), INDEXKEY_CAUSE_SERVER, "no ARN and state"},
    {METADATA("\"Arn\": \"" OTHER_ARN "\""), INDEXKEY_CAUSE_SERVER, "of another KMS key"},
    {METADATA("\"KeyState\": 7"), INDEXKEY_CAUSE_SERVER, "no ARN and state"},
    {ROTATION("\"KeyRotationEnabled\": \"yes\""), INDEXKEY_CAUSE_SERVER, "no rotation status"},
    {STATUS(200, "\"\""), INDEXKEY_CAUSE_SERVER, "not the JSON"},
    {"{\"do\": \"fault\", \"kind\": \"endless\", \"times\": -1}", INDEXKEY_CAUSE_SERVER, ""},
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

/* A wrapped key from the store does not say which key is asked about. */
START_TEST(what_was_tampered_with_asks_nothing)
{
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = begin(&plain, &wrapped);
    fake_service_clear(&fake);
    kms_assert_failed(kms_inspect(source, (struct view){wrapped.bytes, 40}, &key),
                      INDEXKEY_CAUSE_TAMPERED, "no ciphertext of AWS KMS");
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 0);
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
    tcase_add_test(cases, the_key_that_wrapped_is_told);
    tcase_add_loop_test(cases, a_failure_is_told, 0, (int) COUNT_OF(failures));
    tcase_add_test(cases, what_was_tampered_with_asks_nothing);
    return fixture_run("source aws: inspection", cases);
}
