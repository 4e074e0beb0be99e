/*
 * The commands of `indexkey`: one table, one file a command (command_NAME.c).
 *
 * Everything goes through the C_* functions and module/admin*.h, so that policy and audit hold for
 * an operator as for an application. A command returns CKR_OK, or what failure.h made of its
 * failure; main.c prints the document and the failure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "include/cryptoki.h"
#include "tools/failure.h"
#include "tools/options.h"
#include "tools/output.h"

struct run {
    const struct options *options;
    struct output *output;
    enum exit_code exit; /* of a command that did its work; not EXIT_CODE_OK: what `check` found */
};

struct command {
    const char *name;      /* one word, or two: "audit verify" */
    const char *arguments; /* as usage shows them: "KEY", "" */
    const char *summary;   /* one line, without a full stop */
    size_t arguments_min;
    size_t arguments_max;
    uint64_t options; /* OPTION_BIT of those that it takes */
    CK_RV (*run)(struct run *run);
};

/* Sorted as `indexkey help` shows them; *ret_count of them. */
const struct command *commands_all(size_t *ret_count);

CK_RV command_anchor(struct run *run);
CK_RV command_audit_key(struct run *run);
CK_RV command_audit_show(struct run *run);
CK_RV command_audit_verify(struct run *run);
CK_RV command_backup(struct run *run);
CK_RV command_check(struct run *run);
CK_RV command_compromise(struct run *run);
CK_RV command_deactivate(struct run *run);
CK_RV command_destroy(struct run *run);
CK_RV command_hold(struct run *run);
CK_RV command_import(struct run *run);
CK_RV command_keys(struct run *run);
CK_RV command_migrate(struct run *run);
CK_RV command_provision(struct run *run);
CK_RV command_purge(struct run *run);
CK_RV command_reset(struct run *run);
CK_RV command_restore(struct run *run);
CK_RV command_resume(struct run *run);
CK_RV command_rewrap(struct run *run);
CK_RV command_rotate(struct run *run);
CK_RV command_rotate_token_key(struct run *run);
CK_RV command_shred(struct run *run);
CK_RV command_status(struct run *run);
CK_RV command_suspend(struct run *run);
CK_RV command_times(struct run *run);
CK_RV command_undelete(struct run *run);
CK_RV command_usage(struct run *run);
