/*
 * Each `vault_auth` at a real Vault, which tests/servers/vault_auth.sh gives the methods; JWTs are
 * checked by Vault's own library, Kubernetes' TokenReview is tests/servers/fake_kubernetes.py.
 * Skipped where there is no Vault. It prints a table.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/real_vault.h"
#include "tests/contract/vault_fixture.h"
#include "tests/threads/crew.h"

#define CONTEXT "context"
#define PROOF "proof"
#define JWT_MAX 1500

static struct fake_service kubernetes;
static char role_id[REAL_VAULT_TOKEN_MAX];
static char secret_id[REAL_VAULT_TOKEN_MAX];

/* ---- JWTs ---- */

/* For audience, subject and seconds of life; with Kubernetes' claims. Until the next. */
static const char *make_jwt(const char *audience, const char *subject, int life_s)
{
    char arguments[1024];
    long now = (long) time(NULL);
    (void) snprintf(arguments, sizeof(arguments),
                    "'{\"iss\": \"test\", \"aud\": [\"%s\"], \"sub\": \"%s\", \"iat\": %ld, "
                    "\"nbf\": %ld, \"exp\": %ld, \"kubernetes.io\": {\"namespace\": \"prod\", "
                    "\"serviceaccount\": {\"name\": \"app\", \"uid\": \"u-1\"}}}'",
                    audience, subject, now - 600, now - 600, now + life_s);
    return real_vault_auth_script("jwt", arguments);
}

static void write_jwt(const char *audience, const char *subject, int life_s)
{
    fixture_write(PROOF, make_jwt(audience, subject, life_s), 0600);
}

static void admit(const char *namespace, const char *name)
{
    char jwt[JWT_MAX];
    (void) snprintf(jwt, sizeof(jwt), "%s", make_jwt("vault", "app", 600));
    fixture_write(PROOF, jwt, 0600);
    fake_service_command(&kubernetes,
                         "{\"do\": \"handler\", \"what\": \"admit\", \"token\": \"%s\", "
                         "\"namespace\": \"%s\", \"name\": \"%s\", \"uid\": \"u-1\"}",
                         jwt, namespace, name);
}

/* ---- the server ---- */

static void start_kubernetes(void)
{
    struct fake_service_options options = {.handler = "fake_kubernetes:FakeKubernetes",
                                           .certificates = fake_service_certificates()};
    char arguments[1024];
    fake_service_start(&kubernetes, &options);
    fake_service_command(&kubernetes, "%s", HANDLER("\"reviewer\", \"token\": \"reviewer-token\""));
    (void) snprintf(arguments, sizeof(arguments), "%s %s reviewer-token",
                    fake_service_url(&kubernetes, ""), fake_service_certificate("ca.pem"));
    (void) real_vault_auth_script("kubernetes", arguments);
}

static void start(void)
{
    real_vault_start();
    (void) real_vault_auth_script("setup", "5s");
    real_vault_read_variable("auth-env", "ROLE_ID", role_id, sizeof(role_id));
    real_vault_read_variable("auth-env", "SECRET_ID", secret_id, sizeof(secret_id));
    start_kubernetes();
}

static void stop(void)
{
    fake_service_stop(&kubernetes);
    real_vault_stop();
}

static struct source *open_with(const char *more, const char *variable)
{
    struct kms_settings settings = {
        .addr = real_vault.addr, .ca = real_vault.ca, .more = more, .token = variable};
    return vault_open(NULL, &settings);
}

static struct source_call call_of(const char *pin)
{
    static const struct kms_settings settings;
    struct source_call call = kms_call(&settings, view_text(CONTEXT));
    call.credential = view_text(pin);
    return call;
}

static CK_RV make(struct source *source, const char *pin, struct blob *ret_wrapped)
{
    return kms_make(source, call_of(pin), ret_wrapped);
}

/* ---- logins, good and bad ---- */

static void nothing(void)
{
}

static void good_jwt(void)
{
    write_jwt("vault", "host", 600);
}

static void expired_jwt(void)
{
    write_jwt("vault", "host", -300);
}

static void jwt_of_another_audience(void)
{
    write_jwt("other", "host", 600);
}

static void jwt_of_another_subject(void)
{
    write_jwt("vault", "other", 600);
}

static void jwt_that_is_none(void)
{
    fixture_write(PROOF, "abc", 0600);
}

