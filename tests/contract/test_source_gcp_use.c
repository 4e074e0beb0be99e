/* `source = gcp` as it is meant to be used: configuration, credentials, what goes over the wire. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/contract/gcp_fixture.h"

#define MAGIC "IKGC\1"
#define ALTER(member, value) HANDLER("\"alter\", \"member\": \"" member "\", \"value\": " value)
#define PATH "project_id = p\nlocation = global\nkey_ring = r\ncrypto_key = k\n"
#define THREADS 8
#define TEXT_LEN 16
#define SEALED_LEN (TEXT_LEN + 16)

static struct fake_service fake;
static const struct kms_settings plain;

static void start_fake(void)
{
    gcp_start(&fake);
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static void reset_fake(void)
{
    gcp_reset(&fake);
}

static int tokens_given(struct fake_service *by)
{
    fake_service_command(by, "%s", HANDLER("\"tokens\""));
    const char *found = strstr(by->answer, "\"tokens\": ");
    ck_assert_ptr_nonnull(found);
    return (int) strtol(found + strlen("\"tokens\": "), NULL, 10);
}

/* An access token of the service account; valid until the next command. */
static const char *access_token(void)
{
    fake_service_command(&gcp_provider, "%s", HANDLER("\"token\""));
    char *token = strstr(gcp_provider.answer, "ya29.");
    ck_assert_ptr_nonnull(token);
    token[strcspn(token, "\"")] = '\0';
    return token;
}

/* ---- configuration ---- */

