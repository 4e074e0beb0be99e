/* Temporary credentials of `source = aws`: roles, web identities, containers, instances, commands;
 * what goes wrong with each; and work across the ends of short sessions. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/contract/aws_fixture.h"

#define ROLE "arn:aws:iam::111122223333:role/index-keys"
#define ROLE_NEXT "arn:aws:iam::444455556666:role/next"
#define KEYS "aws_access_key_id = AKIDGOOD\naws_secret_access_key = good/secret+\n"
#define SOAK_THREADS 8
#define SESSION_S 5

static struct fake_service fake;

enum kind { BY_KEYS, BY_PROFILE, BY_WEB, BY_CONTAINER, BY_INSTANCE };

static void start_fake(void)
{
    kms_start(&fake, "fake_aws_sts:FakeAwsSts");
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void reset_fake(void)
{
    aws_reset(&fake);
}

static void set_url(const char *variable, const char *path)
{
    kms_set_variable(variable, fake_service_url(&fake, path));
}

/* The token's section and the environment; `more` are lines, or the profile's text. */
static void configure(enum kind kind, const char *text)
{
    char lines[1024];
    struct kms_settings settings = {.more = lines, .deadline_ms = 3000};
    (void) snprintf(lines, sizeof(lines), "sts_endpoint = %s\n%s", fake_service_url(&fake, ""),
                    kind == BY_KEYS ? text : "");
    if (kind != BY_KEYS)
        settings.access = settings.secret = "";
    aws_configure(&fake, &settings);
    if (kind == BY_PROFILE) {
        fixture_write("credentials", text, 0600);
        kms_set_variable("AWS_SHARED_CREDENTIALS_FILE", fixture_path("credentials"));
    }
    if (kind == BY_WEB) {
        fixture_write("web-token", text, 0644);
        kms_set_variable("AWS_WEB_IDENTITY_TOKEN_FILE", fixture_path("web-token"));
        kms_set_variable("AWS_ROLE_ARN", ROLE);
    }
    if (kind == BY_CONTAINER) {
        set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/container");
        kms_set_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", text);
    }
    if (kind == BY_INSTANCE) {
        kms_set_variable("AWS_EC2_METADATA_DISABLED", "false");
        set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
    }
}

static CK_RV make(struct source *source)
{
    static const struct kms_settings settings = {.deadline_ms = 3000};
    struct blob wrapped = {0};
    CK_RV rv = kms_make(source, kms_call(&settings, aws_context), &wrapped);
    blob_clear(&wrapped);
    return rv;
}

static int given(void)
{
    fake_service_command(&fake, "%s", HANDLER("\"given\""));
    const char *at = strstr(fake.answer, "\"given\": ");
    ck_assert_ptr_nonnull(at);
    return atoi(at + strlen("\"given\": "));
}

/* ---- each kind ---- */

static const struct {
    enum kind kind;
    const char *text;
    const char *assumed; /* in the requests to STS */
    int given;
} ways[] = {
    {BY_KEYS, "role_arn = " ROLE "\nexternal_id = external-17", "\"ExternalId\": \"external-17\"",
     1},
    {BY_KEYS, "role_arn = " ROLE_NEXT "\nrole_session_name = me@here\nrole_duration = 20m",
     "\"RoleSessionName\": \"me@here\", \"DurationSeconds\": \"1200\"", 1},
    {BY_PROFILE,
     "[default]\nrole_arn = " ROLE "\nexternal_id = external-17\nduration_seconds = 1800\n"
     "source_profile = base\n[base]\n" KEYS,
     "\"RoleSessionName\": \"indexkey\", \"DurationSeconds\": \"1800\"", 1},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE_NEXT "\nsource_profile = default\n" KEYS, ROLE_NEXT,
     1},
    {BY_PROFILE,
     "[default]\nrole_arn = " ROLE_NEXT "\nsource_profile = a\n"
     "[a]\nrole_arn = " ROLE "\nexternal_id = external-17\nsource_profile = b\n[b]\n" KEYS,
     ROLE_NEXT, 2},
    {BY_WEB, "web.identity.token\n", "AssumeRoleWithWebIdentity", 1},
    {BY_CONTAINER, "container-token", "[]", 1},
    {BY_INSTANCE, "", "[]", 1},
};

