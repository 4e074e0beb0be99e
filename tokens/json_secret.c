#include <string.h>

#include "base/crypto.h"
#include "base/rv.h"
#include "tokens/json.h"
#include "tokens/json_scan.h"

#define GROUP_CHARS 4
#define GROUP_BYTES 3
#define ASCII_END 0x80

static bool hex_value(unsigned char c, unsigned *value)
{
    if (c >= '0' && c <= '9')
        *value = *value << 4 | (unsigned) (c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        *value = *value << 4 | (unsigned) ((c | 0x20) - 'a' + 10);
    else
        return false;
    return true;
}

/* Behind "\u". What is not ASCII is refused: nothing that we take out is. */
static bool unescape_unicode(struct reader *raw, unsigned char *ret_c)
{
    struct view digits = read_raw(raw, 4);
    unsigned value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (!hex_value(digits.bytes[i], &value))
            return false;
    }
    *ret_c = (unsigned char) value;
    return digits.len == 4 && value > 0 && value < ASCII_END;
}

static bool unescape_one(struct reader *raw, unsigned char *ret_c)
{
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    unsigned char c = read_u8(raw);
    if (c < ' ' || c >= ASCII_END)
        return false;
    *ret_c = c;
    if (c != '\\')
        return true;
    c = read_u8(raw);
    if (c == 'u')
        return unescape_unicode(raw, ret_c);
    const char *found = c == '\0' ? NULL : strchr(escapes, c);
    if (found == NULL)
        return false;
    *ret_c = (unsigned char) meanings[found - escapes];
    return true;
}

static CK_RV unescape(struct view raw, struct secret *ret_text)
{
    _cleanup_(secret_clear) struct secret text = {0};
    TRY(secret_new(raw.len, &text));
    struct reader reader = reader_of(raw);
    size_t len = 0;
    while (reader.at < reader.end) {
        if (!unescape_one(&reader, &text.bytes[len++]))
            return CKR_DATA_INVALID;
    }
    text.len = len;
    *ret_text = secret_move(&text);
    return CKR_OK;
}

CK_RV json_secret_take(struct secret *body, const char *path, struct secret *ret_text)
{
    struct reader scan = reader_of((struct view){body->bytes, body->len});
    struct view raw;
    if (!json_scan_to(&scan, path) || !json_scan_string(&scan, &raw) || raw.len == 0)
        return CKR_DATA_INVALID;
    TRY(unescape(raw, ret_text));
    unsigned char *found = body->bytes + (raw.bytes - body->bytes);
    found[0] = '"';
    /* Up to the closing quote, and with it. */
    memset(found + 1, ' ', raw.len);
    return CKR_OK;
}

CK_RV json_base64_decode(struct view text, size_t min_len, size_t max_len, struct secret *ret_bytes)
{
    if (text.len == 0 || text.len % GROUP_CHARS != 0)
        return CKR_DATA_INVALID;
    size_t len = text.len / GROUP_CHARS * GROUP_BYTES;
    for (size_t i = 1; i <= 2 && text.bytes[text.len - i] == '='; i++)
        len--;
    if (len < min_len || len > max_len)
        return CKR_DATA_INVALID;
    return crypto_base64_secret(text, len, ret_bytes);
}

CK_RV json_base64_take(struct secret *body, const char *path, size_t min_len, size_t max_len,
                       struct secret *ret_bytes)
{
    _cleanup_(secret_clear) struct secret text = {0};
    TRY(json_secret_take(body, path, &text));
    return json_base64_decode((struct view){text.bytes, text.len}, min_len, max_len, ret_bytes);
}