static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {"location = global\nkey_ring = r\ncrypto_key = k", "project_id"},
    {"project_id = p\nkey_ring = r\ncrypto_key = k", "location"},
    {"project_id = p\nlocation = global\ncrypto_key = k", "key_ring"},
    {"project_id = p\nlocation = global\nkey_ring = r", "crypto_key"},
    {"project_id = 1234\nlocation = global\nkey_ring = r\ncrypto_key = k", "project_id must be"},
    {"project_id = My-Project\nlocation = global\nkey_ring = r\ncrypto_key = k",
     "project_id must be"},
    {"project_id = p\nlocation = Europe\nkey_ring = r\ncrypto_key = k", "location must be"},
    {"project_id = p\nlocation = global\nkey_ring = r/s\ncrypto_key = k", "key_ring must be"},
    {"project_id = p\nlocation = global\nkey_ring = r\ncrypto_key = k:encrypt",
     "crypto_key must be"},
    {PATH "endpoint = http://kms.example", "endpoint must be"},
    {PATH "endpoint = http://metadata.google.internal", "endpoint must be"},
    {PATH "endpoint = https://user:secret@kms.example", "endpoint must be"},
    {PATH "credentials_file = key.json", "credentials_file"},
    {PATH "ca_file = ca.pem", "ca_file"},
    {PATH "key_id = k", "key_id"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("gcp", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

/* ---- the wire ---- */

START_TEST(checksums_and_context_are_sent)
{
    static const unsigned char bytes[] = "abc";
    struct view context = {bytes, 3};
    struct source *source = gcp_open(&fake, &plain);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, context, &wrapped));
    ck_assert_int_eq(memcmp(wrapped.bytes, MAGIC, strlen(MAGIC)), 0);
    ck_assert_ptr_nonnull(memmem(wrapped.bytes, wrapped.len,
                                 GCP_KEY_NAME_GOOD "/cryptoKeyVersions/1",
                                 strlen(GCP_KEY_NAME_GOOD "/cryptoKeyVersions/1")));
    kms_assert_sent(&fake, "\"path\": \"/v1/" GCP_KEY_NAME_GOOD ":encrypt\"", true);
    kms_assert_sent(&fake, "\"additionalAuthenticatedData\": \"YWJj\"", true);
    /* CRC-32C of "abc", by google-crc32c. */
    kms_assert_sent(&fake, "\"additionalAuthenticatedDataCrc32c\": \"910901175\"", true);
    kms_assert_sent(&fake, "\"plaintextCrc32c\": \"", true);
    kms_assert_sent(&fake, "\"authorization\": \"Bearer ya29.", true);
    kms_assert_sent(&fake, "x-goog-user-project", false);
    kms_assert_ok(kms_unwrap_in(source, context, blob_view(&wrapped)));
    kms_assert_sent(&fake, ":decrypt\"", true);
    kms_assert_sent(&fake, "\"ciphertextCrc32c\": \"", true);
    kms_assert_sent(&fake, "\"additionalAuthenticatedDataCrc32c\": \"910901175\"", true);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* As gcloud makes it: Google's ciphertext alone, without a context. */
START_TEST(a_bare_ciphertext_is_unwrapped)
{
    struct source *source = gcp_open(&fake, &plain);
    struct blob wrapped = {0};
    size_t head = strlen(MAGIC) + 4 + strlen(GCP_KEY_NAME_GOOD "/cryptoKeyVersions/1");
    kms_assert_ok(kms_make_in(source, gcp_context_none, &wrapped));
    kms_assert_sent(&fake, "additionalAuthenticatedData", false);
    ck_assert_uint_gt(wrapped.len, head);
    struct view bare = {wrapped.bytes + head, wrapped.len - head};
    ck_assert_int_eq(bare.bytes[0], 10);
    kms_assert_ok(kms_unwrap_in(source, gcp_context_none, bare));
    kms_assert_failed(kms_unwrap_in(source, gcp_context, bare), INDEXKEY_CAUSE_TAMPERED,
                      "another context");
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(what_is_no_wrapped_key_is_not_sent)
{
    static const char *const texts[] = {"", "IKGC", "IKGC\1", "IKGC\1\0\0\0\1x", "IKGC\2"};
    static unsigned char large[8193];
    struct source *source = gcp_open(&fake, &plain);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        kms_assert_failed(kms_unwrap_in(source, gcp_context, view_text(texts[i])),
                          INDEXKEY_CAUSE_TAMPERED, "no ciphertext of Google");
    kms_assert_failed(kms_unwrap_in(source, gcp_context, (struct view){large, sizeof(large)}),
                      INDEXKEY_CAUSE_TAMPERED, "no ciphertext of Google");
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 0);
    source_close(&source);
}
END_TEST

static const struct {
    const char *script;
    const char *says;
} bad_replies[] = {
    {ALTER("name", "null"), "another key"},
    {ALTER("name", "\"" GCP_KEY_NAME_GOOD "\""), "another key"},
    {ALTER("name", "\"" GCP_KEY_NAME_GOOD "/cryptoKeyVersions/\""), "another key"},
    {ALTER("name", "\"" GCP_KEY_NAME_GOOD "/cryptoKeyVersions/1x\""), "another key"},
    {ALTER("name", "\"" GCP_KEY_NAME_GOOD "2/cryptoKeyVersions/1\""), "another key"},
    {ALTER("ciphertext", "null"), "no ciphertext"},
    {ALTER("ciphertext", "\"\""), "no ciphertext"},
    {ALTER("ciphertext", "\"****\""), "no ciphertext"},
    {ALTER("ciphertext", "{}"), "no ciphertext"},
    {ALTER("ciphertext", "\"AAAA\""), "another checksum"},
    {ALTER("ciphertextCrc32c", "null"), "another checksum"},
    {ALTER("ciphertextCrc32c", "\"0\""), "another checksum"},
    {ALTER("verifiedPlaintextCrc32c", "null"), "checksums of what was sent"},
    {ALTER("verifiedPlaintextCrc32c", "false"), "checksums of what was sent"},
    {ALTER("verifiedPlaintextCrc32c", "\"true\""), "checksums of what was sent"},
    {ALTER("verifiedAdditionalAuthenticatedDataCrc32c", "null"), "checksums of what was sent"},
    {HANDLER("\"corrupt\", \"member\": \"plaintext\""), "changed on its way"},
};

START_TEST(a_reply_that_is_no_wrapped_key_is_refused)
{
    struct source *source = gcp_open(&fake, &plain);
    struct blob wrapped = {0};
    fake_service_command(&fake, "%s", bad_replies[_i].script);
    kms_assert_failed(kms_make_in(source, gcp_context, &wrapped), INDEXKEY_CAUSE_SERVER,
                      bad_replies[_i].says);
    ck_assert_uint_eq(wrapped.len, 0);
    source_close(&source);
}
END_TEST

START_TEST(a_key_may_be_rotated)
{
    struct source *source = gcp_open(&fake, &plain);
    struct blob before = {0};
    struct blob after = {0};
    kms_assert_ok(kms_make_in(source, gcp_context, &before));
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&before)));
    kms_assert_ok(kms_make_in(source, gcp_context, &after));
    ck_assert_ptr_nonnull(memmem(after.bytes, after.len, "/cryptoKeyVersions/2", 20));
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&after)));
    /* The state that counts is that of the version which wrapped. */
    fake_service_command(&fake, "%s", HANDLER("\"state\", \"state\": \"DISABLED\""));
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&after)));
    kms_assert_failed(kms_unwrap_in(source, gcp_context, blob_view(&before)),
                      INDEXKEY_CAUSE_DISABLED, "versions enable");
    blob_clear(&before);
    blob_clear(&after);
    source_close(&source);
}
END_TEST

