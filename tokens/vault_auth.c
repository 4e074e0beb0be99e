#include "tokens/vault_auth.h"

#include <pthread.h>

#include "base/alloc.h"
#include "tokens/access_token.h"
#include "tokens/vault_login.h"

/* How soon a token of somebody else's is tried again that could not be renewed. */
#define RENEW_AGAIN_S INT64_C(60)
/* A renewal that brings less than this part of the first lifetime has met the token's
 * token_max_ttl. */
#define SHORT_PART 2

/* What was got for one identity. */
struct session {
    struct vault_auth *auth;
    struct secret identity; /* the PIN, or a token of somebody else's; empty: the configured one */
    bool is_users;          /* came as a credential, with a call */
    struct access_token *token;
    unsigned users; /* by auth->lock; `current` is one */
    atomic_bool is_refused;

    /* Of whoever fetches, one thread at a time. */
    struct secret granted;
    bool is_renewable;
    int64_t first_lifetime_s;
};

struct vault_auth {
    const char *name;
    struct vault_login login;
    pthread_mutex_t lock;
    struct session *current; /* NULL: none yet */
};

/* ---- one session ---- */

static void session_free(struct session *session)
{
    access_token_free(&session->token);
    secret_clear(&session->identity);
    secret_clear(&session->granted);
    mem_free(session);
}

static CK_RV log_in(struct session *session, const struct source_call *call,
                    struct vault_grant *ret_grant)
{
    struct vault_login *login = &session->auth->login;
    struct view identity = {session->identity.bytes, session->identity.len};
    if (login->method != VAULT_METHOD_TOKEN)
        return vault_login_send(login, call, identity, ret_grant);
    /* A token that cannot be renewed is as good as it was. */
    if (vault_login_renew(login, call, &session->identity, ret_grant))
        return CKR_OK;
    ret_grant->lifetime_s = RENEW_AGAIN_S;
    ret_grant->is_renewable = false;
    return secret_from(identity.bytes, identity.len, &ret_grant->token);
}

static bool renew(struct session *session, const struct source_call *call,
                  struct vault_grant *ret_grant)
{
    _cleanup_(vault_grant_clear) struct vault_grant grant = {.lifetime_s = 0};
    if (!session->is_renewable || atomic_exchange(&session->is_refused, false) ||
        !vault_login_renew(&session->auth->login, call, &session->granted, &grant) ||
        grant.lifetime_s < session->first_lifetime_s / SHORT_PART)
        return false;
    *ret_grant = grant;
    grant.token = (struct secret){0};
    return true;
}

static CK_RV fetch(void *context, const struct source_call *call,
                   struct access_token_grant *ret_grant)
{
    struct session *session = context;
    _cleanup_(vault_grant_clear) struct vault_grant grant = {.lifetime_s = 0};
    if (!renew(session, call, &grant)) {
        TRY(log_in(session, call, &grant));
        session->first_lifetime_s = grant.lifetime_s;
    }
    TRY(secret_from(grant.token.bytes, grant.token.len, &ret_grant->text));
    ret_grant->lifetime_s = grant.lifetime_s;
    session->is_renewable = grant.is_renewable;
    secret_clear(&session->granted);
    session->granted = secret_move(&grant.token);
    return CKR_OK;
}

