/*
 * Copies of audit lines to the system's log: syslog (RFC 3164, by its datagram socket) and the
 * journal (its native protocol). A line counts as taken once the kernel has given it to the
 * daemon's socket. One thread at a time.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

struct audit_send {
    const char *token; /* for log lines */
    int facility;      /* of syslog; -1: not asked for */
    bool journal;
};

/* One word of `audit =`: "syslog:FACILITY" or "journald:". False when it is neither. */
bool audit_send_configure(struct audit_send *send, struct view word);
/* CKR_DEVICE_ERROR (INDEXKEY_CAUSE_AUDIT), logged, when one of them does not take it in a second.
 */
CK_RV audit_send_line(const struct audit_send *send, struct view line);

#ifdef INDEXKEY_TEST_HOOKS
/* Sockets in place of the daemons'; NULL restores. The strings stay the caller's. */
void audit_send_test_sockets(const char *syslog_path, const char *journal_path);
#endif
