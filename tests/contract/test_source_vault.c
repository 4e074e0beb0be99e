/*
 * What goes wrong between a token and Vault, each fault twice: by the source alone, and by C_Login.
 * It prints a table.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/vault_fixture.h"

#define ANY 0
#define CONTEXT "context"
#define PATIENCE_MS 250
#define SHORT_MS 600

enum { SOURCE_ONLY = 1, LOGIN_ONLY = 2 };

#define HANDLER(text) "{\"do\": \"handler\", \"what\": " text "}"
#define FAULT(text) "{\"do\": \"fault\", " text "}"
#define STATUS(number, body)                                                                       \
    FAULT("\"kind\": \"status\", \"path\": \"decrypt\", \"times\": -1, \"status\": " #number       \
          ", \"body\": " body)
#define STATUS_ONCE(number)                                                                        \
    FAULT("\"kind\": \"status\", \"path\": \"decrypt\", \"status\": " #number ", \"body\": {}")
#define REFUSED(number, text) STATUS(number, "{\"errors\": [\"" text "\"]}")
#define ALWAYS(kind) FAULT("\"kind\": \"" kind "\", \"times\": -1")
#define BASE64_16 "AAAAAAAAAAAAAAAAAAAAAA=="
#define BASE64_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define BASE64_33 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define PLAINTEXT(text) STATUS(200, "{\"data\": {\"plaintext\": \"" text "\"}}")

struct fault {
    const char *name;
    const char *script[2]; /* commands to the fake */
    enum indexkey_cause cause;
    const char *says; /* in the log line */
    int requests;     /* that reach the server; ANY where the retries decide */
    struct vault_settings with;
    const char *certificate; /* the server's */
    const char *context;     /* of the call; the right one by default */
    int changed;             /* this letter of the ciphertext, from its end; -1: its first */
    unsigned int only;
};

