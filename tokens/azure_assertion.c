#include "tokens/azure_assertion.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/rv.h"
#include "tokens/json.h"
#include "tokens/jwt_assertion.h"

#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"
#define KEY_LABEL "PRIVATE KEY"
#define CERTIFICATE_LABEL "CERTIFICATE"
#define LIFETIME_S 600
/* Entra ID's clock may be a little behind ours. */
#define EARLY_S 60
#define ID_LEN 16
#define THUMBPRINT_SIZE 44

static const unsigned char *find(struct view text, const char *wanted)
{
    return text.len == 0 ? NULL : memmem(text.bytes, text.len, wanted, strlen(wanted));
}

static struct view after(struct view text, const unsigned char *at)
{
    return (struct view){at, text.len - (size_t) (at - text.bytes)};
}

/* The first block whose label ends so (RFC 7468, 2), with its lines before and behind, and its
 * base64 text alone. */
static bool find_block(struct view pem, const char *label, struct view *ret_block,
                       struct view *ret_text)
{
    struct view rest = pem;
    const unsigned char *begin;
    while ((begin = find(rest, BEGIN)) != NULL) {
        struct view name = after(rest, begin + strlen(BEGIN));
        const unsigned char *name_end = find(name, DASHES);
        if (name_end == NULL)
            return false;
        struct view text = after(name, name_end + strlen(DASHES));
        const unsigned char *end = find(text, END);
        const unsigned char *end_end =
            end == NULL ? NULL : find(after(text, end + strlen(END)), DASHES);
        if (end_end == NULL)
            return false;
        rest = after(text, end_end + strlen(DASHES));
        size_t len = strlen(label);
        if ((size_t) (name_end - name.bytes) >= len && memcmp(name_end - len, label, len) == 0) {
            *ret_block = (struct view){begin, (size_t) (rest.bytes - begin)};
            *ret_text = (struct view){text.bytes, (size_t) (end - text.bytes)};
            return true;
        }
    }
    return false;
}

static CK_RV thumbprint(struct view text, char ret_thumbprint[THUMBPRINT_SIZE])
{
    _cleanup_(secret_clear) struct secret lines = {0};
    _cleanup_(secret_clear) struct secret der = {0};
    _cleanup_(secret_clear) struct secret coded = {0};
    unsigned char digest[SHA256_LEN];
    TRY(secret_new(text.len, &lines));
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] != '\n' && text.bytes[i] != '\r')
            lines.bytes[len++] = text.bytes[i];
    }
    TRY(json_base64_decode((struct view){lines.bytes, len}, 1, AZURE_PEM_LEN_MAX, &der));
    TRY(crypto_sha256((struct view){der.bytes, der.len}, digest));
    TRY(jwt_assertion_base64url((struct view){digest, sizeof(digest)}, &coded));
    (void) snprintf(ret_thumbprint, THUMBPRINT_SIZE, "%.*s", (int) coded.len,
                    (const char *) coded.bytes);
    return CKR_OK;
}

static CK_RV make_claims(const char *client, const char *audience, struct secret *ret_claims)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    unsigned char id[ID_LEN];
    char id_text[2 * ID_LEN + 1];
    int64_t now_s = clock_utc_s();
    TRY(crypto_random(id, sizeof(id)));
    for (size_t i = 0; i < ID_LEN; i++)
        (void) snprintf(id_text + 2 * i, 3, "%02x", id[i]);
    json_write_object(&writer, NULL);
    json_write_text(&writer, "aud", audience);
    json_write_text(&writer, "iss", client);
    json_write_text(&writer, "sub", client);
    json_write_text(&writer, "jti", id_text);
    json_write_number(&writer, "iat", now_s);
    json_write_number(&writer, "nbf", now_s - EARLY_S);
    json_write_number(&writer, "exp", now_s + LIFETIME_S);
    json_write_end_object(&writer);
    return json_write_finish(&writer, ret_claims);
}

CK_RV azure_assertion_make(struct view pem, const char *client, const char *audience,
                           struct secret *ret_assertion)
{
    _cleanup_(secret_clear) struct secret claims = {0};
    char certificate_id[THUMBPRINT_SIZE];
    struct view certificate;
    struct view key;
    struct view text;
    struct view key_text;
    if (!find_block(pem, CERTIFICATE_LABEL, &certificate, &text) ||
        !find_block(pem, KEY_LABEL, &key, &key_text))
        return CKR_DATA_INVALID;
    TRY(thumbprint(text, certificate_id));
    TRY(make_claims(client, audience, &claims));
    const struct jwt_field field = {"x5t#S256", certificate_id};
    const struct jwt_assertion assertion = {
        .algorithm = JWT_PS256,
        .fields = &field,
        .field_count = 1,
        .claims = {claims.bytes, claims.len},
        .key_pem = key,
    };
    return jwt_assertion_sign(&assertion, ret_assertion);
}