START_TEST(every_kind_gives_credentials_that_are_kept)
{
    configure(ways[_i].kind, ways[_i].text);
    struct source *source = kms_open();
    kms_assert_ok(make(source));
    kms_assert_ok(make(source));
    ck_assert_int_eq(given(), ways[_i].given);
    fake_service_command(&fake, "%s", HANDLER("\"assumed\""));
    ck_assert_msg(strstr(fake.answer, ways[_i].assumed) != NULL, "%s", fake.answer);
    /* Revoked: fetched anew in the same call. */
    fake_service_command(&fake, "%s", HANDLER("\"forget\""));
    kms_assert_ok(make(source));
    ck_assert_int_eq(given(), 2 * ways[_i].given);
    source_close(&source);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

static void configure_process(const char *script, const char *arguments)
{
    char text[1024];
    fixture_write("process", script, 0700);
    (void) snprintf(text, sizeof(text), "[default]\ncredential_process = %s %s\n",
                    fixture_path("process"), arguments);
    configure(BY_PROFILE, text);
}

#define SCRIPT(text) "#!/bin/sh\n" text "\n"
#define WRITES(members)                                                                            \
    SCRIPT("printf '%s' '{\"Version\": 1, \"AccessKeyId\": \"AKIDGOOD\", \"SecretAccessKey\": "    \
           "\"good/secret+\"" members "}'")

START_TEST(a_command_gives_credentials)
{
    configure_process(
        SCRIPT("test \"$1\" = 'a b' && test \"$2\" = 'c\"d' && test $# = 2 || exit 1\n"
               "test -e /proc/self/fd/200 && exit 2\n"
               "printf '%s' '{\"Version\": 1, \"AccessKeyId\": \"AKIDGOOD\", "
               "\"SecretAccessKey\": \"good/secret+\"}'"),
        "'a b' c\\\"d");
    struct source *source = kms_open();
    /* A file of the host's that is not close-on-exec. */
    ck_assert_int_eq(dup2(1, 200), 200);
    kms_assert_ok(make(source));
    kms_assert_ok(make(source));
    source_close(&source);
    ck_assert_int_eq(close(200), 0);
}
END_TEST

static const struct {
    const char *script;
    const char *arguments;
    enum indexkey_cause cause;
    const char *says;
} bad_commands[] = {
    {SCRIPT("echo canary; exit 3"), "", INDEXKEY_CAUSE_CREDENTIAL, "exit status 3"},
    {SCRIPT("kill -9 $$"), "", INDEXKEY_CAUSE_CREDENTIAL, "signal 9"},
    {SCRIPT("echo canary"), "", INDEXKEY_CAUSE_SERVER, "Version 1"},
    {SCRIPT("true"), "", INDEXKEY_CAUSE_SERVER, "Version 1"},
    {SCRIPT("printf '{\"Version\": 2, \"AccessKeyId\": \"a\", \"SecretAccessKey\": \"b\"}'"), "",
     INDEXKEY_CAUSE_SERVER, "Version 1"},
    {WRITES(", \"Expiration\": \"soon\""), "", INDEXKEY_CAUSE_SERVER, "Version 1"},
    {WRITES(", \"SessionToken\": 5"), "", INDEXKEY_CAUSE_SERVER, "Version 1"},
    {SCRIPT("exec yes canary"), "", INDEXKEY_CAUSE_CONFIG, "more than"},
    {SCRIPT("sleep 60"), "", INDEXKEY_CAUSE_TIMEOUT, "was killed"},
    {SCRIPT("exec >/dev/null; sleep 60"), "", INDEXKEY_CAUSE_TIMEOUT, "was killed"},
    {SCRIPT("true"), "'", INDEXKEY_CAUSE_CONFIG, "quote"},
    {"#!/nonexistent\n", "", INDEXKEY_CAUSE_CONFIG, "cannot be run"},
};

START_TEST(a_bad_command_is_told)
{
    configure_process(bad_commands[_i].script, bad_commands[_i].arguments);
    struct source *source = kms_open();
    int64_t began_ms = clock_boot_ms();
    kms_assert_failed(make(source), bad_commands[_i].cause, bad_commands[_i].says);
    ck_assert_int_lt(clock_boot_ms() - began_ms, 3000 + 250);
    ck_assert_ptr_null(strstr(fixture_log(), "canary"));
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 0);
    source_close(&source);
}
END_TEST

