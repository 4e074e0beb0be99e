/* Whose Vault token serves: an AppRole as the PIN, a wrapped secret id, somebody else's token. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/contract/vault_fixture.h"

#define APPROLE                                                                                    \
    "vault_auth = approle\nvault_role_id = role-1\nvault_secret_id_env = " VAULT_VARIABLE
#define WRAPPED APPROLE "\nvault_secret_id_wrapped = yes"
#define CREDENTIAL "login = credential\n" APPROLE
#define WRAP(token, more) HANDLER("\"wrap\", \"token\": \"" token "\"" more)
#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define ALLOCATIONS_MAX 600

static struct fake_service fake;

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

/* ---- an AppRole as the PIN ---- */

static const char *const bad_pins[] = {"role-1", ":secret-1", "role-1:", "role-1:secret 1",
                                       "role-1:secret-1\r\nX: y"};

START_TEST(a_pin_that_is_no_approle_is_refused)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = CREDENTIAL, .token = "secret-1"};
    struct source *source = begin(&settings, &wrapped);
    kms_assert_failed(vault_unwrap_as(source, bad_pins[_i], &wrapped), INDEXKEY_CAUSE_CREDENTIAL,
                      "role_id:secret_id");
    ck_assert_int_eq(fake_service_count(&fake, "requests"), 0);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_token_got_by_one_pin_serves_no_other)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = CREDENTIAL, .token = "secret-1"};
    struct source *source = begin(&settings, &wrapped);
    kms_assert_ok(vault_unwrap_as(source, "role-1:secret-1", &wrapped));
    kms_assert_ok(vault_unwrap_as(source, "role-1:secret-1", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 1);
    kms_assert_failed(vault_unwrap_as(source, "role-1:secret-2", &wrapped),
                      INDEXKEY_CAUSE_CREDENTIAL, "role id");
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    kms_assert_ok(vault_unwrap_as(source, "role-1:secret-1", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 4);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(what_a_pin_got_is_wiped_at_the_logout)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = CREDENTIAL, .token = "secret-1"};
    struct source *source = begin(&settings, &wrapped);
    size_t in_use = secrets_in_use();
    kms_assert_ok(vault_unwrap_as(source, "role-1:secret-1", &wrapped));
    ck_assert_uint_gt(secrets_in_use(), in_use);
    source_forget(source);
    ck_assert_uint_eq(secrets_in_use(), in_use);
    kms_assert_ok(vault_unwrap_as(source, "role-1:secret-1", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 2);
    /* The configured identity's stays: it is the process's. */
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    source_forget(source);
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 3);
    vault_end(source, &wrapped);
}
END_TEST

static const struct {
    const char *pin;
    const char *script;
    CK_RV rv;
    enum indexkey_cause cause;
} logins[] = {
    {"role-1:secret-1", NULL, CKR_OK, INDEXKEY_CAUSE_NONE},
    {"role-1:wrong", NULL, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"role-1", NULL, CKR_PIN_INCORRECT, INDEXKEY_CAUSE_CREDENTIAL},
    {"role-1:secret-1", HANDLER("\"drop_secret_id\""), CKR_PIN_INCORRECT,
     INDEXKEY_CAUSE_CREDENTIAL},
    {"role-1:secret-1", HANDLER("\"delete_key\""), CKR_FUNCTION_FAILED, INDEXKEY_CAUSE_DELETED},
    {"role-1:secret-1", HANDLER("\"seal\""), CKR_DEVICE_ERROR, INDEXKEY_CAUSE_SERVER},
};

START_TEST(an_approle_is_the_pin)
{
    struct kms_settings settings = {.more = CREDENTIAL, .token = "secret-1"};
    enum indexkey_cause cause;
    kms_reset(&fake);
    vault_configure(&fake, &settings);
    kms_init_token();
    /* The one that made the token does not help. */
    settings.token = "";
    vault_configure(&fake, &settings);
    if (logins[_i].script != NULL)
        fake_service_command(&fake, "%s", logins[_i].script);
    CK_RV rv = kms_login(logins[_i].pin, &cause);
    ck_assert_msg(rv == logins[_i].rv && cause == logins[_i].cause, "%lx %s %s", rv,
                  cause_name(cause), fixture_log());
    ck_assert_ptr_null(strstr(fixture_log(), "secret-1"));
    kms_reset(&fake);
}
END_TEST

