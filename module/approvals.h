/*
 * Two persons: which operations of a token need the approval of somebody besides whoever is logged
 * in, who may approve, and the use of each approval once (docs/formats-approvals.md).
 *
 * What the configuration says is read when the slot opens and never changes. Any thread; no lock of
 * ours is held while folder and store are asked.
 */
#pragma once

#include "conf/conf.h"
#include "module/approval.h"
#include "module/approvals_used.h"
#include "module/approvers.h"

struct slot;
struct approvals;

/* `two_person =`, `approvers =`, `approvals_needed =`, `approvals =`. NULL where nothing needs
 * approval. Freed with approvals_close. CKR_FUNCTION_FAILED, logged: who may approve is unclear. */
CK_RV approvals_open(const struct conf_section *section, struct approvals **ret_approvals);
void approvals_close(struct approvals **approvals);

/* Who may approve and how many of them must, as bytes, and back. `folder` may be NULL. Freed with
 * approvals_close; CKR_DATA_INVALID, not logged. */
void approvals_encode(const struct approvals *approvals, struct writer *writer);
CK_RV approvals_decode(struct reader *reader, const char *folder, struct approvals **ret_approvals);
/* True where this takes two persons. `approvals` may be NULL. */
bool approvals_guard(const struct approvals *approvals, enum approval_operation operation);

struct approval_request {
    enum approval_operation operation;
    struct view subject; /* what it is done to: as enum approval_operation says */
    struct view given;   /* documents that the caller hands over, one behind the other; or empty */
};

/* What was used for an operation. */
struct approval_grant {
    struct approval_use uses[APPROVERS_MAX];
    size_t count;
};

/* Looks for as many approvals as the token needs, each by another person, in what was given and in
 * the folder, and uses them up: call it last, when nothing else refuses. CKR_OK at once where the
 * operation needs none. CKR_ACTION_PROHIBITED, with what has to be signed in the log. For
 * APPROVAL_RESET, whose subject is another one afterwards, nothing is kept. */
CK_RV approvals_take(struct slot *slot, const struct approval_request *request,
                     struct approval_grant *ret_grant);
/* The same by others than the slot's. */
CK_RV approvals_take_by(struct slot *slot, const struct approvals *approvals,
                        const struct approval_request *request, struct approval_grant *ret_grant);
/* The operation has failed and nothing has happened: they may be used again. Best effort. What has
 * happened has used them, although something failed afterwards. */
void approvals_give_back(struct slot *slot, const struct approval_grant *grant);
