/*
 * How often keys were used, by key, mechanism and day (UTC), as audit logs tell it. Blocks that
 * were reserved and given back later are taken off the newest days that they can have come from.
 * Counts are never below the truth; a process that runs or was killed leaves them above it. Nothing
 * is verified here.
 */
#pragma once

#include "tokens/audit_verify.h"

/* One row; texts as they stand in the lines (JSON's escapes), borrowed from the files. */
struct audit_usage_row {
    struct view key; /* hexadecimal; empty: session keys */
    struct view label;
    struct view mechanism;
    struct view day; /* "2026-11-22" */
    uint64_t uses;
};

struct audit_usage {
    struct audit_usage_row *rows; /* by key, mechanism, day */
    size_t count;
};

/* Freed with audit_usage_clear. Lines that are none are passed over. CKR_HOST_MEMORY. */
CK_RV audit_usage(const struct audit_input *files, size_t file_count,
                  struct audit_usage *ret_usage);
void audit_usage_clear(struct audit_usage *usage);
