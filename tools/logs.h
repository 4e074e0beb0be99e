/*
 * Audit logs as files, read whole. Failures are told by failure.h.
 */
#pragma once

#include "tokens/audit_verify.h"
#include "tools/options.h"

#define LOG_FILE_MAX ((size_t) 1 << 30)

struct logs {
    struct audit_input *files; /* in the order of the command line */
    size_t count;
};

/* The command's arguments. Freed with logs_clear. */
CK_RV logs_read(const struct options *options, struct logs *ret_logs);
void logs_clear(struct logs *logs);
/* One file; its bytes are freed with mem_free. */
CK_RV logs_read_file(const char *path, struct audit_input *ret_file);
