/*
 * What goes wrong between a token and AWS KMS, each fault twice: by the source alone, and by
 * C_Login. It prints a table.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/aws_faults.h"

#define PATIENCE_MS 250

struct outcome {
    CK_RV rv;
    enum indexkey_cause cause;
    int requests;
    int connections;
    int64_t late_ms;
    bool log_ok;
};

static struct fake_service fake;
static struct blob wrapped;

static bool log_leaks(const char *log)
{
    static const char *const canaries[] = {
        AWS_SECRET_GOOD,        "wrong/secret+", AWS_SECRET_TEMPORARY, "wrong-session-token",
        AWS_SESSION_TOKEN_GOOD, "something new", "evil.example/",      BASE64_32};
    for (size_t i = 0; i < COUNT_OF(canaries); i++) {
        if (strstr(log, canaries[i]) != NULL)
            return true;
    }
    return false;
}

/* One line, which names token or source and reason; one more where the clock was corrected. */
static bool log_is_right(const struct aws_fault *fault)
{
    const char *log = fixture_log();
    bool warns = strstr(log, "set the clock") != NULL;
    size_t lines = (fault->cause == INDEXKEY_CAUSE_NONE ? 0u : 1u) + (warns ? 1u : 0u);
    bool names_it = strstr(log, "token 'vectors'") != NULL || strstr(log, "source aws") != NULL;
    return !log_leaks(log) && fixture_log_count() == lines && (lines == 0 || names_it) &&
           strstr(log, fault->says) != NULL;
}

static void begin(const struct aws_fault *fault)
{
    aws_configure(&fake, &fault->with);
    fake_service_clear(&fake);
    aws_set_clock(&fake, fault->clock_ahead_s);
    for (size_t i = 0; i < COUNT_OF(fault->script) && fault->script[i] != NULL; i++)
        fake_service_command(&fake, "%s", fault->script[i]);
    if (fault->certificate != NULL) {
        char key[64];
        char cert[64];
        (void) snprintf(key, sizeof(key), "%s.key", fault->certificate);
        (void) snprintf(cert, sizeof(cert), "%s.pem", fault->certificate);
        fake_service_fault(&fake,
                           "\"kind\": \"tls\", \"times\": -1, \"cert\": \"%s\", \"key\": \"%s\"",
                           fake_service_certificate(cert), fake_service_certificate(key));
    }
}

static void end(const struct aws_fault *fault, int64_t begin_ms, struct outcome *outcome)
{
    int deadline_ms = fault->with.deadline_ms == 0 ? 5000 : fault->with.deadline_ms;
    outcome->late_ms = clock_boot_ms() - begin_ms - deadline_ms;
    outcome->log_ok = log_is_right(fault);
    outcome->requests = fake_service_count(&fake, "requests");
    outcome->connections = fake_service_count(&fake, "connections");
    aws_reset(&fake);
}

static void by_source(const struct aws_fault *fault, struct outcome *outcome)
{
    struct source *source = NULL;
    struct secret data_key = {0};
    struct blob sent = {0};
    begin(fault);
    ck_assert_uint_eq(vault_try_open(&source), CKR_OK);
    ck_assert_uint_eq(blob_from(wrapped.bytes, wrapped.len, &sent), CKR_OK);
    if (fault->changed > 0)
        sent.bytes[sent.len - (size_t) fault->changed] ^= 1;
    if (fault->changed < 0)
        sent.bytes[-fault->changed - 1] ^= 1;
    fixture_forget_log();
    cause_clear();
    int64_t begin_ms = clock_boot_ms();
    struct source_call call =
        aws_call(&fault->with, fault->context == NULL ? aws_context : *fault->context);
    outcome->rv = source_unwrap(source, &call, blob_view(&sent), &data_key);
    outcome->cause = cause_last();
    end(fault, begin_ms, outcome);
    ck_assert_uint_eq(data_key.len, outcome->rv == CKR_OK ? DATA_KEY_LEN : 0);
    secret_clear(&data_key);
    blob_clear(&sent);
    source_close(&source);
}

