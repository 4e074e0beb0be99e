/*
 * `source = vault` on a real Vault (or OpenBao) over TLS, which tests/servers/vault.sh starts.
 * Skipped where there is none. It prints a table.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/contract/real_vault.h"
#include "tests/contract/vault_fixture.h"

#define CONTEXT "context"

static char made[32]; /* a fault's own key */

static void make_key(const char *name, const char *options)
{
    (void) real_vault_api("POST transit/keys/%s '{%s}'", name, options);
}

/* ---- the faults: each is made at the server, answers the token to come with ---- */

static const char *nothing(void)
{
    return NULL;
}

static const char *wrong_token(void)
{
    return "s.wrong";
}

static const char *revoked_token(void)
{
    const char *token = real_vault_token("index-keys", "1h");
    char copy[REAL_VAULT_TOKEN_MAX];
    (void) snprintf(copy, sizeof(copy), "%s", token);
    (void) real_vault_api("POST auth/token/revoke '{\"token\": \"%s\"}'", copy);
    return token;
}

static const char *expired_token(void)
{
    const char *token = real_vault_token("index-keys", "1s");
    (void) sleep(2);
    return token;
}

static const char *denied_token(void)
{
    (void) real_vault_api(
        "PUT sys/policies/acl/encrypt-only "
        "'{\"policy\": \"path \\\"transit/encrypt/*\\\" { capabilities = [\\\"update\\\"] }\"}'");
    return real_vault_token("encrypt-only", "1h");
}

static const char *as_root(void)
{
    return real_vault.root_token;
}

static const char *delete_key(void)
{
    (void) real_vault_api("POST transit/keys/%s/config '{\"deletion_allowed\": true}'", made);
    (void) real_vault_api("DELETE transit/keys/%s", made);
    return real_vault.root_token;
}

static const char *delete_and_make_key(void)
{
    (void) delete_key();
    make_key(made, "");
    return real_vault.root_token;
}

static const char *raise_min_version(void)
{
    (void) real_vault_api("POST transit/keys/%s/rotate", made);
    (void) real_vault_api("POST transit/keys/%s/config '{\"min_decryption_version\": 2}'", made);
    return real_vault.root_token;
}

static const char *trim_version(void)
{
    (void) raise_min_version();
    (void) real_vault_api("POST transit/keys/%s/config '{\"min_encryption_version\": 2}'", made);
    (void) real_vault_api("POST transit/keys/%s/trim '{\"min_available_version\": 2}'", made);
    return real_vault.root_token;
}

static const char *only_rotate(void)
{
    (void) real_vault_api("POST transit/keys/%s/rotate", made);
    return real_vault.root_token;
}

static const char *seal(void)
{
    (void) real_vault_api("PUT sys/seal");
    return real_vault.root_token;
}

static const char *limit_rate(void)
{
    (void) real_vault_api(
        "POST sys/quotas/rate-limit/tests '{\"rate\": 1, \"interval\": \"1m\", \"path\": "
        "\"transit\"}'");
    /* Uses up the first one. */
    char output[REAL_VAULT_OUTPUT_MAX];
    char command[256];
    (void) snprintf(command, sizeof(command), "%s api %s GET transit/keys/%s", REAL_VAULT_SCRIPT,
                    real_vault.folder, made);
    (void) real_vault_run(command, output, sizeof(output));
    return real_vault.root_token;
}

static const char *mount_kv(void)
{
    (void) real_vault_api(
        "POST sys/mounts/kv1 '{\"type\": \"kv\", \"options\": {\"version\": \"1\"}}'");
    return real_vault.root_token;
}

static const char *mount_kv2(void)
{
    (void) real_vault_api(
        "POST sys/mounts/kv2 '{\"type\": \"kv\", \"options\": {\"version\": \"2\"}}'");
    return real_vault.root_token;
}

static const char *make_signing_key(void)
{
    make_key("signing", "\"type\": \"ed25519\"");
    return real_vault.root_token;
}

static const char *make_derived_key(void)
{
    make_key("derived", "\"derived\": true");
    return real_vault.root_token;
}

static const char *make_rsa_key(void)
{
    make_key("rsa", "\"type\": \"rsa-2048\"");
    return real_vault.root_token;
}

