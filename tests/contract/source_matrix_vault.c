/* `source = vault` at a real Vault (or OpenBao), by tests/servers/vault.sh. */
#include <string.h>

#include "tests/contract/real_vault.h"
#include "tests/contract/source_matrix.h"
#include "tests/contract/vault_fixture.h"

#define QUOTA "sys/quotas/rate-limit/matrix"
#define PATH(path) "path \\\"" path "\\\" { capabilities = [\\\"update\\\", \\\"read\\\"] } "

/* What C_InitToken needs, and `act`. */
static void set_policy(const char *act)
{
    const char *key = matrix_key_name();
    (void) real_vault_api("PUT sys/policies/acl/%s '{\"policy\": \"" PATH("transit/datakey/+/%s")
                              PATH("transit/%s/%s") PATH("auth/token/lookup-self") "\"}'",
                          key, key, act, key);
}

/* A key of the cell's own, and a token that may use it. */
static void prepare(struct kms_settings *settings)
{
    (void) real_vault_api("POST transit/keys/%s '{}'", matrix_key_name());
    set_policy("+");
    settings->addr = real_vault.addr;
    settings->ca = real_vault.ca;
    settings->key = matrix_key_name();
    settings->token = real_vault_token(matrix_key_name(), "1h");
}

static void configure(const struct kms_settings *settings)
{
    vault_configure(NULL, settings);
}

static void deny(struct kms_settings *settings)
{
    (void) settings;
    set_policy("encrypt");
}

static void permit(void)
{
    set_policy("+");
}

static void rotate(struct kms_settings *settings)
{
    (void) settings;
    (void) real_vault_api("POST transit/keys/%s/rotate", matrix_key_name());
}

static void set_least_version(int version)
{
    (void) real_vault_api("POST transit/keys/%s/config '{\"min_decryption_version\": %d}'",
                          matrix_key_name(), version);
}

static void disable(struct kms_settings *settings)
{
    rotate(settings);
    set_least_version(2);
}

static void enable(void)
{
    set_least_version(1);
}

static void delete_key(struct kms_settings *settings)
{
    (void) settings;
    (void) real_vault_api("POST transit/keys/%s/config '{\"deletion_allowed\": true}'",
                          matrix_key_name());
    (void) real_vault_api("DELETE transit/keys/%s", matrix_key_name());
}

/* One request a minute, which is spent here. */
static void throttle(struct kms_settings *settings)
{
    char output[REAL_VAULT_OUTPUT_MAX];
    char command[256];
    (void) settings;
    (void) real_vault_api("POST " QUOTA " '{\"rate\": 1, \"interval\": \"1m\", \"path\": "
                          "\"transit\"}'");
    (void) snprintf(command, sizeof(command), "%s api %s GET transit/keys/%s", REAL_VAULT_SCRIPT,
                    real_vault.folder, matrix_key_name());
    (void) real_vault_run(command, output, sizeof(output));
}

static void end_throttling(void)
{
    (void) real_vault_api("DELETE " QUOTA);
}

static void hold(struct kms_settings *settings)
{
    (void) settings;
    matrix_signal(real_vault.folder, "server", SIGSTOP);
}

static void let_go(void)
{
    matrix_signal(real_vault.folder, "server", SIGCONT);
}

static void stop_server(struct kms_settings *settings)
{
    (void) settings;
    (void) real_vault_script("stop", "");
}

static void start_server(void)
{
    (void) real_vault_script("start", "");
}

static const struct matrix_row rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CREDENTIAL, "wrong, expired or revoked",
     .with = {.token = "s.wrong"}},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "path \"transit/decrypt/matrix-", .break_it = deny,
     .heal = permit},
    {MATRIX_DISABLED, INDEXKEY_CAUSE_DISABLED, "min_decryption_version", .break_it = disable,
     .heal = enable},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "no key of this name", .break_it = delete_key,
     .stays_broken = true},
    {MATRIX_ROTATED, INDEXKEY_CAUSE_NONE, "", .break_it = rotate},
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED_BASE64},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, INDEXKEY_CAUSE_THROTTLED, "throttled",
     .with = {.deadline_ms = MATRIX_SHORT_MS}, .break_it = throttle, .heal = end_throttling},
    {MATRIX_WRONG_CA, INDEXKEY_CAUSE_TLS, "ca_file", .with = {.ca = "ca.pem"}},
    {MATRIX_SLOW, INDEXKEY_CAUSE_TIMEOUT, "timeout", .with = {.deadline_ms = MATRIX_SHORT_MS},
     .break_it = hold, .heal = let_go},
    {MATRIX_UNREACHABLE, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", .break_it = stop_server,
     .heal = start_server},
};

const struct matrix_adapter matrix_vault = {
    .name = "vault",
    .source = "vault",
    .server = "Vault",
    .is_for_all = true,
    .rewraps = true,
    .start = real_vault_start,
    .stop = real_vault_stop,
    .prepare = prepare,
    .configure = configure,
    .rows = rows,
    .row_count = COUNT_OF(rows),
};
