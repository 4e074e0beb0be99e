/*
 * What sealed_objects.c (reading) and sealed_changes.c (changing) share. Nobody else includes it.
 */
#pragma once

#include "tokens/custody_internal.h"
#include "tokens/sealed_objects.h"
#include "tokens/summary.h"

struct stored_summary {
    struct summary summary;
    uint64_t version; /* of its row */
};

/* CKR_ENCRYPTED_DATA_INVALID, not logged, when it is missing or does not open. */
CK_RV sealed_objects_read_summary(struct custody *custody, struct keyring *keyring,
                                  struct stored_summary *ret_summary);
CK_RV sealed_objects_fail_summary(const struct custody *custody);
/* CKR_OBJECT_HANDLE_INVALID when there is no such row; one that `each` cannot open
 * (CKR_ENCRYPTED_DATA_INVALID) is logged. */
CK_RV sealed_objects_read_row(struct custody *custody, const struct object_id *id,
                              store_row_fn *each, void *context);