static CK_RV initialise_and_log_in(void)
{
    CK_UTF8CHAR pin[] = FIXTURE_PIN;
    CK_SESSION_HANDLE session;
    CK_RV rv = C_Initialize(NULL);
    if (rv == CKR_OK)
        rv = C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session);
    return rv == CKR_OK ? C_Login(session, CKU_USER, pin, sizeof(pin) - 1) : rv;
}

/* The parent's token is not in the child's memory. */
START_TEST(a_forked_child_logs_in_by_itself)
{
    struct kms_settings settings = {.more = APPROLE, .token = "secret-1"};
    int status;
    kms_reset(&fake);
    vault_configure(&fake, &settings);
    kms_init_token();
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 1);
    ck_assert_uint_eq(initialise_and_log_in(), CKR_OK);
    pid_t child = fork();
    if (child == 0)
        _exit(initialise_and_log_in() == CKR_OK ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 3);
    ck_assert_uint_eq(C_Finalize(NULL), CKR_OK);
}
END_TEST

/* ---- a wrapped secret id ---- */

START_TEST(a_wrapped_secret_id_is_opened_once)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = WRAPPED, .token = "wrap-1"};
    struct source *source = begin(&settings, &wrapped);
    fake_service_command(&fake, "%s", WRAP("wrap-1", ""));
    for (int i = 0; i < 3; i++) {
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
        fake_service_command(&fake, "%s", HANDLER("\"revoke_logins\""));
    }
    ck_assert_int_eq(vault_auth_count(&fake, "logins"), 3);
    ck_assert_int_eq(vault_auth_count(&fake, "unwraps"), 1);
    /* Another one in its place is another secret id. */
    kms_set_variable(VAULT_VARIABLE, "wrap-2");
    fake_service_command(&fake, "%s", WRAP("wrap-2", ""));
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "unwraps"), 2);
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_wrapping_token_that_somebody_has_opened_is_told)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = WRAPPED, .token = "wrap-1"};
    struct source *source = begin(&settings, &wrapped);
    kms_assert_failed(vault_unwrap_as(source, "", &wrapped), INDEXKEY_CAUSE_CREDENTIAL,
                      "opened before");
    ck_assert_ptr_null(strstr(fixture_log(), "wrap-1"));
    vault_end(source, &wrapped);
}
END_TEST

START_TEST(a_wrapping_token_of_our_namespace_is_opened)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = WRAPPED "\nvault_namespace = team-a",
                                    .token = "wrap-1"};
    struct source *source = begin(&settings, &wrapped);
    fake_service_command(&fake, "%s",
                         WRAP("wrap-1", ", \"path\": \"team-a/auth/approle/role/app/secret-id\""));
    blob_clear(&wrapped);
    struct source_call call = kms_call(&settings, view_text(VAULT_CONTEXT));
    kms_assert_ok(kms_make(source, call, &wrapped));
    ck_assert_int_eq(vault_auth_count(&fake, "unwraps"), 1);
    vault_end(source, &wrapped);
}
END_TEST

static const char *const foreign_paths[] = {
    "sys/wrapping/wrap",
    "auth/other/role/app/secret-id",
    "auth/approle/role/app/role-id",
    "auth/approle/role/app/custom-secret-id",
    "auth/approle/role//secret-id",
    "auth/approlex/role/app/secret-id",
    "kv/data/auth/approle/role/app/secret-id",
    "my-auth/approle/role/app/secret-id",
    "team-a/auth/approle/role/app/secret-id",
    "secret-id",
    "",
};

START_TEST(a_wrapping_token_of_elsewhere_is_not_opened)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = WRAPPED, .token = "wrap-1"};
    struct source *source = begin(&settings, &wrapped);
    fake_service_command(
        &fake, "{\"do\": \"handler\", \"what\": \"wrap\", \"token\": \"wrap-1\", \"path\": \"%s\"}",
        foreign_paths[_i]);
    kms_assert_failed(vault_unwrap_as(source, "", &wrapped), INDEXKEY_CAUSE_CREDENTIAL,
                      "not opened");
    ck_assert_int_eq(vault_auth_count(&fake, "unwraps"), 0);
    vault_end(source, &wrapped);
}
END_TEST

