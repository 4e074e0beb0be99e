#include <stdio.h>
#include <string.h>

#include "base/rv.h"
#include "tokens/json.h"

#define FIRST_CAPACITY ((size_t) 512)
#define NUMBER_LEN_MAX 24

static bool make_room(struct json_writer *writer, size_t len)
{
    if (writer->failure != CKR_OK || len <= writer->text.len - writer->len)
        return writer->failure == CKR_OK;
    size_t capacity = writer->text.len == 0 ? FIRST_CAPACITY : writer->text.len * 2;
    while (capacity < writer->len + len && capacity <= SECRET_MAX)
        capacity *= 2;
    struct secret bigger;
    writer->failure = secret_new(capacity, &bigger);
    if (writer->failure != CKR_OK)
        return false;
    if (writer->len > 0)
        memcpy(bigger.bytes, writer->text.bytes, writer->len);
    secret_clear(&writer->text);
    writer->text = bigger;
    return true;
}

static void put(struct json_writer *writer, const void *bytes, size_t len)
{
    if (!make_room(writer, len) || len == 0)
        return;
    memcpy(writer->text.bytes + writer->len, bytes, len);
    writer->len += len;
}

static void put_text(struct json_writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

/* Bytes of the UTF-8 sequence (RFC 3629) at the start of `text`; 0 when it is none. */
static size_t sequence_len(struct view text)
{
    static const struct {
        unsigned char first, last; /* of the leading byte */
        unsigned char low, high;   /* of the second byte */
        size_t len;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    size_t row = 0;
    while (row < sizeof rows / sizeof rows[0] &&
           (text.bytes[0] < rows[row].first || text.bytes[0] > rows[row].last))
        row++;
    if (row == sizeof rows / sizeof rows[0] || rows[row].len > text.len)
        return 0;
    size_t len = rows[row].len;
    if (len > 1 && (text.bytes[1] < rows[row].low || text.bytes[1] > rows[row].high))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((text.bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

static void put_string(struct json_writer *writer, struct view text)
{
    put_text(writer, "\"");
    while (text.len > 0) {
        char escaped[8];
        unsigned char c = text.bytes[0];
        size_t len = sequence_len(text);
        if (len == 0) {
            writer->failure = CKR_DATA_INVALID;
            return;
        }
        if (c == '"' || c == '\\')
            (void) snprintf(escaped, sizeof escaped, "\\%c", c);
        else
            (void) snprintf(escaped, sizeof escaped, "\\u%04x", c);
        if (c < ' ' || c == '"' || c == '\\')
            put_text(writer, escaped);
        else
            put(writer, text.bytes, len);
        text.bytes += len;
        text.len -= len;
    }
    put_text(writer, "\"");
}

static void begin_value(struct json_writer *writer, const char *name)
{
    if (writer->follows)
        put_text(writer, ",");
    if (name != NULL) {
        put_string(writer, view_text(name));
        put_text(writer, ":");
    }
    writer->follows = true;
}

void json_write_object(struct json_writer *writer, const char *name)
{
    begin_value(writer, name);
    put_text(writer, "{");
    writer->follows = false;
}

void json_write_array(struct json_writer *writer, const char *name)
{
    begin_value(writer, name);
    put_text(writer, "[");
    writer->follows = false;
}

void json_write_end_object(struct json_writer *writer)
{
    put_text(writer, "}");
    writer->follows = true;
}

void json_write_end_array(struct json_writer *writer)
{
    put_text(writer, "]");
    writer->follows = true;
}

void json_write_view(struct json_writer *writer, const char *name, struct view value)
{
    begin_value(writer, name);
    put_string(writer, value);
}

void json_write_text(struct json_writer *writer, const char *name, const char *value)
{
    json_write_view(writer, name, view_text(value));
}

void json_write_number(struct json_writer *writer, const char *name, int64_t value)
{
    char digits[NUMBER_LEN_MAX];
    (void) snprintf(digits, sizeof digits, "%lld", (long long) value);
    begin_value(writer, name);
    put_text(writer, digits);
}

void json_write_flag(struct json_writer *writer, const char *name, bool value)
{
    begin_value(writer, name);
    put_text(writer, value ? "true" : "false");
}

/* The character of six bits. Each step moves to the next run of the alphabet, without a branch or a
 * table, whose cache lines would tell what was looked up. */
static unsigned char sextet_char(unsigned sextet)
{
    unsigned c = sextet + 'A';
    c += (25 - sextet) >> 8 & ('a' - 'A' - 26);
    c -= (51 - sextet) >> 8 & ('a' + 26 - '0');
    c -= (61 - sextet) >> 8 & ('0' + 10 - '+');
    c += (62 - sextet) >> 8 & ('/' - '+' - 1);
    return (unsigned char) c;
}

void json_write_base64(struct json_writer *writer, const char *name, struct view bytes)
{
    begin_value(writer, name);
    put_text(writer, "\"");
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        unsigned bits = (unsigned) bytes.bytes[i] << 16;
        bits |= count > 1 ? (unsigned) bytes.bytes[i + 1] << 8 : 0;
        bits |= count > 2 ? bytes.bytes[i + 2] : 0;
        if (!make_room(writer, 4))
            return;
        unsigned char *group = writer->text.bytes + writer->len;
        for (size_t j = 0; j < 4; j++)
            group[j] = j > count ? '=' : sextet_char(bits >> (18 - 6 * j) & 63);
        writer->len += 4;
    }
    put_text(writer, "\"");
}

void json_writer_clear(struct json_writer *writer)
{
    secret_clear(&writer->text);
    *writer = (struct json_writer){.failure = CKR_OK};
}

CK_RV json_write_finish(struct json_writer *writer, struct secret *ret_text)
{
    TRY(writer->failure);
    writer->text.len = writer->len;
    *ret_text = secret_move(&writer->text);
    return CKR_OK;
}
