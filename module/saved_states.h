/*
 * What C_GetOperationState saves: copies of a session's digest, kept by the session, because
 * OpenSSL's digests cannot be taken out as bytes. The application holds a random name of the copy.
 *
 * A session keeps its last SAVED_STATES_MAX copies; they end with it. The functions run under the
 * session's lock.
 */
#pragma once

#include "module/operation.h"

#define SAVED_STATES_MAX 16
#define SAVED_STATE_NAME_LEN 16

struct saved_states;

/* Saves an active digest operation; `state` is the session's CKS_ now. The first call makes
 * `*states`, which saved_states_free frees. */
CK_RV saved_states_add(struct saved_states **states, const struct operation *operation,
                       CK_STATE state, unsigned char ret_name[SAVED_STATE_NAME_LEN]);
/* An operation like the one that was saved; freed with operation_forget. CKR_SAVED_STATE_INVALID
 * when the name is not known (any more), or was given in another session state. */
CK_RV saved_states_get(const struct saved_states *states, CK_STATE state,
                       const unsigned char name[SAVED_STATE_NAME_LEN],
                       struct operation *ret_operation);
/* Wipes them all. NULL is allowed. */
void saved_states_free(struct saved_states **states);
