#include "tokens/aws_session.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tokens/aws_metadata.h"
#include "tokens/aws_process.h"
#include "tokens/aws_sts.h"

/* Keys that change with each look at them are no keys. */
#define LOOKS_MAX 3

void aws_session_clear(struct aws_session *session)
{
    aws_credentials_clear(&session->credentials);
    secret_clear(&session->kept);
}

static CK_RV find(const struct aws *aws, const struct source_call *call, struct aws_route *ret)
{
    const struct aws_identity identity = {aws->http.token, aws->profile, aws->region, aws->role};
    return aws_route_find(&identity, call->credential, ret);
}

/* ---- fetching ---- */

static void copy_region(const struct aws_credentials *from, struct aws_credentials *to)
{
    memcpy(to->region, from->region, sizeof(to->region));
}

/* The first of what `route` leads through. */
static CK_RV fetch_base(const struct aws_fetch *fetch, const struct aws_route *route,
                        struct aws_credentials *credentials, int64_t *ret_lifetime_s)
{
    switch (route->base) {
    case AWS_BASE_WEB_IDENTITY:
        return aws_sts_assume_by_file(fetch, &route->roles[0], route->where, credentials,
                                      ret_lifetime_s);
    case AWS_BASE_PROCESS:
        return aws_process_run(fetch, route->where, credentials, ret_lifetime_s);
    case AWS_BASE_CONTAINER:
        return aws_metadata_ask_container(fetch, route->where, credentials, ret_lifetime_s);
    case AWS_BASE_INSTANCE:
        return aws_metadata_ask_instance(fetch, route->where, credentials, ret_lifetime_s);
    case AWS_BASE_KEYS:
        break;
    }
    *ret_lifetime_s = AWS_LIFETIME_UNKNOWN_S;
    const struct secret *secret = &route->keys.secret_access_key;
    const struct secret *session_token = &route->keys.session_token;
    const struct aws_keys keys = {view_text(route->keys.access_key_id),
                                  {secret->bytes, secret->len},
                                  {session_token->bytes, session_token->len}};
    return aws_credentials_fill(&keys, credentials);
}

static CK_RV fetch_all(struct aws *aws, const struct source_call *call,
                       const struct aws_route *route, struct aws_credentials *credentials,
                       int64_t *ret_lifetime_s)
{
    const struct aws_fetch fetch = {aws, call, route->keys.region};
    copy_region(&route->keys, credentials);
    TRY(fetch_base(&fetch, route, credentials, ret_lifetime_s));
    for (size_t i = route->base == AWS_BASE_WEB_IDENTITY; i < route->role_count; i++)
        TRY(aws_sts_assume(&fetch, &route->roles[i], credentials, ret_lifetime_s));
    return CKR_OK;
}

CK_RV aws_session_fetch(void *context, const struct source_call *call,
                        struct access_token_grant *ret_grant)
{
    struct aws *aws = context;
    _cleanup_(aws_route_clear) struct aws_route route = {.base = AWS_BASE_KEYS};
    _cleanup_(aws_credentials_clear) struct aws_credentials credentials = {.region = ""};
    char mark[AWS_ROUTE_MARK_SIZE];
    int64_t lifetime_s = 0;
    TRY(find(aws, call, &route));
    TRY(aws_route_mark(&route, mark));
    TRY(fetch_all(aws, call, &route, &credentials, &lifetime_s));
    TRY(aws_credentials_pack(mark, &credentials, &ret_grant->text));
    ret_grant->lifetime_s = lifetime_s;
    return CKR_OK;
}

/* ---- what is kept ---- */

/* What is kept may be of a route that was given up. */
static CK_RV get_kept(struct aws *aws, const struct source_call *call, struct aws_route *route,
                      struct aws_session *session)
{
    char mark[AWS_ROUTE_MARK_SIZE];
    for (int i = 0; i < LOOKS_MAX; i++) {
        TRY(aws_route_mark(route, mark));
        secret_clear(&session->kept);
        TRY(access_token_get(aws->sessions, call, &session->kept));
        CK_RV rv = aws_credentials_unpack(&session->kept, mark, &session->credentials);
        if (rv != CKR_DATA_INVALID)
            return rv;
        access_token_refuse(aws->sessions, &session->kept);
        aws_route_clear(route);
        TRY(find(aws, call, route));
    }
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "token '%s': its AWS profile or environment changes again and again while "
                      "temporary credentials are fetched; let it settle",
                      aws->http.token);
}

CK_RV aws_session_get(struct aws *aws, const struct source_call *call, struct aws_session *session)
{
    _cleanup_(aws_route_clear) struct aws_route route = {.base = AWS_BASE_KEYS};
    int64_t lifetime_s;
    TRY(find(aws, call, &route));
    copy_region(&route.keys, &session->credentials);
    if (aws_route_is_direct(&route)) {
        aws_credentials_clear(&session->credentials);
        session->credentials = route.keys;
        route.keys = (struct aws_credentials){.region = ""};
        return CKR_OK;
    }
    if (call->credential.len > 0)
        return fetch_all(aws, call, &route, &session->credentials, &lifetime_s);
    return get_kept(aws, call, &route, session);
}

CK_RV aws_session_renew(struct aws *aws, const struct source_call *call,
                        struct aws_session *session, bool *ret_changed)
{
    _cleanup_(aws_session_clear) struct aws_session other = {.kept = {NULL, 0}};
    if (session->kept.len == 0)
        return CKR_OK;
    access_token_refuse(aws->sessions, &session->kept);
    TRY(aws_session_get(aws, call, &other));
    *ret_changed = !secret_equal(&other.kept, &session->kept);
    copy_region(&session->credentials, &other.credentials);
    aws_session_clear(session);
    *session = other;
    other = (struct aws_session){.kept = {NULL, 0}};
    return CKR_OK;
}
