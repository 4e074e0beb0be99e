/*
 * Tokens as a command uses them: the library, one token, a session, a login, its keys. Failures are
 * told by failure.h.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/secret.h"
#include "tools/options.h"

#define TOKEN_NAME_MAX 32 /* bytes of a label, and of a section's name */

struct token {
    CK_SLOT_ID slot;
    bool is_present;                /* false: its section is wrong, nothing more is known */
    CK_TOKEN_INFO info;             /* by token_refresh */
    char name[TOKEN_NAME_MAX + 1];  /* of its section */
    char label[TOKEN_NAME_MAX + 1]; /* "" while it is not initialised */
    CK_SESSION_HANDLE session;      /* CK_INVALID_HANDLE: none is open */
};

/* C_Initialize with `--conf`. Once; tokens_finish ends it. */
CK_RV tokens_begin(const struct options *options);
void tokens_finish(void);

/* All slots in the order of the configuration, not asked yet (token_refresh); freed with mem_free.
 */
CK_RV tokens_list(struct token **ret_tokens, size_t *ret_count);

/* The one that `wanted` names: a label, a section's name or a slot. Asks each for its label. */
CK_RV token_pick(struct token *tokens, size_t count, const char *wanted,
                 const struct token **ret_token);

/* tokens_begin, then the one token of `--token`, or the only one there is. */
CK_RV token_select(const struct options *options, struct token *ret_token);
/* C_GetTokenInfo, which reads the store: `info` and `label`. */
CK_RV token_refresh(struct token *token);

/* The options have the SO's PIN, or say where the user's is, too. */
bool token_has_so_pin(const struct options *options);
bool token_has_pin(const struct options *options);

/* Opens a read-write session, and logs in: the SO by his PIN if the options have it (`administer =
 * so`), else the user by his, or without one where the token says
 * CKF_PROTECTED_AUTHENTICATION_PATH.
 */
CK_RV token_login(struct token *token, const struct options *options);

/* Failure: EXIT_CODE_NOT_FOUND, with the remedy. */
CK_RV token_check_initialized(const struct token *token);

/* The user PIN of the options, or of the terminal; the SO's. Freed with secret_clear. */
CK_RV token_read_pin(const struct token *token, const struct options *options,
                     struct secret *ret_pin);
CK_RV token_read_so_pin(const struct token *token, const struct options *options,
                        struct secret *ret_pin);

/* failure_of, with the cause that the token's session keeps. */
CK_RV token_check(const struct token *token, CK_RV rv, const char *call);

/* The secret keys that match a template, all of them; freed with mem_free. */
CK_RV token_find(const struct token *token, CK_ATTRIBUTE *template, CK_ULONG template_count,
                 CK_OBJECT_HANDLE **ret_keys, size_t *ret_count);

/* The one key that `label` and `id` (hexadecimal) name; either may be NULL, not both. */
CK_RV token_find_one(const struct token *token, const char *label, const char *id,
                     CK_OBJECT_HANDLE *ret_key);
