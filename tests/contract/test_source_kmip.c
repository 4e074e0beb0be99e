/*
 * What goes wrong between a token and a KMIP server: a table of faults, each tried twice, by the
 * source alone and by C_Login. Prints a line for each. On a fake (tests/servers/fake_kmip.py).
 */
#include <openssl/err.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/contract/kms_fixture.h"

#define PATIENCE_MS 250
#define SHORT_MS 600
#define UNWRAP_MAX 100
#define HOST_REASON 42
#define CONTEXT "context"
#define FAULT(text) "{\"do\": \"fault\", \"times\": -1, " text "}"
#define ALWAYS(kind) FAULT("\"kind\": \"" kind "\"")
#define REFUSES(number) FAULT("\"kind\": \"refuse\", \"path\": \"decrypt\", \"reason\": " #number)
#define TWISTS(how) FAULT("\"kind\": \"twist\", \"path\": \"decrypt\", \"how\": \"" how "\"")
#define TWISTS_STATE(how)                                                                          \
    FAULT("\"kind\": \"twist\", \"path\": \"get_attributes\", \"how\": \"" how "\"")
#define STATE(number) HANDLER("\"state\", \"state\": " #number)

enum { SOURCE_ONLY = 1, LOGIN_ONLY = 2 };

struct fault {
    const char *name;
    const char *script;
    enum indexkey_cause cause;
    const char *says;
    int deadline_ms;
    const char *server; /* "HOST:PORT" */
    const char *ca;
    const char *client;      /* its certificate and key */
    const char *certificate; /* the server's */
    const char *key;
    const char *context;
    const char *more;
    int changed; /* as in fault_table.h */
    unsigned int only;
};

