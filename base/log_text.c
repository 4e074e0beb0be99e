#include "base/log_text.h"

#include <stdbool.h>
#include <stdint.h>

/* Length of the sequence that `lead` begins, and the smallest code point that needs it (RFC 3629: a
 * longer form of a smaller one is invalid). 0 when no sequence begins so. */
static size_t sequence_len(unsigned char lead, uint32_t *ret_least)
{
    static const struct {
        unsigned char mask;
        unsigned char mark;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if ((lead & forms[i].mask) == forms[i].mark) {
            *ret_least = forms[i].least;
            return i + 1;
        }
    }
    return 0;
}

static bool is_printable(uint32_t point)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } unprintable[] = {
        {0x0000, 0x001f},   {0x007f, 0x009f}, /* C0, DEL, C1 */
        {0x200b, 0x200f},   {0x2028, 0x202e}, /* zero width, separators, direction */
        {0x2060, 0x206f},   {0xd800, 0xdfff}, /* invisible operators and isolates, surrogates */
        {0xfeff, 0xfeff},   {0xfff9, 0xffff}, /* byte order mark, specials */
        {0xe0000, 0xe0fff}, {0x110000, UINT32_MAX}, /* tags, beyond Unicode */
    };
    for (size_t i = 0; i < sizeof unprintable / sizeof unprintable[0]; i++) {
        if (point >= unprintable[i].first && point <= unprintable[i].last)
            return false;
    }
    return true;
}

/* Length of the printable character at `text`, or 0. Stops at the NUL, which continues no
 * sequence. */
static size_t printable_len(const unsigned char *text)
{
    uint32_t least;
    size_t len = sequence_len(text[0], &least);
    if (len == 0)
        return 0;
    uint32_t point = len == 1 ? text[0] : text[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3f);
    }
    return point >= least && is_printable(point) ? len : 0;
}

void log_text_clean(char *text)
{
    unsigned char *at = (unsigned char *) text;
    while (*at != '\0') {
        size_t len = printable_len(at);
        if (len == 0) {
            *at = *at >= '\t' && *at <= '\r' ? ' ' : '?';
            len = 1;
        }
        at += len;
    }
}
