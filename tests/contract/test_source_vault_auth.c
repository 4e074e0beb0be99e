/*
 * `vault_auth` as it is meant to be used: each way to log in to Vault, and the token that it gave,
 * over its renewals, its end and its revocation.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/vault_fixture.h"
#include "tests/threads/crew.h"

#define PROOF "proof"
#define APPROLE                                                                                    \
    "vault_auth = approle\nvault_role_id = role-1\nvault_secret_id_env = " VAULT_VARIABLE
#define LOGINS(options) HANDLER("\"login_options\", \"options\": {" options "}")
#define DAY_MS (INT64_C(24) * 3600 * 1000)

static struct fake_service fake;
static const struct kms_settings approle = {.more = APPROLE, .token = "secret-1"};

static void start_fake(void)
{
    vault_start(&fake);
    fake_service_command(&fake, "%s", HANDLER("\"save\""));
}

static void stop_fake(void)
{
    kms_stop(&fake);
}

static struct source *begin(const struct kms_settings *settings, struct blob *ret_wrapped)
{
    return vault_begin(&fake, settings, ret_wrapped);
}

/* ---- configuration ---- */

#define AT_VAULT "vault_addr = https://v.example\nkey_name = k\n"
static const struct {
    const char *lines;
    const char *says;
} bad_lines[] = {
    {AT_VAULT "vault_auth = approle", "needs vault_role_id"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = a b", "vault_role_id must be"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = r\nvault_role = x", "vault_role is of no use"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = r\nvault_token_env = X",
     "vault_token_env is of no use"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = r\nvault_token_renew = yes",
     "vault_token_renew is of no use"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = r\nvault_secret_id_wrapped = yes",
     "vault_secret_id_file"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = r\nvault_secret_id_env = "
              "A\nvault_secret_id_file = /b",
     "keep one of them"},
    {AT_VAULT "vault_auth = approle\nvault_role_id = r\nvault_auth_mount = /a",
     "vault_auth_mount must be"},
    {AT_VAULT "vault_auth = kubernetes", "needs vault_role"},
    {AT_VAULT "vault_auth = kubernetes\nvault_role = a/b", "vault_role must be"},
    {AT_VAULT "vault_auth = kubernetes\nvault_role = r\nlogin = credential",
     "set login to pin or ambient"},
    {AT_VAULT "vault_auth = jwt\nvault_role = r", "needs vault_jwt_file"},
    {AT_VAULT "vault_auth = jwt\nvault_jwt_file = jwt", "vault_jwt_file must be"},
    {AT_VAULT "vault_auth = jwt\nvault_jwt_file = /j\nlogin = credential",
     "set login to pin or ambient"},
    {AT_VAULT "vault_auth = cert", "needs client_cert"},
    {AT_VAULT "vault_auth = cert\nclient_cert = /c\nvault_jwt_file = /j",
     "vault_jwt_file is of no use"},
    {AT_VAULT "vault_auth = token\nvault_auth_mount = x", "vault_auth_mount is of no use"},
    {AT_VAULT "vault_role_id = r", "vault_role_id is of no use"},
};

START_TEST(a_bad_configuration_is_refused)
{
    kms_assert_refused("vault", bad_lines[_i].lines, bad_lines[_i].says);
}
END_TEST

/* ---- each way to log in ---- */

static const struct {
    const char *more;
    const char *file_key; /* of the file PROOF with `proof` in it */
    const char *proof;
    const char *path;
    const char *body;
} methods[] = {
    {APPROLE, NULL, NULL, "/v1/auth/approle/login",
     "{\\\"role_id\\\":\\\"role-1\\\",\\\"secret_id\\\":\\\"secret-1\\\"}"},
    {"vault_auth = approle\nvault_role_id = role-1", "vault_secret_id_file", "secret-1\n",
     "/v1/auth/approle/login",
     "{\\\"role_id\\\":\\\"role-1\\\",\\\"secret_id\\\":\\\"secret-1\\\"}"},
    {"vault_auth = kubernetes\nvault_role = index-keys", "vault_jwt_file", "good.jwt.text",
     "/v1/auth/kubernetes/login",
     "{\\\"role\\\":\\\"index-keys\\\",\\\"jwt\\\":\\\"good.jwt.text\\\"}"},
    {"vault_auth = jwt\nvault_role = index-keys", "vault_jwt_file", "good.jwt.text\n",
     "/v1/auth/jwt/login", "{\\\"role\\\":\\\"index-keys\\\",\\\"jwt\\\":\\\"good.jwt.text\\\"}"},
    {"vault_auth = jwt\nvault_namespace = team-a", "vault_jwt_file", "good.jwt.text",
     "/v1/auth/jwt/login", "{\\\"jwt\\\":\\\"good.jwt.text\\\"}"},
};

