/*
 * A token of the built module, for replays: loads the module, writes a configuration for a token in
 * memory to a temporary folder, initialises the token and logs in.
 */
#pragma once

#include <stdbool.h>

#include "include/cryptoki.h"

struct replay_token {
    void *library;
    const CK_FUNCTION_LIST *functions;
    CK_SESSION_HANDLE session; /* read/write, the user logged in */
    char folder[64];
};

/* False, with the cause on stderr, when any step fails. Ended with replay_token_close, also then.
 */
bool replay_token_open(const char *module_path, struct replay_token *token);
void replay_token_close(struct replay_token *token);

/* A session secret key with three more attributes: what it may do, and the like. */
CK_RV replay_key(const struct replay_token *token, CK_KEY_TYPE type, const CK_ATTRIBUTE others[3],
                 const CK_ATTRIBUTE *value, CK_OBJECT_HANDLE *ret_key);