/* ---- access tokens ---- */

START_TEST(an_access_token_serves_many_calls)
{
    struct source *source = gcp_open(&fake, &plain);
    struct blob wrapped = {0};
    int before = tokens_given(&gcp_provider);
    kms_assert_ok(kms_make_in(source, gcp_context, &wrapped));
    for (int i = 0; i < 5; i++)
        kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&wrapped)));
    ck_assert_int_eq(tokens_given(&gcp_provider), before + 1);
    fake_service_command(&fake, "%s", HANDLER("\"revoke_tokens\""));
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&wrapped)));
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&wrapped)));
    ck_assert_int_eq(tokens_given(&gcp_provider), before + 2);
    /* It is renewed in its last four minutes, from what the file says by then. */
    clock_shift(3599000 - 1000);
    gcp_configure(&fake, &(struct kms_settings){.credential = GCP_USER});
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&wrapped)));
    kms_assert_sent(&fake, "\"x-goog-user-project\": \"quota-project\"", true);
    clock_shift(0);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

struct worker {
    pthread_t thread;
    struct source *source;
    struct view wrapped;
    int calls;
    int failures;
};

static void *work(void *context)
{
    struct worker *worker = context;
    int64_t end_ms = clock_boot_ms() + kms_refresh_ms();
    while (clock_boot_ms() < end_ms) {
        struct source_call call = kms_call(&plain, gcp_context);
        struct secret key = {0};
        worker->calls++;
        worker->failures += source_unwrap(worker->source, &call, worker->wrapped, &key) != CKR_OK;
        secret_clear(&key);
        (void) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return NULL;
}

static const struct {
    const char *credential;
    struct fake_service *by;
    int tokens; /* for one renewal */
} short_lived[] = {
    {"", &gcp_machine, 1},
    {GCP_BY_FILE GCP_IMPERSONATES, &gcp_provider, 2},
};

/* Tokens that last five seconds: one is asked for each four or so, whatever the number of threads,
 * and no call fails across its end. */
START_TEST(threads_work_across_the_ends_of_tokens)
{
    struct kms_settings settings = {.credential = short_lived[_i].credential};
    struct source *source = gcp_open(&fake, &settings);
    struct worker workers[THREADS] = {{.calls = 0}};
    struct blob wrapped = {0};
    int calls = 0;
    kms_assert_ok(kms_make_in(source, gcp_context, &wrapped));
    fake_service_command(&fake, "%s", HANDLER("\"revoke_tokens\""));
    fake_service_command(short_lived[_i].by, "%s", HANDLER("\"lifetime\", \"seconds\": 5"));
    int before = tokens_given(short_lived[_i].by);
    for (int i = 0; i < THREADS; i++) {
        workers[i].source = source;
        workers[i].wrapped = blob_view(&wrapped);
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_msg(workers[i].failures == 0, "%s", fixture_log());
        calls += workers[i].calls;
    }
    int renewals = (tokens_given(short_lived[_i].by) - before) / short_lived[_i].tokens;
    int seconds = kms_refresh_ms() / CLOCK_MS_PER_S;
    printf("%d calls by %d threads in %d s across %d renewals of tokens of 5 s\n", calls, THREADS,
           seconds, renewals);
    ck_assert_int_ge(renewals, seconds / 5);
    ck_assert_int_le(renewals, seconds / 3 + 1);
    ck_assert_int_gt(calls, 50 * renewals);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(the_metadata_server_is_asked_without_a_proxy)
{
    static const struct kms_settings machine = {.credential = ""};
    struct blob wrapped = {0};
    kms_set_variable("http_proxy", "http://127.0.0.1:1");
    kms_set_variable("all_proxy", "http://127.0.0.1:1");
    struct source *source = gcp_open(&fake, &machine);
    kms_assert_ok(kms_make_in(source, gcp_context, &wrapped));
    fake_service_command(&gcp_machine, "{\"do\": \"requests\"}");
    ck_assert_ptr_nonnull(strstr(gcp_machine.answer, "\"metadata-flavor\": \"Google\""));
    ck_assert_ptr_null(strstr(gcp_machine.answer, "via"));
    blob_clear(&wrapped);
    source_close(&source);
    static const char *const hosts[] = {"10.0.0.1", "metadata.example", "127.0.0.1:1@evil.example",
                                        "a b"};
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        source = gcp_open(&fake, &machine);
        kms_set_variable("GCE_METADATA_HOST", hosts[i]);
        kms_assert_failed(kms_make_in(source, gcp_context, &wrapped), INDEXKEY_CAUSE_CONFIG,
                          "GCE_METADATA_HOST");
        source_close(&source);
    }
}
END_TEST

/* Kubernetes mounts subject tokens behind symbolic links, readable by all. */
START_TEST(a_subject_token_may_be_replaced)
{
    static const struct kms_settings settings = {.credential = GCP_BY_FILE};
    struct source *source = gcp_open(&fake, &settings);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, gcp_context, &wrapped));
    fixture_write("subject", "expired.subject.token", 0644);
    fake_service_command(&fake, "%s", HANDLER("\"revoke_tokens\""));
    kms_assert_failed(kms_unwrap_in(source, gcp_context, blob_view(&wrapped)),
                      INDEXKEY_CAUSE_CREDENTIAL, "credential is refused");
    gcp_configure(&fake, &settings);
    kms_assert_ok(kms_unwrap_in(source, gcp_context, blob_view(&wrapped)));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- logins ---- */