enum { MAKES = 1, SEALS = 2, LIMITS = 4, OTHER_CA = 8 };

struct fault {
    const char *name;
    const char *(*cause_it)(void); /* NULL: the client's token */
    enum indexkey_cause cause;
    const char *says;
    struct kms_settings with;
    const char *context;
    int changed;        /* this letter of the ciphertext, from its end */
    unsigned int flags; /* MAKES: a data key is asked for, instead of one unwrapped */
};

static const struct fault faults[] = {
    {"no fault, as root", as_root, INDEXKEY_CAUSE_NONE, ""},
    {"no fault, by the least policy",
     nothing,
     INDEXKEY_CAUSE_NONE,
     "",
     {.key = "index-keys"},
     .flags = MAKES},
    {"key rotated", only_rotate, INDEXKEY_CAUSE_NONE, ""},
    {"wrong token", wrong_token, INDEXKEY_CAUSE_CREDENTIAL, "wrong, expired or revoked"},
    {"revoked token", revoked_token, INDEXKEY_CAUSE_CREDENTIAL, "wrong, expired or revoked"},
    {"expired token", expired_token, INDEXKEY_CAUSE_CREDENTIAL, "wrong, expired or revoked"},
    {"policy denied", denied_token, INDEXKEY_CAUSE_DENIED, "path \"transit/decrypt/made-"},
    {"key deleted", delete_key, INDEXKEY_CAUSE_DELETED, "no key of this name"},
    {"key deleted and made again", delete_and_make_key, INDEXKEY_CAUSE_TAMPERED, "another key"},
    {"below min_decryption_version", raise_min_version, INDEXKEY_CAUSE_DISABLED,
     "min_decryption_version"},
    {"key version trimmed", trim_version, INDEXKEY_CAUSE_DISABLED, "min_decryption_version"},
    {"tampered ciphertext", as_root, INDEXKEY_CAUSE_TAMPERED, "was changed", .changed = 8},
    {"wrong context", as_root, INDEXKEY_CAUSE_TAMPERED, "another context", .context = "other"},
    {"missing context", as_root, INDEXKEY_CAUSE_TAMPERED, "another context", .context = ""},
    {"wrong CA", as_root, INDEXKEY_CAUSE_TLS, "ca_file", .flags = OTHER_CA},
    {"transit not mounted",
     as_root,
     INDEXKEY_CAUSE_CONFIG,
     "nothing is mounted",
     {.more = "transit_mount = other"}},
    {"a kv engine, version 1",
     mount_kv,
     INDEXKEY_CAUSE_CONFIG,
     "no transit engine",
     {.more = "transit_mount = kv1"},
     .flags = MAKES},
    {"a kv engine, version 2",
     mount_kv2,
     INDEXKEY_CAUSE_CONFIG,
     "no transit engine",
     {.more = "transit_mount = kv2"},
     .flags = MAKES},
    {"key that does not exist",
     as_root,
     INDEXKEY_CAUSE_DELETED,
     "no key of this name",
     {.key = "absent"},
     .flags = MAKES},
    {"key of a signing type",
     make_signing_key,
     INDEXKEY_CAUSE_CONFIG,
     "encrypts nothing",
     {.key = "signing"},
     .flags = MAKES},
    {"key without associated data",
     make_rsa_key,
     INDEXKEY_CAUSE_CONFIG,
     "binds no context",
     {.key = "rsa"},
     .flags = MAKES},
    {"derived key",
     make_derived_key,
     INDEXKEY_CAUSE_CONFIG,
     "derived=true",
     {.key = "derived"},
     .flags = MAKES},
    {"rate quota",
     limit_rate,
     INDEXKEY_CAUSE_THROTTLED,
     "throttled",
     {.deadline_ms = 1500},
     .flags = LIMITS},
    {"sealed",
     seal,
     INDEXKEY_CAUSE_SERVER,
     "operator unseal",
     {.deadline_ms = 1500},
     .flags = SEALS},
};

