/*
 * `source = aws` against moto and ministack, each for what it does right (tests/servers/README.md).
 *
 *   test_source_aws_emulators moto|ministack
 *
 * See aws_emulators.sh and aws_emulator.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/aws_emulator.h"

#define COMMAND_MAX 8192
#define DAY_S 86400
#define STORED "AQICAHstored"

static bool is_moto;
static const struct kms_settings plain;

static int count(const char *target)
{
    char value[AWS_EMULATOR_VALUE_MAX] = "";
    aws_emulator_run("count", target, NULL, value);
    return (int) strtol(value, NULL, 10);
}

/* The key's source, and what it has wrapped. */
static struct source *open_and_make(const struct kms_settings *settings, struct blob *ret_wrapped)
{
    struct source *source = aws_open(NULL, settings);
    kms_assert_ok(kms_make(source, kms_call(&plain, aws_context), ret_wrapped));
    return source;
}

static void close_and_clear(struct source **source, struct blob *wrapped)
{
    blob_clear(wrapped);
    source_close(source);
}

static void assert_unwraps(struct source *source, struct view context, const struct blob *wrapped,
                           enum indexkey_cause cause)
{
    CK_RV rv = kms_unwrap(source, kms_call(&plain, context), blob_view(wrapped));
    if (cause == INDEXKEY_CAUSE_NONE) {
        kms_assert_ok(rv);
        ck_assert_int_eq(cause_last(), INDEXKEY_CAUSE_NONE);
        ck_assert_uint_eq(fixture_log_count(), 0);
    } else {
        kms_assert_failed(rv, cause, "");
    }
    ck_assert_ptr_null(strstr(fixture_log(), aws_emulator_variable("SECRET_ACCESS_KEY")));
    printf("%s: %s %s\n", aws_emulator_variable("EMULATOR"), cause_name(cause_last()),
           fixture_log());
}

START_TEST(every_name_of_the_key_works)
{
    static const char *const names[] = {"KEY_ID", "KEY_ARN", "KEY_ALIAS"};
    struct kms_settings settings = aws_emulator_settings("");
    struct blob wrapped = {0};
    settings.key = aws_emulator_variable(names[_i]);
    struct source *source = open_and_make(&settings, &wrapped);
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    close_and_clear(&source, &wrapped);
}
END_TEST

START_TEST(a_key_of_ours_is_wrapped)
{
    struct kms_settings settings = aws_emulator_settings("");
    struct source *source = aws_open(NULL, &settings);
    struct secret data_key = {0};
    struct blob wrapped = {0};
    struct source_call call = kms_call(&plain, aws_context);
    ck_assert_uint_eq(secret_from("0123456789abcdef0123456789abcdef", DATA_KEY_LEN, &data_key),
                      CKR_OK);
    kms_assert_ok(source->ops->wrap(source, &call, &data_key, &wrapped));
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    secret_clear(&data_key);
    close_and_clear(&source, &wrapped);
}
END_TEST

START_TEST(context_and_ciphertext_are_bound)
{
    struct kms_settings settings = aws_emulator_settings("");
    struct blob wrapped = {0};
    struct source *source = open_and_make(&settings, &wrapped);
    assert_unwraps(source, aws_context_other, &wrapped, INDEXKEY_CAUSE_TAMPERED);
    assert_unwraps(source, aws_context_none, &wrapped, INDEXKEY_CAUSE_TAMPERED);
    /* ministack answers 200 with an altered key: the record's MAC finds it. */
    if (is_moto) {
        wrapped.bytes[wrapped.len - 1] ^= 1;
        assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_TAMPERED);
    }
    close_and_clear(&source, &wrapped);
}
END_TEST

START_TEST(wrong_credentials_are_told)
{
    struct kms_settings settings = aws_emulator_settings("");
    struct blob wrapped = {0};
    struct source *source = open_and_make(&settings, &wrapped);
    ck_assert_int_eq(setenv("AWS_SECRET_ACCESS_KEY", "wrong/secret+", 1), 0);
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_int_eq(setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", 1), 0);
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_CREDENTIAL);
    close_and_clear(&source, &wrapped);
}
END_TEST

