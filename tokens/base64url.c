#include "tokens/base64url.h"

#include <string.h>

#include "base/rv.h"
#include "tokens/json.h"

#define GROUP_CHARS 4
#define PADDING_MAX 2

/* All ones when the two are equal, else 0; without a branch. */
static unsigned char if_equal(unsigned char a, unsigned char b)
{
    unsigned differs = (unsigned) (a ^ b);
    return (unsigned char) ((differs - 1) >> 8);
}

CK_RV base64url_decode(struct view text, size_t min_len, size_t max_len, struct secret *ret_bytes)
{
    _cleanup_(secret_clear) struct secret standard = {0};
    for (size_t i = 0; i < PADDING_MAX && text.len > 0 && text.bytes[text.len - 1] == '='; i++)
        text.len--;
    size_t padding = (GROUP_CHARS - text.len % GROUP_CHARS) % GROUP_CHARS;
    if (text.len == 0 || text.len > JSON_LEN_MAX || padding > PADDING_MAX ||
        text.bytes[text.len - 1] == '=')
        return CKR_DATA_INVALID;
    TRY(secret_new(text.len + padding, &standard));
    memset(standard.bytes, '=', standard.len);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.bytes[i];
        c ^= (unsigned char) (if_equal(c, '-') & ('-' ^ '+'));
        c ^= (unsigned char) (if_equal(c, '_') & ('_' ^ '/'));
        standard.bytes[i] = c;
    }
    return json_base64_decode((struct view){standard.bytes, standard.len}, min_len, max_len,
                              ret_bytes);
}
