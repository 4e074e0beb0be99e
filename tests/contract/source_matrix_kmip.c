/* `source = kmip` at PyKMIP's server, by kmip_real.sh. The credential is the client's certificate.
 */
#include "tests/contract/real_kmip.h"
#include "tests/contract/source_matrix.h"

static char key[64];

static void prepare(struct kms_settings *settings)
{
    (void) snprintf(key, sizeof(key), "%s", real_kmip_admin("create", ""));
    settings->key = key;
}

static void disable(struct kms_settings *settings)
{
    (void) settings;
    (void) real_kmip_admin("revoke", key);
}

/* What has ended may be destroyed. */
static void delete_key(struct kms_settings *settings)
{
    disable(settings);
    (void) real_kmip_admin("destroy", key);
}

static void rotate(struct kms_settings *settings)
{
    static char next[64];
    static char more[128];
    (void) snprintf(next, sizeof(next), "%s", real_kmip_admin("create", ""));
    (void) snprintf(more, sizeof(more), "former_key_ids = %s", key);
    settings->key = next;
    settings->more = more;
}

static void hold(struct kms_settings *settings)
{
    (void) settings;
    matrix_signal(real_kmip_variable("KMIP_FOLDER"), "server", SIGSTOP);
}

static void let_go(void)
{
    matrix_signal(real_kmip_variable("KMIP_FOLDER"), "server", SIGCONT);
}

static void stop_server(struct kms_settings *settings)
{
    (void) settings;
    matrix_signal(real_kmip_variable("KMIP_FOLDER"), "server", SIGKILL);
}

static const struct matrix_row rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_TLS, "client_cert", .with = {.access = "other-client"}},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "permission denied", .with = {.access = "stranger"}},
    {MATRIX_DISABLED, INDEXKEY_CAUSE_DISABLED, "deactivated", .break_it = disable,
     .stays_broken = true},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "no such key", .break_it = delete_key,
     .stays_broken = true},
    {MATRIX_ROTATED, INDEXKEY_CAUSE_NONE, "", .break_it = rotate},
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, .absent = "KMIP 1.4 has no result that says so"},
    {MATRIX_WRONG_CA, INDEXKEY_CAUSE_TLS, "ca_file", .with = {.ca = "ca.pem"}},
    {MATRIX_SLOW, INDEXKEY_CAUSE_TIMEOUT, "timeout", .with = {.deadline_ms = MATRIX_SHORT_MS},
     .break_it = hold, .heal = let_go},
    {MATRIX_UNREACHABLE, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", .break_it = stop_server,
     .stays_broken = true},
};

const struct matrix_adapter matrix_kmip = {
    .name = "kmip",
    .source = "kmip",
    .server = "PyKMIP",
    .is_for_all = true,
    .rewraps = true,
    .prepare = prepare,
    .configure = real_kmip_configure,
    .rows = rows,
    .row_count = COUNT_OF(rows),
};
