/*
 * Counters and gauges of a token, as a text file for Prometheus (docs/audit.md has the names).
 *
 * The file is written to a new one beside it and renamed, at most every 5 s, by whatever call comes
 * then, and at the end. Nothing here is called for each data operation: sessions count for
 * themselves (struct audit_share). One lock, a leaf. NULL counts nothing. What cannot be written is
 * said once in the log, and is no failure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "include/cryptoki.h"

struct metrics;

enum metrics_counter {
    METRICS_LOGINS,     /* by result */
    METRICS_OPERATIONS, /* by mechanism */
    METRICS_ERRORS,     /* by CKR */
    METRICS_KMS_CALLS,  /* by cause */
    METRICS_COUNTERS
};

enum metrics_gauge {
    METRICS_OBJECTS,
    METRICS_SESSIONS,
    METRICS_LOGGED_IN,
    METRICS_LEASE_MS, /* left; below zero in the grace */
    METRICS_GAUGES
};

/* `path`: "%p" in it becomes the process id. Freed with metrics_close, which writes once more. */
CK_RV metrics_open(const char *token, const char *path, struct metrics **ret_metrics);
void metrics_close(struct metrics **metrics);

/* `label` is one of a bounded set. */
void metrics_add(struct metrics *metrics, enum metrics_counter counter, const char *label,
                 uint64_t count);
void metrics_set(struct metrics *metrics, enum metrics_gauge gauge, int64_t value);
/* One call of the source: counts it by its cause, and its time. */
void metrics_kms_call(struct metrics *metrics, const char *cause, int64_t took_ms);
/* True at most every 5 s: the gauges are to be set, then metrics_write called. */
bool metrics_are_due(struct metrics *metrics);
void metrics_write(struct metrics *metrics);