static void assert_login(const char *pin, CK_RV wanted, enum indexkey_cause wanted_cause)
{
    enum indexkey_cause cause;
    CK_RV rv = kms_login(pin, &cause);
    ck_assert_msg(rv == wanted, "%lx: %s", rv, fixture_log());
    ck_assert_int_eq((int) cause, (int) wanted_cause);
    ck_assert_ptr_null(strstr(fixture_log(), "secret@"));
    ck_assert_ptr_null(strstr(fixture_log(), "ya29"));
}

START_TEST(the_credential_is_the_pin)
{
    static const struct kms_settings wrong = {
        .credential = GCP_ACCOUNT GCP_ALTER("\"private_key\": \"secret@key\"")};
    struct kms_settings settings = {.more = "login = credential"};
    gcp_configure(&fake, &settings);
    kms_init_token();
    assert_login(gcp_credentials(), CKR_OK, INDEXKEY_CAUSE_NONE);
    fake_service_command(&gcp_provider, "%s", HANDLER("\"forget\", \"which\": \"key\""));
    assert_login(gcp_credentials(), CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL);
    gcp_reset(&fake);
    /* From here on nothing but the PIN is there. */
    settings.credential = GCP_USER;
    gcp_configure(&fake, &settings);
    char *user = mem_strdup(gcp_credentials());
    gcp_configure(&fake, &wrong);
    char *malformed = mem_strdup(gcp_credentials());
    settings.credential = "absent";
    gcp_configure(&fake, &settings);
    assert_login(access_token(), CKR_OK, INDEXKEY_CAUSE_NONE);
    assert_login(user, CKR_OK, INDEXKEY_CAUSE_NONE);
    assert_login(malformed, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL);
    assert_login("ya29.secret@token", CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL);
    assert_login("two secret@ words", CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL);
    assert_login("{\"type\": \"secret@\"}", CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL);
    assert_login("{\"type\": \"external_account\", \"audience\": \"secret@\"}", CKR_PIN_INCORRECT,
                 INDEXKEY_CAUSE_CREDENTIAL);
    fake_service_command(&fake, "%s", HANDLER("\"deny\", \"act\": \"decrypt\""));
    assert_login(access_token(), CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_DENIED);
    mem_free(user);
    mem_free(malformed);
}
END_TEST

