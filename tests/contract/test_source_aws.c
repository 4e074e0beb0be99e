/*
 * What goes wrong between a token and AWS KMS, each fault twice: by the source alone, and by
 * C_Login. It prints a table.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/aws_fixture.h"

#define PATIENCE_MS 250
#define SHORT_MS 600
#define HOUR 3600

/* Requests that reach the server. */
enum { ANY = -1, SEVERAL = -2 };

enum { SOURCE_ONLY = 1, LOGIN_ONLY = 2 };

#define FAULT(text) "{\"do\": \"fault\", " text "}"
#define STATUS(number, body)                                                                       \
    FAULT("\"kind\": \"status\", \"times\": -1, \"status\": " #number ", \"body\": " body)
#define STATUS_ONCE(number) FAULT("\"kind\": \"status\", \"status\": " #number ", \"body\": {}")
#define SAYS(code) "{\"__type\": \"" code "\", \"message\": \"something new\"}"
#define REFUSED(code) STATUS(400, SAYS(code))
#define FAILED(code) STATUS(500, SAYS(code))
#define XML(code) "\"<ErrorResponse><Error><Code>" code "</Code></Error></ErrorResponse>\""
#define ALWAYS(kind) FAULT("\"kind\": \"" kind "\", \"times\": -1")
#define STATE(name) HANDLER("\"state\", \"state\": \"" name "\"")
#define ALTER(member, value)                                                                       \
    HANDLER("\"alter\", \"member\": \"" member "\", \"value\": " value)
#define BASE64_16 "AAAAAAAAAAAAAAAAAAAAAA=="
#define BASE64_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define BASE64_33 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define OTHER_ID "9876fedc-12ab-34cd-56ef-1234567890ab"
#define TEMPORARY(token)                                                                           \
    {.access = AWS_ACCESS_TEMPORARY, .secret = AWS_SECRET_TEMPORARY, .session_token = token}

struct fault {
    const char *name;
    const char *script[2]; /* commands to the fake */
    enum indexkey_cause cause;
    const char *says; /* in the log line */
    int requests;     /* that reach the server */
    struct aws_settings with;
    const char *certificate; /* the server's */
    int clock_ahead_s;       /* the server's */
    const struct view *context;
    int changed; /* this byte of the wrapped key, from its end; negative: from its begin */
    unsigned int only;
};

static const struct fault faults[] = {
    {"no fault", {NULL}, INDEXKEY_CAUSE_NONE, "", 1},
    {"no fault, temporary credentials", {NULL}, INDEXKEY_CAUSE_NONE, "", 1,
     TEMPORARY(AWS_SESSION_TOKEN_GOOD)},

    /* Who asks. */
    {"wrong secret", {NULL}, INDEXKEY_CAUSE_CREDENTIAL, "secret access key is wrong", 1,
     {.secret = "wrong/secret+"}},
    {"wrong secret, in XML", {HANDLER("\"xml\"")}, INDEXKEY_CAUSE_CREDENTIAL,
     "HTTP 403 SignatureDoesNotMatch", 1, {.secret = "wrong/secret+"}},
    {"unknown access key id", {NULL}, INDEXKEY_CAUSE_CREDENTIAL, "access key id", 1,
     {.access = "AKIDWRONG"}},
    {"unknown access key id, in XML", {HANDLER("\"xml\"")}, INDEXKEY_CAUSE_CREDENTIAL,
     "HTTP 403 InvalidClientTokenId", 1, {.access = "AKIDWRONG"}},
    {"deleted access key", {HANDLER("\"revoke\", \"access\": \"AKIDGOOD\"")},
     INDEXKEY_CAUSE_CREDENTIAL, "exist and are active", 1},
    {"wrong session token", {NULL}, INDEXKEY_CAUSE_CREDENTIAL, "session token is not known", 1,
     TEMPORARY("wrong-session-token")},
    {"missing session token", {NULL}, INDEXKEY_CAUSE_CREDENTIAL, "session token is not known", 1,
     TEMPORARY("")},
    {"expired session token", {HANDLER("\"expire\", \"access\": \"ASIAGOOD\"")},
     INDEXKEY_CAUSE_CREDENTIAL, "has expired", 1, TEMPORARY(AWS_SESSION_TOKEN_GOOD)},
    {"unsigned, it says", {REFUSED("MissingAuthenticationTokenException")},
     INDEXKEY_CAUSE_CREDENTIAL, "signed one", 1},
    {"incomplete signature, it says", {REFUSED("IncompleteSignature")}, INDEXKEY_CAUSE_CREDENTIAL,
     "signed one", 1},
    {"Region of another endpoint", {NULL}, INDEXKEY_CAUSE_CREDENTIAL, "aws_region", 1,
     {.region = "us-east-1"}},
    {"no credentials anywhere", {NULL}, INDEXKEY_CAUSE_CREDENTIAL, ".aws/credentials", 0,
     {.access = "", .secret = ""}},
    {"half the credentials", {NULL}, INDEXKEY_CAUSE_CONFIG, "AWS_SECRET_ACCESS_KEY", 0,
     {.secret = ""}},
    {"no Region anywhere", {NULL}, INDEXKEY_CAUSE_CONFIG, "set aws_region", 0, {.region = ""}},

    /* The clock: corrected once by the Date header. */
    {"our clock an hour behind", {NULL}, INDEXKEY_CAUSE_NONE, "3600 s behind", 2,
     .clock_ahead_s = HOUR},
    {"our clock an hour ahead", {NULL}, INDEXKEY_CAUSE_NONE, "s ahead of", 2,
     .clock_ahead_s = -HOUR},
    {"our clock four minutes behind", {NULL}, INDEXKEY_CAUSE_NONE, "", 1, .clock_ahead_s = 240},
    {"wrong secret, clock an hour behind", {NULL}, INDEXKEY_CAUSE_CREDENTIAL,
     "set this machine's clock too", 2, {.secret = "wrong/secret+"}, .clock_ahead_s = HOUR},
    {"expired, and clock an hour behind", {HANDLER("\"expire\", \"access\": \"ASIAGOOD\"")},
     INDEXKEY_CAUSE_CREDENTIAL, "has expired", 1, TEMPORARY(AWS_SESSION_TOKEN_GOOD),
     .clock_ahead_s = HOUR},

    /* What is asked. */
    {"policy denied", {HANDLER("\"deny\", \"act\": \"Decrypt\"")}, INDEXKEY_CAUSE_DENIED,
     "permission kms:Decrypt", 1},
    {"policy denied, in XML", {STATUS(403, XML("AccessDenied"))}, INDEXKEY_CAUSE_DENIED,
     "permission kms:Decrypt", 1},
    {"denied with status 500", {FAILED("AccessDeniedException")}, INDEXKEY_CAUSE_DENIED,
     "permission kms:Decrypt", 1},
    {"key disabled", {STATE("Disabled")}, INDEXKEY_CAUSE_DISABLED, "enable-key", 1},
    {"key disabled, code with namespace",
     {REFUSED("com.amazonaws.kms#DisabledException")}, INDEXKEY_CAUSE_DISABLED, "enable-key", 1},
    {"key pending deletion", {STATE("PendingDeletion")}, INDEXKEY_CAUSE_DELETED,
     "cancel-key-deletion", 1},
    {"key pending import", {STATE("PendingImport")}, INDEXKEY_CAUSE_DELETED, "import", 1},
    {"key in another state", {STATE("Odd")}, INDEXKEY_CAUSE_DELETED, "describe-key", 1},
    {"key deleted", {HANDLER("\"delete_key\"")}, INDEXKEY_CAUSE_DELETED, "no such KMS key", 1},
    {"tampered ciphertext", {NULL}, INDEXKEY_CAUSE_TAMPERED, "was changed", 1, .changed = 3,
     .only = SOURCE_ONLY},
    {"tampered mark of our format", {NULL}, INDEXKEY_CAUSE_TAMPERED, "was changed", 1,
     .changed = -1, .only = SOURCE_ONLY},
    {"unknown format", {NULL}, INDEXKEY_CAUSE_TAMPERED, "no ciphertext of AWS", 0, .changed = -5,
     .only = SOURCE_ONLY},
    {"tampered length of the ARN", {NULL}, INDEXKEY_CAUSE_TAMPERED, "no ciphertext of AWS", 0,
     .changed = -6, .only = SOURCE_ONLY},
    {"tampered id in the ARN", {NULL}, INDEXKEY_CAUSE_CONTEXT, "set the former key_id", 0,
     .changed = -87, .only = SOURCE_ONLY},
    {"tampered, it says", {REFUSED("InvalidCiphertextException")}, INDEXKEY_CAUSE_TAMPERED,
     "another context", 1},
    {"wrong context", {NULL}, INDEXKEY_CAUSE_TAMPERED, "another context", 1,
     .context = &aws_context_other, .only = SOURCE_ONLY},
    {"missing context", {NULL}, INDEXKEY_CAUSE_TAMPERED, "another context", 1,
     .context = &aws_context_none, .only = SOURCE_ONLY},
    {"another key is configured", {NULL}, INDEXKEY_CAUSE_CONTEXT, "set the former key_id", 0,
     {.key = OTHER_ID}, .only = SOURCE_ONLY},
    {"another key, it says", {REFUSED("IncorrectKeyException")}, INDEXKEY_CAUSE_CONTEXT,
     "another KMS key", 1},
    {"key for signing", {REFUSED("InvalidKeyUsageException")}, INDEXKEY_CAUSE_CONFIG,
     "ENCRYPT_DECRYPT", 1},
    {"malformed names", {REFUSED("ValidationException")}, INDEXKEY_CAUSE_CONFIG, "check key_id", 1},
    {"no KMS", {REFUSED("UnknownOperationException")}, INDEXKEY_CAUSE_CONFIG, "no KMS", 1},
    {"refused for an unknown reason", {REFUSED("BrandNewException")}, INDEXKEY_CAUSE_INTERNAL,
     "does not know", 1},
    {"400 without a reason", {STATUS(400, "\"\"")}, INDEXKEY_CAUSE_SERVER, "status 400", 1},
    {"404 of another service", {STATUS(404, "\"no page\"")}, INDEXKEY_CAUSE_CONFIG, "status 404",
     1},

    /* Nobody says no. */
    {"throttled", {REFUSED("ThrottlingException")}, INDEXKEY_CAUSE_THROTTLED, "request quota",
     SEVERAL},
    {"throttled, with 429", {STATUS(429, "{}")}, INDEXKEY_CAUSE_THROTTLED, "throttled", SEVERAL},
    {"throttled, with 503", {STATUS(503, SAYS("SlowDown"))}, INDEXKEY_CAUSE_THROTTLED,
     "request quota", SEVERAL},
    {"throttled, in XML", {STATUS(400, XML("Throttling"))}, INDEXKEY_CAUSE_THROTTLED,
     "request quota", SEVERAL},
    {"limit exceeded", {REFUSED("LimitExceededException")}, INDEXKEY_CAUSE_THROTTLED,
     "request quota", SEVERAL},
    {"too many requests", {REFUSED("TooManyRequestsException")}, INDEXKEY_CAUSE_THROTTLED,
     "request quota", SEVERAL},
    {"throttled, once",
     {FAULT("\"kind\": \"status\", \"status\": 400, \"body\": " SAYS("ThrottlingException"))},
     INDEXKEY_CAUSE_NONE, "", 2},
    {"key unavailable", {FAILED("KeyUnavailableException")}, INDEXKEY_CAUSE_SERVER, "just now",
     SEVERAL},
    {"key store not connected", {STATE("Unavailable")}, INDEXKEY_CAUSE_SERVER, "key store",
     SEVERAL},
    {"dependency timeout", {FAILED("DependencyTimeoutException")}, INDEXKEY_CAUSE_SERVER,
     "depends on", SEVERAL},
    {"KMS fails", {FAILED("KMSInternalException")}, INDEXKEY_CAUSE_SERVER, "itself fails", SEVERAL},
    {"KMS fails, once", {STATUS_ONCE(500)}, INDEXKEY_CAUSE_NONE, "", 2},
    {"500 for an unknown reason", {FAILED("BrandNewException")}, INDEXKEY_CAUSE_SERVER,
     "status 500", SEVERAL},
    {"502 of a load balancer", {STATUS(502, "\"<html>AccessDenied</html>\"")},
     INDEXKEY_CAUSE_SERVER, "status 502", SEVERAL},
    {"503 of a load balancer", {STATUS(503, "\"no backend\"")}, INDEXKEY_CAUSE_SERVER,
     "status 503", SEVERAL},
    {"504", {STATUS(504, "\"\"")}, INDEXKEY_CAUSE_SERVER, "status 504", SEVERAL},

    /* The network. */
    {"nothing listens", {NULL}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", 0,
     {.endpoint = "https://127.0.0.1:1"}},
    {"name without address", {NULL}, INDEXKEY_CAUSE_DNS, "dns", 0,
     {.endpoint = "https://kms.absent"}},
    {"resolver hangs", {NULL}, INDEXKEY_CAUSE_DNS, "dns", 0,
     {.endpoint = "https://kms.hang", .deadline_ms = SHORT_MS}},
    {"connection reset", {ALWAYS("connection_reset")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable",
     0},
    {"no TLS handshake", {ALWAYS("connection_hang")}, INDEXKEY_CAUSE_TIMEOUT, "timeout", 0,
     {.deadline_ms = SHORT_MS}},
    {"no answer", {ALWAYS("hang")}, INDEXKEY_CAUSE_TIMEOUT, "timeout", ANY,
     {.deadline_ms = SHORT_MS}},
    {"a byte a second", {ALWAYS("drip")}, INDEXKEY_CAUSE_TIMEOUT, "timeout", ANY,
     {.deadline_ms = SHORT_MS}},
    {"answer after the deadline",
     {FAULT("\"kind\": \"delay\", \"seconds\": 2, \"times\": -1")}, INDEXKEY_CAUSE_TIMEOUT,
     "timeout", ANY, {.deadline_ms = SHORT_MS}},
    {"closed without an answer", {ALWAYS("close")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable",
     SEVERAL},
    {"reset without an answer", {ALWAYS("reset")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable",
     SEVERAL},
    {"reset, once", {FAULT("\"kind\": \"reset\"")}, INDEXKEY_CAUSE_NONE, "", 2},
    {"cut off in the body", {ALWAYS("truncate")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable",
     SEVERAL},
    {"longer than it says", {FAULT("\"kind\": \"length\", \"delta\": -9, \"times\": -1")},
     INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"shorter than it says", {FAULT("\"kind\": \"length\", \"delta\": 9, \"times\": -1")},
     INDEXKEY_CAUSE_UNREACHABLE, "unreachable", SEVERAL},
    {"redirected", {FAULT("\"kind\": \"redirect\", \"location\": \"https://evil.example/\"")},
     INDEXKEY_CAUSE_SERVER, "redirects are not followed", 1},
    {"endless body", {ALWAYS("endless")}, INDEXKEY_CAUSE_SERVER, "service's address", 1},
    {"endless header", {ALWAYS("long_header")}, INDEXKEY_CAUSE_SERVER, "service's address", 1},
    {"no HTTP", {ALWAYS("garbage")}, INDEXKEY_CAUSE_SERVER, "service's address", 1},

    /* TLS: never sent again. */
    {"wrong CA", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", 0, {.ca = "other-ca.pem"}},
    {"missing CA file", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", 0, {.ca = "/nonexistent.pem"}},
    {"expired certificate", {NULL}, INDEXKEY_CAUSE_TLS, "clock", 0, .certificate = "expired"},
    {"certificate of another name", {NULL}, INDEXKEY_CAUSE_TLS, "certificate", 0,
     .certificate = "wrong-name"},
    {"self-signed certificate", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", 0,
     .certificate = "self-signed"},
    {"TLS 1.1", {FAULT("\"kind\": \"tls\", \"version\": \"1.1\", \"times\": -1")},
     INDEXKEY_CAUSE_TLS, "tls", 0},

    /* Answers that are none. */
    {"200 without JSON", {STATUS(200, "\"hello\"")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"200 without members", {STATUS(200, "{}")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"200 with an error", {STATUS(200, SAYS("DisabledException"))}, INDEXKEY_CAUSE_SERVER,
     "makes no sense", 1},
    {"key id of another key", {ALTER("KeyId", "\"" AWS_ACCOUNT_ARN "key/" OTHER_ID "\"")},
     INDEXKEY_CAUSE_SERVER, "another KMS key", 1},
    {"key id that is no ARN", {ALTER("KeyId", "\"" AWS_KEY_ID_GOOD "\"")}, INDEXKEY_CAUSE_SERVER,
     "by its ARN", 1},
    {"no key id", {ALTER("KeyId", "null")}, INDEXKEY_CAUSE_SERVER, "by its ARN", 1},
    {"no key", {ALTER("Plaintext", "null")}, INDEXKEY_CAUSE_SERVER, "no key where", 1},
    {"empty key", {ALTER("Plaintext", "\"\"")}, INDEXKEY_CAUSE_SERVER, "no key where", 1},
    {"key that is no base64", {ALTER("Plaintext", "\"****\"")}, INDEXKEY_CAUSE_SERVER,
     "no key where", 1},
    {"key of 16 bytes", {ALTER("Plaintext", "\"" BASE64_16 "\"")}, INDEXKEY_CAUSE_TAMPERED,
     "instead of 32", 1},
    {"key of 33 bytes", {ALTER("Plaintext", "\"" BASE64_33 "\"")}, INDEXKEY_CAUSE_TAMPERED,
     "instead of 32", 1},
    {"another key", {ALTER("Plaintext", "\"" BASE64_32 "\"")}, INDEXKEY_CAUSE_TAMPERED,
     "was changed", 1, .only = LOGIN_ONLY},
    {"two keys",
     {STATUS(200, "\"{\\\"Plaintext\\\": \\\"" BASE64_32 "\\\", \\\"Plaintext\\\": \\\"" BASE64_32
                  "\\\", \\\"KeyId\\\": \\\"" AWS_KEY_ARN_GOOD "\\\"}\"")},
     INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
};

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
    static const char *const canaries[] = {AWS_SECRET_GOOD,        "wrong/secret+",
                                           AWS_SECRET_TEMPORARY,   "wrong-session-token",
                                           AWS_SESSION_TOKEN_GOOD, "something new",
                                           "evil.example/",        BASE64_32};
    for (size_t i = 0; i < COUNT_OF(canaries); i++) {
        if (strstr(log, canaries[i]) != NULL)
            return true;
    }
    return false;
}

/* One line, which names token or source and reason; one more where the clock was corrected. */
static bool log_is_right(const struct fault *fault)
{
    const char *log = fixture_log();
    bool warns = strstr(log, "set the clock") != NULL;
    size_t lines = (fault->cause == INDEXKEY_CAUSE_NONE ? 0u : 1u) + (warns ? 1u : 0u);
    bool names_it = strstr(log, "token 'vectors'") != NULL || strstr(log, "source aws") != NULL;
    return !log_leaks(log) && fixture_log_count() == lines && (lines == 0 || names_it) &&
           strstr(log, fault->says) != NULL;
}

static void begin(const struct fault *fault)
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

static void end(const struct fault *fault, int64_t begin_ms, struct outcome *outcome)
{
    int deadline_ms = fault->with.deadline_ms == 0 ? 5000 : fault->with.deadline_ms;
    outcome->late_ms = clock_boot_ms() - begin_ms - deadline_ms;
    outcome->log_ok = log_is_right(fault);
    outcome->requests = fake_service_count(&fake, "requests");
    outcome->connections = fake_service_count(&fake, "connections");
    aws_reset(&fake);
}

static void by_source(const struct fault *fault, struct outcome *outcome)
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

static void by_login(const struct fault *fault, struct outcome *outcome)
{
    begin(fault);
    int64_t begin_ms = clock_boot_ms();
    outcome->rv = vault_login(FIXTURE_PIN, &outcome->cause);
    end(fault, begin_ms, outcome);
}

static bool is_counted_right(const struct fault *fault, const struct outcome *outcome)
{
    if (fault->cause == INDEXKEY_CAUSE_TLS && outcome->connections > 1)
        return false;
    if (fault->requests == ANY)
        return true;
    return fault->requests == SEVERAL ? outcome->requests > 1
                                      : outcome->requests == fault->requests;
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
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct outcome outcome = {0};
        if (faults[i].only == LOGIN_ONLY)
            continue;
        by_source(&faults[i], &outcome);
        wrong += report(&faults[i], "source", &outcome);
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
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct outcome outcome = {0};
        if (faults[i].only == SOURCE_ONLY)
            continue;
        by_login(&faults[i], &outcome);
        wrong += report(&faults[i], "C_Login", &outcome);
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