static CK_RV session_new(struct vault_auth *auth, struct view identity, bool is_users,
                         struct session **ret_session)
{
    struct session *session = mem_calloc(1, sizeof(*session));
    if (session == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", auth->name);
    session->auth = auth;
    session->is_users = is_users;
    session->users = 1;
    CK_RV rv =
        identity.len == 0 ? CKR_OK : secret_from(identity.bytes, identity.len, &session->identity);
    if (rv == CKR_OK)
        rv = access_token_new(auth->name, fetch, session, &session->token);
    if (rv != CKR_OK) {
        session_free(session);
        return rv;
    }
    *ret_session = session;
    return CKR_OK;
}

/* ---- which session ---- */

/* NULL, or the session that nobody uses any more. */
static struct session *leave_locked(struct session *session)
{
    return session == NULL || --session->users > 0 ? NULL : session;
}

static void release(struct vault_auth *auth, struct session *session)
{
    (void) pthread_mutex_lock(&auth->lock);
    struct session *unused = leave_locked(session);
    (void) pthread_mutex_unlock(&auth->lock);
    if (unused != NULL)
        session_free(unused);
}

static bool is_for(const struct session *session, struct view identity, bool is_users)
{
    return session != NULL && session->is_users == is_users &&
           session->identity.len == identity.len &&
           (identity.len == 0 ||
            secret_bytes_equal(session->identity.bytes, identity.bytes, identity.len));
}

static CK_RV acquire(struct vault_auth *auth, struct view identity, bool is_users,
                     struct session **ret_session)
{
    struct session *unused = NULL;
    CK_RV rv = CKR_OK;
    (void) pthread_mutex_lock(&auth->lock);
    if (!is_for(auth->current, identity, is_users)) {
        struct session *session = NULL;
        rv = session_new(auth, identity, is_users, &session);
        if (rv == CKR_OK) {
            unused = leave_locked(auth->current);
            auth->current = session;
        }
    }
    if (rv == CKR_OK) {
        auth->current->users++;
        *ret_session = auth->current;
    }
    (void) pthread_mutex_unlock(&auth->lock);
    if (unused != NULL)
        session_free(unused);
    return rv;
}

/* ---- the module's side ---- */

CK_RV vault_auth_open(const struct conf_section *section, const struct vault_server *server,
                      struct vault_auth **ret_auth)
{
    struct vault_auth *auth = mem_calloc(1, sizeof(*auth));
    if (auth == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    (void) pthread_mutex_init(&auth->lock, NULL);
    auth->name = server->http.token;
    CK_RV rv = vault_login_configure(section, server, &auth->login);
    if (rv != CKR_OK) {
        vault_auth_close(&auth);
        return rv;
    }
    *ret_auth = auth;
    return CKR_OK;
}

void vault_auth_close(struct vault_auth **auth)
{
    struct vault_auth *closed = TAKE(*auth);
    if (closed == NULL)
        return;
    if (closed->current != NULL)
        session_free(closed->current);
    vault_login_clear(&closed->login);
    (void) pthread_mutex_destroy(&closed->lock);
    mem_free(closed);
}

/* Of somebody else's: read at each call, so that it may be replaced at any time. */
static CK_RV read_token(const struct vault_auth *auth, const struct source_call *call,
                        struct secret *ret_token)
{
    if (call->credential.len == 0)
        return vault_place_read(auth->name, &auth->login.place, ret_token);
    if (!vault_place_is_fit(call->credential))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                          "token '%s': what was given as its PIN is no Vault token; log in with a "
                          "Vault token as the PIN",
                          auth->name);
    return secret_from(call->credential.bytes, call->credential.len, ret_token);
}

CK_RV vault_auth_token(struct vault_auth *auth, const struct source_call *call,
                       struct secret *ret_token)
{
    _cleanup_(secret_clear) struct secret token = {0};
    struct view identity = call->credential;
    struct session *session;
    if (auth->login.method == VAULT_METHOD_TOKEN) {
        TRY(read_token(auth, call, &token));
        identity = (struct view){token.bytes, token.len};
    }
    if (!auth->login.renews) {
        *ret_token = secret_move(&token);
        return CKR_OK;
    }
    TRY(acquire(auth, identity, call->credential.len > 0, &session));
    CK_RV rv = access_token_get(session->token, call, ret_token);
    release(auth, session);
    return rv;
}

bool vault_auth_logs_in(const struct vault_auth *auth)
{
    return auth->login.method != VAULT_METHOD_TOKEN;
}

bool vault_auth_refuse(struct vault_auth *auth, const struct secret *token)
{
    if (!vault_auth_logs_in(auth))
        return false;
    (void) pthread_mutex_lock(&auth->lock);
    struct session *session = auth->current;
    if (session != NULL) {
        atomic_store(&session->is_refused, true);
        access_token_refuse(session->token, token);
    }
    (void) pthread_mutex_unlock(&auth->lock);
    return true;
}

void vault_auth_forget(struct vault_auth *auth)
{
    (void) pthread_mutex_lock(&auth->lock);
    bool is_over = auth->current != NULL && auth->current->is_users;
    struct session *unused = is_over ? leave_locked(auth->current) : NULL;
    if (is_over)
        auth->current = NULL;
    (void) pthread_mutex_unlock(&auth->lock);
    if (unused != NULL)
        session_free(unused);
}