START_TEST(the_machine_logs_in)
{
    static const struct kms_settings settings = {.credential = "",
                                                 .more = "login = ambient\ncontext.tenant = acme"};
    gcp_configure(&fake, &settings);
    kms_init_token();
    assert_login(NULL, CKR_OK, INDEXKEY_CAUSE_NONE);
    fake_service_command(&fake, "%s", HANDLER("\"state\", \"state\": \"DISABLED\""));
    assert_login(NULL, CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_DISABLED);
}
END_TEST

static CK_SESSION_HANDLE begin_session(void)
{
    CK_SESSION_HANDLE session;
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    ck_assert_uint_eq(C_Initialize(NULL), CKR_OK);
    ck_assert_uint_eq(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session),
                      CKR_OK);
    CK_RV rv = C_Login(session, CKU_USER, pin, sizeof(pin) - 1);
    ck_assert_msg(rv == CKR_OK, "%lx: %s", rv, fixture_log());
    return session;
}

static void seal(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_BYTE sealed[SEALED_LEN])
{
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG key_len = 32;
    CK_BBOOL yes = CK_TRUE;
    CK_UTF8CHAR label[] = "old";
    CK_BYTE text[TEXT_LEN] = "what is kept so\0";
    CK_ULONG len = SEALED_LEN;
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, sizeof(yes)},
                               {CKA_VALUE_LEN, &key_len, sizeof(key_len)},
                               {CKA_ENCRYPT, &yes, sizeof(yes)},
                               {CKA_DECRYPT, &yes, sizeof(yes)},
                               {CKA_LABEL, label, sizeof(label) - 1}};
    ck_assert_uint_eq(C_GenerateKey(session, &generate, template, 5, &key), CKR_OK);
    ck_assert_uint_eq(C_EncryptInit(session, mechanism, key), CKR_OK);
    ck_assert_uint_eq(C_Encrypt(session, text, sizeof(text), sealed, &len), CKR_OK);
    ck_assert_uint_eq(len, SEALED_LEN);
}