static void by_login(const struct aws_fault *fault, struct outcome *outcome)
{
    begin(fault);
    int64_t begin_ms = clock_boot_ms();
    outcome->rv = vault_login(FIXTURE_PIN, &outcome->cause);
    end(fault, begin_ms, outcome);
}

static bool is_counted_right(const struct aws_fault *fault, const struct outcome *outcome)
{
    if (fault->cause == INDEXKEY_CAUSE_TLS && outcome->connections > 1)
        return false;
    if (fault->requests == ANY)
        return true;
    return fault->requests == SEVERAL ? outcome->requests > 1
                                      : outcome->requests == fault->requests;
}

static bool is_right(const struct aws_fault *fault, const struct outcome *outcome)
{
    return outcome->rv == cause_rv(fault->cause) && outcome->cause == fault->cause &&
           outcome->late_ms <= PATIENCE_MS && is_counted_right(fault, outcome) && outcome->log_ok;
}

static const char *rv_name(CK_RV rv)
{
    switch (rv) {
    case CKR_OK:
        return "CKR_OK";
    case CKR_FUNCTION_FAILED:
        return "CKR_FUNCTION_FAILED";
    case CKR_DEVICE_ERROR:
        return "CKR_DEVICE_ERROR";
    case CKR_GENERAL_ERROR:
        return "CKR_GENERAL_ERROR";
    default:
        return "?";
    }
}

static int report(const struct aws_fault *fault, const char *by, const struct outcome *outcome)
{
    bool right = is_right(fault, outcome);
    printf("%-7s| %-34s | %-19s | %-11s | %2d | %s%s\n", by, fault->name, rv_name(outcome->rv),
           cause_name(outcome->cause), outcome->requests, outcome->log_ok ? "log ok" : "LOG WRONG",
           right ? "" : "  <-- WRONG");
    if (!right)
        printf("        wanted %s, %d requests; %ld ms late; log: %s\n", cause_name(fault->cause),
               fault->requests, (long) outcome->late_ms, fixture_log());
    (void) fflush(stdout);
    return right ? 0 : 1;
}

static void start_fake(void)
{
    aws_start(&fake);
}

static void stop_fake(void)
{
    aws_stop(&fake);
}

static void make_wrapped(void)
{
    static const struct aws_settings settings = {0};
    struct source *source = aws_open(&fake, &settings);
    struct source_call call = aws_call(&settings, aws_context);
    struct secret data_key = {0};
    CK_RV rv = source_make_data_key(source, &call, &data_key, &wrapped);
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    secret_clear(&data_key);
    source_close(&source);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

START_TEST(every_fault_by_the_source)
{
    int wrong = 0;
    make_wrapped();
    for (size_t i = 0; i < aws_fault_count; i++) {
        struct outcome outcome = {0};
        if (aws_faults[i].only == LOGIN_ONLY)
            continue;
        by_source(&aws_faults[i], &outcome);
        wrong += report(&aws_faults[i], "source", &outcome);
    }
    blob_clear(&wrapped);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

START_TEST(every_fault_by_c_login)
{
    static const struct aws_settings settings = {0};
    int wrong = 0;
    aws_configure(&fake, &settings);
    vault_init_token();
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
    for (size_t i = 0; i < aws_fault_count; i++) {
        struct outcome outcome = {0};
        if (aws_faults[i].only == SOURCE_ONLY)
            continue;
        by_login(&aws_faults[i], &outcome);
        wrong += report(&aws_faults[i], "C_Login", &outcome);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("faults");
    tcase_set_timeout(cases, 500);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_test(cases, every_fault_by_the_source);
    tcase_add_test(cases, every_fault_by_c_login);
    return fixture_run("source aws: faults", cases);
}
