#include "tokens/aws_credentials.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/rv.h"
#include "tokens/json.h"

#define SECRET_LEN_MAX 512
#define TIME_LEN_MAX 40
#define PART_COUNT 4

void aws_credentials_clear(struct aws_credentials *credentials)
{
    secret_clear(&credentials->secret_access_key);
    secret_clear(&credentials->session_token);
}

bool aws_credentials_is_text(struct view text, size_t len_max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= len_max;
}

/* AWS's own are words ("\w"); other characters would end its field of the Authorization header. */
static bool is_id(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!isalnum(text.bytes[i]) && strchr("_-.", text.bytes[i]) == NULL)
            return false;
    }
    return aws_credentials_is_text(text, AWS_ACCESS_KEY_ID_LEN_MAX);
}

static bool is_complete(const struct aws_keys *keys)
{
    if (keys->id.bytes == NULL || keys->secret.bytes == NULL)
        return false;
    return is_id(keys->id) && aws_credentials_is_text(keys->secret, SECRET_LEN_MAX) &&
           (keys->session_token.len == 0 ||
            aws_credentials_is_text(keys->session_token, AWS_SESSION_TOKEN_LEN_MAX));
}

CK_RV aws_credentials_fill(const struct aws_keys *keys, struct aws_credentials *credentials)
{
    if (!is_complete(keys))
        return CKR_DATA_INVALID;
    aws_credentials_clear(credentials);
    memcpy(credentials->access_key_id, keys->id.bytes, keys->id.len);
    credentials->access_key_id[keys->id.len] = '\0';
    TRY(secret_from(keys->secret.bytes, keys->secret.len, &credentials->secret_access_key));
    if (keys->session_token.len == 0)
        return CKR_OK;
    return secret_from(keys->session_token.bytes, keys->session_token.len,
                       &credentials->session_token);
}

/* ---- JSON ---- */

bool aws_credentials_read_time(struct view text, int64_t *ret_time_s)
{
    char copy[TIME_LEN_MAX + 1];
    struct tm parts = {0};
    if (text.len == 0 || text.len > TIME_LEN_MAX)
        return false;
    memcpy(copy, text.bytes, text.len);
    copy[text.len] = '\0';
    const char *end = strptime(copy, "%Y-%m-%dT%H:%M:%S", &parts);
    if (end == NULL)
        return false;
    if (*end == '.')
        end += 1 + strspn(end + 1, "0123456789");
    if (strcmp(end, "Z") != 0 && strcmp(end, "+00:00") != 0)
        return false;
    *ret_time_s = (int64_t) timegm(&parts);
    return true;
}

static struct view view_of(const struct secret *secret)
{
    return (struct view){secret->bytes, secret->len};
}

CK_RV aws_credentials_take_json(struct secret *body, const char *token,
                                struct aws_credentials *credentials, int64_t *ret_expires_s)
{
    _cleanup_(secret_clear) struct secret secret = {0};
    _cleanup_(secret_clear) struct secret session_token = {0};
    _cleanup_(json_free) struct json *reply = NULL;
    int64_t expires_s = 0;
    TRY(json_secret_take(body, "SecretAccessKey", &secret));
    CK_RV rv = json_secret_take(body, token, &session_token);
    if (rv != CKR_OK && rv != CKR_DATA_INVALID)
        return rv;
    TRY(json_parse(view_of(body), &reply));
    const char *id = json_text(reply, "AccessKeyId");
    const char *expiration = json_text(reply, "Expiration");
    const char *rest = json_text(reply, token);
    bool has_bad_token =
        session_token.len == 0 && json_has(reply, token) && (rest == NULL || rest[0] != '\0');
    if (id == NULL || has_bad_token || (expiration == NULL && json_has(reply, "Expiration")))
        return CKR_DATA_INVALID;
    if (expiration != NULL && !aws_credentials_read_time(view_text(expiration), &expires_s))
        return CKR_DATA_INVALID;
    struct aws_keys keys = {view_text(id), view_of(&secret), view_of(&session_token)};
    TRY(aws_credentials_fill(&keys, credentials));
    *ret_expires_s = expires_s;
    return CKR_OK;
}

/* ---- to be kept ---- */

CK_RV aws_credentials_pack(const char *mark, const struct aws_credentials *credentials,
                           struct secret *ret_text)
{
    const struct view parts[PART_COUNT] = {view_text(mark), view_text(credentials->access_key_id),
                                           view_of(&credentials->secret_access_key),
                                           view_of(&credentials->session_token)};
    struct secret text = {0};
    size_t len = PART_COUNT;
    for (size_t i = 0; i < PART_COUNT; i++)
        len += parts[i].len;
    TRY(secret_new(len, &text));
    unsigned char *at = text.bytes;
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (parts[i].len > 0)
            memcpy(at, parts[i].bytes, parts[i].len);
        at += parts[i].len;
        *at++ = '\n';
    }
    *ret_text = text;
    return CKR_OK;
}

CK_RV aws_credentials_unpack(const struct secret *text, const char *mark,
                             struct aws_credentials *credentials)
{
    struct view parts[PART_COUNT];
    struct view rest = view_of(text);
    for (size_t i = 0; i < PART_COUNT; i++) {
        const unsigned char *end = rest.len == 0 ? NULL : memchr(rest.bytes, '\n', rest.len);
        if (end == NULL)
            return CKR_DATA_INVALID;
        parts[i] = (struct view){rest.bytes, (size_t) (end - rest.bytes)};
        rest = (struct view){end + 1, rest.len - parts[i].len - 1};
    }
    struct aws_keys keys = {parts[1], parts[2], parts[3]};
    if (!view_equal(parts[0], view_text(mark)))
        return CKR_DATA_INVALID;
    return aws_credentials_fill(&keys, credentials);
}
