#include "tokens/vault_wrapping.h"

#include <string.h>

#include "tokens/vault_place.h"

#define ACT "open the wrapped secret id"

static const struct vault_refusal refusals[] = {
    {VAULT_BAD_REQUEST, "wrapping token is not valid", INDEXKEY_CAUSE_CREDENTIAL,
     "the wrapping token has expired, or was opened before: by an earlier process here, or by "
     "somebody who has the secret id now",
     "look in Vault's audit log who opened it; then wrap a new secret id"},
    {.status = 0},
};

static const struct vault_attempt attempt = {
    .what = ACT,
    .place = "sys/wrapping",
    .refusals = refusals,
};

void vault_wrapping_init(struct vault_wrapping *wrapping, const struct vault_server *server)
{
    wrapping->server = server;
    (void) pthread_mutex_init(&wrapping->lock, NULL);
}

void vault_wrapping_destroy(struct vault_wrapping *wrapping)
{
    (void) pthread_mutex_destroy(&wrapping->lock);
    secret_clear(&wrapping->token);
    secret_clear(&wrapping->secret_id);
}

static CK_RV ask(const struct vault_server *server, const struct source_call *call,
                 const struct vault_exchange *exchange, struct http_result *ret_result)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    TRY(vault_exchange_send(server, call, exchange, &result));
    if (result.status != VAULT_OK)
        return vault_refusal_fail(server, &result, &attempt);
    *ret_result = result;
    result.body = (struct secret){0};
    return CKR_OK;
}

/* Moves behind what the text begins with. */
static bool take(const char **text, const char *begin)
{
    size_t len = strlen(begin);
    bool begins_so = strncmp(*text, begin, len) == 0;
    *text += begins_so ? len : 0;
    return begins_so;
}

/* "auth/MOUNT/role/NAME/secret-id", with our namespace before it or not. Nothing else may stand
 * there: any engine's path can end so. */
static bool is_of_mount(const struct vault_wrapping *wrapping, const char *path)
{
    const char *namespace = wrapping->server->namespace;
    if (namespace != NULL && take(&path, namespace) && !take(&path, "/"))
        return false;
    if (!take(&path, "auth/") || !take(&path, wrapping->mount) || !take(&path, "/role/"))
        return false;
    const char *slash = strchr(path, '/');
    return slash != NULL && slash != path && strcmp(slash, "/secret-id") == 0;
}

static CK_RV check_origin(const struct vault_wrapping *wrapping, const struct source_call *call,
                          const struct secret *token)
{
    const struct vault_server *server = wrapping->server;
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    _cleanup_(secret_clear) struct secret body = {0};
    json_write_object(&writer, NULL);
    json_write_view(&writer, "token", (struct view){token->bytes, token->len});
    json_write_end_object(&writer);
    if (json_write_finish(&writer, &body) != CKR_OK)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory to " ACT, server->http.token);
    const struct vault_exchange lookup = {
        .method = "POST",
        .path = "/v1/sys/wrapping/lookup",
        .body = {body.bytes, body.len},
    };
    TRY(ask(server, call, &lookup, &result));
    const char *path =
        json_parse((struct view){result.body.bytes, result.body.len}, &reply) == CKR_OK
            ? json_text(reply, "data.creation_path")
            : NULL;
    if (path == NULL)
        return source_http_fail_reply(&server->http, &result,
                                      "it does not say what the wrapping token was made by");
    if (is_of_mount(wrapping, path))
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CREDENTIAL,
                      "token '%s': its wrapping token was not made for a secret id of auth/%s, so "
                      "that it is not opened: somebody may have exchanged it; wrap a new secret id",
                      server->http.token, wrapping->mount);
}

static CK_RV unwrap(const struct vault_server *server, const struct source_call *call,
                    const struct secret *token, struct secret *ret_secret_id)
{
    _cleanup_(http_result_clear) struct http_result result = {0};
    _cleanup_(secret_clear) struct secret secret_id = {0};
    const struct vault_exchange open = {
        .method = "POST",
        .path = "/v1/sys/wrapping/unwrap",
        .token = token,
        .body = view_text("{}"),
    };
    TRY(ask(server, call, &open, &result));
    CK_RV rv = json_secret_take(&result.body, "data.secret_id", &secret_id);
    if (rv == CKR_DATA_INVALID ||
        (rv == CKR_OK && !vault_place_is_fit((struct view){secret_id.bytes, secret_id.len})))
        return source_http_fail_reply(&server->http, &result,
                                      "the wrapping token had no secret id in it");
    TRY(rv);
    *ret_secret_id = secret_move(&secret_id);
    return CKR_OK;
}

/* False when that token was not opened before. */
static bool recall(struct vault_wrapping *wrapping, const struct secret *token,
                   struct secret *ret_secret_id, CK_RV *ret_rv)
{
    (void) pthread_mutex_lock(&wrapping->lock);
    bool is_known = wrapping->token.len > 0 && secret_equal(&wrapping->token, token);
    if (is_known)
        *ret_rv = secret_from(wrapping->secret_id.bytes, wrapping->secret_id.len, ret_secret_id);
    (void) pthread_mutex_unlock(&wrapping->lock);
    return is_known;
}

CK_RV vault_wrapping_open(struct vault_wrapping *wrapping, const struct source_call *call,
                          const struct secret *token, struct secret *ret_secret_id)
{
    _cleanup_(secret_clear) struct secret copy = {0};
    _cleanup_(secret_clear) struct secret secret_id = {0};
    CK_RV rv;
    if (recall(wrapping, token, ret_secret_id, &rv))
        return rv;
    /* Before it is opened: what memory is short for must not be lost. */
    TRY(secret_from(token->bytes, token->len, &copy));
    TRY(check_origin(wrapping, call, token));
    TRY(unwrap(wrapping->server, call, token, &secret_id));
    (void) pthread_mutex_lock(&wrapping->lock);
    secret_clear(&wrapping->token);
    secret_clear(&wrapping->secret_id);
    wrapping->token = secret_move(&copy);
    wrapping->secret_id = secret_move(&secret_id);
    rv = secret_from(wrapping->secret_id.bytes, wrapping->secret_id.len, ret_secret_id);
    (void) pthread_mutex_unlock(&wrapping->lock);
    return rv;
}
