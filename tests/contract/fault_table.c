#include "tests/contract/fault_table.h"

#include <string.h>

#include "base/clock.h"

#define PATIENCE_MS 250
#define TIMEOUT_S 500

/* What the HTTP client meets, whichever KMS answers. */
static const struct fault common_faults[] = {
    {"no fault", {NULL}, INDEXKEY_CAUSE_NONE, "", 1},

    /* Nobody says no. */
    {"503 of a load balancer",
     {STATUS(503, "\"no backend\"")},
     INDEXKEY_CAUSE_SERVER,
     "status 503",
     SEVERAL},
    {"504", {STATUS(504, "\"\"")}, INDEXKEY_CAUSE_SERVER, "status 504", SEVERAL},

    /* The network. */
    {"nothing listens",
     {NULL},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     0,
     {.addr = "https://127.0.0.1:1"}},
    {"connection reset",
     {ALWAYS("connection_reset")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     0},
    {"no TLS handshake",
     {ALWAYS("connection_hang")},
     INDEXKEY_CAUSE_TIMEOUT,
     "timeout",
     0,
     {.deadline_ms = SHORT_MS}},
    {"no answer",
     {ALWAYS("hang")},
     INDEXKEY_CAUSE_TIMEOUT,
     "timeout",
     ANY,
     {.deadline_ms = SHORT_MS}},
    {"a byte a second",
     {ALWAYS("drip")},
     INDEXKEY_CAUSE_TIMEOUT,
     "timeout",
     ANY,
     {.deadline_ms = SHORT_MS}},
    {"answer after the deadline",
     {FAULT("\"kind\": \"delay\", \"seconds\": 2, \"times\": -1")},
     INDEXKEY_CAUSE_TIMEOUT,
     "timeout",
     ANY,
     {.deadline_ms = SHORT_MS}},
    {"closed without an answer",
     {ALWAYS("close")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     SEVERAL},
    {"reset without an answer",
     {ALWAYS("reset")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     SEVERAL},
    {"reset, once", {FAULT("\"kind\": \"reset\"")}, INDEXKEY_CAUSE_NONE, "", 2},
    {"cut off in the body",
     {ALWAYS("truncate")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     SEVERAL},
    {"longer than it says",
     {FAULT("\"kind\": \"length\", \"delta\": -9, \"times\": -1")},
     INDEXKEY_CAUSE_SERVER,
     "makes no sense",
     1},
    {"shorter than it says",
     {FAULT("\"kind\": \"length\", \"delta\": 9, \"times\": -1")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     SEVERAL},
    {"redirected",
     {FAULT("\"kind\": \"redirect\", \"location\": \"https://evil.example/\"")},
     INDEXKEY_CAUSE_SERVER,
     "redirects are not followed",
     1},
    {"endless body", {ALWAYS("endless")}, INDEXKEY_CAUSE_SERVER, "service's address", 1},
    {"endless header", {ALWAYS("long_header")}, INDEXKEY_CAUSE_SERVER, "service's address", 1},
    {"no HTTP", {ALWAYS("garbage")}, INDEXKEY_CAUSE_SERVER, "service's address", 1},

    /* TLS: never sent again. */
    {"wrong CA", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", 0, {.ca = "other-ca.pem"}},
    {"missing CA file", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", 0, {.ca = "/nonexistent.pem"}},
    {"expired certificate", {NULL}, INDEXKEY_CAUSE_TLS, "clock", 0, .certificate = "expired"},
    {"certificate of another name",
     {NULL},
     INDEXKEY_CAUSE_TLS,
     "certificate",
     0,
     .certificate = "wrong-name"},
    {"self-signed certificate",
     {NULL},
     INDEXKEY_CAUSE_TLS,
     "ca_file",
     0,
     .certificate = "self-signed"},
    {"TLS 1.1",
     {FAULT("\"kind\": \"tls\", \"version\": \"1.1\", \"times\": -1")},
     INDEXKEY_CAUSE_TLS,
     "tls",
     0},

    /* Answers that are none. */
    {"200 without JSON", {STATUS(200, "\"hello\"")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
};

struct outcome {
    CK_RV rv;
    enum indexkey_cause cause;
    int requests;
    int connections;
    int64_t late_ms;
    bool log_ok;
};

static const struct fault_table *table;
static struct fake_service fake;
static struct blob wrapped;

static bool log_leaks(const char *log)
{
    for (const char *const *canary = table->canaries; *canary != NULL; canary++) {
        if (strstr(log, *canary) != NULL)
            return true;
    }
    return false;
}

/* One line, which names token or source and reason; one more where the clock was corrected. */
static bool log_is_right(const struct fault *fault)
{
    const char *log = fixture_log();
    bool warns = fault->clock_ahead_s != 0 && strstr(log, "set the clock") != NULL;
    size_t lines = (fault->cause == INDEXKEY_CAUSE_NONE ? 0u : 1u) + (warns ? 1u : 0u);
    bool names_it = strstr(log, "token 'vectors'") != NULL || strstr(log, table->source) != NULL;
    return !log_leaks(log) && fixture_log_count() == lines && (lines == 0 || names_it) &&
           strstr(log, fault->says) != NULL;
}

static void show_certificate(const char *name)
{
    char key[64];
    char cert[64];
    (void) snprintf(key, sizeof(key), "%s.key", name);
    (void) snprintf(cert, sizeof(cert), "%s.pem", name);
    fake_service_fault(&fake, "\"kind\": \"tls\", \"times\": -1, \"cert\": \"%s\", \"key\": \"%s\"",
                       fake_service_certificate(cert), fake_service_certificate(key));
}

static void begin(const struct fault *fault)
{
    table->configure(&fake, &fault->with);
    fake_service_clear(&fake);
    if (table->set_clock != NULL)
        table->set_clock(&fake, fault->clock_ahead_s);
    for (size_t i = 0; i < COUNT_OF(fault->script) && fault->script[i] != NULL; i++)
        fake_service_command(&fake, "%s", fault->script[i]);
    if (fault->certificate != NULL)
        show_certificate(fault->certificate);
}

static void end(const struct fault *fault, int64_t begin_ms, struct outcome *outcome)
{
    int deadline_ms = fault->with.deadline_ms == 0 ? KMS_DEADLINE_MS : fault->with.deadline_ms;
    outcome->late_ms = clock_boot_ms() - begin_ms - deadline_ms;
    outcome->log_ok = log_is_right(fault);
    outcome->requests = fake_service_count(&fake, "requests");
    outcome->connections = fake_service_count(&fake, "connections");
    table->reset(&fake);
}

static void change(struct blob *sent, int where)
{
    size_t at = where > 0 ? sent->len - (size_t) where : (size_t) -where - 1;
    unsigned char *byte = &sent->bytes[at];
    if (table->wraps_as_base64)
        *byte = *byte == 'A' ? 'B' : 'A';
    else
        *byte ^= 1;
}

static void by_source(const struct fault *fault, struct outcome *outcome)
{
    struct source *source = NULL;
    struct blob sent = {0};
    begin(fault);
    ck_assert_uint_eq(kms_try_open(&source), CKR_OK);
    ck_assert_uint_eq(blob_from(wrapped.bytes, wrapped.len, &sent), CKR_OK);
    if (fault->changed != 0)
        change(&sent, fault->changed);
    int64_t begin_ms = clock_boot_ms();
    struct view context = fault->context == NULL ? table->context : *fault->context;
    outcome->rv = kms_unwrap(source, kms_call(&fault->with, context), blob_view(&sent));
    outcome->cause = cause_last();
    end(fault, begin_ms, outcome);
    blob_clear(&sent);
    source_close(&source);
}

static void by_login(const struct fault *fault, struct outcome *outcome)
{
    begin(fault);
    int64_t begin_ms = clock_boot_ms();
    outcome->rv = kms_login(FIXTURE_PIN, &outcome->cause);
    end(fault, begin_ms, outcome);
}

/* What TLS refuses is never sent again. */
static bool is_counted_right(const struct fault *fault, const struct outcome *outcome)
{
    if (fault->cause == INDEXKEY_CAUSE_TLS && outcome->connections > 1)
        return false;
    if (fault->requests == ANY)
        return true;
    int wanted = fault->requests + (fault->cause == INDEXKEY_CAUSE_NONE ? table->logins : 0);
    return fault->requests == SEVERAL ? outcome->requests > 1 : outcome->requests == wanted;
}

static bool is_right(const struct fault *fault, const struct outcome *outcome)
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

static int report(const struct fault *fault, const char *by, const struct outcome *outcome)
{
    bool right = is_right(fault, outcome);
    printf("%-7s| %-38s | %-19s | %-11s | %2d | %s%s\n", by, fault->name, rv_name(outcome->rv),
           cause_name(outcome->cause), outcome->requests, outcome->log_ok ? "log ok" : "LOG WRONG",
           right ? "" : "  <-- WRONG");
    if (!right)
        printf("        wanted %s, %d requests; %ld ms late; log: %s\n", cause_name(fault->cause),
               fault->requests, (long) outcome->late_ms, fixture_log());
    (void) fflush(stdout);
    return right ? 0 : 1;
}

static int try_faults(const struct fault *faults, size_t fault_count, unsigned int kind)
{
    int wrong = 0;
    for (size_t i = 0; i < fault_count; i++) {
        struct outcome outcome = {0};
        if (faults[i].only != 0 && faults[i].only != kind)
            continue;
        if (kind == SOURCE_ONLY)
            by_source(&faults[i], &outcome);
        else
            by_login(&faults[i], &outcome);
        wrong += report(&faults[i], kind == SOURCE_ONLY ? "source" : "C_Login", &outcome);
    }
    return wrong;
}

static void try_all(unsigned int kind)
{
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
    int wrong = try_faults(common_faults, COUNT_OF(common_faults), kind);
    wrong += try_faults(table->faults, table->fault_count, kind);
    ck_assert_int_eq(wrong, 0);
}

static void start_fake(void)
{
    table->start(&fake);
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

START_TEST(every_fault_by_the_source)
{
    static const struct kms_settings settings;
    table->configure(&fake, &settings);
    struct source *source = kms_open();
    kms_assert_ok(kms_make(source, kms_call(&settings, table->context), &wrapped));
    source_close(&source);
    try_all(SOURCE_ONLY);
    blob_clear(&wrapped);
}
END_TEST

START_TEST(every_fault_by_c_login)
{
    static const struct kms_settings settings;
    table->configure(&fake, &settings);
    kms_init_token();
    try_all(LOGIN_ONLY);
}
END_TEST

int fault_table_run(const char *name, const struct fault_table *faults)
{
    table = faults;
    TCase *cases = tcase_create("faults");
    tcase_set_timeout(cases, TIMEOUT_S);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_test(cases, every_fault_by_the_source);
    tcase_add_test(cases, every_fault_by_c_login);
    return fixture_run(name, cases);
}
