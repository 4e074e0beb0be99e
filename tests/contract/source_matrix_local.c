/* `source = file` and `source = env`: there is no service. What stands for the credential is the
 * root key itself. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/contract/source_matrix.h"

#define VARIABLE "INDEXKEY_TEST_MATRIX_ROOT"
#define KEY_FILE "root.key"
#define NOBODY 65534

static const char no_switch[] = "there is no switch beside being there";
static const char no_service[] = "there is no service that could";
static const char no_versions[] = "there is one root key: another one is a new token";
static const char no_network[] = "there is no network between";

/* ---- file ---- */

static void configure_file(const struct kms_settings *settings)
{
    char lines[1024];
    (void) snprintf(lines, sizeof(lines), "key_file = %s\n%s", fixture_path(KEY_FILE),
                    settings->more);
    kms_write_conf("file", fixture_store(1), lines);
}

static void put_other_file(struct kms_settings *settings)
{
    (void) settings;
    fixture_write(KEY_FILE, fixture_other_root_key, 0600);
}

static void put_file_back(void)
{
    fixture_write(KEY_FILE, fixture_root_key, 0600);
}

static void remove_file(struct kms_settings *settings)
{
    (void) settings;
    fixture_remove(KEY_FILE);
}

static void give_all_but_the_key_to(uid_t user)
{
    static const char *const names[] = {".", "indexkey.conf", "token.db", "token.db-wal",
                                        "token.db-shm"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (access(fixture_path(names[i]), F_OK) == 0)
            ck_assert_int_eq(chown(fixture_path(names[i]), user, (gid_t) -1), 0);
    }
}

/* Permissions do not bind root. */
static void take_permission(struct kms_settings *settings)
{
    (void) settings;
    if (geteuid() != 0) {
        ck_assert_int_eq(chmod(fixture_path(KEY_FILE), 0), 0);
        return;
    }
    give_all_but_the_key_to(NOBODY);
    ck_assert_int_eq(seteuid(NOBODY), 0);
}

static void give_permission_back(void)
{
    if (getuid() != 0) {
        ck_assert_int_eq(chmod(fixture_path(KEY_FILE), 0600), 0);
        return;
    }
    ck_assert_int_eq(seteuid(0), 0);
    give_all_but_the_key_to(0);
}

static const struct matrix_row file_rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CONTEXT, "another root key", .break_it = put_other_file,
     .heal = put_file_back},
    {MATRIX_DENIED, INDEXKEY_CAUSE_DENIED, "no permission", .break_it = take_permission,
     .heal = give_permission_back},
    {MATRIX_DISABLED, .absent = no_switch},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "does not exist", .break_it = remove_file,
     .heal = put_file_back},
    {MATRIX_ROTATED, .absent = no_versions},
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, .absent = no_service},
    {MATRIX_WRONG_CA, .absent = no_network},
    {MATRIX_SLOW, .absent = no_network},
    {MATRIX_UNREACHABLE, .absent = no_network},
};

const struct matrix_adapter matrix_file = {
    .name = "file",
    .source = "file",
    .server = "the file itself",
    .is_for_all = true,
    .rewraps = true,
    .configure = configure_file,
    .rows = file_rows,
    .row_count = COUNT_OF(file_rows),
};

/* ---- env ---- */

static void configure_env(const struct kms_settings *settings)
{
    char lines[1024];
    (void) snprintf(lines, sizeof(lines), "key_env = %s\n%s", VARIABLE, settings->more);
    kms_write_conf("env", fixture_store(1), lines);
}

static void set_variable(struct kms_settings *settings)
{
    (void) settings;
    kms_set_variable(VARIABLE, fixture_root_key);
}

static void put_variable_back(void)
{
    kms_set_variable(VARIABLE, fixture_root_key);
}

static void set_other_variable(struct kms_settings *settings)
{
    (void) settings;
    kms_set_variable(VARIABLE, fixture_other_root_key);
}

static void unset_variable(struct kms_settings *settings)
{
    (void) settings;
    kms_set_variable(VARIABLE, "");
}

static const struct matrix_row env_rows[] = {
    {MATRIX_CREDENTIAL, INDEXKEY_CAUSE_CONTEXT, "another root key", .break_it = set_other_variable,
     .heal = put_variable_back},
    {MATRIX_DENIED, .absent = "a process may read what is in its environment"},
    {MATRIX_DISABLED, .absent = no_switch},
    {MATRIX_DELETED, INDEXKEY_CAUSE_DELETED, "is not set", .break_it = unset_variable,
     .heal = put_variable_back},
    {MATRIX_ROTATED, .absent = no_versions},
    {MATRIX_TAMPERED, INDEXKEY_CAUSE_TAMPERED, "was changed", .change = MATRIX_WRAPPED},
    {MATRIX_CONTEXT, INDEXKEY_CAUSE_TAMPERED, "another context", .change = MATRIX_STORED_CONTEXT},
    {MATRIX_THROTTLED, .absent = no_service},
    {MATRIX_WRONG_CA, .absent = no_network},
    {MATRIX_SLOW, .absent = no_network},
    {MATRIX_UNREACHABLE, .absent = no_network},
};

const struct matrix_adapter matrix_env = {
    .name = "env",
    .source = "env",
    .server = "the variable itself",
    .is_for_all = true,
    .rewraps = true,
    .prepare = set_variable,
    .configure = configure_env,
    .rows = env_rows,
    .row_count = COUNT_OF(env_rows),
};
