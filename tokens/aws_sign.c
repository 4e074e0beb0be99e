#include "tokens/aws_sign.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "base/rv.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define SERVICE_LEN_MAX 14 /* "secretsmanager" */
#define SCOPE_END "aws4_request"
#define KEY_PREFIX "AWS4"
#define DAY_LEN 8
#define HEX_SIZE (2 * SHA256_LEN + 1)
#define SCOPE_SIZE (DAY_LEN + sizeof("//" SCOPE_END "/") + SERVICE_LEN_MAX + AWS_REGION_LEN_MAX)
#define NAMES_SIZE 128
#define STRING_SIZE (sizeof(ALGORITHM) + AWS_DATE_SIZE + SCOPE_SIZE + HEX_SIZE)
/* Method, path and empty query; after the headers an empty line, their names, the body's digest. */
#define REQUEST_BEGIN "POST\n/\n\n"
#define REQUEST_SIZE_MIN (sizeof(REQUEST_BEGIN) + NAMES_SIZE + HEX_SIZE + 2)

static void write_hex(const unsigned char digest[SHA256_LEN], char ret_hex[HEX_SIZE])
{
    for (size_t i = 0; i < SHA256_LEN; i++)
        (void) snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}

static CK_RV hash(struct view text, char ret_hex[HEX_SIZE])
{
    unsigned char digest[SHA256_LEN];
    TRY(crypto_sha256(text, digest));
    write_hex(digest, ret_hex);
    return CKR_OK;
}

static void add(struct aws_signed *made, const char *name, struct view value)
{
    made->headers[made->header_count++] = (struct http_header){name, value};
}

/* By their names in lower case, in the order of these. */
static void add_signed(const struct aws_signing *request, struct aws_signed *made)
{
    const struct secret *token = &request->credentials->session_token;
    time_t time_s = (time_t) request->time_s;
    struct tm parts = {0};
    (void) gmtime_r(&time_s, &parts);
    made->date[0] = '\0';
    (void) strftime(made->date, sizeof(made->date), "%Y%m%dT%H%M%SZ", &parts);
    add(made, "content-type", view_text(request->content_type));
    add(made, "host", view_text(request->host));
    add(made, "x-amz-date", view_text(made->date));
    if (token->len > 0)
        add(made, "x-amz-security-token", (struct view){token->bytes, token->len});
    if (request->target != NULL)
        add(made, "x-amz-target", view_text(request->target));
}

static void list_names(const struct aws_signed *made, char ret_names[NAMES_SIZE])
{
    int len = 0;
    for (size_t i = 0; i < made->header_count; i++)
        len += snprintf(ret_names + len, NAMES_SIZE - (size_t) len, "%s%s", i == 0 ? "" : ";",
                        made->headers[i].name);
}

/* The digest of the canonical request, which has the session token in it. */
static CK_RV hash_request(const struct aws_signed *made, const char *names, struct view body,
                          char ret_hex[HEX_SIZE])
{
    _cleanup_(secret_clear) struct secret text = {0};
    char body_hex[HEX_SIZE];
    size_t size = REQUEST_SIZE_MIN;
    for (size_t i = 0; i < made->header_count; i++)
        size += strlen(made->headers[i].name) + made->headers[i].value.len + 2;
    TRY(hash(body, body_hex));
    TRY(secret_new(size, &text));
    char *at = (char *) text.bytes;
    char *end = at + size;
    at += snprintf(at, size, REQUEST_BEGIN);
    for (size_t i = 0; i < made->header_count; i++) {
        const struct http_header *header = &made->headers[i];
        at += snprintf(at, (size_t) (end - at), "%s:%.*s\n", header->name, (int) header->value.len,
                       (const char *) header->value.bytes);
    }
    at += snprintf(at, (size_t) (end - at), "\n%s\n%s", names, body_hex);
    return hash((struct view){text.bytes, (size_t) (at - (char *) text.bytes)}, ret_hex);
}

/* HMAC(HMAC(HMAC(HMAC("AWS4" secret, day), Region), service), "aws4_request"). */
static CK_RV derive_key(const struct aws_signing *request, const char *date, struct secret *ret_key)
{
    const struct aws_credentials *credentials = request->credentials;
    _cleanup_(secret_clear) struct secret first = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    const struct secret *secret = &credentials->secret_access_key;
    const size_t prefix_len = strlen(KEY_PREFIX);
    const struct view parts[] = {view_text(credentials->region), view_text(request->service),
                                 view_text(SCOPE_END)};
    TRY(secret_new(prefix_len + secret->len, &first));
    TRY(secret_new(SHA256_LEN, &key));
    memcpy(first.bytes, KEY_PREFIX, prefix_len);
    memcpy(first.bytes + prefix_len, secret->bytes, secret->len);
    TRY(crypto_hmac_sha256(&first, (struct view){(const unsigned char *) date, DAY_LEN},
                           key.bytes));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        TRY(crypto_hmac_sha256(&key, parts[i], key.bytes));
    *ret_key = secret_move(&key);
    return CKR_OK;
}

CK_RV aws_sign(const struct aws_signing *request, struct aws_signed *made)
{
    _cleanup_(secret_clear) struct secret key = {0};
    unsigned char signature[SHA256_LEN];
    char names[NAMES_SIZE];
    char scope[SCOPE_SIZE];
    char hex[HEX_SIZE];
    char string[STRING_SIZE];
    made->header_count = 0;
    add_signed(request, made);
    list_names(made, names);
    TRY(hash_request(made, names, request->body, hex));
    TRY(derive_key(request, made->date, &key));
    (void) snprintf(scope, sizeof(scope), "%.*s/%s/%.*s/" SCOPE_END, DAY_LEN, made->date,
                    request->credentials->region, SERVICE_LEN_MAX, request->service);
    (void) snprintf(string, sizeof(string), ALGORITHM "\n%s\n%s\n%s", made->date, scope, hex);
    TRY(crypto_hmac_sha256(&key, view_text(string), signature));
    write_hex(signature, hex);
    (void) snprintf(made->authorization, sizeof(made->authorization),
                    ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s",
                    request->credentials->access_key_id, scope, names, hex);
    add(made, "authorization", view_text(made->authorization));
    return CKR_OK;
}
