/*
 * What sealed_objects.c (reading), sealed_load.c and sealed_changes.c (changing) share. Nobody else
 * includes it.
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
/* One line; CKR_DEVICE_ERROR. */
CK_RV sealed_objects_fail_row(const struct custody *custody, const struct object_id *id);
CK_RV sealed_objects_fail_newer_row(const struct custody *custody, const struct object_id *id);
/* At the next tick, whatever is known of the store. */
void sealed_objects_look_again(struct custody *custody);
/* What custody_confirm_keys has answered: the store holds another token. */
bool sealed_objects_is_gone(CK_RV confirmed);
/* CKR_OBJECT_HANDLE_INVALID when there is no such row; one that `each` cannot open
 * (CKR_ENCRYPTED_DATA_INVALID) is logged. */
CK_RV sealed_objects_read_row(struct custody *custody, const struct object_id *id,
                              store_row_fn *each, void *context);
