/*
 * The approvals of a token that were used, in one sealed row of its store
 * (docs/formats-approvals.md): each until it has expired.
 *
 * The row also keeps the latest expiry that was dropped from it. An approval that expires no later
 * counts as used, so that a clock that was wrong for a while opens no way to use one twice.
 */
#pragma once

#include <stdbool.h>

#include "module/approval.h"
#include "tokens/sealed_objects.h"

#define APPROVALS_USED_MAX 4096

struct approval_use {
    unsigned char nonce[APPROVAL_NONCE_LEN];
    int64_t expires;
};

struct approvals_used {
    uint64_t version; /* of the row; 0: there is none yet */
    int64_t forgotten;
    struct approval_use *uses;
    size_t count;
};

/* As the store has it. Freed with approvals_used_clear. */
CK_RV approvals_used_read(struct custody *custody, struct approvals_used *ret_used);
void approvals_used_clear(struct approvals_used *used);
bool approvals_used_has(const struct approvals_used *used, const struct approval_use *use);
/* In memory; those that have expired go. CKR_DEVICE_MEMORY when there are too many. */
CK_RV approvals_used_add(struct approvals_used *used, const struct approval_use *use, int64_t now);
void approvals_used_remove(struct approvals_used *used, const struct approval_use *use);
/* To the store. CKR_OBJECT_HANDLE_INVALID when another process came first. */
CK_RV approvals_used_write(struct custody *custody, const struct approvals_used *used);