static void unseal(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_BYTE sealed[SEALED_LEN])
{
    CK_UTF8CHAR label[] = "old";
    CK_ATTRIBUTE template[] = {{CKA_LABEL, label, sizeof(label) - 1}};
    CK_BYTE text[TEXT_LEN];
    CK_ULONG len = sizeof(text);
    CK_ULONG count;
    CK_OBJECT_HANDLE key;
    ck_assert_uint_eq(C_FindObjectsInit(session, template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &key, 1, &count), CKR_OK);
    ck_assert_uint_eq(C_FindObjectsFinal(session), CKR_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(C_DecryptInit(session, mechanism, key), CKR_OK);
    ck_assert_uint_eq(C_Decrypt(session, sealed, SEALED_LEN, text, &len), CKR_OK);
    ck_assert_uint_eq(len, TEXT_LEN);
    ck_assert_str_eq((const char *) text, "what is kept so");
}

START_TEST(old_data_opens_after_a_restart_and_a_rotation)
{
    CK_BYTE sealed[SEALED_LEN];
    CK_BYTE iv[12] = {1};
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = sizeof(iv), .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    gcp_configure(&fake, &plain);
    kms_init_token();
    seal(begin_session(), &mechanism, sealed);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
    fake_service_command(&fake, "%s", HANDLER("\"rotate\""));
    unseal(begin_session(), &mechanism, sealed);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* Made by gcloud, and named in a [key] section. */
START_TEST(a_direct_key_is_unwrapped)
{
    static char more[2048];
    char coded[1024];
    struct blob wrapped = {0};
    struct source *source = gcp_open(&fake, &plain);
    size_t head = strlen(MAGIC) + 4 + strlen(GCP_KEY_NAME_GOOD "/cryptoKeyVersions/1");
    kms_assert_ok(kms_make_in(source, gcp_context_none, &wrapped));
    (void) EVP_EncodeBlock((unsigned char *) coded, wrapped.bytes + head,
                           (int) (wrapped.len - head));
    (void) snprintf(more, sizeof(more), "[key direct]\ntoken = vectors\nciphertext = base64:%s",
                    coded);
    blob_clear(&wrapped);
    source_close(&source);
    gcp_configure(&fake, &(struct kms_settings){.more = more});
    kms_init_token();
    CK_SESSION_HANDLE session = begin_session();
    CK_UTF8CHAR label[] = "direct";
    CK_ATTRIBUTE template[] = {{CKA_LABEL, label, sizeof(label) - 1}};
    CK_ULONG count = 0;
    CK_OBJECT_HANDLE key;
    ck_assert_uint_eq(C_FindObjectsInit(session, template, 1), CKR_OK);
    ck_assert_uint_eq(C_FindObjects(session, &key, 1, &count), CKR_OK);
    ck_assert_msg(count == 1, "%s", fixture_log());
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- memory ---- */

static const char *const credentials[] = {GCP_ACCOUNT, GCP_USER, GCP_BY_FILE GCP_IMPERSONATES,
                                          GCP_BY_URL, ""};

START_TEST(no_lack_of_memory_leaks_or_crashes)
{
    struct kms_settings settings = {.credential = credentials[_i]};
    struct source *source = gcp_open(&fake, &settings);
    struct blob wrapped = {0};
    kms_assert_ok(kms_make_in(source, gcp_context, &wrapped));
    for (unsigned long nth = 1;; nth++) {
        struct secret data_key = {0};
        struct source_call call = kms_call(&plain, gcp_context);
        source_close(&source);
        source = kms_open();
        long before = mem_live();
        mem_fail_at(nth, false);
        CK_RV rv = source_unwrap(source, &call, blob_view(&wrapped), &data_key);
        bool reached = mem_count() >= nth;
        mem_fail_at(0, false);
        secret_clear(&data_key);
        /* The client's first connection, and an empty slab of each size. */
        ck_assert_int_le(mem_live() - before, 12);
        if (!reached) {
            kms_assert_ok(rv);
            ck_assert_uint_gt(nth, 15);
            break;
        }
        ck_assert_msg(rv == CKR_HOST_MEMORY, "allocation %lu: %lx: %s", nth, rv, fixture_log());
    }
    source_close(&source);
    ck_assert_uint_eq(secrets_in_use(), 0);
    blob_clear(&wrapped);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("use");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, reset_fake);
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_test(cases, checksums_and_context_are_sent);
    tcase_add_test(cases, a_bare_ciphertext_is_unwrapped);
    tcase_add_test(cases, what_is_no_wrapped_key_is_not_sent);
    tcase_add_loop_test(cases, a_reply_that_is_no_wrapped_key_is_refused, 0,
                        (int) COUNT_OF(bad_replies));
    tcase_add_test(cases, a_key_may_be_rotated);
    tcase_add_test(cases, an_access_token_serves_many_calls);
    tcase_add_loop_test(cases, threads_work_across_the_ends_of_tokens, 0,
                        (int) COUNT_OF(short_lived));
    tcase_add_test(cases, the_metadata_server_is_asked_without_a_proxy);
    tcase_add_test(cases, a_subject_token_may_be_replaced);
    tcase_add_test(cases, the_credential_is_the_pin);
    tcase_add_test(cases, the_machine_logs_in);
    tcase_add_test(cases, old_data_opens_after_a_restart_and_a_rotation);
    tcase_add_test(cases, a_direct_key_is_unwrapped);
    tcase_add_loop_test(cases, no_lack_of_memory_leaks_or_crashes, 0, (int) COUNT_OF(credentials));
    return fixture_run("source gcp: use", cases);
}