static void forged_jwt(void)
{
    char jwt[JWT_MAX];
    (void) snprintf(jwt, sizeof(jwt), "%s", make_jwt("vault", "host", 600));
    memset(jwt + strlen(jwt) - 8, 'A', 8);
    fixture_write(PROOF, jwt, 0600);
}

static void good_account(void)
{
    admit("prod", "app");
}

static void expelled_account(void)
{
    admit("prod", "app");
    fake_service_command(&kubernetes, "%s", HANDLER("\"expel\""));
}

static void reviews_are_refused(void)
{
    admit("prod", "app");
    fake_service_fault(&kubernetes, "\"kind\": \"status\", \"status\": 401, \"times\": 1, "
                                    "\"body\": {\"kind\": \"Status\", \"code\": 401}");
}

enum lines { ROLE_LINES, PROOF_LINES, CERT_LINES, OTHER_CERT_LINES };

static const struct {
    const char *name;
    void (*prepare)(void);
    const char *more; /* in front of what `lines` adds */
    enum lines lines;
    enum indexkey_cause cause;
    const char *says;
    const char *variable; /* NULL: the secret id */
} rows[] = {
    {"approle", nothing, "vault_auth = approle", ROLE_LINES, INDEXKEY_CAUSE_NONE, "", NULL},
    {"approle, wrong secret id", nothing, "vault_auth = approle", ROLE_LINES,
     INDEXKEY_CAUSE_CREDENTIAL, "role id", "wrong"},
    {"approle, mounted nowhere", nothing, "vault_auth = approle\nvault_auth_mount = other",
     ROLE_LINES, INDEXKEY_CAUSE_CREDENTIAL, "vault_auth_mount", NULL},
    {"jwt", good_jwt, "vault_auth = jwt", PROOF_LINES, INDEXKEY_CAUSE_NONE, "", NULL},
    {"jwt, by the role's name", good_jwt, "vault_auth = jwt\nvault_role = index-keys", PROOF_LINES,
     INDEXKEY_CAUSE_NONE, "", NULL},
    {"jwt, unknown role", good_jwt, "vault_auth = jwt\nvault_role = none", PROOF_LINES,
     INDEXKEY_CAUSE_CONFIG, "correct vault_role", NULL},
    {"jwt, expired", expired_jwt, "vault_auth = jwt", PROOF_LINES, INDEXKEY_CAUSE_CREDENTIAL,
     "JWT has expired", NULL},
    {"jwt, another audience", jwt_of_another_audience, "vault_auth = jwt", PROOF_LINES,
     INDEXKEY_CAUSE_CREDENTIAL, "audience", NULL},
    {"jwt, another subject", jwt_of_another_subject, "vault_auth = jwt", PROOF_LINES,
     INDEXKEY_CAUSE_CREDENTIAL, "subject", NULL},
    {"jwt, forged signature", forged_jwt, "vault_auth = jwt", PROOF_LINES,
     INDEXKEY_CAUSE_CREDENTIAL, "not signed", NULL},
    {"jwt, no JWT", jwt_that_is_none, "vault_auth = jwt", PROOF_LINES, INDEXKEY_CAUSE_CREDENTIAL,
     "not signed", NULL},
    {"kubernetes", good_account, "vault_auth = kubernetes\nvault_role = index-keys", PROOF_LINES,
     INDEXKEY_CAUSE_NONE, "", NULL},
    {"kubernetes, unknown role", good_account, "vault_auth = kubernetes\nvault_role = none",
     PROOF_LINES, INDEXKEY_CAUSE_CONFIG, "correct vault_role", NULL},
    {"kubernetes, token not authentic", expelled_account,
     "vault_auth = kubernetes\nvault_role = index-keys", PROOF_LINES, INDEXKEY_CAUSE_CREDENTIAL,
     "service account", NULL},
    {"kubernetes, Vault may not review", reviews_are_refused,
     "vault_auth = kubernetes\nvault_role = index-keys", PROOF_LINES, INDEXKEY_CAUSE_CREDENTIAL,
     "review tokens", NULL},
    {"kubernetes, no JWT", jwt_that_is_none, "vault_auth = kubernetes\nvault_role = index-keys",
     PROOF_LINES, INDEXKEY_CAUSE_CREDENTIAL, "", NULL},
    {"kubernetes, audience of elsewhere", jwt_of_another_audience,
     "vault_auth = kubernetes\nvault_role = index-keys", PROOF_LINES, INDEXKEY_CAUSE_CREDENTIAL, "",
     NULL},
    {"cert", nothing, "vault_auth = cert\nvault_role = index-keys", CERT_LINES, INDEXKEY_CAUSE_NONE,
     "", NULL},
    {"cert, whichever role fits", nothing, "vault_auth = cert", CERT_LINES, INDEXKEY_CAUSE_NONE, "",
     NULL},
    {"cert, unknown role", nothing, "vault_auth = cert\nvault_role = none", CERT_LINES,
     INDEXKEY_CAUSE_CREDENTIAL, "no role admits", NULL},
    {"cert of another name", nothing, "vault_auth = cert\nvault_role = index-keys",
     OTHER_CERT_LINES, INDEXKEY_CAUSE_CREDENTIAL, "no role admits", NULL},
};