static int count_in(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

START_TEST(a_method_logs_in_once_for_many_calls)
{
    char more[512];
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = more, .token = "secret-1"};
    if (methods[_i].proof != NULL)
        fixture_write(PROOF, methods[_i].proof, 0600);
    (void) snprintf(more, sizeof(more), "%s%s%s%s%s", methods[_i].more,
                    methods[_i].proof == NULL ? "" : "\n", kms_or_default(methods[_i].file_key, ""),
                    methods[_i].proof == NULL ? "" : " = ",
                    methods[_i].proof == NULL ? "" : fixture_path(PROOF));
    struct source *source = begin(&settings, &wrapped);
    bool is_elsewhere = strstr(more, "team-a") != NULL;
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(vault_unwrap_as(source, "", &wrapped),
                          is_elsewhere ? CKR_FUNCTION_FAILED : CKR_OK);
    fake_service_command(&fake, "{\"do\": \"requests\"}");
    ck_assert_int_eq(count_in(fake.answer, methods[_i].path), 1);
    ck_assert_int_eq(count_in(fake.answer, methods[_i].body), 1);
    ck_assert_int_eq(count_in(fake.answer, "\"method\": "), 6);
    ck_assert_int_eq(count_in(fake.answer, "\"x-vault-token\": "), 5);
    ck_assert_int_eq(count_in(fake.answer, "\"x-vault-token\": \"hvs."), 5);
    ck_assert_int_eq(count_in(fake.answer, "\"x-vault-request\": \"true\""), 6);
    ck_assert_int_eq(count_in(fake.answer, "\"x-vault-namespace\": \"team-a\""),
                     is_elsewhere ? 6 : 0);
    vault_end(source, &wrapped);
}
END_TEST

/* As Kubernetes projects it: a link to a link, and everybody may read it. */
START_TEST(a_jwt_may_be_behind_links)
{
    char more[512];
    char target[256];
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = more};
    (void) snprintf(more, sizeof(more),
                    "vault_auth = kubernetes\nvault_role = index-keys\nvault_jwt_file = %s",
                    fixture_path(PROOF));
    struct source *source = begin(&settings, &wrapped);
    fixture_write("target", "good.jwt.text", 0644);
    (void) snprintf(target, sizeof(target), "%s", fixture_path("target"));
    ck_assert_int_eq(symlink(target, fixture_path(PROOF)), 0);
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_secret_id_that_others_may_read_is_refused)
{
    char more[512];
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = more};
    (void) snprintf(more, sizeof(more),
                    "vault_auth = approle\nvault_role_id = role-1\nvault_secret_id_file = %s",
                    fixture_path(PROOF));
    struct source *source = begin(&settings, &wrapped);
    kms_assert_failed(vault_unwrap_as(source, "", &wrapped), INDEXKEY_CAUSE_CONFIG,
                      "does not exist");
    fixture_write(PROOF, "secret-1", 0644);
    kms_assert_failed(vault_unwrap_as(source, "", &wrapped), INDEXKEY_CAUSE_CONFIG,
                      "open to others");
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 0);
    vault_end(source, &wrapped);
}
END_TEST

