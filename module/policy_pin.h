/*
 * `two_person = policy`: the policy that the configuration has for a token is pinned in the token,
 * and the next login after a change takes the approval of those who could approve before
 * (docs/formats-approvals.md).
 *
 * The first login pins. What was pinned stays so until a change that takes `policy` away is
 * approved too: to edit the configuration alone opens nothing.
 */
#pragma once

#include "conf/conf.h"
#include "module/approvals.h"

/* Of the keys that decide what may be done, of the [policy] sections, and of who may approve. */
CK_RV policy_pin_digest(const struct conf *conf, const struct conf_section *token,
                        const struct approvals *approvals, unsigned char ret_digest[SHA256_LEN]);

/* With the token open, before anybody is logged in. CKR_FUNCTION_FAILED, with what has to be signed
 * in the log, when the policy is not the pinned one. */
CK_RV policy_pin_check(struct slot *slot);
