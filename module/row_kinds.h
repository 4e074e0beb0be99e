/*
 * Rows of the store that are sealed like objects and are none: the first byte of their attributes
 * says what they are. An object's attributes begin with their format (attributes.h), far below.
 */
#pragma once

#include "base/bytes.h"

enum row_kind {
    ROW_KIND_GCM_COUNT = 0x81,      /* gcm_counts.c */
    ROW_KIND_IV_COUNTER = 0x82,     /* iv_counters.c */
    ROW_KIND_USED_APPROVALS = 0x83, /* approvals_used.c */
    ROW_KIND_POLICY = 0x84,         /* policy_pin.c */
};

/* True for one of these. A kind of a newer version is taken for an object, and does not open as
 * one. */
static inline bool row_is_no_object(struct view attributes)
{
    return attributes.len > 0 && attributes.bytes[0] >= ROW_KIND_GCM_COUNT &&
           attributes.bytes[0] <= ROW_KIND_POLICY;
}