static void write_lines(enum lines lines, char *text, size_t size)
{
    const char *name = lines == CERT_LINES ? "client" : "server";
    if (lines == ROLE_LINES)
        (void) snprintf(text, size, "\nvault_role_id = %s\nvault_secret_id_env = " VAULT_VARIABLE,
                        role_id);
    else if (lines == PROOF_LINES)
        (void) snprintf(text, size, "\nvault_jwt_file = %s", fixture_path(PROOF));
    else
        (void) snprintf(text, size, "\nclient_cert = %s/tls/%s.pem\nclient_key = %s/tls/%s.key",
                        real_vault.folder, name, real_vault.folder, name);
}

START_TEST(a_login)
{
    char more[1024];
    char rest[512];
    struct blob wrapped = {0};
    rows[_i].prepare();
    write_lines(rows[_i].lines, rest, sizeof(rest));
    (void) snprintf(more, sizeof(more), "%s%s", rows[_i].more, rest);
    struct source *source = open_with(more, kms_or_default(rows[_i].variable, secret_id));
    CK_RV rv = make(source, "", &wrapped);
    enum indexkey_cause cause = cause_last();
    size_t lines = rows[_i].cause == INDEXKEY_CAUSE_NONE ? 0 : 1;
    bool log_ok = fixture_log_count() == lines && strstr(fixture_log(), rows[_i].says) != NULL &&
                  strstr(fixture_log(), secret_id) == NULL;
    printf("Vault  | %-38s | 0x%02lx | %-11s | %s\n", rows[_i].name, rv, cause_name(cause),
           log_ok ? "log ok" : "LOG WRONG");
    (void) fflush(stdout);
    ck_assert_msg(cause == rows[_i].cause && rv == cause_rv(cause) && log_ok, "wanted %s: %s",
                  cause_name(rows[_i].cause), fixture_log());
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

static const char *approle_lines(const char *more)
{
    static char text[1024];
    (void) snprintf(
        text, sizeof(text),
        "vault_auth = approle\nvault_role_id = %s\nvault_secret_id_env = " VAULT_VARIABLE "%s",
        role_id, more);
    return text;
}

/* An account of another name, which Kubernetes knows and the role does not. */
START_TEST(a_service_account_that_the_role_does_not_name_is_denied)
{
    char more[512];
    struct blob wrapped = {0};
    admit("prod", "app");
    (void) real_vault_api("POST auth/kubernetes/role/other '{\"bound_service_account_names\": "
                          "\"other\", \"bound_service_account_namespaces\": \"prod\"}'");
    (void) snprintf(more, sizeof(more),
                    "vault_auth = kubernetes\nvault_role = other\nvault_jwt_file = %s",
                    fixture_path(PROOF));
    struct source *source = open_with(more, "");
    kms_assert_failed(make(source, "", &wrapped), INDEXKEY_CAUSE_DENIED,
                      "bound_service_account_names");
    source_close(&source);
}
END_TEST

START_TEST(a_wrapped_secret_id_is_opened_once)
{
    char token[REAL_VAULT_TOKEN_MAX];
    struct blob wrapped = {0};
    (void) snprintf(token, sizeof(token), "%s", real_vault_auth_script("wrap", ""));
    struct source *source = open_with(approle_lines("\nvault_secret_id_wrapped = yes"), token);
    struct source *second = open_with(approle_lines("\nvault_secret_id_wrapped = yes"), token);
    kms_assert_ok(make(source, "", &wrapped));
    crew_sleep_ms(5200);
    kms_assert_ok(kms_unwrap(source, call_of(""), blob_view(&wrapped)));
    kms_assert_failed(kms_unwrap(second, call_of(""), blob_view(&wrapped)),
                      INDEXKEY_CAUSE_CREDENTIAL, "opened before");
    source_close(&second);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(a_wrapping_token_of_elsewhere_is_not_opened)
{
    char output[REAL_VAULT_OUTPUT_MAX];
    char command[1024];
    struct blob wrapped = {0};
    (void) snprintf(command, sizeof(command),
                    ". %s/env && curl -s --noproxy '*' --cacert $VAULT_CACERT -H "
                    "\"X-Vault-Token: $ROOT_TOKEN\" -H 'X-Vault-Wrap-TTL: 60s' -d "
                    "'{\"secret_id\": \"%s\"}' $VAULT_ADDR/v1/sys/wrapping/wrap | sed "
                    "'s/.*\"token\":\"\\([^\"]*\\)\".*/\\1/'",
                    real_vault.folder, secret_id);
    ck_assert_int_eq(real_vault_run(command, output, sizeof(output)), 0);
    struct source *source = open_with(approle_lines("\nvault_secret_id_wrapped = yes"), output);
    kms_assert_failed(make(source, "", &wrapped), INDEXKEY_CAUSE_CREDENTIAL, "not opened");
    source_close(&source);
}
END_TEST

START_TEST(a_revoked_token_costs_one_login_more)
{
    struct blob wrapped = {0};
    struct source *source = open_with(approle_lines(""), secret_id);
    kms_assert_ok(make(source, "", &wrapped));
    (void) real_vault_api("POST sys/leases/revoke-prefix/auth/approle '{\"sync\": true}'");
    kms_assert_ok(kms_unwrap(source, call_of(""), blob_view(&wrapped)));
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

START_TEST(an_approle_is_the_pin)
{
    char pin[2 * REAL_VAULT_TOKEN_MAX];
    char more[1100];
    enum indexkey_cause cause;
    (void) snprintf(more, sizeof(more), "login = credential\n%s", approle_lines(""));
    struct kms_settings settings = {
        .addr = real_vault.addr, .ca = real_vault.ca, .more = more, .token = secret_id};
    vault_configure(NULL, &settings);
    kms_init_token();
    settings.token = "";
    vault_configure(NULL, &settings);
    (void) snprintf(pin, sizeof(pin), "%s:%s", role_id, secret_id);
    ck_assert_uint_eq(kms_login(pin, &cause), CKR_OK);
    pin[strlen(pin) - 1] ^= 1;
    ck_assert_uint_eq(kms_login(pin, &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq((int) cause, INDEXKEY_CAUSE_CREDENTIAL);
}
END_TEST

/* ---- tokens of 5 s, many threads ---- */

struct work {
    struct source *source;
    const struct blob *wrapped;
    atomic_int calls;
    atomic_int failures;
};

static void unwrap_on(struct crew_member *member, void *context)
{
    struct work *work = context;
    while (crew_goes_on(member)) {
        struct secret data_key = {0};
        struct source_call call = call_of("");
        CK_RV rv = source_unwrap(work->source, &call, blob_view(work->wrapped), &data_key);
        secret_clear(&data_key);
        atomic_fetch_add(&work->calls, 1);
        atomic_fetch_add(&work->failures, rv == CKR_OK ? 0 : 1);
        crew_sleep_ms(20);
    }
}

static int audited(const char *prefix)
{
    return atoi(real_vault_script("count", prefix));
}

START_TEST(tokens_of_5_s_serve_many_threads)
{
    long ms = kms_refresh_ms();
    struct blob wrapped = {0};
    struct crew crew = {0};
    struct source *source = open_with(approle_lines(""), secret_id);
    kms_assert_ok(make(source, "", &wrapped));
    struct work work = {.source = source, .wrapped = &wrapped};
    int before = audited("auth/");
    crew_start(&crew, 8, unwrap_on, &work);
    crew_run(&crew, ms);
    int refreshes = audited("auth/") - before;
    printf("%ld ms: %d calls, %d failures, %d refreshes\n", ms, work.calls, work.failures,
           refreshes);
    ck_assert_int_eq(work.failures, 0);
    ck_assert_int_ge(refreshes, (int) (ms / 6000));
    ck_assert_int_le(refreshes, (int) (ms / 3000) + 2);
    blob_clear(&wrapped);
    source_close(&source);
}
END_TEST

/* ---- batch ---- */

START_TEST(a_batch_is_unwrapped_and_a_bad_one_spoils_only_itself)
{
    struct kms_settings settings = {
        .addr = real_vault.addr, .ca = real_vault.ca, .token = real_vault.client_token};
    struct source *source = vault_open(NULL, &settings);
    struct blob wrapped[SOURCE_ITEMS_MAX] = {{0}};
    struct source_item items[SOURCE_ITEMS_MAX] = {{{0}, {0}, {0}}};
    for (size_t i = 0; i < SOURCE_ITEMS_MAX; i++) {
        kms_assert_ok(kms_make(source, call_of(""), &wrapped[i]));
        items[i].wrapped = blob_view(&wrapped[i]);
        items[i].context = view_text(CONTEXT);
    }
    items[7].context = view_text("other");
    wrapped[9].bytes[wrapped[9].len - 8] ^= 1;
    struct source_call call = call_of("");
    int before = audited("transit/decrypt");
    ck_assert_uint_eq(source->ops->unwrap_many(source, &call, items, SOURCE_ITEMS_MAX), CKR_OK);
    ck_assert_int_eq(audited("transit/decrypt") - before, 1);
    for (size_t i = 0; i < SOURCE_ITEMS_MAX; i++) {
        ck_assert_uint_eq(items[i].value.len, i == 7 || i == 9 ? 0 : DATA_KEY_LEN);
        secret_clear(&items[i].value);
        blob_clear(&wrapped[i]);
    }
    source_close(&source);
}
END_TEST

/* ---- parameters ---- */

START_TEST(a_parameter_is_read_from_kv_version_2)
{
    struct kms_settings settings = {
        .addr = real_vault.addr, .ca = real_vault.ca, .token = real_vault.root_token};
    struct secret value = {0};
    (void) real_vault_api("POST sys/mounts/secret '{\"type\": \"kv\", \"options\": "
                          "{\"version\": \"2\"}}'");
    (void) real_vault_api(
        "POST secret/data/index/key '{\"data\": {\"ciphertext\": \"vault:v1:AA\", "
        "\"other\": \"vault:v1:BB\"}}'");
    struct source *source = vault_open(NULL, &settings);
    struct source_call call = call_of("");
    kms_assert_ok(source_read_parameter(source, &call, "kv:secret/index/key#other", &value));
    ck_assert_uint_eq(value.len, strlen("vault:v1:BB"));
    ck_assert_mem_eq(value.bytes, "vault:v1:BB", value.len);
    secret_clear(&value);
    fixture_forget_log();
    kms_assert_failed(source_read_parameter(source, &call, "kv:secret/index/none", &value),
                      INDEXKEY_CAUSE_CONFIG, "nothing at that path");
    (void) real_vault_api("DELETE secret/data/index/key");
    fixture_forget_log();
    kms_assert_failed(source_read_parameter(source, &call, "kv:secret/index/key", &value),
                      INDEXKEY_CAUSE_CONFIG, "was deleted");
    source_close(&source);
    settings.token = real_vault.client_token;
    source = vault_open(NULL, &settings);
    fixture_forget_log();
    kms_assert_failed(source_read_parameter(source, &call, "kv:secret/index/key", &value),
                      INDEXKEY_CAUSE_DENIED, "capabilities = [\"read\"]");
    source_close(&source);
}
END_TEST

int main(void)
{
    if (!real_vault_is_there()) {
        printf("skipped: no Vault server: run tests/servers/vault.sh build, once\n");
        return REAL_VAULT_SKIPPED;
    }
    TCase *cases = tcase_create("real");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start, stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_login, 0, (int) COUNT_OF(rows));
    tcase_add_test(cases, a_service_account_that_the_role_does_not_name_is_denied);
    tcase_add_test(cases, a_wrapped_secret_id_is_opened_once);
    tcase_add_test(cases, a_wrapping_token_of_elsewhere_is_not_opened);
    tcase_add_test(cases, a_revoked_token_costs_one_login_more);
    tcase_add_test(cases, an_approle_is_the_pin);
    tcase_add_test(cases, tokens_of_5_s_serve_many_threads);
    tcase_add_test(cases, a_batch_is_unwrapped_and_a_bad_one_spoils_only_itself);
    tcase_add_test(cases, a_parameter_is_read_from_kv_version_2);
    return fixture_run("source vault: logins at a real Vault", cases);
}
