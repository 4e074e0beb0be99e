/*
 * The Vault token of one call: the one that somebody else has got (a file, a variable, the PIN), or
 * one of a login of ours, which is kept, renewed before its end, and got anew by another login when
 * it ends or Vault refuses it.
 *
 * One thread at a time logs in or renews; the others go on with the token that is there, or wait
 * (access_token.h). A token got by a user's credential serves no other credential, and is wiped
 * when the login ends. It is not revoked: that would need the network in C_Logout and C_Finalize;
 * its TTL ends it.
 */
#pragma once

#include "tokens/vault_exchange.h"

struct vault_auth;

/* No I/O; `server` outlives it. Freed with vault_auth_close. Failures are logged. */
CK_RV vault_auth_open(const struct conf_section *section, const struct vault_server *server,
                      struct vault_auth **ret_auth);
/* No call may run. Sets NULL. NULL is nothing. */
void vault_auth_close(struct vault_auth **auth);

CK_RV vault_auth_token(struct vault_auth *auth, const struct source_call *call,
                       struct secret *ret_token);
/* Vault refuses this token. True when vault_auth_token may give another one now. */
bool vault_auth_refuse(struct vault_auth *auth, const struct secret *token);
/* The login whose credential came with the calls is over. */
void vault_auth_forget(struct vault_auth *auth);

/* Whether tokens are of our own logins. */
bool vault_auth_logs_in(const struct vault_auth *auth);
