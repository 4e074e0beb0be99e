/* What encryption, MACs and digests share: how an operation begins and how its output is asked. */
#pragma once

#include "tests/differential/run.h"

/* C_*Init for what `message` says; sometimes with something wrong about it. True: both began. */
bool operation_start(struct run *run, struct session *session, enum operation_kind kind,
                     const struct message *message);
/* Chooses between a whole buffer, a size query, a buffer that is too small by at least a byte when
 * `needed` are, and one that fits: then true. */
bool operation_output(struct run *run, struct call *call, CK_ULONG needed);
/* The key was destroyed since, or its place has another. */
bool operation_lost_its_key(const struct operation *operation);
void operation_done(struct operation *operation);
/* Ended by an error, which the next start is told: a peer may keep the operation. */
void operation_failed(struct session *session, enum operation_kind kind);
/* Peers have one operation a session, or one of some kinds: most steps that would meet another are
 * left out. */
bool operation_is_hindered(struct run *run, const struct session *session,
                           enum operation_kind kind);
/* A message of the use for which a key is at hand; sealed is random. False: no key could be made.
 */
bool operation_message(struct run *run, int common, struct message *ret_message);
/* Of the input's next part. */
CK_ULONG operation_part(struct run *run, const struct operation *operation, CK_ULONG total);
