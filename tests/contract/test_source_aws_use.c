/* `source = aws` as it is meant to be used: configuration, credentials, what goes over the wire. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/contract/aws_fixture.h"

#define HOUR 3600
#define MAGIC "IKAW\1"

static struct fake_service fake;
static const struct kms_settings plain;

static void start_fake(void)
{
    aws_start(&fake);
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void reset_fake(void)
{
    aws_reset(&fake);
}

static int requests(void)
{
    return fake_service_count(&fake, "requests");
}

/* ---- configuration ---- */

static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {"aws_region = eu-central-1", "key_id"},
    {"key_id = a b", "key_id must be"},
    {"key_id = alias/", "key_id must be"},
    {"key_id = arn:aws:s3:eu-central-1:1:key/a", "key_id must be"},
    {"key_id = k\naws_region = eu_central", "aws_region must be"},
    {"key_id = " AWS_KEY_ARN_GOOD "\naws_region = us-east-1", "remove aws_region"},
    {"key_id = k\naws_profile = a]b", "aws_profile must be"},
    {"key_id = k\nendpoint = http://kms.example", "endpoint must be"},
    {"key_id = k\nendpoint = https://kms.example/kms", "endpoint must be a URL without a path"},
    {"key_id = k\nendpoint = https://kms.example/?a=b", "endpoint must be a URL without a path"},
    {"key_id = k\nendpoint = https://schl\xc3\xbcssel.example", "endpoint must be a URL in ASCII"},
    {"key_id = k\nendpoint = https://user:secret@kms.example", "endpoint must be"},
    {"key_id = k\nca_file = ca.pem", "ca_file"},
    {"key_id = k\nclient_key = /k.pem", "without client_cert"},
    {"key_id = k\nrole_arn = arn:aws:s3:::1:role/r", "role_arn must be"},
    {"key_id = k\nexternal_id = abc", "without role_arn"},
    {"key_id = k\nrole_arn = arn:aws:iam::1:role/r\nexternal_id = a b", "external_id must be"},
    {"key_id = k\nrole_arn = arn:aws:iam::1:role/r\nrole_duration = 5s", "role_duration"},
    {"key_id = k\nsts_endpoint = http://sts.example", "sts_endpoint must be"},
    {"key_id = k\nreplicas = eu-west-1", "multi-Region"},
    {"key_id = mrk-1\nreplicas = eu_west", "replicas must be"},
    {"key_id = mrk-1\nreplicas = eu-west-1=http://kms.example", "replicas must be"},
    {"key_id = k\naws_regon = eu-central-1", "aws_region"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("aws", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

/* Nothing answers there; the log line has the address. */
static void assert_asks(const char *lines, const char *address)
{
    struct source *source = NULL;
    struct blob wrapped = {0};
    char text[1024];
    aws_configure(&fake, &plain);
    (void) snprintf(text, sizeof(text), "%s\nca_file = /nonexistent", lines);
    kms_write_conf("aws", "memory:", text);
    ck_assert_uint_eq(kms_try_open(&source), CKR_OK);
    struct source_call call = kms_call(&plain, aws_context);
    atomic_bool cancelled = true;
    call.cancelled = &cancelled;
    struct secret data_key = {0};
    fixture_forget_log();
    ck_assert_uint_ne(source_make_data_key(source, &call, &data_key, &wrapped), CKR_OK);
    ck_assert_msg(strstr(fixture_log(), address) != NULL, "%s", fixture_log());
    source_close(&source);
}

START_TEST(the_endpoint_is_the_regions)
{
    assert_asks("key_id = k\naws_region = eu-west-3", "at kms.eu-west-3.amazonaws.com ");
    assert_asks("key_id = " AWS_KEY_ARN_GOOD, "at kms.eu-central-1.amazonaws.com ");
    assert_asks("key_id = k\naws_region = cn-north-1", "at kms.cn-north-1.amazonaws.com.cn ");
    assert_asks("key_id = k\naws_region = us-gov-west-1", "at kms.us-gov-west-1.amazonaws.com ");
    assert_asks("key_id = k\naws_region = eusc-de-east-1", "at kms.eusc-de-east-1.amazonaws.eu ");
    assert_asks("key_id = k\naws_region = us-east-1\nendpoint = https://vpce-1.example/",
                "at vpce-1.example ");
    assert_asks("key_id = k\naws_region = us-east-1\nuse_fips = yes",
                "at kms-fips.us-east-1.amazonaws.com ");
    assert_asks("key_id = k\naws_region = eu-west-3\nrole_arn = arn:aws:iam::1:role/r",
                "at sts.eu-west-3.amazonaws.com ");
    assert_asks("key_id = k\naws_region = us-gov-west-1\nuse_fips = yes\n"
                "role_arn = arn:aws-us-gov:iam::1:role/r",
                "at sts.us-gov-west-1.amazonaws.com ");
}
END_TEST

/* ---- the wire ---- */

START_TEST(the_context_is_a_map)
{
    static const unsigned char bytes[] =
        "\1\0\0\0\7vectors\0\0\0\6tenant\0\0\0\4ac\"\\\0\0\0\1z\0\0\0\0";
    struct view context = {bytes, sizeof(bytes) - 1};
    struct source *source = aws_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, context, &wrapped));
    kms_assert_sent(&fake, "\"KeySpec\": \"AES_256\"", true);
    kms_assert_sent(&fake,
                    "\"EncryptionContext\": {\"indexkey:token\": \"vectors\", \"tenant\": "
                    "\"ac\\\"\\\\\", \"z\": \"\"}",
                    true);
    kms_assert_ok(kms_unwrap_in(source, context, blob_view(&wrapped)));
    kms_assert_sent(&fake, "\"EncryptionContext\": {\"indexkey:token\": \"vectors\"", true);
    kms_assert_failed(kms_unwrap_in(source, aws_context, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_TAMPERED, "another context");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
    enum indexkey_cause cause;
} bad_contexts[] = {
    {"\1\0\0\0\1v\0\0\0\16indexkey:token\0\0\0\1x", 6 + 18 + 5, INDEXKEY_CAUSE_CONFIG},
    {"\1\0\0\0\1v\0\0\0\1a\0\0\0\1\xff", 6 + 5 + 5, INDEXKEY_CAUSE_CONFIG},
    {"\2\0\0\0\1v", 6, INDEXKEY_CAUSE_INTERNAL},
    {"\1\0\0\0\2v", 6, INDEXKEY_CAUSE_INTERNAL},
    {"\1\0\0\0\1v\0\0\0\1a", 11, INDEXKEY_CAUSE_INTERNAL},
};

START_TEST(a_bad_context_is_not_sent)
{
    struct view context = {(const unsigned char *) bad_contexts[_i].bytes, bad_contexts[_i].len};
    struct source *source = aws_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_failed(kms_make_in(source, context, &wrapped), bad_contexts[_i].cause,
                      "token 'vectors'");
    ck_assert_int_eq(requests(), 0);
    source_close(&source);
}
END_TEST

START_TEST(a_key_of_ours_is_wrapped)
{
    struct source *source = aws_open(&fake, &plain);
    struct secret data_key = {0};
    struct secret again = {0};
    struct blob wrapped = {0};
    struct source_call call = kms_call(&plain, aws_context);
    ck_assert_uint_eq(secret_from("0123456789abcdef0123456789abcdef", DATA_KEY_LEN, &data_key),
                      CKR_OK);
    kms_assert_ok(source->ops->wrap(source, &call, &data_key, &wrapped));
    kms_assert_ok(source_unwrap(source, &call, blob_view(&wrapped), &again));
    ck_assert(secret_equal(&data_key, &again));
    ck_assert_int_eq(memcmp(wrapped.bytes, MAGIC, strlen(MAGIC)), 0);
    secret_clear(&data_key);
    secret_clear(&again);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* As the aws command makes it: AWS's ciphertext alone, without a context. */
START_TEST(a_bare_ciphertext_is_unwrapped)
{
    struct source *source = aws_open(&fake, &plain);
    struct blob wrapped = {0};
    size_t head = strlen(MAGIC) + 4 + strlen(AWS_KEY_ARN_GOOD);
    kms_assert_ok(kms_make_in(source, aws_context_none, &wrapped));
    kms_assert_sent(&fake, "EncryptionContext", false);
    ck_assert_uint_gt(wrapped.len, head);
    struct view bare = {wrapped.bytes + head, wrapped.len - head};
    ck_assert_int_eq(bare.bytes[0], 1);
    kms_assert_ok(kms_unwrap_in(source, aws_context_none, bare));
    kms_assert_sent(&fake, "EncryptionContext", false);
    kms_assert_failed(kms_unwrap_in(source, aws_context, bare), INDEXKEY_CAUSE_TAMPERED,
                      "another context");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(what_is_no_wrapped_key_is_not_sent)
{
    static const char *const texts[] = {"", "IKAW", "IKAW\1", "IKAW\1\0\0\0\1x", "IKAW\2"};
    static unsigned char large[6145];
    struct source *source = aws_open(&fake, &plain);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        kms_assert_failed(kms_unwrap_in(source, aws_context, view_text(texts[i])),
                          INDEXKEY_CAUSE_TAMPERED, "no ciphertext of AWS");
    kms_assert_failed(kms_unwrap_in(source, aws_context, (struct view){large, sizeof(large)}),
                      INDEXKEY_CAUSE_TAMPERED, "no ciphertext of AWS");
    ck_assert_int_eq(requests(), 0);
    source_close(&source);
}
END_TEST

START_TEST(every_name_of_the_key_works)
{
    static const char *const names[] = {AWS_KEY_ID_GOOD, AWS_KEY_ARN_GOOD, AWS_ALIAS_GOOD,
                                        AWS_ACCOUNT_ARN AWS_ALIAS_GOOD};
    struct kms_settings settings = {.key = names[_i]};
    struct source *source = aws_open(&fake, &settings);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, aws_context, &wrapped));
    kms_assert_ok(kms_unwrap_in(source, aws_context, blob_view(&wrapped)));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* The wrapped key names the key that the alias stood for. */
START_TEST(an_alias_may_move_on)
{
    static const struct kms_settings by_alias = {.key = AWS_ALIAS_GOOD};
    struct source *source = aws_open(&fake, &by_alias);
    struct blob before = {0};
    struct blob after = {0};
    kms_assert_ok(kms_make_in(source, aws_context, &before));
    fake_service_command(&fake, "%s", HANDLER("\"move_alias\""));
    kms_assert_ok(kms_unwrap_in(source, aws_context, blob_view(&before)));
    kms_assert_sent(&fake, "\"KeyId\": \"" AWS_KEY_ARN_GOOD "\"", true);
    kms_assert_ok(kms_make_in(source, aws_context, &after));
    kms_assert_ok(kms_unwrap_in(source, aws_context, blob_view(&after)));
    kms_assert_sent(&fake, "\"KeyId\": \"" AWS_ACCOUNT_ARN "key/9876fedc", true);
    blob_clear(&before);
    blob_clear(&after);
    source_close(&source);
}
END_TEST

/* ---- the clock ---- */

START_TEST(a_corrected_clock_is_kept)
{
    struct source *source = aws_open(&fake, &plain);
    struct blob wrapped = {0};
    aws_set_clock(&fake, HOUR);
    kms_assert_ok(kms_make_in(source, aws_context, &wrapped));
    ck_assert_int_eq(requests(), 2);
    ck_assert_uint_eq(fixture_log_count(), 1);
    kms_assert_ok(kms_unwrap_in(source, aws_context, blob_view(&wrapped)));
    ck_assert_int_eq(requests(), 3);
    ck_assert_uint_eq(fixture_log_count(), 0);
    /* Somebody sets our clock, or the service's. */
    aws_set_clock(&fake, 0);
    kms_assert_ok(kms_unwrap_in(source, aws_context, blob_view(&wrapped)));
    ck_assert_int_eq(requests(), 5);
    kms_assert_ok(kms_unwrap_in(source, aws_context, blob_view(&wrapped)));
    ck_assert_int_eq(requests(), 6);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- logins ---- */

START_TEST(the_credential_is_the_pin)
{
    enum indexkey_cause cause;
    struct kms_settings settings = {.more = "login = credential"};
    aws_configure(&fake, &settings);
    kms_init_token();
    settings.access = settings.secret = "";
    aws_configure(&fake, &settings);
    ck_assert_uint_eq(kms_login("AKIDGOOD:good/secret+", &cause), CKR_OK);
    ck_assert_uint_eq(kms_login("ASIAGOOD:other/secret+:good-session-token", &cause), CKR_OK);
    ck_assert_uint_eq(kms_login("AKIDGOOD:wrong/secret+", &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_ptr_null(strstr(fixture_log(), "wrong/secret+"));
    ck_assert_uint_eq(kms_login("no credential", &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
    fake_service_command(&fake, "%s", HANDLER("\"deny\", \"act\": \"Decrypt\""));
    ck_assert_uint_eq(kms_login("AKIDGOOD:good/secret+", &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_DENIED);
}
END_TEST

START_TEST(the_environment_logs_in)
{
    enum indexkey_cause cause;
    struct kms_settings settings = {.more = "login = ambient\ncontext.tenant = acme"};
    aws_configure(&fake, &settings);
    kms_init_token();
    ck_assert_uint_eq(kms_login(NULL, &cause), CKR_OK);
    kms_assert_sent(
        &fake, "\"EncryptionContext\": {\"indexkey:token\": \"vectors\", \"tenant\": \"acme\"}",
        true);
    settings.secret = "wrong/secret+";
    aws_configure(&fake, &settings);
    ck_assert_uint_eq(kms_login(NULL, &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
}
END_TEST

START_TEST(no_lack_of_memory_leaks_or_crashes)
{
    struct source *source = aws_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, aws_context, &wrapped));
    for (unsigned long nth = 1;; nth++) {
        struct secret data_key = {0};
        struct source_call call = kms_call(&plain, aws_context);
        long before = mem_live();
        mem_fail_at(nth, false);
        CK_RV rv = source_unwrap(source, &call, blob_view(&wrapped), &data_key);
        bool reached = mem_count() >= nth;
        mem_fail_at(0, false);
        secret_clear(&data_key);
        ck_assert_uint_eq(secrets_in_use(), 0);
        /* base/secret.h keeps an empty slab of each size. */
        ck_assert_int_le(mem_live() - before, 1);
        if (!reached) {
            kms_assert_ok(rv);
            ck_assert_uint_gt(nth, 5);
            break;
        }
        ck_assert_msg(rv == CKR_HOST_MEMORY, "allocation %lu: %lx: %s", nth, rv, fixture_log());
    }
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* By ReEncrypt: the key does not come back, and both contexts are the token's. */
START_TEST(the_service_wraps_anew)
{
    static const unsigned char context[] = {1,   0,   0, 0, 0, 0, 0,   0,   3,  'f',
                                            'o', 'o', 0, 0, 0, 3, 'b', 'a', 'r'};
    struct view bound = {context, sizeof(context)};
    struct blob wrapped = {0};
    struct blob again = {0};
    struct secret unused = {0};
    aws_configure(&fake, &plain);
    struct source *source = kms_open();
    struct source_call call = kms_call(&plain, bound);
    kms_assert_ok(kms_make_in(source, bound, &wrapped));
    kms_assert_ok(source_rewrap(source, &call, blob_view(&wrapped), &unused, &again));
    kms_assert_sent(&fake, "\"SourceEncryptionContext\": {\"foo\": \"bar\"}", true);
    kms_assert_sent(&fake, "\"DestinationEncryptionContext\": {\"foo\": \"bar\"}", true);
    kms_assert_sent(&fake, "\"SourceKeyId\": \"arn:", true);
    kms_assert_ok(kms_unwrap_in(source, bound, blob_view(&again)));
    blob_clear(&again);
    fake_service_command(&fake, "%s", HANDLER("\"deny\", \"act\": \"ReEncrypt\""));
    fixture_forget_log();
    CK_RV rv = source_rewrap(source, &call, blob_view(&wrapped), &unused, &again);
    kms_assert_failed(rv, INDEXKEY_CAUSE_DENIED, "kms:ReEncrypt");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("use");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, NULL, reset_fake);
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_test(cases, the_endpoint_is_the_regions);
    tcase_add_test(cases, the_context_is_a_map);
    tcase_add_loop_test(cases, a_bad_context_is_not_sent, 0, (int) COUNT_OF(bad_contexts));
    tcase_add_test(cases, a_key_of_ours_is_wrapped);
    tcase_add_test(cases, a_bare_ciphertext_is_unwrapped);
    tcase_add_test(cases, what_is_no_wrapped_key_is_not_sent);
    tcase_add_loop_test(cases, every_name_of_the_key_works, 0, 4);
    tcase_add_test(cases, an_alias_may_move_on);
    tcase_add_test(cases, a_corrected_clock_is_kept);
    tcase_add_test(cases, the_credential_is_the_pin);
    tcase_add_test(cases, the_environment_logs_in);
    tcase_add_test(cases, the_service_wraps_anew);
    tcase_add_test(cases, no_lack_of_memory_leaks_or_crashes);
    return fixture_run("source aws: use", cases);
}
