#include "conf/conf_line.h"

#include <stdbool.h>
#include <string.h>

#include "base/rv.h"

static const char name_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
/* A key after `context.` is the source's business: AWS allows these beside the ones above. */
static const char key_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:/";

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* 0: no sequence begins with this byte. */
static size_t utf8_len_from(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Length of the well-formed sequence at `bytes`, 0 if there is none. The second byte's bounds keep
 * out overlong forms, surrogates and what lies above U+10FFFF (Unicode 15, table 3-7). */
static size_t utf8_sequence_len(const unsigned char *bytes, size_t len)
{
    unsigned char first = bytes[0];
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    size_t want = utf8_len_from(first);
    if (want > len || (want > 1 && (bytes[1] < low || bytes[1] > high)))
        return 0;
    for (size_t i = 2; i < want; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return want;
}

static CK_RV check_bytes(const struct conf_place *place, const char *text, size_t len)
{
    const unsigned char *bytes = (const unsigned char *) text;
    if (len > CONF_LINE_MAX)
        return FAIL(CKR_FUNCTION_FAILED, "%s:%zu: the line is longer than %u bytes; shorten it",
                    place->path, place->line, CONF_LINE_MAX);
    for (size_t i = 0; i < len;) {
        size_t step = utf8_sequence_len(bytes + i, len - i);
        if (step == 0)
            return FAIL(CKR_FUNCTION_FAILED,
                        "%s:%zu: byte %zu is not UTF-8; save the file as UTF-8 text", place->path,
                        place->line, i + 1);
        if ((bytes[i] < 0x20 && bytes[i] != '\t') || bytes[i] == 0x7f)
            return FAIL(CKR_FUNCTION_FAILED,
                        "%s:%zu: byte %zu is a NUL or another control character; remove it",
                        place->path, place->line, i + 1);
        i += step;
    }
    return CKR_OK;
}

/* Cuts spaces at both ends. */
static char *trim(char *text)
{
    while (is_space(*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && is_space(text[len - 1]))
        len--;
    text[len] = '\0';
    return text;
}

/* Only a `;` after a space begins a comment, so that values may hold one. */
static void cut_comment(char *text)
{
    for (char *at = strchr(text, ';'); at != NULL; at = strchr(at + 1, ';')) {
        if (at > text && is_space(at[-1])) {
            *at = '\0';
            return;
        }
    }
}

static bool is_word(const char *text, const char *bytes, size_t max)
{
    size_t len = strspn(text, bytes);
    return len > 0 && len <= max && text[len] == '\0';
}

static CK_RV parse_section(const struct conf_place *place, char *text, struct conf_line *line)
{
    char *end = strchr(text, ']');
    if (end == NULL || end[1] != '\0')
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: a section begins with [module], [token NAME] or [key NAME], alone on "
                    "its line",
                    place->path, place->line);
    *end = '\0';
    char *word = trim(text + 1);
    char *name = word + strcspn(word, " \t");
    if (*name != '\0')
        *name++ = '\0';
    name = trim(name);
    if (!is_word(word, name_bytes, CONF_NAME_MAX) ||
        (*name != '\0' && !is_word(name, name_bytes, CONF_NAME_MAX)))
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: the section's name is not well-formed; use 1 to %u of the characters "
                    "A-Z a-z 0-9 . _ -",
                    place->path, place->line, CONF_NAME_MAX);
    *line = (struct conf_line){.type = CONF_LINE_SECTION, .word = word, .value = name};
    return CKR_OK;
}

/* The text is not shown where it is not a key: it may be anything, a secret among them. */
static CK_RV parse_entry(const struct conf_place *place, char *text, struct conf_line *line)
{
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: not a [section], a `key = value` or a comment; correct the line",
                    place->path, place->line);
    *equals = '\0';
    char *word = trim(text);
    if (!is_word(word, key_bytes, CONF_KEY_MAX))
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: what stands before the = is not a key; use 1 to %u of the characters "
                    "A-Z a-z 0-9 . _ - : /",
                    place->path, place->line, CONF_KEY_MAX);
    char *value = trim(equals + 1);
    if (*value == '\0')
        return FAIL(CKR_FUNCTION_FAILED,
                    "%s:%zu: the key has no value; give one or remove the line", place->path,
                    place->line);
    *line = (struct conf_line){.type = CONF_LINE_ENTRY, .word = word, .value = value};
    return CKR_OK;
}

CK_RV conf_line_parse(const struct conf_place *place, char *text, size_t len,
                      struct conf_line *ret_line)
{
    if (len > 0 && text[len - 1] == '\r')
        len--;
    /* A byte order mark cannot be seen in an editor, so it is no mistake to point at. */
    if (place->line == 1 && len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    TRY(check_bytes(place, text, len));
    text[len] = '\0';
    char *start = text + strspn(text, " \t");
    if (*start == '\0' || *start == ';' || *start == '#') {
        *ret_line = (struct conf_line){.type = CONF_LINE_BLANK};
        return CKR_OK;
    }
    cut_comment(start);
    start = trim(start);
    return *start == '[' ? parse_section(place, start, ret_line)
                         : parse_entry(place, start, ret_line);
}