static const struct fault faults[] = {
    {"no fault", {NULL}, INDEXKEY_CAUSE_NONE, "", 1},

    /* Who asks, and for what. */
    {"wrong token",
     {NULL},
     INDEXKEY_CAUSE_CREDENTIAL,
     "wrong, expired or revoked",
     2,
     {.token = "s.wrong"}},
    {"revoked token",
     {HANDLER("\"revoke\", \"token\": \"good-token\"")},
     INDEXKEY_CAUSE_CREDENTIAL,
     "wrong, expired or revoked",
     2},
    {"revoked token, OpenBao's words",
     {HANDLER("\"openbao\""), HANDLER("\"revoke\", \"token\": \"good-token\"")},
     INDEXKEY_CAUSE_CREDENTIAL,
     "wrong, expired or revoked",
     2},
    {"policy without decrypt",
     {HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"encrypt\", \"lookup-self\"]")},
     INDEXKEY_CAUSE_DENIED,
     "path \"transit/decrypt/index-keys\"",
     2},
    {"policy without decrypt and lookup-self",
     {HANDLER("\"allow\", \"token\": \"good-token\", \"acts\": [\"encrypt\"]")},
     INDEXKEY_CAUSE_CREDENTIAL,
     "lookup-self is refused too",
     2},
    {"403, then lookup-self gets 500",
     {REFUSED(403, "permission denied"), FAULT("\"kind\": \"status\", \"path\": \"lookup-self\", "
                                               "\"times\": -1, \"status\": 500")},
     INDEXKEY_CAUSE_DENIED,
     "permission denied",
     ANY},
    {"403, then lookup-self is cut off",
     {REFUSED(403, "permission denied"),
      FAULT("\"kind\": \"reset\", \"path\": \"lookup-self\", \"times\": -1")},
     INDEXKEY_CAUSE_DENIED,
     "permission denied",
     ANY},
    {"403 of a firewall",
     {STATUS(403, "\"<html>permission denied</html>\"")},
     INDEXKEY_CAUSE_SERVER,
     "not Vault",
     1},
    {"401 of a gateway", {STATUS(401, "{}")}, INDEXKEY_CAUSE_SERVER, "not Vault", 1},
    {"token variable not set", {NULL}, INDEXKEY_CAUSE_CONFIG, VAULT_VARIABLE, ANY, {.token = ""}},

    /* The key and the ciphertext. */
    {"key deleted", {HANDLER("\"delete_key\"")}, INDEXKEY_CAUSE_DELETED, "no key of this name", 1},
    {"key deleted and made again",
     {HANDLER("\"make_key\"")},
     INDEXKEY_CAUSE_TAMPERED,
     "by another key",
     1},
    {"below min_decryption_version",
     {HANDLER("\"rotate\""), HANDLER("\"min_version\", \"version\": 2")},
     INDEXKEY_CAUSE_DISABLED,
     "min_decryption_version",
     1},
    {"key rotated", {HANDLER("\"rotate\"")}, INDEXKEY_CAUSE_NONE, "", 1},
    {"key version trimmed",
     {REFUSED(400, "no such key version")},
     INDEXKEY_CAUSE_DELETED,
     "no longer has the key version",
     1},
    {"tampered ciphertext",
     {NULL},
     INDEXKEY_CAUSE_TAMPERED,
     "was changed",
     1,
     .changed = 8,
     .only = SOURCE_ONLY},
    {"tampered, as Vault says it",
     {REFUSED(400, "cipher: message authentication failed")},
     INDEXKEY_CAUSE_TAMPERED,
     "was changed",
     1},
    {"tampered, by a ChaCha20 key",
     {REFUSED(400, "chacha20poly1305: message authentication failed")},
     INDEXKEY_CAUSE_TAMPERED,
     "was changed",
     1},
    {"wrong context",
     {NULL},
     INDEXKEY_CAUSE_TAMPERED,
     "another context",
     1,
     .context = "other",
     .only = SOURCE_ONLY},
    {"missing context",
     {NULL},
     INDEXKEY_CAUSE_TAMPERED,
     "another context",
     1,
     .context = "",
     .only = SOURCE_ONLY},
    {"ciphertext of a later version",
     {REFUSED(400, "invalid ciphertext: version is too new")},
     INDEXKEY_CAUSE_TAMPERED,
     "ciphertext of this key",
     1},
    {"ciphertext without prefix",
     {REFUSED(400, "invalid ciphertext: no prefix")},
     INDEXKEY_CAUSE_TAMPERED,
     "ciphertext of this key",
     1},
    {"ciphertext too short",
     {REFUSED(400, "invalid ciphertext length")},
     INDEXKEY_CAUSE_TAMPERED,
     "ciphertext of this key",
     1},
    {"no ciphertext in the store",
     {NULL},
     INDEXKEY_CAUSE_TAMPERED,
     "no ciphertext of Vault",
     ANY,
     .changed = -1,
     .only = SOURCE_ONLY},
    {"key of a signing type",
     {REFUSED(400, "message decryption not supported for key type ed25519")},
     INDEXKEY_CAUSE_CONFIG,
     "encrypts nothing",
     1},
    {"key without associated data",
     {REFUSED(400, "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048")},
     INDEXKEY_CAUSE_CONFIG,
     "binds no context",
     1},
    {"derived key",
     {REFUSED(400,
              "missing 'context' for key derivation; the key was created using a derived key")},
     INDEXKEY_CAUSE_CONFIG,
     "derived=true",
     1},
    {"400 for an unknown reason",
     {REFUSED(400, "something new \\u001b[31m")},
     INDEXKEY_CAUSE_INTERNAL,
     "does not know",
     1},
    {"400 without a reason", {STATUS(400, "\"\"")}, INDEXKEY_CAUSE_INTERNAL, "does not know", 1},

    /* What is asked. */
    {"transit not mounted", {HANDLER("\"unmount\"")}, INDEXKEY_CAUSE_CONFIG, "transit_mount", 1},
    {"another mount",
     {NULL},
     INDEXKEY_CAUSE_CONFIG,
     "nothing is mounted",
     1,
     {.more = "transit_mount = other/transit"}},
    {"unknown namespace",
     {NULL},
     INDEXKEY_CAUSE_CONFIG,
     "vault_namespace",
     1,
     {.more = "vault_namespace = team-b"}},
    {"404 without a reason",
     {STATUS(404, "{\"errors\": []}")},
     INDEXKEY_CAUSE_CONFIG,
     "no transit engine",
     1},
    {"method not allowed",
     {REFUSED(405, "unsupported operation")},
     INDEXKEY_CAUSE_CONFIG,
     "no transit engine",
     1},
    {"stored instead of decrypted",
     {STATUS(204, "\"\"")},
     INDEXKEY_CAUSE_CONFIG,
     "no transit engine",
     1},

    /* Nobody says no. */
    {"rate quota",
     {REFUSED(429, "rate limit quota exceeded")},
     INDEXKEY_CAUSE_THROTTLED,
     "throttled",
     ANY},
    {"rate quota, once", {STATUS_ONCE(429)}, INDEXKEY_CAUSE_NONE, "", 2},
    {"sealed", {HANDLER("\"seal\"")}, INDEXKEY_CAUSE_SERVER, "operator unseal", ANY},
    {"not initialised",
     {REFUSED(501, "Vault is not initialized")},
     INDEXKEY_CAUSE_SERVER,
     "operator init",
     ANY},
    {"500", {REFUSED(500, "internal error")}, INDEXKEY_CAUSE_SERVER, "status 500", ANY},
    {"500, once", {STATUS_ONCE(500)}, INDEXKEY_CAUSE_NONE, "", 2},
    {"502 of a load balancer",
     {STATUS(502, "\"<html>permission denied</html>\"")},
     INDEXKEY_CAUSE_SERVER,
     "status 502",
     ANY},
    {"503 of a load balancer",
     {STATUS(503, "\"no backend\"")},
     INDEXKEY_CAUSE_SERVER,
     "status 503",
     ANY},
    {"504", {STATUS(504, "\"\"")}, INDEXKEY_CAUSE_SERVER, "status 504", ANY},
    {"node lags behind",
     {REFUSED(412, "required index state not present")},
     INDEXKEY_CAUSE_SERVER,
     "this node",
     ANY},
    {"node lags behind, once", {STATUS_ONCE(412)}, INDEXKEY_CAUSE_NONE, "", 2},

    /* The network. */
    {"nothing listens",
     {NULL},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     ANY,
     {.addr = "https://127.0.0.1:1"}},
    {"name without address",
     {NULL},
     INDEXKEY_CAUSE_DNS,
     "dns",
     ANY,
     {.addr = "https://vault.invalid:8200"}},
    {"connection reset",
     {ALWAYS("connection_reset")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     ANY},
    {"no TLS handshake",
     {ALWAYS("connection_hang")},
     INDEXKEY_CAUSE_TIMEOUT,
     "timeout",
     ANY,
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
    {"closed without an answer", {ALWAYS("close")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", ANY},
    {"reset without an answer", {ALWAYS("reset")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", ANY},
    {"reset, once", {FAULT("\"kind\": \"reset\"")}, INDEXKEY_CAUSE_NONE, "", 2},
    {"cut off in the body", {ALWAYS("truncate")}, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", ANY},
    {"cut off in the headers",
     {FAULT("\"kind\": \"truncate\", \"at\": \"headers\", \"times\": -1")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     ANY},
    {"longer than it says",
     {FAULT("\"kind\": \"length\", \"delta\": -9, \"times\": -1")},
     INDEXKEY_CAUSE_SERVER,
     "makes no sense",
     1},
    {"shorter than it says",
     {FAULT("\"kind\": \"length\", \"delta\": 9, \"times\": -1")},
     INDEXKEY_CAUSE_UNREACHABLE,
     "unreachable",
     ANY},
    {"redirected",
     {FAULT("\"kind\": \"redirect\", \"location\": \"https://evil.example/\"")},
     INDEXKEY_CAUSE_SERVER,
     "redirects are not followed",
     1},
    {"endless body", {ALWAYS("endless")}, INDEXKEY_CAUSE_SERVER, "service's address", ANY},
    {"endless header", {ALWAYS("long_header")}, INDEXKEY_CAUSE_SERVER, "service's address", ANY},
    {"no HTTP", {ALWAYS("garbage")}, INDEXKEY_CAUSE_SERVER, "service's address", ANY},

    /* TLS. */
    {"wrong CA", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", ANY, {.ca = "other-ca.pem"}},
    {"missing CA file", {NULL}, INDEXKEY_CAUSE_TLS, "ca_file", ANY, {.ca = "/nonexistent.pem"}},
    {"expired certificate", {NULL}, INDEXKEY_CAUSE_TLS, "clock", ANY, .certificate = "expired"},
    {"certificate of another name",
     {NULL},
     INDEXKEY_CAUSE_TLS,
     "certificate",
     ANY,
     .certificate = "wrong-name"},
    {"self-signed certificate",
     {NULL},
     INDEXKEY_CAUSE_TLS,
     "ca_file",
     ANY,
     .certificate = "self-signed"},
    {"TLS 1.1",
     {FAULT("\"kind\": \"tls\", \"version\": \"1.1\", \"times\": -1")},
     INDEXKEY_CAUSE_TLS,
     "tls",
     ANY},

    /* Answers that are none. */
    {"200 without JSON", {STATUS(200, "\"hello\"")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"200 without data", {STATUS(200, "{}")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"200 with errors",
     {REFUSED(200, "encryption key not found")},
     INDEXKEY_CAUSE_SERVER,
     "makes no sense",
     1},
    {"empty key", {PLAINTEXT("")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"key that is no base64", {PLAINTEXT("****")}, INDEXKEY_CAUSE_SERVER, "makes no sense", 1},
    {"key of 16 bytes", {PLAINTEXT(BASE64_16)}, INDEXKEY_CAUSE_TAMPERED, "instead of 32", 1},
    {"key of 33 bytes", {PLAINTEXT(BASE64_33)}, INDEXKEY_CAUSE_TAMPERED, "instead of 32", 1},
    {"another key",
     {PLAINTEXT(BASE64_32)},
     INDEXKEY_CAUSE_TAMPERED,
     "was changed",
     1,
     .only = LOGIN_ONLY},
    {"two keys",
     {STATUS(200, "\"{\\\"data\\\": {\\\"plaintext\\\": \\\"" BASE64_32
                  "\\\", \\\"plaintext\\\": \\\"" BASE64_32 "\\\"}}\"")},
     INDEXKEY_CAUSE_SERVER,
     "makes no sense",
     1},
};

struct outcome {
    CK_RV rv;
    enum indexkey_cause cause;
    int requests;
    int64_t late_ms;
    bool log_ok;
};

static struct fake_service fake;
static struct blob ciphertext;

/* One line, which names token or source and reason, and no credential. */
static bool log_is_right(const struct fault *fault)
{
    const char *log = fixture_log();
    if (strstr(log, VAULT_TOKEN_GOOD) != NULL || strstr(log, "s.wrong") != NULL ||
        strstr(log, "evil.example/") != NULL || strstr(log, "something new") != NULL)
        return false;
    if (fault->cause == INDEXKEY_CAUSE_NONE)
        return fixture_log_count() == 0;
    bool names_it = strstr(log, "token 'vectors'") != NULL || strstr(log, "source vault") != NULL;
    return fixture_log_count() == 1 && names_it && strstr(log, fault->says) != NULL;
}

static void begin(const struct fault *fault)
{
    vault_configure(&fake, &fault->with);
    fake_service_clear(&fake);
    for (size_t i = 0; i < COUNT_OF(fault->script) && fault->script[i] != NULL; i++)
        fake_service_command(&fake, "%s", fault->script[i]);
    if (fault->certificate != NULL) {
        char key[64];
        (void) snprintf(key, sizeof(key), "%s.key", fault->certificate);
        char cert[64];
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
    fake_service_clear(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"restore\""));
}

/* Another letter of base64. */
static void change(unsigned char *letter)
{
    *letter = *letter == 'A' ? 'B' : 'A';
}

static void by_source(const struct fault *fault, struct outcome *outcome)
{
    struct source *source = NULL;
    struct secret data_key = {0};
    struct blob sent = {0};
    begin(fault);
    ck_assert_uint_eq(vault_try_open(&source), CKR_OK);
    ck_assert_uint_eq(blob_from(ciphertext.bytes, ciphertext.len, &sent), CKR_OK);
    if (fault->changed > 0)
        change(&sent.bytes[sent.len - (size_t) fault->changed]);
    if (fault->changed < 0)
        change(&sent.bytes[0]);
    fixture_forget_log();
    cause_clear();
    int64_t begin_ms = clock_boot_ms();
    struct source_call call =
        vault_call(&fault->with, fault->context == NULL ? CONTEXT : fault->context);
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

static bool is_right(const struct fault *fault, const struct outcome *outcome)
{
    bool in_time = outcome->late_ms <= PATIENCE_MS;
    bool counted = fault->requests == ANY || outcome->requests == fault->requests;
    return outcome->rv == cause_rv(fault->cause) && outcome->cause == fault->cause && in_time &&
           counted && outcome->log_ok;
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

static void start_fake(void)
{
    static const struct fake_service_options options = {.handler = "fake_vault:FakeVault"};
    struct fake_service_options with_tls = options;
    with_tls.certificates = fake_service_certificates();
    fake_service_start(&fake, &with_tls);
}

static void stop_fake(void)
{
    fake_service_stop(&fake);
    fake_service_clean();
}

static void make_ciphertext(void)
{
    static const struct vault_settings settings = {0};
    struct source *source = vault_open(&fake, &settings);
    struct source_call call = vault_call(&settings, CONTEXT);
    struct secret data_key = {0};
    CK_RV rv = source_make_data_key(source, &call, &data_key, &ciphertext);
    ck_assert_msg(rv == CKR_OK, "%s", fixture_log());
    secret_clear(&data_key);
    source_close(&source);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

START_TEST(every_fault_by_the_source)
{
    int wrong = 0;
    make_ciphertext();
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct outcome outcome = {0};
        if (faults[i].only == LOGIN_ONLY)
            continue;
        by_source(&faults[i], &outcome);
        wrong += report(&faults[i], "source", &outcome);
    }
    blob_clear(&ciphertext);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

START_TEST(every_fault_by_c_login)
{
    static const struct vault_settings settings = {0};
    int wrong = 0;
    vault_configure(&fake, &settings);
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
    tcase_set_timeout(cases, 400);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, vault_first_call, NULL);
    tcase_add_test(cases, every_fault_by_the_source);
    tcase_add_test(cases, every_fault_by_c_login);
    return fixture_run("source vault: faults", cases);
}