/* The listener insists on it, so that who gets through has shown it. */
START_TEST(a_client_certificate_logs_in)
{
    char more[512];
    struct fake_service strict;
    struct fake_service_options options = {.handler = "fake_vault:FakeVault",
                                           .certificates = fake_service_certificates(),
                                           .wants_client = true};
    struct blob wrapped = {0};
    fake_service_start(&strict, &options);
    (void) snprintf(more, sizeof(more),
                    "vault_auth = cert\nvault_role = index-keys\nclient_cert = %s\nclient_key = %s",
                    fake_service_certificate("client.pem"), fake_service_certificate("client.key"));
    struct kms_settings settings = {.more = more};
    struct source *source = vault_open(&strict, &settings);
    CK_RV rv = kms_make(source, kms_call(&settings, view_text(VAULT_CONTEXT)), &wrapped);
    kms_assert_ok(rv);
    fake_service_command(&strict, "{\"do\": \"requests\"}");
    ck_assert_ptr_nonnull(strstr(strict.answer, "{\\\"name\\\":\\\"index-keys\\\"}"));
    vault_end(source, &wrapped);
    fake_service_stop(&strict);
}
END_TEST

/* ---- the token that it gave ---- */

START_TEST(a_token_is_renewed_before_it_ends)
{
    struct blob wrapped = {0};
    struct source *source = begin(&approle, &wrapped);
    fake_service_command(&fake, "%s", LOGINS("\"ttl\": 100000, \"renewable\": true"));
    for (int day = 0; day < 4; day++) {
        clock_shift(day * DAY_MS);
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    }
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 1);
    ck_assert_int_eq(vault_auth_count(&fake, "renewals"), 3);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_token_that_is_not_renewable_is_got_anew)
{
    struct blob wrapped = {0};
    struct source *source = begin(&approle, &wrapped);
    fake_service_command(&fake, "%s", LOGINS("\"ttl\": 100000"));
    for (int day = 0; day < 3; day++) {
        clock_shift(day * DAY_MS);
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    }
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 3);
    ck_assert_int_eq(vault_auth_count(&fake, "renewals"), 0);
    vault_end(source, &wrapped);
}
END_TEST

/* A renewal that brings little has met token_max_ttl: another login. */
START_TEST(a_token_near_its_last_end_is_got_anew)
{
    struct blob wrapped = {0};
    struct source *source = begin(&approle, &wrapped);
    fake_service_command(&fake, "%s", LOGINS("\"ttl\": 3600, \"renewable\": true"));
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    fake_service_fault(&fake,
                       "\"kind\": \"status\", \"path\": \"renew-self\", \"status\": 200, \"body\": "
                       "{\"auth\": {\"client_token\": \"hvs.short\", \"lease_duration\": 1700, "
                       "\"renewable\": true}}");
    clock_shift(3590 * 1000);
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 2);
    fake_service_command(&fake, "{\"do\": \"requests\"}");
    ck_assert_int_eq(count_in(fake.answer, "/v1/auth/token/renew-self"), 1);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_revoked_token_costs_one_login_more)
{
    struct blob wrapped = {0};
    struct source *source = begin(&approle, &wrapped);
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    fake_service_command(&fake, "%s", HANDLER("\"revoke_logins\""));
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 2);
    ck_assert_int_eq(vault_auth_count(&fake, "renewals"), 0);
    /* Now the secret id is gone too: a denial, by the login's words. */
    fake_service_command(&fake, "%s", HANDLER("\"revoke_logins\""));
    fake_service_command(&fake, "%s", HANDLER("\"drop_secret_id\""));
    kms_assert_failed(vault_unwrap_as(source, "", &wrapped), INDEXKEY_CAUSE_CREDENTIAL, "role id");
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_token_for_few_uses_is_got_anew)
{
    struct blob wrapped = {0};
    struct source *source = begin(&approle, &wrapped);
    fake_service_command(&fake, "%s", LOGINS("\"ttl\": 3600, \"uses\": 3"));
    for (int i = 0; i < 9; i++)
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 3);
    vault_end(source, &wrapped);
}
END_TEST

/* An outage of Vault's logins alone is none while the token lives. */
START_TEST(a_renewal_that_fails_leaves_the_token_in_use)
{
    struct blob wrapped = {0};
    struct source *source = begin(&approle, &wrapped);
    fake_service_command(&fake, "%s", LOGINS("\"ttl\": 3600, \"renewable\": true"));
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    fake_service_fault(&fake, "\"kind\": \"status\", \"path\": \"/auth/\", \"status\": 500, "
                              "\"times\": -1");
    clock_shift(3590 * 1000);
    ck_assert_uint_eq(vault_unwrap_as(source, "", &wrapped), CKR_OK);
    clock_shift(3601 * 1000);
    ck_assert_uint_eq(vault_unwrap_as(source, "", &wrapped), CKR_DEVICE_ERROR);
    vault_end(source, &wrapped);
}
END_TEST