/* ---- what goes wrong ---- */

#define FAULT_AT(where, kind)                                                                      \
    "{\"do\": \"fault\", \"kind\": \"" kind "\", \"times\": -1, \"path\": \"" where "\"}"
#define ANSWER_AT(where, status, body)                                                             \
    "{\"do\": \"fault\", \"kind\": \"status\", \"times\": -1, \"path\": \"" where                  \
    "\", \"status\": " #status ", \"body\": " body "}"
#define STS_CODE(status, code)                                                                     \
    ANSWER_AT("/", status,                                                                         \
              "\"<ErrorResponse><Error><Code>" code "</Code><Message>something new</Message>"      \
              "</Error></ErrorResponse>\"")
#define SPOIL(member, value) HANDLER("\"spoil\", \"member\": \"" member "\", \"value\": " value)
#define BY_ROLE BY_KEYS, "role_arn = " ROLE_NEXT
#define WEB BY_WEB, "web.identity.token"
#define CONTAINER BY_CONTAINER, "container-token"
#define INSTANCE BY_INSTANCE, ""

static const struct {
    enum kind kind;
    const char *text;
    const char *script;
    enum indexkey_cause cause;
    const char *says;
} faults[] = {
    /* Roles. */
    {BY_KEYS, "role_arn = " ROLE, NULL, INDEXKEY_CAUSE_DENIED, "check external_id"},
    {BY_KEYS, "role_arn = " ROLE "\nexternal_id = wrong", NULL, INDEXKEY_CAUSE_DENIED,
     "sts:AssumeRole;"},
    {BY_ROLE, HANDLER("\"trust\", \"arn\": \"none\""), INDEXKEY_CAUSE_DENIED, "trust policy"},
    {BY_ROLE, HANDLER("\"revoke\", \"access\": \"AKIDGOOD\""), INDEXKEY_CAUSE_CREDENTIAL,
     "HTTP 400 InvalidClientTokenId"},
    {BY_ROLE, HANDLER("\"expire\", \"access\": \"AKIDGOOD\""), INDEXKEY_CAUSE_CREDENTIAL,
     "has expired"},
    {BY_ROLE, STS_CODE(403, "SignatureDoesNotMatch"), INDEXKEY_CAUSE_CREDENTIAL,
     "secret access key is wrong"},
    {BY_ROLE, STS_CODE(400, "ValidationError"), INDEXKEY_CAUSE_CONFIG, "role_session_name"},
    {BY_ROLE, STS_CODE(400, "InvalidAction"), INDEXKEY_CAUSE_CONFIG, "sts_endpoint"},
    {BY_ROLE, STS_CODE(403, "RegionDisabledException"), INDEXKEY_CAUSE_CONFIG, "not enabled"},
    {BY_ROLE, STS_CODE(400, "BrandNew"), INDEXKEY_CAUSE_INTERNAL, "does not know"},
    {BY_ROLE, STS_CODE(400, "Throttling"), INDEXKEY_CAUSE_THROTTLED, "quota"},
    {BY_ROLE, STS_CODE(503, "ServiceUnavailable"), INDEXKEY_CAUSE_SERVER, "itself fails"},
    {BY_ROLE, ANSWER_AT("/", 503, "\"\""), INDEXKEY_CAUSE_SERVER, "503"},
    {BY_ROLE, ANSWER_AT("/", 403, "\"<html>no</html>\""), INDEXKEY_CAUSE_SERVER, "not AWS STS"},
    {BY_ROLE, ANSWER_AT("/", 200, "\"hello\""), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, SPOIL("AccessKeyId", "null"), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, SPOIL("AccessKeyId", "\"a b\""), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, SPOIL("SecretAccessKey", "null"), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, SPOIL("SecretAccessKey", "\"a&amp;b\""), INDEXKEY_CAUSE_SERVER,
     "no credentials where"},
    {BY_ROLE, SPOIL("Token", "null"), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, SPOIL("Expiration", "\"soon\""), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, SPOIL("Expiration", "null"), INDEXKEY_CAUSE_SERVER, "no credentials where"},
    {BY_ROLE, FAULT_AT("/", "hang"), INDEXKEY_CAUSE_TIMEOUT, "AWS STS at"},
    {BY_ROLE, FAULT_AT("/", "drip"), INDEXKEY_CAUSE_TIMEOUT, "AWS STS at"},
    {BY_ROLE, FAULT_AT("/", "reset"), INDEXKEY_CAUSE_UNREACHABLE, "AWS STS at"},
    {BY_ROLE, FAULT_AT("/", "endless"), INDEXKEY_CAUSE_SERVER, "AWS STS at"},
    {BY_ROLE, FAULT_AT("/", "garbage"), INDEXKEY_CAUSE_SERVER, "AWS STS at"},
    {BY_ROLE,
     "{\"do\": \"fault\", \"kind\": \"redirect\", \"location\": \"https://evil.example/\"}",
     INDEXKEY_CAUSE_SERVER, "sts_endpoint"},
    /* Profiles. */
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\n", NULL, INDEXKEY_CAUSE_CONFIG,
     "credential_source"},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\ncredential_source = Moon\n", NULL,
     INDEXKEY_CAUSE_CONFIG, "credential_source"},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\ncredential_source = Environment\n", NULL,
     INDEXKEY_CAUSE_CONFIG, "credential_source"},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\ncredential_source = EcsContainer\n", NULL,
     INDEXKEY_CAUSE_CONFIG, "EcsContainer"},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\ncredential_source = Ec2InstanceMetadata\n", NULL,
     INDEXKEY_CAUSE_CONFIG, "AWS_EC2_METADATA_DISABLED"},
    {BY_PROFILE,
     "[default]\nrole_arn = " ROLE "\nsource_profile = a\n[a]\nrole_arn = " ROLE
     "\nsource_profile = default\n",
     NULL, INDEXKEY_CAUSE_CONFIG, "circle"},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\nsource_profile = absent\n", NULL,
     INDEXKEY_CAUSE_CONFIG, "profile 'absent'"},
    {BY_PROFILE, "[default]\nrole_arn = canary\n", NULL, INDEXKEY_CAUSE_CONFIG, "role_arn of"},
    {BY_PROFILE, "[default]\nrole_arn = " ROLE "\nduration_seconds = 5\n", NULL,
     INDEXKEY_CAUSE_CONFIG, "duration_seconds"},
    /* Web identities. */
    {BY_WEB, "canary.token", NULL, INDEXKEY_CAUSE_CREDENTIAL, "web identity token is not accepted"},
    {BY_WEB, "canary token", NULL, INDEXKEY_CAUSE_CONFIG, "does not hold one token"},
    {BY_WEB, "", NULL, INDEXKEY_CAUSE_CONFIG, "does not hold one token"},
    {WEB, HANDLER("\"trust\", \"arn\": \"none\""), INDEXKEY_CAUSE_DENIED,
     "sts:AssumeRoleWithWebIdentity"},
    {WEB, STS_CODE(400, "ExpiredTokenException"), INDEXKEY_CAUSE_CREDENTIAL, "it has expired"},
    {WEB, STS_CODE(403, "IDPRejectedClaim"), INDEXKEY_CAUSE_CREDENTIAL, "issuer, audience"},
    {WEB, STS_CODE(400, "IDPCommunicationError"), INDEXKEY_CAUSE_SERVER, "identity provider"},
    /* Containers. */
    {BY_CONTAINER, "canary", NULL, INDEXKEY_CAUSE_CREDENTIAL, "HTTP 401"},
    {BY_CONTAINER, "", NULL, INDEXKEY_CAUSE_CREDENTIAL, "AWS_CONTAINER_AUTHORIZATION_TOKEN"},
    {CONTAINER, ANSWER_AT("/container", 500, "\"\""), INDEXKEY_CAUSE_SERVER, "500"},
    {CONTAINER, ANSWER_AT("/container", 200, "\"hello\""), INDEXKEY_CAUSE_SERVER,
     "no temporary credentials"},
    {CONTAINER, SPOIL("SecretAccessKey", "\"\""), INDEXKEY_CAUSE_SERVER,
     "no temporary credentials"},
    {CONTAINER, SPOIL("Expiration", "null"), INDEXKEY_CAUSE_SERVER, "no temporary credentials"},
    {CONTAINER, SPOIL("Token", "5"), INDEXKEY_CAUSE_SERVER, "no temporary credentials"},
    {CONTAINER, FAULT_AT("/container", "hang"), INDEXKEY_CAUSE_TIMEOUT, "container's"},
    {CONTAINER, FAULT_AT("/container", "endless"), INDEXKEY_CAUSE_SERVER, "container's"},
    {CONTAINER, FAULT_AT("/container", "close"), INDEXKEY_CAUSE_UNREACHABLE, "container's"},
    /* Instances. */
    {INSTANCE, ANSWER_AT("/latest/api/token", 403, "\"\""), INDEXKEY_CAUSE_CREDENTIAL, "IMDSv2"},
    {INSTANCE, ANSWER_AT("/latest/api/token", 200, "\"a b\""), INDEXKEY_CAUSE_SERVER,
     "no session token"},
    {INSTANCE, ANSWER_AT("/latest/meta-data", 401, "\"\""), INDEXKEY_CAUSE_CREDENTIAL, "HTTP 401"},
    {INSTANCE, ANSWER_AT("/latest/meta-data", 404, "\"\""), INDEXKEY_CAUSE_CONFIG, "has no role"},
    {INSTANCE, ANSWER_AT("/latest/meta-data", 200, "\"../evil\""), INDEXKEY_CAUSE_SERVER,
     "no name of a role"},
    {INSTANCE, ANSWER_AT("/latest/meta-data/iam/security-credentials/i", 200, "{}"),
     INDEXKEY_CAUSE_SERVER, "no temporary credentials"},
    {INSTANCE, SPOIL("AccessKeyId", "null"), INDEXKEY_CAUSE_SERVER, "no temporary credentials"},
    {INSTANCE, FAULT_AT("/latest", "hang"), INDEXKEY_CAUSE_TIMEOUT, "instance metadata"},
    {INSTANCE, FAULT_AT("/latest", "reset"), INDEXKEY_CAUSE_UNREACHABLE, "instance metadata"},
    {INSTANCE, FAULT_AT("/latest", "endless"), INDEXKEY_CAUSE_SERVER, "instance metadata"},
};