static const struct fault faults[] = {
    {"no fault", NULL, INDEXKEY_CAUSE_NONE, ""},

    /* The key. */
    {"pre-active", STATE(1), INDEXKEY_CAUSE_DISABLED, "pre-active"},
    {"deactivated", STATE(3), INDEXKEY_CAUSE_DISABLED, "deactivated"},
    {"compromised", STATE(4), INDEXKEY_CAUSE_DISABLED, "compromised"},
    {"destroyed", STATE(5), INDEXKEY_CAUSE_DELETED, "destroyed"},
    {"destroyed, compromised", STATE(6), INDEXKEY_CAUSE_DELETED, "destroyed"},
    {"no such key", HANDLER("\"forget\""), INDEXKEY_CAUSE_DELETED, "no such key"},
    {"another key", NULL, INDEXKEY_CAUSE_CONTEXT, "another key", .key = "other-keys"},
    {"deactivated, and asked all the same", REFUSES(12), INDEXKEY_CAUSE_DENIED,
     "permission denied"},

    /* Refusals. */
    {"not found", REFUSES(1), INDEXKEY_CAUSE_DELETED, "no such key"},
    {"not authenticated", REFUSES(3), INDEXKEY_CAUSE_CREDENTIAL, "client_cert"},
    {"invalid message", REFUSES(4), INDEXKEY_CAUSE_CONFIG, "KMIP 1.4"},
    {"operation not supported", REFUSES(5), INDEXKEY_CAUSE_CONFIG, "KMIP 1.4"},
    {"missing data", REFUSES(6), INDEXKEY_CAUSE_CONFIG, "KMIP 1.4"},
    {"invalid field", REFUSES(7), INDEXKEY_CAUSE_CONFIG, "KMIP 1.4"},
    {"feature not supported", REFUSES(8), INDEXKEY_CAUSE_CONFIG, "KMIP 1.4"},
    {"cryptographic failure", REFUSES(10), INDEXKEY_CAUSE_TAMPERED, "was changed"},
    {"illegal operation", REFUSES(11), INDEXKEY_CAUSE_CONFIG, "KMIP 1.4"},
    {"archived", REFUSES(13), INDEXKEY_CAUSE_DISABLED, "archived"},
    {"no key value", REFUSES(19), INDEXKEY_CAUSE_DELETED, "no more"},
    {"usage limit", REFUSES(26), INDEXKEY_CAUSE_DISABLED, "limit"},
    {"general failure", REFUSES(256), INDEXKEY_CAUSE_TAMPERED, "was changed"},
    {"reason of another kind", REFUSES(77), INDEXKEY_CAUSE_SERVER, "reason 0x4d"},

    /* The wrapped key. */
    {"tampered tag", NULL, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 1,
     .only = SOURCE_ONLY},
    {"tampered ciphertext", NULL, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 40,
     .only = SOURCE_ONLY},
    {"tampered IV", NULL, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 60,
     .only = SOURCE_ONLY},
    {"tampered format", NULL, INDEXKEY_CAUSE_TAMPERED, "is none", .changed = -5,
     .only = SOURCE_ONLY},
    {"tampered key id", NULL, INDEXKEY_CAUSE_CONTEXT, "another key", .changed = -11,
     .only = SOURCE_ONLY},
    {"wrong context", NULL, INDEXKEY_CAUSE_TAMPERED, "another context", .context = "other",
     .only = SOURCE_ONLY},

    /* Answers that are none. */
    {"no payload", TWISTS("no_payload"), INDEXKEY_CAUSE_SERVER, "no payload"},
    {"no status", TWISTS("no_status"), INDEXKEY_CAUSE_SERVER, "not one result"},
    {"two results", TWISTS("two_items"), INDEXKEY_CAUSE_SERVER, "not one result"},
    {"about another key", TWISTS("other_key"), INDEXKEY_CAUSE_SERVER, "about another key"},
    {"about no key", TWISTS("no_key"), INDEXKEY_CAUSE_SERVER, "about another key"},
    {"no data", TWISTS("no_data"), INDEXKEY_CAUSE_SERVER, "has no key"},
    {"text for bytes", TWISTS("text_for_bytes"), INDEXKEY_CAUSE_SERVER, "has no key"},
    {"empty key", TWISTS("empty"), INDEXKEY_CAUSE_SERVER, "has no key"},
    {"huge key", TWISTS("huge"), INDEXKEY_CAUSE_SERVER, "has no key"},
    {"key of 31 bytes", TWISTS("short"), INDEXKEY_CAUSE_TAMPERED, "instead of 32"},
    {"key of 33 bytes", TWISTS("long"), INDEXKEY_CAUSE_TAMPERED, "instead of 32"},
    {"another data key", TWISTS("other"), INDEXKEY_CAUSE_TAMPERED, "was changed",
     .only = LOGIN_ONLY},
    {"wrong length within", TWISTS("bad_length"), INDEXKEY_CAUSE_SERVER, "makes no sense"},
    {"item longer than the whole", TWISTS("longer_than_whole"), INDEXKEY_CAUSE_SERVER,
     "makes no sense"},
    {"longer than may be", TWISTS("too_long"), INDEXKEY_CAUSE_SERVER, "too long"},
    {"a request for an answer", TWISTS("other_message"), INDEXKEY_CAUSE_SERVER, "no message"},
    {"an empty message", TWISTS("nothing"), INDEXKEY_CAUSE_SERVER, "not one result"},
    {"state that is none", TWISTS_STATE("odd_state"), INDEXKEY_CAUSE_SERVER, "no state"},
    {"no state", TWISTS_STATE("no_state"), INDEXKEY_CAUSE_SERVER, "does not tell"},
    {"another attribute", TWISTS_STATE("other_attribute"), INDEXKEY_CAUSE_SERVER, "does not tell"},
    {"garbage", ALWAYS("garbage"), INDEXKEY_CAUSE_SERVER, "no message"},
    {"endless", ALWAYS("endless"), INDEXKEY_CAUSE_SERVER, "no message"},

    /* The network. */
    {"nothing listens", NULL, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", .server = "127.0.0.1:1"},
    {"name without address", NULL, INDEXKEY_CAUSE_DNS, "dns", .server = "kmip.invalid"},
    {"resolver that hangs", NULL, INDEXKEY_CAUSE_DNS, "in time", SHORT_MS, .server = "kmip.hang"},
    {"connection reset", ALWAYS("connection_reset"), INDEXKEY_CAUSE_UNREACHABLE, "unreachable"},
    {"no TLS handshake", ALWAYS("connection_hang"), INDEXKEY_CAUSE_TIMEOUT, "timeout", SHORT_MS},
    {"no answer", ALWAYS("hang"), INDEXKEY_CAUSE_TIMEOUT, "timeout", SHORT_MS},
    {"a byte a second", ALWAYS("drip"), INDEXKEY_CAUSE_TIMEOUT, "timeout", SHORT_MS},
    {"answer after the deadline", FAULT("\"kind\": \"delay\", \"seconds\": 2"),
     INDEXKEY_CAUSE_TIMEOUT, "timeout", SHORT_MS},
    {"closed without an answer", ALWAYS("close"), INDEXKEY_CAUSE_UNREACHABLE, "unreachable"},
    {"reset without an answer", ALWAYS("reset"), INDEXKEY_CAUSE_UNREACHABLE, "unreachable"},
    {"cut off", ALWAYS("truncate"), INDEXKEY_CAUSE_UNREACHABLE, "unreachable"},

    /* TLS. */
    {"wrong CA", NULL, INDEXKEY_CAUSE_TLS, "ca_file", .ca = "other-ca.pem"},
    {"missing CA file", NULL, INDEXKEY_CAUSE_TLS, "ca_file", .ca = "/nonexistent.pem"},
    {"expired certificate", NULL, INDEXKEY_CAUSE_TLS, "expired", .certificate = "expired"},
    {"certificate of another name", NULL, INDEXKEY_CAUSE_TLS, "tls", .certificate = "wrong-name"},
    {"self-signed certificate", NULL, INDEXKEY_CAUSE_TLS, "self-signed",
     .certificate = "self-signed"},
    {"TLS 1.1", FAULT("\"kind\": \"tls\", \"version\": \"1.1\""), INDEXKEY_CAUSE_TLS, "tls"},
    {"client certificate of another CA", NULL, INDEXKEY_CAUSE_TLS, "client_cert",
     .client = "other-client"},
    {"no client certificate", NULL, INDEXKEY_CAUSE_TLS, "client_cert", .client = "nonexistent"},
};

struct outcome {
    CK_RV rv;
    enum indexkey_cause cause;
    int64_t late_ms;
    bool log_ok;
};

static struct fake_service fake;
static struct blob wrapped;

static void configure(const struct fault *fault)
{
    char server[300];
    char lines[2048];
    char cert[64];
    char key[64];
    const char *name = fault->client == NULL ? "client" : fault->client;
    (void) snprintf(cert, sizeof(cert), "%s.pem", name);
    (void) snprintf(key, sizeof(key), "%s.key", name);
    (void) snprintf(server, sizeof(server), "127.0.0.1:%d", fake.port);
    int len = snprintf(lines, sizeof(lines),
                       "kmip_server = %s\nkey_id = %s\nclient_cert = %s\nclient_key = %s",
                       fault->server == NULL ? server : fault->server,
                       fault->key == NULL ? "index-keys" : fault->key,
                       fake_service_certificate(cert), fake_service_certificate(key));
    ck_assert_int_lt(len, (int) sizeof(lines));
    struct kms_settings settings = {
        .ca = fault->ca, .deadline_ms = fault->deadline_ms, .more = fault->more};
    kms_configure("kmip", &settings, lines);
}

static struct source_call call_of(const struct fault *fault)
{
    struct kms_settings settings = {.deadline_ms = fault->deadline_ms};
    return kms_call(&settings, view_text(fault->context == NULL ? CONTEXT : fault->context));
}

static bool log_is_right(const struct fault *fault)
{
    const char *log = fixture_log();
    size_t lines = fault->cause == INDEXKEY_CAUSE_NONE ? 0u : 1u;
    return fixture_log_count() == lines &&
           (lines == 0 || strstr(log, "token 'vectors'") != NULL || strstr(log, "source kmip")) &&
           strstr(log, fault->says) != NULL;
}

static void begin(const struct fault *fault)
{
    char key[64];
    char cert[64];
    configure(fault);
    kms_reset(&fake);
    if (fault->script != NULL)
        fake_service_command(&fake, "%s", fault->script);
    if (fault->certificate == NULL)
        return;
    (void) snprintf(key, sizeof(key), "%s.key", fault->certificate);
    (void) snprintf(cert, sizeof(cert), "%s.pem", fault->certificate);
    fake_service_fault(&fake, "\"kind\": \"tls\", \"times\": -1, \"cert\": \"%s\", \"key\": \"%s\"",
                       fake_service_certificate(cert), fake_service_certificate(key));
}

static void end(const struct fault *fault, int64_t begin_ms, struct outcome *outcome)
{
    int deadline_ms = fault->deadline_ms == 0 ? KMS_DEADLINE_MS : fault->deadline_ms;
    outcome->late_ms = clock_boot_ms() - begin_ms - deadline_ms;
    outcome->log_ok = log_is_right(fault);
    kms_reset(&fake);
}

static void by_source(const struct fault *fault, struct outcome *outcome)
{
    struct source *source = NULL;
    struct blob sent = {0};
    begin(fault);
    ck_assert_uint_eq(kms_try_open(&source), CKR_OK);
    ck_assert_uint_eq(blob_from(wrapped.bytes, wrapped.len, &sent), CKR_OK);
    if (fault->changed != 0) {
        size_t at =
            fault->changed > 0 ? sent.len - (size_t) fault->changed : (size_t) -fault->changed - 1;
        sent.bytes[at] ^= 1;
    }
    int64_t begin_ms = clock_boot_ms();
    outcome->rv = kms_unwrap(source, call_of(fault), blob_view(&sent));
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

static int report(const struct fault *fault, const char *by, const struct outcome *outcome)
{
    bool right = outcome->rv == cause_rv(fault->cause) && outcome->cause == fault->cause &&
                 outcome->late_ms <= PATIENCE_MS && outcome->log_ok;
    printf("%-7s| %-38s | %-11s | %s%s\n", by, fault->name, cause_name(outcome->cause),
           outcome->log_ok ? "log ok" : "LOG WRONG", right ? "" : "  <-- WRONG");
    if (!right)
        printf("        wanted %s, got %lx; %ld ms late; log: %s\n", cause_name(fault->cause),
               outcome->rv, (long) outcome->late_ms, fixture_log());
    (void) fflush(stdout);
    return right ? 0 : 1;
}

static void try_all(unsigned int kind)
{
    int wrong = 0;
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct outcome outcome = {0};
        if (faults[i].only != 0 && faults[i].only != kind)
            continue;
        if (kind == SOURCE_ONLY)
            by_source(&faults[i], &outcome);
        else
            by_login(&faults[i], &outcome);
        wrong += report(&faults[i], kind == SOURCE_ONLY ? "source" : "C_Login", &outcome);
    }
    ck_assert_int_eq(wrong, 0);
}

static void start_fake(void)
{
    struct fake_service_options options = {.handler = "fake_kmip:FakeKmip", .wants_client = true};
    options.certificates = fake_service_certificates();
    fake_service_start(&fake, &options);
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

START_TEST(every_fault_by_the_source)
{
    configure(&faults[0]);
    struct source *source = kms_open();
    kms_assert_ok(kms_make(source, call_of(&faults[0]), &wrapped));
    source_close(&source);
    try_all(SOURCE_ONLY);
    blob_clear(&wrapped);
}
END_TEST

START_TEST(every_fault_by_c_login)
{
    configure(&faults[0]);
    kms_init_token();
    try_all(LOGIN_ONLY);
}
END_TEST

/* ---- a data key that is an object of the server ---- */

static const struct {
    const char *how;
    enum indexkey_cause cause;
} bad_objects[] = {
    {"no_data", INDEXKEY_CAUSE_SERVER},        {"other_key", INDEXKEY_CAUSE_SERVER},
    {"wrapped_text", INDEXKEY_CAUSE_SERVER},   {"wrapped_empty", INDEXKEY_CAUSE_CONTEXT},
    {"wrapped_odd", INDEXKEY_CAUSE_CONTEXT},   {"wrapped_huge", INDEXKEY_CAUSE_CONTEXT},
    {"wrapped_wrong", INDEXKEY_CAUSE_CONTEXT},
};

/* Two of the server's are one here: the wrapping key and the object. */
static struct blob object_blob(void)
{
    static const unsigned char mac[SHA256_LEN];
    struct writer writer = {0};
    struct blob blob = {0};
    write_raw(&writer, view_text("IKKM"));
    write_u8(&writer, 2);
    write_string(&writer, view_text("index-keys"));
    write_string(&writer, view_text("index-keys"));
    write_raw(&writer, (struct view){mac, sizeof(mac)});
    ck_assert_uint_eq(writer_finish(&writer, &blob), CKR_OK);
    return blob;
}

START_TEST(an_object_that_makes_no_sense_is_refused)
{
    char file[512];
    struct source *source = NULL;
    struct blob blob = object_blob();
    (void) snprintf(file, sizeof(file), "wrapping_key_file = %s", fixture_path("root.key"));
    struct fault fault = {.more = file};
    configure(&fault);
    kms_reset(&fake);
    fake_service_fault(&fake,
                       "\"times\": -1, \"kind\": \"twist\", \"path\": \"fetch\", \"how\": \"%s\"",
                       bad_objects[_i].how);
    source = kms_open();
    kms_assert_failed(kms_unwrap(source, call_of(&fault), blob_view(&blob)), bad_objects[_i].cause,
                      "");
    source_close(&source);
    blob_clear(&blob);
}
END_TEST

/* ---- what is the host's ---- */

/* libssl empties the queue; what it finds there is not taken for ours. */
START_TEST(an_error_of_the_hosts_does_no_harm)
{
    struct source *source;
    struct blob made = {0};
    configure(&faults[0]);
    kms_reset(&fake);
    source = kms_open();
    ERR_raise(ERR_LIB_USER, HOST_REASON);
    kms_assert_ok(kms_make(source, call_of(&faults[0]), &made));
    kms_assert_ok(kms_unwrap(source, call_of(&faults[0]), blob_view(&made)));
    ERR_clear_error();
    blob_clear(&made);
    source_close(&source);
}
END_TEST

START_TEST(no_allocation_that_fails_is_forgotten)
{
    struct source *source;
    struct blob made = {0};
    configure(&faults[0]);
    kms_reset(&fake);
    source = kms_open();
    kms_assert_ok(kms_make(source, call_of(&faults[0]), &made));
    size_t in_use = secrets_in_use();
    long live = mem_live();
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long nth = 1;
    for (; rv != CKR_OK && nth < UNWRAP_MAX; nth++) {
        mem_fail_at(nth, false);
        rv = kms_unwrap(source, call_of(&faults[0]), blob_view(&made));
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "allocation %lu: %lx %s", nth, rv,
                      fixture_log());
        ck_assert_uint_eq(secrets_in_use(), in_use);
        ck_assert_int_eq(mem_live(), live);
    }
    mem_fail_at(0, false);
    ck_assert_uint_gt(nth, 4);
    ck_assert_uint_lt(nth, UNWRAP_MAX);
    blob_clear(&made);
    source_close(&source);
}
END_TEST

/* ---- configuration ---- */

#define REST "\nkey_id = 1\nclient_cert = /c.pem"

static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {"key_id = 1\nclient_cert = /c.pem", "kmip_server"},
    {"kmip_server = a\nclient_cert = /c.pem", "key_id"},
    {"kmip_server = a\nkey_id = 1", "client_cert"},
    {"kmip_server = a b" REST, "kmip_server must be"},
    {"kmip_server = a:b" REST, "kmip_server must be"},
    {"kmip_server = a:123456" REST, "kmip_server must be"},
    {"kmip_server = :5696" REST, "kmip_server must be"},
    {"kmip_server = [::1" REST, "kmip_server must be"},
    {"kmip_server = [::1]x" REST, "kmip_server must be"},
    {"kmip_server = https://a" REST, "kmip_server must be"},
    {"kmip_server = a\nkey_id = 1\nclient_cert = c.pem", "client_cert must be"},
    {"kmip_server = a\nclient_cret = /c.pem" REST, "client_cert"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("kmip", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("faults");
    tcase_set_timeout(cases, 500);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_loop_test(cases, an_object_that_makes_no_sense_is_refused, 0, COUNT_OF(bad_objects));
    tcase_add_test(cases, an_error_of_the_hosts_does_no_harm);
    tcase_add_test(cases, no_allocation_that_fails_is_forgotten);
    tcase_add_test(cases, every_fault_by_the_source);
    tcase_add_test(cases, every_fault_by_c_login);
    return fixture_run("source kmip", cases);
}