/* ---- many threads ---- */

struct work {
    struct source *source;
    const struct blob *wrapped;
    atomic_int calls;
    atomic_int failures;
};

static void unwrap_on(struct crew_member *member, void *context)
{
    struct work *work = context;
    static atomic_bool cancelled;
    while (crew_goes_on(member)) {
        struct secret data_key = {0};
        struct source_call call = {
            .context = view_text(VAULT_CONTEXT),
            .deadline_ms = clock_boot_ms() + KMS_DEADLINE_MS,
            .cancelled = &cancelled,
        };
        CK_RV rv = source_unwrap(work->source, &call, blob_view(work->wrapped), &data_key);
        secret_clear(&data_key);
        atomic_fetch_add(&work->calls, 1);
        atomic_fetch_add(&work->failures, rv == CKR_OK ? 0 : 1);
        crew_sleep_ms(20);
    }
}

START_TEST(tokens_of_5_s_serve_many_threads)
{
    struct blob wrapped = {0};
    struct crew crew = {0};
    long ms = kms_refresh_ms();
    struct source *source = begin(&approle, &wrapped);
    struct work work = {.source = source, .wrapped = &wrapped};
    fake_service_command(&fake, "%s", LOGINS("\"ttl\": 5, \"max_ttl\": 12, \"renewable\": true"));
    /* Long enough for a second thread to come to it. */
    fake_service_fault(&fake, "\"kind\": \"delay\", \"seconds\": 0.2, \"path\": \"/auth/\", "
                              "\"times\": -1");
    crew_start(&crew, 8, unwrap_on, &work);
    crew_run(&crew, ms);
    int refreshes = vault_auth_count(&fake, "logins") + vault_auth_count(&fake, "renewals");
    printf("%ld ms: %d calls, %d failures, %d logins, %d renewals\n", ms, work.calls, work.failures,
           vault_auth_count(&fake, "logins"), vault_auth_count(&fake, "renewals"));
    ck_assert_int_eq(work.failures, 0);
    ck_assert_int_gt(work.calls, (int) (ms / 100));
    /* Each lasts 4 s at least but for those that meet max_ttl; eight at once would be far more. */
    ck_assert_int_ge(refreshes, (int) (ms / 5000));
    ck_assert_int_le(refreshes, (int) (ms / 2500) + 2);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(threads_that_begin_together_log_in_once)
{
    struct blob wrapped = {0};
    struct crew crew = {0};
    struct source *source = begin(&approle, &wrapped);
    struct work work = {.source = source, .wrapped = &wrapped};
    fake_service_fault(&fake, "\"kind\": \"delay\", \"seconds\": 0.3, \"path\": \"/login\", "
                              "\"times\": -1");
    crew_start(&crew, 16, unwrap_on, &work);
    crew_run(&crew, 1000);
    ck_assert_int_eq(work.failures, 0);
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 1);
    vault_end(source, &wrapped);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("auth");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_bad_configuration_is_refused, 0, (int) COUNT_OF(bad_lines));
    tcase_add_loop_test(cases, a_method_logs_in_once_for_many_calls, 0, (int) COUNT_OF(methods));
    tcase_add_test(cases, a_jwt_may_be_behind_links);
    tcase_add_test(cases, a_secret_id_that_others_may_read_is_refused);
    tcase_add_test(cases, a_client_certificate_logs_in);
    tcase_add_test(cases, a_token_is_renewed_before_it_ends);
    tcase_add_test(cases, a_token_that_is_not_renewable_is_got_anew);
    tcase_add_test(cases, a_token_near_its_last_end_is_got_anew);
    tcase_add_test(cases, a_revoked_token_costs_one_login_more);
    tcase_add_test(cases, a_token_for_few_uses_is_got_anew);
    tcase_add_test(cases, a_renewal_that_fails_leaves_the_token_in_use);
    tcase_add_test(cases, tokens_of_5_s_serve_many_threads);
    tcase_add_test(cases, threads_that_begin_together_log_in_once);
    return fixture_run("source vault: logins", cases);
}