START_TEST(every_fault_is_told)
{
    static const char *const canaries[] = {"canary.",         "good/secret+",    "temporary/secret",
                                           "temporary-token", "container-token", "something new",
                                           "web.identity"};
    configure(faults[_i].kind, faults[_i].text);
    struct source *source = kms_open();
    if (faults[_i].script != NULL)
        fake_service_command(&fake, "%s", faults[_i].script);
    int64_t began_ms = clock_boot_ms();
    kms_assert_failed(make(source), faults[_i].cause, faults[_i].says);
    ck_assert_int_lt(clock_boot_ms() - began_ms, 3000 + 250);
    for (size_t i = 0; i < COUNT_OF(canaries); i++)
        ck_assert_ptr_null(strstr(fixture_log(), canaries[i]));
    source_close(&source);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

static const char *const far_urls[] = {"http://kms.example/c", "http://192.0.2.1/c", "ftp://a/",
                                       "http://10.0.0.1/c"};

START_TEST(plain_http_goes_no_further_than_the_link)
{
    configure(BY_CONTAINER, "container-token");
    kms_set_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", far_urls[_i]);
    struct source *source = kms_open();
    kms_assert_failed(make(source), INDEXKEY_CAUSE_CONFIG, "loopback or link-local");
    source_close(&source);
}
END_TEST

START_TEST(a_clock_that_is_off_is_corrected_for_sts_too)
{
    configure(BY_ROLE);
    struct source *source = kms_open();
    aws_set_clock(&fake, 3600);
    kms_assert_ok(make(source));
    ck_assert_ptr_nonnull(strstr(fixture_log(), "3600 s behind that of AWS STS"));
    /* STS twice, KMS once. */
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 3);
    source_close(&source);
}
END_TEST

