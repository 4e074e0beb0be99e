/* `source = gcp` and `source = azure`, on fakes that their vendors' own clients have tried
 * (tests/servers): there is no server of theirs to be had. */
#include "tests/contract/azure_fixture.h"
#include "tests/contract/fault_table.h"
#include "tests/contract/gcp_fixture.h"
#include "tests/contract/source_matrix.h"

#define NOBODY_LISTENS "https://127.0.0.1:1"

static struct fake_service fake;

static void stop(void)
{
    fake_service_stop(&fake);
}

/* ---- Google ---- */

static void start_gcp(void)
{
    gcp_start(&fake);
}

static void stop_gcp(void)
{
    fake_service_stop(&gcp_machine);
    fake_service_stop(&gcp_provider);
    stop();
}

static void configure_gcp(const struct kms_settings *settings)
{
    gcp_configure(&fake, settings);
}

static const struct matrix_row gcp_rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CREDENTIAL, "key is wrong",
     .with = {.credential = GCP_ACCOUNT GCP_ALTER("\"private_key_id\": \"other\"")}},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "useToDecrypt); grant",
     .command = HANDLER("\"deny\", \"act\": \"decrypt\"")},
    {MATRIX_DISABLED, INDEXKEY_CAUSE_DISABLED, "versions enable",
     .command = HANDLER("\"state\", \"state\": \"DISABLED\"")},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "does not come back",
     .command = HANDLER("\"state\", \"state\": \"DESTROYED\"")},
    {MATRIX_ROTATED, INDEXKEY_CAUSE_NONE, "", .command = HANDLER("\"rotate\"")},
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, INDEXKEY_CAUSE_THROTTLED, "request quota",
     .command =
         STATUS(429, "{\"error\": {\"code\": 429, \"message\": \"Quota exceeded\", \"status\": "
                     "\"RESOURCE_EXHAUSTED\"}}"),
     .with = {.deadline_ms = MATRIX_SHORT_MS}},
    {MATRIX_WRONG_CA, INDEXKEY_CAUSE_TLS, "ca_file", .with = {.ca = "other-ca.pem"}},
    {MATRIX_SLOW, INDEXKEY_CAUSE_TIMEOUT, "timeout", .command = ALWAYS("drip"),
     .with = {.deadline_ms = MATRIX_SHORT_MS}},
    {MATRIX_UNREACHABLE, INDEXKEY_CAUSE_UNREACHABLE, "unreachable",
     .with = {.addr = NOBODY_LISTENS}},
};

const struct matrix_adapter matrix_gcp = {
    .name = "gcp",
    .source = "gcp",
    .server = "fake_gcp.py",
    .fake = &fake,
    .is_for_all = true,
    .rewraps = true,
    .start = start_gcp,
    .stop = stop_gcp,
    .configure = configure_gcp,
    .rows = gcp_rows,
    .row_count = COUNT_OF(gcp_rows),
};

/* ---- Azure ---- */

static void start_azure(void)
{
    azure_start(&fake);
}

static void configure_azure(const struct kms_settings *settings)
{
    azure_configure(&fake, settings);
}

static const struct matrix_row azure_rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CREDENTIAL, "the client secret is wrong",
     .with = {.secret = "wrong~secret"}},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "keys/unwrapKey",
     .command = HANDLER("\"deny\", \"act\": \"unwrapKey\"")},
    {MATRIX_DISABLED, INDEXKEY_CAUSE_DISABLED, "--enabled true", .command = HANDLER("\"disable\"")},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "az keyvault key recover",
     .command = HANDLER("\"delete_key\"")},
    {MATRIX_ROTATED, INDEXKEY_CAUSE_NONE, "", .command = HANDLER("\"rotate\"")},
    /* Of the RSA ciphertext, behind which our MAC stands. */
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "another key or context", .change = MATRIX_WRAPPED,
     .changed = 40},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, INDEXKEY_CAUSE_THROTTLED, "throttled",
     .command =
         FAULT("\"kind\": \"status\", \"path\": \"unwrapkey\", \"times\": -1, \"status\": 429, "
               "\"body\": {\"error\": {\"code\": \"Throttled\", \"message\": \"Too many\"}}"),
     .with = {.deadline_ms = MATRIX_SHORT_MS}},
    {MATRIX_WRONG_CA, INDEXKEY_CAUSE_TLS, "ca_file", .with = {.ca = "other-ca.pem"}},
    {MATRIX_SLOW, INDEXKEY_CAUSE_TIMEOUT, "timeout", .command = ALWAYS("drip"),
     .with = {.deadline_ms = MATRIX_SHORT_MS}},
    {MATRIX_UNREACHABLE, INDEXKEY_CAUSE_UNREACHABLE, "unreachable",
     .with = {.addr = NOBODY_LISTENS}},
};

const struct matrix_adapter matrix_azure = {
    .name = "azure",
    .source = "azure",
    .server = "fake_azure.py",
    .fake = &fake,
    .is_for_all = true,
    .rewraps = true,
    .start = start_azure,
    .stop = stop,
    .configure = configure_azure,
    .rows = azure_rows,
    .row_count = COUNT_OF(azure_rows),
};