/* ---- a token that somebody else has got ---- */

START_TEST(a_token_of_somebody_elses_is_renewed_if_wanted)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = "vault_token_renew = yes", .token = "periodic"};
    struct source *source = begin(&settings, &wrapped);
    fake_service_command(
        &fake, "%s",
        HANDLER("\"token\", \"token\": \"periodic\", \"acts\": [\"decrypt\", \"renew-self\", "
                "\"lookup-self\"], \"options\": {\"ttl\": 100000, \"renewable\": true}"));
    for (int day = 0; day < 3; day++) {
        clock_shift(day * DAY_MS);
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
        kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    }
    ck_assert_int_eq(vault_auth_count(&fake, "renewals"), 3);
    /* One that cannot be renewed is used as it is. */
    kms_set_variable(VAULT_VARIABLE, VAULT_TOKEN_GOOD);
    kms_assert_ok(vault_unwrap_as(source, "", &wrapped));
    kms_set_variable(VAULT_VARIABLE, "s.wrong");
    kms_assert_failed(vault_unwrap_as(source, "", &wrapped), INDEXKEY_CAUSE_CREDENTIAL,
                      "give it a new one");
    vault_end(source, &wrapped);
}
END_TEST

/* ---- memory ---- */

static const char *const lean[] = {APPROLE, WRAPPED};

START_TEST(no_allocation_that_fails_is_forgotten)
{
    struct blob wrapped = {0};
    struct kms_settings settings = {.more = lean[_i], .token = _i == 0 ? "secret-1" : "wrap-1"};
    struct source *source = begin(&settings, &wrapped);
    CK_RV rv = CKR_HOST_MEMORY;
    unsigned long nth = 1;
    for (; rv != CKR_OK && nth < ALLOCATIONS_MAX; nth++) {
        fake_service_command(&fake, "%s", WRAP("wrap-1", ""));
        mem_fail_at(nth, false);
        rv = vault_unwrap_as(source, "", &wrapped);
        /* An answer that was lost costs a retry at most, or is a 403 that nobody could look up. */
        ck_assert_msg(rv == CKR_OK || rv == CKR_HOST_MEMORY, "allocation %lu: %lx %s", nth, rv,
                      fixture_log());
        mem_fail_at(0, false);
    }
    ck_assert_uint_gt(nth, 4);
    ck_assert_uint_lt(nth, ALLOCATIONS_MAX);
    vault_end(source, &wrapped);
    ck_assert_uint_eq(secrets_in_use(), 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("identity");
    tcase_set_timeout(cases, 120);
    tcase_add_unchecked_fixture(cases, start_fake, stop_fake);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_pin_that_is_no_approle_is_refused, 0, (int) COUNT_OF(bad_pins));
    tcase_add_test(cases, a_token_got_by_one_pin_serves_no_other);
    tcase_add_test(cases, what_a_pin_got_is_wiped_at_the_logout);
    tcase_add_loop_test(cases, an_approle_is_the_pin, 0, (int) COUNT_OF(logins));
    tcase_add_test(cases, a_forked_child_logs_in_by_itself);
    tcase_add_test(cases, a_wrapped_secret_id_is_opened_once);
    tcase_add_test(cases, a_wrapping_token_that_somebody_has_opened_is_told);
    tcase_add_test(cases, a_wrapping_token_of_our_namespace_is_opened);
    tcase_add_loop_test(cases, a_wrapping_token_of_elsewhere_is_not_opened, 0,
                        (int) COUNT_OF(foreign_paths));
    tcase_add_test(cases, a_token_of_somebody_elses_is_renewed_if_wanted);
    tcase_add_loop_test(cases, no_allocation_that_fails_is_forgotten, 0, (int) COUNT_OF(lean));
    return fixture_run("source vault: identities", cases);
}