START_TEST(a_session_token_is_taken_and_checked)
{
    char id[AWS_EMULATOR_VALUE_MAX] = "";
    char secret[AWS_EMULATOR_VALUE_MAX] = "";
    char token[AWS_EMULATOR_VALUE_MAX] = "";
    char text[COMMAND_MAX];
    char output[AWS_EMULATOR_VALUE_MAX];
    struct kms_settings settings = aws_emulator_settings("");
    struct blob wrapped = {0};
    (void) snprintf(output, sizeof(output), "%s", fixture_path("session"));
    (void) snprintf(text, sizeof(text), "'%s/aws.sh' admin '%s' session >'%s'", FAKE_SERVICE_FOLDER,
                    aws_emulator_folder(), output);
    ck_assert_int_eq(system(text), 0);
    FILE *file = fopen(output, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(text, sizeof(text), file) != NULL) {
        (void) aws_emulator_copy(text, "ACCESS_KEY_ID", id);
        (void) aws_emulator_copy(text, "SECRET_ACCESS_KEY", secret);
        (void) aws_emulator_copy(text, "SESSION_TOKEN", token);
    }
    (void) fclose(file);
    settings.access = id;
    settings.secret = secret;
    settings.session_token = token;
    struct source *source = open_and_make(&settings, &wrapped);
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    ck_assert_int_eq(setenv("AWS_SESSION_TOKEN", "wrong", 1), 0);
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_CREDENTIAL);
    close_and_clear(&source, &wrapped);
}
END_TEST

/* By the administrator, whom alone the role trusts. */
START_TEST(a_role_is_assumed)
{
    char more[AWS_EMULATOR_VALUE_MAX];
    struct blob wrapped = {0};
    (void) snprintf(more, sizeof(more), "role_arn = %s\nsts_endpoint = %s",
                    aws_emulator_variable("ROLE_ARN"), aws_emulator_variable("AWS_ENDPOINT"));
    struct kms_settings settings = aws_emulator_settings(more);
    settings.access = aws_emulator_variable("ADMIN_ACCESS_KEY_ID");
    settings.secret = aws_emulator_variable("ADMIN_SECRET_ACCESS_KEY");
    struct source *source = open_and_make(&settings, &wrapped);
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    aws_emulator_administer("deny kms:Decrypt");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_DENIED);
    aws_emulator_administer("allow");
    close_and_clear(&source, &wrapped);
    settings.secret = "wrong/secret";
    source = aws_open(NULL, &settings);
    kms_assert_failed(kms_make(source, kms_call(&plain, aws_context), &wrapped),
                      INDEXKEY_CAUSE_CREDENTIAL, "cannot assume the role");
    source_close(&source);
}
END_TEST

START_TEST(a_policy_denies)
{
    struct kms_settings settings = aws_emulator_settings("");
    struct blob wrapped = {0};
    struct source *source = open_and_make(&settings, &wrapped);
    aws_emulator_administer("deny kms:Decrypt");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_DENIED);
    aws_emulator_administer("allow");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    close_and_clear(&source, &wrapped);
}
END_TEST

/* As an administrator changes it; moto tells no period. */
START_TEST(the_key_is_told)
{
    static const char not_told[] = "not told (kms:GetKeyRotationStatus: AccessDenied";
    struct kms_settings settings = aws_emulator_settings("");
    struct source_inspection key;
    struct blob wrapped = {0};
    struct source *source = open_and_make(&settings, &wrapped);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(key.key, aws_emulator_variable("KEY_ARN"));
    ck_assert_str_eq(key.kind, "AWS_KMS");
    ck_assert_str_eq(key.state, "Enabled");
    ck_assert_str_eq(key.rotation, "off");
    ck_assert(key.is_usable);
    aws_emulator_administer("enable-rotation");
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(key.rotation, is_moto ? "on" : "every 365 days");
    aws_emulator_administer("schedule-deletion");
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(key.state, "PendingDeletion");
    ck_assert(!key.is_usable);
    int64_t left_s = key.deletion_s - clock_utc_s();
    ck_assert(left_s > INT64_C(6) * DAY_S && left_s < INT64_C(8) * DAY_S);
    aws_emulator_administer("cancel-deletion");
    aws_emulator_administer("enable-key");
    aws_emulator_administer("deny kms:GetKeyRotationStatus");
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_msg(strncmp(key.rotation, not_told, strlen(not_told)) == 0, "%s", key.rotation);
    aws_emulator_administer("deny kms:DescribeKey");
    kms_assert_failed(kms_inspect(source, blob_view(&wrapped), &key), INDEXKEY_CAUSE_DENIED,
                      "kms:DescribeKey");
    aws_emulator_administer("allow");
    close_and_clear(&source, &wrapped);
}
END_TEST