/* The profile's keys are replaced while a session of theirs is good. */
START_TEST(what_is_kept_belongs_to_its_route)
{
    configure(BY_PROFILE, "[default]\nrole_arn = " ROLE_NEXT "\nsource_profile = default\n" KEYS);
    struct source *source = kms_open();
    kms_assert_ok(make(source));
    fixture_write("credentials", "[default]\n" KEYS, 0600);
    kms_assert_ok(make(source));
    ck_assert_int_eq(given(), 1);
    fixture_write("credentials",
                  "[default]\nrole_arn = " ROLE "\nexternal_id = external-17\n"
                  "source_profile = default\n" KEYS,
                  0600);
    kms_assert_ok(make(source));
    ck_assert_int_eq(given(), 2);
    source_close(&source);
}
END_TEST

START_TEST(the_keys_of_a_pin_assume_the_role_too)
{
    enum indexkey_cause cause;
    configure(BY_KEYS, "role_arn = " ROLE_NEXT "\nlogin = credential");
    kms_init_token();
    configure(BY_CONTAINER, "");
    configure(BY_KEYS, "role_arn = " ROLE_NEXT "\nlogin = credential");
    ck_assert_uint_eq(kms_login("AKIDGOOD:good/secret+", &cause), CKR_OK);
    ck_assert_uint_eq(kms_login("AKIDGOOD:wrong/secret+", &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_CREDENTIAL);
    ck_assert_ptr_nonnull(strstr(fixture_log(), "cannot assume the role"));
    fake_service_command(&fake, "%s", HANDLER("\"trust\", \"arn\": \"none\""));
    ck_assert_uint_eq(kms_login("AKIDGOOD:good/secret+", &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq(cause, INDEXKEY_CAUSE_DENIED);
}
END_TEST

START_TEST(no_lack_of_memory_leaks_or_crashes)
{
    static const struct kms_settings settings = {.deadline_ms = 3000};
    configure(ways[_i].kind, ways[_i].text);
    bool reached = true;
    for (unsigned long nth = 1; reached; nth++) {
        struct source *source = kms_open();
        struct source_call call = kms_call(&settings, aws_context);
        struct secret data_key = {0};
        struct blob wrapped = {0};
        mem_fail_at(nth, false);
        CK_RV rv = source_make_data_key(source, &call, &data_key, &wrapped);
        reached = mem_count() >= nth;
        mem_fail_at(0, false);
        ck_assert_msg(rv == (reached ? CKR_HOST_MEMORY : CKR_OK), "allocation %lu: %lx: %s", nth,
                      rv, fixture_log());
        secret_clear(&data_key);
        blob_clear(&wrapped);
        source_close(&source);
        ck_assert_uint_eq(secrets_in_use(), 0);
    }
}
END_TEST

/* ---- replicas ---- */

#define MULTI "mrk-1234abcd12ab34cd56ef1234567890ab"
#define IN_REGION(region) "arn:aws:kms:" region ":111122223333:key/" MULTI

static struct source *open_replicated(const char *endpoint)
{
    char lines[1024];
    (void) snprintf(lines, sizeof(lines), "replicas = eu-west-1=%s", fake_service_url(&fake, ""));
    struct kms_settings settings = {.more = lines,
                                    .deadline_ms = 3000,
                                    .region = "",
                                    .addr = endpoint,
                                    .key = IN_REGION("eu-central-1")};
    aws_configure(&fake, &settings);
    return kms_open();
}

static const struct {
    const char *endpoint; /* of the key's own Region; NULL: the fake */
    const char *fault;
    enum indexkey_cause cause;
    const char *says;
    const char *asked; /* the key of the last request */
} regions[] = {
    {"https://127.0.0.1:1", NULL, INDEXKEY_CAUSE_NONE, "replica in eu-west-1", "eu-west-1"},
    {NULL, "{\"do\": \"fault\", \"kind\": \"hang\", \"times\": 1}", INDEXKEY_CAUSE_NONE,
     "replica in eu-west-1", "eu-west-1"},
    {NULL, HANDLER("\"deny\", \"act\": \"Decrypt\""), INDEXKEY_CAUSE_DENIED, "kms:Decrypt",
     "eu-central-1"},
    {NULL, NULL, INDEXKEY_CAUSE_NONE, "", "eu-central-1"},
};

START_TEST(a_replica_is_asked_when_the_region_is_out_of_reach)
{
    static const struct kms_settings settings = {.deadline_ms = 3000};
    static const unsigned char ciphertext[] = {1, 2, 3};
    char wanted[256];
    fake_service_command(&fake, "%s", HANDLER("\"multi\""));
    struct source *source = open_replicated(regions[_i].endpoint);
    struct source_call call = kms_call(&settings, aws_context);
    if (regions[_i].fault != NULL)
        fake_service_command(&fake, "%s", regions[_i].fault);
    CK_RV rv = kms_unwrap(source, call, (struct view){ciphertext, sizeof(ciphertext)});
    ck_assert_msg(rv == cause_rv(regions[_i].cause), "%lx: %s", rv, fixture_log());
    ck_assert_msg(strstr(fixture_log(), regions[_i].says) != NULL, "%s", fixture_log());
    fake_service_command(&fake, "%s", HANDLER("\"last\""));
    (void) snprintf(wanted, sizeof(wanted), "arn:aws:kms:%s:111122223333:key/" MULTI,
                    regions[_i].asked);
    ck_assert_msg(strstr(fake.answer, wanted) != NULL, "%s", fake.answer);
    source_close(&source);
}
END_TEST

/* ---- work across sessions ---- */

static atomic_bool soak_over;
static atomic_int soak_failures;
static atomic_int soak_calls;

static void *soak(void *argument)
{
    static const struct kms_settings settings = {.deadline_ms = 3000};
    while (!atomic_load(&soak_over)) {
        struct secret data_key = {0};
        struct blob wrapped = {0};
        struct source_call call = kms_call(&settings, aws_context);
        if (source_make_data_key(argument, &call, &data_key, &wrapped) != CKR_OK)
            atomic_fetch_add(&soak_failures, 1);
        atomic_fetch_add(&soak_calls, 1);
        secret_clear(&data_key);
        blob_clear(&wrapped);
        (void) nanosleep(&(struct timespec){.tv_nsec = 20 * CLOCK_NS_PER_MS}, NULL);
    }
    return NULL;
}

START_TEST(short_sessions_are_renewed_by_one_at_a_time)
{
    static const enum kind kinds[] = {BY_KEYS, BY_INSTANCE};
    int seconds = kms_refresh_ms() / CLOCK_MS_PER_S;
    pthread_t threads[SOAK_THREADS];
    configure(kinds[_i], "role_arn = " ROLE_NEXT);
    struct source *source = kms_open();
    fake_service_command(&fake, HANDLER("\"lifetime\", \"seconds\": %d"), SESSION_S);
    fixture_forget_log();
    atomic_store(&soak_over, false);
    for (size_t i = 0; i < SOAK_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, soak, source), 0);
    (void) nanosleep(&(struct timespec){.tv_sec = seconds}, NULL);
    atomic_store(&soak_over, true);
    for (size_t i = 0; i < SOAK_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_msg(atomic_load(&soak_failures) == 0, "%s", fixture_log());
    ck_assert_int_gt(atomic_load(&soak_calls), 10 * seconds);
    int sets = given();
    /* A session serves for 3 s at least, since its end is told in whole seconds. */
    ck_assert_int_ge(sets, seconds / SESSION_S);
    ck_assert_int_le(sets, seconds / 2 + 1);
    source_close(&source);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("sessions");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, NULL, reset_fake);
    tcase_add_loop_test(cases, every_kind_gives_credentials_that_are_kept, 0, (int) COUNT_OF(ways));
    tcase_add_test(cases, a_command_gives_credentials);
    tcase_add_loop_test(cases, a_bad_command_is_told, 0, (int) COUNT_OF(bad_commands));
    tcase_add_loop_test(cases, every_fault_is_told, 0, (int) COUNT_OF(faults));
    tcase_add_loop_test(cases, plain_http_goes_no_further_than_the_link, 0,
                        (int) COUNT_OF(far_urls));
    tcase_add_test(cases, a_clock_that_is_off_is_corrected_for_sts_too);
    tcase_add_test(cases, what_is_kept_belongs_to_its_route);
    tcase_add_test(cases, the_keys_of_a_pin_assume_the_role_too);
    tcase_add_loop_test(cases, no_lack_of_memory_leaks_or_crashes, 0, (int) COUNT_OF(ways));
    tcase_add_loop_test(cases, a_replica_is_asked_when_the_region_is_out_of_reach, 0,
                        (int) COUNT_OF(regions));
    tcase_add_loop_test(cases, short_sessions_are_renewed_by_one_at_a_time, 0, 2);
    return fixture_run("source aws: sessions", cases);
}
