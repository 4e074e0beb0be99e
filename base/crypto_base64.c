#include "base/crypto.h"

#include "base/rv.h"

#define GROUP_CHARS 4
#define GROUP_BYTES 3

/* All ones when first <= c <= last, else 0; without a branch on c. */
static uint32_t in_range(uint32_t c, uint32_t first, uint32_t last)
{
    /* Each difference is negative, its top bit set, when c is outside on that side. */
    uint32_t outside = ((c - first) | (last - c)) >> 31;
    return outside - 1;
}

/* The six bits of a character; `bad` becomes nonzero for one outside the alphabet. Arithmetic
 * rather than a table, whose cache lines would tell what was looked up. */
static uint32_t sextet(unsigned char text, uint32_t *bad)
{
    uint32_t c = text;
    uint32_t upper = in_range(c, 'A', 'Z');
    uint32_t lower = in_range(c, 'a', 'z');
    uint32_t digit = in_range(c, '0', '9');
    uint32_t plus = in_range(c, '+', '+');
    uint32_t slash = in_range(c, '/', '/');
    *bad |= ~(upper | lower | digit | plus | slash);
    return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) | (plus & 62) |
           (slash & 63);
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct view trimmed(struct view text)
{
    while (text.len > 0 && is_space(text.bytes[0])) {
        text.bytes++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.bytes[text.len - 1]))
        text.len--;
    return text;
}

/* One group of four characters to `count` bytes, the rest being padding. */
static void decode_group(const unsigned char *text, size_t count, unsigned char *out, uint32_t *bad)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < GROUP_CHARS; i++) {
        bool is_padding = i > count;
        if (is_padding)
            *bad |= text[i] ^ (uint32_t) '=';
        bits = bits << 6 | (is_padding ? 0 : sextet(text[i], bad));
    }
    for (size_t i = 0; i < count; i++)
        out[i] = (unsigned char) (bits >> (16 - 8 * i));
    /* RFC 4648, 3.5: bits that no byte takes are zero. */
    *bad |= bits & ((1U << (24 - 8 * count)) - 1);
}

CK_RV crypto_base64_secret(struct view text, size_t len, struct secret *ret_secret)
{
    struct view coded = trimmed(text);
    size_t group_count = len / GROUP_BYTES + (len % GROUP_BYTES != 0 ? 1 : 0);
    if (len > SECRET_MAX || coded.len != group_count * GROUP_CHARS)
        return CKR_DATA_INVALID;
    _cleanup_(secret_clear) struct secret secret = {NULL, 0};
    TRY(secret_new(len, &secret));
    uint32_t bad = 0;
    for (size_t i = 0; i < group_count; i++) {
        size_t left = len - i * GROUP_BYTES;
        decode_group(coded.bytes + i * GROUP_CHARS, left < GROUP_BYTES ? left : GROUP_BYTES,
                     secret.bytes + i * GROUP_BYTES, &bad);
    }
    if (bad != 0)
        return CKR_DATA_INVALID;
    *ret_secret = secret_move(&secret);
    return CKR_OK;
}
