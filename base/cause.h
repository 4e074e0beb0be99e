/*
 * Why a call into a source or a store failed: a cause that a person can act on, next to the CK_RV.
 *
 * The enumeration is public (include/indexkey.h) because C_GetSessionInfo shows it as
 * ulDeviceError. The core rule: an explicit denial fails closed at once and is never retried; a
 * transient failure keeps the lease running. One table here says which is which and which CKR
 * C_Login returns.
 */
#pragma once

#include <stdbool.h>

#include "base/rv.h"
#include "include/indexkey.h"

/* For log lines: "denied", "timeout", … */
const char *cause_name(enum indexkey_cause cause);

/* What C_Login answers for it (docs/architecture.md, table of results). */
CK_RV cause_rv(enum indexkey_cause cause);

/* True: the source said no (disabled, deleted, permission denied, tampered, wrong context …). */
bool cause_is_denial(enum indexkey_cause cause);

/* True: nobody said no (throttled, timeout, unreachable, DNS, server error …); the lease runs
 * on. */
bool cause_is_transient(enum indexkey_cause cause);

/* The thread's last cause: set at the origin of a failure, read by the caller that maps it to a
 * session's ulDeviceError. CAUSE_NONE after cause_clear. */
void cause_set(enum indexkey_cause cause);
void cause_clear(void);
enum indexkey_cause cause_last(void);

/* Logs one line, records the cause for this thread, returns cause_rv(cause). */
#define FAIL_CAUSE(cause, ...)                                                                     \
    (log_line(LOG_LEVEL_ERROR, __VA_ARGS__), cause_set(cause), cause_rv(cause))
