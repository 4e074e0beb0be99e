/*
 * One session with a parent HSM, for one call: opened on the token that the URI names, logged in,
 * closed at the end, so that nothing stays logged in there between calls. Inside only
 * (hsm_parent.h).
 */
#pragma once

#include "base/bytes.h"
#include "tokens/hsm_parent.h"

struct hsm_session {
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE handle; /* CK_INVALID_HANDLE: none */
    struct hsm_parent *parent;
    unsigned int generation; /* of the parent */
    struct hsm_fault *fault;
    const atomic_bool *is_left;
};

/* With `parent`, `fault` and `is_left` set; an empty PIN is none. To be closed after a failure,
 * too. */
CK_RV hsm_session_open(struct hsm_session *session, struct view pin);
void hsm_session_close(struct hsm_session *session);

/* What the module answered: notes a refusal, and ends the work that nobody waits for any more. */
CK_RV hsm_session_check(const struct hsm_session *session, CK_RV rv);

/* The one key of that class with the URI's label, and with that id; with the URI's own when `id` is
 * empty. */
CK_RV hsm_session_find_key(const struct hsm_session *session, CK_OBJECT_CLASS key_class,
                           struct view id, CK_OBJECT_HANDLE *ret_key);
/* Its CKA_ID; empty when it has none that fits. */
void hsm_session_key_id(const struct hsm_session *session, CK_OBJECT_HANDLE key,
                        unsigned char id[HSM_ID_LEN_MAX], size_t *ret_len);
