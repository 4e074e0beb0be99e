#include "tokens/kmip_ttlv.h"

#include <string.h>

#define ALIGNMENT 8
#define NUMBER_LEN 4

static size_t padded(size_t len)
{
    return (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- writing ---- */

/* Zeros, since nothing is written twice. NULL when there is no room. */
static unsigned char *take(struct ttlv_writer *writer, size_t len)
{
    if (writer->bytes.bytes == NULL && secret_new(TTLV_LEN_MAX, &writer->bytes) != CKR_OK)
        writer->failed = true;
    if (writer->failed || len > writer->bytes.len - writer->len) {
        writer->failed = true;
        return NULL;
    }
    unsigned char *taken = writer->bytes.bytes + writer->len;
    writer->len += len;
    return taken;
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (size_t i = 0; i < NUMBER_LEN; i++)
        at[i] = (unsigned char) (value >> (8 * (NUMBER_LEN - 1 - i)));
}

/* The value's place. */
static unsigned char *put_item(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type,
                               size_t len)
{
    unsigned char *item = take(writer, TTLV_HEAD_LEN + padded(len));
    if (item == NULL)
        return NULL;
    put_u32(item, tag << 8 | (uint32_t) type);
    put_u32(item + NUMBER_LEN, (uint32_t) len);
    return item + TTLV_HEAD_LEN;
}

void ttlv_begin(struct ttlv_writer *writer, uint32_t tag)
{
    if (writer->depth == TTLV_DEPTH_MAX)
        writer->failed = true;
    if (put_item(writer, tag, TTLV_STRUCTURE, 0) != NULL)
        writer->begun[writer->depth++] = writer->len;
}

void ttlv_end(struct ttlv_writer *writer)
{
    if (writer->failed || writer->depth == 0) {
        writer->failed = true;
        return;
    }
    size_t begin = writer->begun[--writer->depth];
    put_u32(writer->bytes.bytes + begin - NUMBER_LEN, (uint32_t) (writer->len - begin));
}

void ttlv_number(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, uint32_t value)
{
    unsigned char *place = put_item(writer, tag, type, NUMBER_LEN);
    if (place != NULL)
        put_u32(place, value);
}

void ttlv_string(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, struct view value)
{
    if (value.len > TTLV_LEN_MAX) {
        writer->failed = true;
        return;
    }
    unsigned char *place = put_item(writer, tag, type, value.len);
    if (place != NULL && value.len > 0)
        memcpy(place, value.bytes, value.len);
}

void ttlv_clear(struct ttlv_writer *writer)
{
    secret_clear(&writer->bytes);
    *writer = (struct ttlv_writer){.len = 0};
}

struct view ttlv_written(const struct ttlv_writer *writer)
{
    if (writer->failed || writer->depth > 0)
        return (struct view){0};
    return (struct view){writer->bytes.bytes, writer->len};
}

/* ---- reading ---- */

/* False at the end too, and then the reader has not failed. */
static bool next_item(struct reader *reader, uint32_t *ret_tag, uint32_t *ret_type,
                      struct view *ret_value)
{
    if (reader->failed || reader->at == reader->end)
        return false;
    uint32_t head = read_u32(reader);
    size_t len = read_u32(reader);
    *ret_tag = head >> 8;
    *ret_type = head & 0xff;
    if (len > TTLV_LEN_MAX)
        reader->failed = true;
    *ret_value = read_raw(reader, len);
    (void) read_raw(reader, padded(len) - len);
    return !reader->failed;
}

bool ttlv_find(struct view items, uint32_t tag, enum ttlv_type type, struct view *ret_value)
{
    struct reader reader = reader_of(items);
    struct view value;
    struct view found = {0};
    uint32_t found_tag;
    uint32_t found_type;
    size_t count = 0;
    while (next_item(&reader, &found_tag, &found_type, &value)) {
        if (found_tag != tag)
            continue;
        if (found_type != (uint32_t) type)
            return false;
        found = value;
        count++;
    }
    if (reader.failed || count != 1)
        return false;
    *ret_value = found;
    return true;
}

bool ttlv_find_number(struct view items, uint32_t tag, enum ttlv_type type, uint32_t *ret_value)
{
    struct view value;
    if (!ttlv_find(items, tag, type, &value) || value.len != NUMBER_LEN)
        return false;
    struct reader reader = reader_of(value);
    *ret_value = read_u32(&reader);
    return true;
}

size_t ttlv_whole_len(const unsigned char head[TTLV_HEAD_LEN], uint32_t tag)
{
    struct reader reader = reader_of((struct view){head, TTLV_HEAD_LEN});
    uint32_t wanted = tag << 8 | TTLV_STRUCTURE;
    bool is_wanted = read_u32(&reader) == wanted;
    size_t len = read_u32(&reader);
    return is_wanted && len <= TTLV_LEN_MAX - TTLV_HEAD_LEN ? TTLV_HEAD_LEN + len : 0;
}
