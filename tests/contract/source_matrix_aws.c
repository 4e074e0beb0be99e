/* `source = aws` at ministack; at moto what that answers wrongly; at a fake what neither does. */
#include <string.h>

#include "tests/contract/aws_emulator.h"
#include "tests/contract/fault_table.h"
#include "tests/contract/source_matrix.h"

/* ---- the emulators ---- */

/* By its alias, since AWS's own rotation shows in no answer: by hand it is another key behind the
 * alias. */
static void prepare(struct kms_settings *settings)
{
    *settings = aws_emulator_settings(NULL);
    settings->key = aws_emulator_variable("KEY_ALIAS");
}

static void configure(const struct kms_settings *settings)
{
    aws_configure(NULL, settings);
}

static void deny(struct kms_settings *settings)
{
    (void) settings;
    aws_emulator_administer("deny kms:Decrypt");
}

static void permit(void)
{
    aws_emulator_administer("allow");
}

static void disable(struct kms_settings *settings)
{
    (void) settings;
    aws_emulator_administer("disable-key");
}

static void enable(void)
{
    aws_emulator_administer("enable-key");
}

static void delete_key(struct kms_settings *settings)
{
    (void) settings;
    aws_emulator_administer("schedule-deletion");
}

static void restore_key(void)
{
    aws_emulator_administer("cancel-deletion");
    enable();
}

static void rotate(struct kms_settings *settings)
{
    (void) settings;
    aws_emulator_administer("move-alias");
}

static void hold(struct kms_settings *settings)
{
    (void) settings;
    matrix_signal(aws_emulator_folder(), "emulator", SIGSTOP);
}

static void let_go(void)
{
    matrix_signal(aws_emulator_folder(), "emulator", SIGCONT);
}

/* The proxy, which listens for the emulator. */
static void stop_server(struct kms_settings *settings)
{
    (void) settings;
    aws_emulator_run("stop", "", NULL, NULL);
}

#define ROTATED                                                                                    \
    {                                                                                              \
        MATRIX_ROTATED, INDEXKEY_CAUSE_NONE, "", .break_it = rotate                                \
    }

static const struct matrix_row rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CREDENTIAL, "secret access key is wrong",
     .with = {.secret = "wrong/secret+"}},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "permission kms:Decrypt", .break_it = deny,
     .heal = permit},
    {MATRIX_DISABLED, INDEXKEY_CAUSE_DISABLED, "enable-key", .break_it = disable, .heal = enable},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "cancel-key-deletion", .break_it = delete_key,
     .heal = restore_key},
    ROTATED,
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_WRONG_CA, INDEXKEY_CAUSE_TLS, "ca_file", .with = {.ca = "ca.pem"}},
    {MATRIX_SLOW, INDEXKEY_CAUSE_TIMEOUT, "timeout", .with = {.deadline_ms = MATRIX_SHORT_MS},
     .break_it = hold, .heal = let_go},
    {MATRIX_UNREACHABLE, INDEXKEY_CAUSE_UNREACHABLE, "unreachable", .break_it = stop_server,
     .stays_broken = true},
};

const struct matrix_adapter matrix_ministack = {
    .name = "ministack",
    .source = "aws",
    .server = "ministack",
    .is_for_all = true,
    .prepare = prepare,
    .configure = configure,
    .rows = rows,
    .row_count = COUNT_OF(rows),
};

/* ministack answers 200 with an altered key, and has no ReEncrypt. */
static const struct matrix_row rotation = ROTATED;
static const struct matrix_row moto_rows[] = {
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED},
};

const struct matrix_adapter matrix_moto = {
    .name = "moto",
    .source = "aws",
    .server = "moto",
    .rewraps = true,
    .rotation = &rotation,
    .prepare = prepare,
    .configure = configure,
    .rows = moto_rows,
    .row_count = COUNT_OF(moto_rows),
};

/* ---- the fake ---- */

static struct fake_service fake;

static void start_fake(void)
{
    aws_start(&fake);
}

static void stop_fake(void)
{
    fake_service_stop(&fake);
}

static void configure_fake(const struct kms_settings *settings)
{
    aws_configure(&fake, settings);
}

static const struct matrix_row fake_rows[] = {
    {MATRIX_THROTTLED, INDEXKEY_CAUSE_THROTTLED, "request quota",
     .command =
         STATUS(400, "{\"__type\": \"ThrottlingException\", \"message\": \"Rate exceeded\"}"),
     .with = {.deadline_ms = MATRIX_SHORT_MS}},
};

const struct matrix_adapter matrix_fake_aws = {
    .name = "fake-aws",
    .source = "aws",
    .server = "fake_aws.py",
    .fake = &fake,
    .start = start_fake,
    .stop = stop_fake,
    .configure = configure_fake,
    .rows = fake_rows,
    .row_count = COUNT_OF(fake_rows),
};