static struct kms_settings with_defaults(const struct kms_settings *settings)
{
    struct kms_settings full = *settings;
    full.addr = real_vault.addr;
    if (full.ca == NULL)
        full.ca = real_vault.ca;
    if (full.key == NULL)
        full.key = made;
    if (full.token == NULL)
        full.token = real_vault.client_token;
    return full;
}

static CK_RV make_with(const struct kms_settings *settings, const char *context,
                       struct blob *ret_wrapped)
{
    struct kms_settings full = with_defaults(settings);
    struct source *source = vault_open(NULL, &full);
    CK_RV rv = kms_make(source, kms_call(&full, view_text(context)), ret_wrapped);
    source_close(&source);
    return rv;
}

static CK_RV unwrap_with(const struct kms_settings *settings, const char *context,
                         const struct blob *wrapped)
{
    struct kms_settings full = with_defaults(settings);
    struct source *source = vault_open(NULL, &full);
    CK_RV rv = kms_unwrap(source, kms_call(&full, view_text(context)), blob_view(wrapped));
    source_close(&source);
    return rv;
}

static void repair(const struct fault *fault)
{
    if ((fault->flags & SEALS) != 0)
        (void) real_vault_script("unseal", "");
    if ((fault->flags & LIMITS) != 0)
        (void) real_vault_api("DELETE sys/quotas/rate-limit/tests");
}

static CK_RV try_fault(const struct fault *fault)
{
    struct kms_settings settings = {.token = real_vault.root_token};
    struct blob wrapped = {0};
    make_key(made, "");
    CK_RV rv = make_with(&settings, CONTEXT, &wrapped);
    kms_assert_ok(rv);
    if (fault->changed > 0) {
        unsigned char *letter = &wrapped.bytes[wrapped.len - (size_t) fault->changed];
        *letter = *letter == 'A' ? 'B' : 'A';
    }
    settings = fault->with;
    settings.token = fault->cause_it();
    if ((fault->flags & OTHER_CA) != 0)
        settings.ca = "ca.pem";
    const char *context = fault->context == NULL ? CONTEXT : fault->context;
    if ((fault->flags & MAKES) != 0) {
        blob_clear(&wrapped);
        rv = make_with(&settings, context, &wrapped);
    } else {
        rv = unwrap_with(&settings, context, &wrapped);
    }
    blob_clear(&wrapped);
    return rv;
}

START_TEST(a_fault)
{
    const struct fault *fault = &faults[_i];
    (void) snprintf(made, sizeof(made), "made-%d", _i);
    CK_RV rv = try_fault(fault);
    enum indexkey_cause cause = cause_last();
    size_t lines = fault->cause == INDEXKEY_CAUSE_NONE ? 0 : 1;
    bool log_ok = fixture_log_count() == lines && strstr(fixture_log(), fault->says) != NULL;
    printf("Vault  | %-38s | 0x%02lx | %-11s | %s\n", fault->name, rv, cause_name(cause),
           log_ok ? "log ok" : "LOG WRONG");
    (void) fflush(stdout);
    repair(fault);
    ck_assert_msg(cause == fault->cause && rv == cause_rv(fault->cause) && log_ok, "wanted %s: %s",
                  cause_name(fault->cause), fixture_log());
}
END_TEST

START_TEST(no_failed_attempt_has_made_a_key)
{
    struct kms_settings settings = {.token = real_vault.root_token, .key = "absent"};
    struct blob wrapped = {0};
    ck_assert_uint_eq(make_with(&settings, CONTEXT, &wrapped), CKR_FUNCTION_FAILED);
    ck_assert_ptr_null(strstr(real_vault_api("LIST transit/keys"), "absent"));
}
END_TEST

