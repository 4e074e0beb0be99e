#include "tokens/jwt_assertion.h"

#include <string.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "tokens/json.h"

#define GROUP_CHARS 4
#define GROUP_BYTES 3

/* ---- texts ---- */

CK_RV jwt_assertion_base64url(struct view bytes, struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {0};
    if (bytes.len > SECRET_MAX / 2)
        return FAIL(CKR_DATA_LEN_RANGE, "base64url: %zu bytes are too many", bytes.len);
    /* EVP_EncodeBlock ends its text with a NUL. */
    size_t groups = (bytes.len + GROUP_BYTES - 1) / GROUP_BYTES;
    TRY(secret_new(groups * GROUP_CHARS + 1, &text));
    (void) EVP_EncodeBlock(text.bytes, bytes.bytes, (int) bytes.len);
    text.len = (bytes.len * GROUP_CHARS + GROUP_BYTES - 1) / GROUP_BYTES;
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] == '+')
            text.bytes[i] = '-';
        else if (text.bytes[i] == '/')
            text.bytes[i] = '_';
    }
    *ret_text = secret_move(&text);
    return CKR_OK;
}

static CK_RV make_header(const struct jwt_assertion *assertion, struct secret *ret_header)
{
    _cleanup_(json_writer_clear) struct json_writer writer = {0};
    json_write_object(&writer, NULL);
    json_write_text(&writer, "alg", assertion->algorithm == JWT_PS256 ? "PS256" : "RS256");
    json_write_text(&writer, "typ", "JWT");
    for (size_t i = 0; i < assertion->field_count; i++)
        json_write_text(&writer, assertion->fields[i].name, assertion->fields[i].value);
    json_write_end_object(&writer);
    return json_write_finish(&writer, ret_header);
}

/* "A.B": for the signing input, and for that with its signature. */
static CK_RV join(struct view first, struct view second, struct secret *ret_joined)
{
    _cleanup_(secret_clear) struct secret coded = {0};
    TRY(jwt_assertion_base64url(second, &coded));
    _cleanup_(secret_clear) struct secret joined = {0};
    TRY(secret_new(first.len + 1 + coded.len, &joined));
    memcpy(joined.bytes, first.bytes, first.len);
    joined.bytes[first.len] = '.';
    if (coded.len > 0)
        memcpy(joined.bytes + first.len + 1, coded.bytes, coded.len);
    *ret_joined = secret_move(&joined);
    return CKR_OK;
}

static struct view secret_view(const struct secret *secret)
{
    return (struct view){secret->bytes, secret->len};
}

CK_RV jwt_assertion_sign(const struct jwt_assertion *assertion, struct secret *ret_jwt)
{
    _cleanup_(secret_clear) struct secret header = {0};
    _cleanup_(secret_clear) struct secret coded = {0};
    _cleanup_(secret_clear) struct secret input = {0};
    _cleanup_(secret_clear) struct secret signature = {0};
    TRY(make_header(assertion, &header));
    TRY(jwt_assertion_base64url(secret_view(&header), &coded));
    TRY(join(secret_view(&coded), assertion->claims, &input));
    TRY(crypto_rsa_sign(assertion->key_pem, assertion->algorithm == JWT_PS256, secret_view(&input),
                        &signature));
    return join(secret_view(&input), secret_view(&signature), ret_jwt);
}
