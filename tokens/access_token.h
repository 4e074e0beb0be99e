/*
 * The OAuth 2.0 access token (RFC 6749, 1.4) of one source: kept until shortly before it expires,
 * and then asked for anew, by one thread at a time.
 *
 * The token's text lies in secret memory, where a fork does not take it along (base/secret.h), and
 * is wiped when a newer one comes and when the source closes.
 *
 * Any thread may call. The lock is never held while the function that asks for a token runs. Who
 * needs a token while another thread asks for it goes on with the present one if that is still
 * good; else it waits for the other's result, until its own deadline or cancellation, and shares
 * it. A renewal before its time that gets no answer leaves the present token in use until it
 * expires; one that is denied drops it.
 */
#pragma once

#include "tokens/source.h"

struct access_token;

/* What an identity provider gave. Cleared with access_token_grant_clear. */
struct access_token_grant {
    struct secret text;
    int64_t lifetime_s; /* its expires_in; 0 when it is not to be kept */
};

void access_token_grant_clear(struct access_token_grant *grant);

/* Asks for a token within the call's deadline; runs without a lock. Failures are logged by it, with
 * their cause; `*ret_grant` is then untouched. */
typedef CK_RV access_token_fetch(void *context, const struct source_call *call,
                                 struct access_token_grant *ret_grant);

/* `name` is the token section's, for log lines; it and `context` outlive the access token. No I/O.
 * Freed with access_token_free. CKR_HOST_MEMORY, logged. */
CK_RV access_token_new(const char *name, access_token_fetch *fetch, void *context,
                       struct access_token **ret_token);
/* No call may run. Wipes; sets NULL. NULL is nothing. */
void access_token_free(struct access_token **token);

/* A copy of the token, fetched first if need be. Failures are fetch's, or logged here:
 * CAUSE_TIMEOUT and CAUSE_CANCELLED of a caller that waited for another thread. Who shares another
 * thread's failure logs nothing. */
CK_RV access_token_get(struct access_token *token, const struct source_call *call,
                       struct secret *ret_text);

/* The service has refused this text (401): it is dropped, unless another one has come since. */
void access_token_refuse(struct access_token *token, const struct secret *text);