START_TEST(a_key_is_told)
{
    static const struct kms_settings none;
    struct kms_settings settings = {.token = real_vault.root_token};
    struct source_inspection key;
    struct blob wrapped = {0};
    (void) snprintf(made, sizeof(made), "told");
    make_key(made, "\"auto_rotate_period\": \"720h\"");
    kms_assert_ok(make_with(&settings, CONTEXT, &wrapped));
    settings = with_defaults(&settings);
    struct source *source = vault_open(NULL, &settings);
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(kms_told(&key),
                     "transit/keys/told (aes256-gcm96, deletion not allowed), wrapped by version "
                     "1, newest version 1, oldest usable version 1, rotation every 30 days");
    ck_assert(key.is_usable);
    (void) trim_version();
    kms_assert_ok(kms_inspect(source, blob_view(&wrapped), &key));
    ck_assert_str_eq(key.newest_version, "2");
    ck_assert_str_eq(key.oldest_version, "2");
    ck_assert(!key.is_usable);
    (void) delete_key();
    kms_assert_failed(kms_inspect(source, blob_view(&wrapped), &key), INDEXKEY_CAUSE_DELETED,
                      "no key of this name");
    source_close(&source);
    settings = with_defaults(&none);
    settings.token = denied_token();
    source = vault_open(NULL, &settings);
    kms_assert_failed(kms_inspect(source, blob_view(&wrapped), &key), INDEXKEY_CAUSE_DENIED,
                      "path \"transit/keys/told\" { capabilities = [\"read\"] }");
    source_close(&source);
    blob_clear(&wrapped);
}
END_TEST

/* A direct key: what Vault's own clients made binds no context. */
START_TEST(what_datakey_made_unwraps_without_a_context)
{
    struct kms_settings settings = {.key = "index-keys"};
    const char *reply = real_vault_api("POST transit/datakey/wrapped/index-keys");
    const char *text = strstr(reply, "vault:v1:");
    struct blob wrapped = {0};
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(blob_from(text, strcspn(text, "\""), &wrapped), CKR_OK);
    CK_RV rv = unwrap_with(&settings, "", &wrapped);
    kms_assert_ok(rv);
    blob_clear(&wrapped);
}
END_TEST

START_TEST(a_token_is_initialised_and_logs_in_with_one_call)
{
    static const struct kms_settings none;
    struct kms_settings settings = with_defaults(&none);
    enum indexkey_cause cause;
    settings.key = "index-keys";
    vault_configure(NULL, &settings);
    kms_init_token();
    int before = atoi(real_vault_script("count", ""));
    for (int i = 0; i < 20; i++)
        ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_OK);
    ck_assert_int_eq(atoi(real_vault_script("count", "")) - before, 20);
    ck_assert_uint_eq(kms_login("another-pin", &cause), CKR_PIN_INCORRECT);
    settings.token = "s.wrong";
    vault_configure(NULL, &settings);
    ck_assert_uint_eq(kms_login(FIXTURE_PIN, &cause), CKR_FUNCTION_FAILED);
    ck_assert_int_eq((int) cause, INDEXKEY_CAUSE_CREDENTIAL);
}
END_TEST

START_TEST(a_vault_token_is_the_pin)
{
    static const struct kms_settings none;
    struct kms_settings settings = with_defaults(&none);
    enum indexkey_cause cause;
    settings.key = "index-keys";
    settings.more = "login = credential";
    vault_configure(NULL, &settings);
    kms_init_token();
    settings.token = "";
    vault_configure(NULL, &settings);
    ck_assert_uint_eq(kms_login(real_vault.client_token, &cause), CKR_OK);
    ck_assert_uint_eq(kms_login("s.wrong", &cause), CKR_PIN_INCORRECT);
    ck_assert_int_eq((int) cause, INDEXKEY_CAUSE_CREDENTIAL);
}
END_TEST

int main(void)
{
    if (!real_vault_is_there()) {
        printf("skipped: no Vault server: run tests/servers/vault.sh build, once\n");
        return REAL_VAULT_SKIPPED;
    }
    TCase *cases = tcase_create("real");
    tcase_set_timeout(cases, 60);
    tcase_add_unchecked_fixture(cases, real_vault_start, real_vault_stop);
    tcase_add_checked_fixture(cases, kms_first_call, NULL);
    tcase_add_loop_test(cases, a_fault, 0, (int) COUNT_OF(faults));
    tcase_add_test(cases, no_failed_attempt_has_made_a_key);
    tcase_add_test(cases, a_key_is_told);
    tcase_add_test(cases, what_datakey_made_unwraps_without_a_context);
    tcase_add_test(cases, a_token_is_initialised_and_logs_in_with_one_call);
    tcase_add_test(cases, a_vault_token_is_the_pin);
    return fixture_run("source vault: a real Vault", cases);
}