/* moto uses a key in any state. */
START_TEST(the_state_of_the_key_counts)
{
    struct kms_settings settings = aws_emulator_settings("");
    struct blob wrapped = {0};
    struct source *source = open_and_make(&settings, &wrapped);
    aws_emulator_administer("disable-key");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_DISABLED);
    aws_emulator_administer("enable-key");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    aws_emulator_administer("schedule-deletion");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_DELETED);
    aws_emulator_administer("cancel-deletion");
    aws_emulator_administer("enable-key");
    assert_unwraps(source, aws_context, &wrapped, INDEXKEY_CAUSE_NONE);
    close_and_clear(&source, &wrapped);
}
END_TEST

/* What does the encryption of the store itself plays no part in the emulators. */
static void assert_reads(struct source *source, const char *place, enum indexkey_cause cause)
{
    struct secret value = {0};
    struct source_call call = kms_call(&plain, aws_context_none);
    fixture_forget_log();
    CK_RV rv = source_read_parameter(source, &call, place, &value);
    printf("%s: %s %s\n", aws_emulator_variable("EMULATOR"), cause_name(cause_last()),
           fixture_log());
    if (cause == INDEXKEY_CAUSE_NONE) {
        kms_assert_ok(rv);
        ck_assert_uint_eq(value.len, strlen(STORED));
        ck_assert_mem_eq(value.bytes, STORED, value.len);
    } else {
        kms_assert_failed(rv, cause, "");
    }
    secret_clear(&value);
}

START_TEST(parameters_are_read)
{
    char arn[AWS_EMULATOR_VALUE_MAX] = "";
    char place[AWS_EMULATOR_VALUE_MAX + 32];
    char more[2 * AWS_EMULATOR_VALUE_MAX];
    const char *endpoint = aws_emulator_variable("AWS_ENDPOINT");
    (void) snprintf(more, sizeof(more), "ssm_endpoint = %s\nsecretsmanager_endpoint = %s", endpoint,
                    endpoint);
    struct kms_settings settings = aws_emulator_settings(more);
    aws_emulator_administer("put-parameter /index/key " STORED);
    aws_emulator_run("admin", "put-secret index/key " STORED, "SECRET_ARN", arn);
    struct source *source = aws_open(NULL, &settings);
    assert_reads(source, "ssm:/index/key", INDEXKEY_CAUSE_NONE);
    assert_reads(source, "ssm:/index/absent", INDEXKEY_CAUSE_CONFIG);
    assert_reads(source, "secretsmanager:index/key", INDEXKEY_CAUSE_NONE);
    (void) snprintf(place, sizeof(place), "secretsmanager:%s", arn);
    assert_reads(source, place, INDEXKEY_CAUSE_NONE);
    assert_reads(source, "secretsmanager:index/absent", INDEXKEY_CAUSE_CONFIG);
    aws_emulator_administer("deny ssm:GetParameter secretsmanager:GetSecretValue");
    assert_reads(source, "ssm:/index/key", INDEXKEY_CAUSE_DENIED);
    assert_reads(source, "secretsmanager:index/key", INDEXKEY_CAUSE_DENIED);
    aws_emulator_administer("allow");
    aws_emulator_administer("delete-secret index/key");
    assert_reads(source, "secretsmanager:index/key", INDEXKEY_CAUSE_DELETED);
    source_close(&source);
}
END_TEST

START_TEST(a_login_is_one_decrypt)
{
    enum indexkey_cause cause;
    struct kms_settings settings = aws_emulator_settings("context.tenant = acme");
    aws_configure(NULL, &settings);
    kms_init_token();
    int before = count("Decrypt");
    kms_assert_ok(kms_login(FIXTURE_PIN, &cause));
    ck_assert_int_eq(count("Decrypt"), before + 1);
    settings.more = "context.tenant = other";
    aws_configure(NULL, &settings);
    ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CONTEXT);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc != 2)
        return EXIT_FAILURE;
    is_moto = strcmp(argv[1], "moto") == 0;
    TCase *cases = tcase_create(argv[1]);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, every_name_of_the_key_works, 0, 3);
    tcase_add_test(cases, a_key_of_ours_is_wrapped);
    tcase_add_test(cases, context_and_ciphertext_are_bound);
    tcase_add_test(cases, wrong_credentials_are_told);
    tcase_add_test(cases, a_session_token_is_taken_and_checked);
    tcase_add_test(cases, a_role_is_assumed);
    tcase_add_test(cases, a_policy_denies);
    tcase_add_test(cases, the_key_is_told);
    if (!is_moto)
        tcase_add_test(cases, the_state_of_the_key_counts);
    tcase_add_test(cases, parameters_are_read);
    tcase_add_test(cases, a_login_is_one_decrypt);
    return fixture_run("source aws: emulators", cases);
}
