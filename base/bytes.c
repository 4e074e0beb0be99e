#include "base/bytes.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define WRITER_FIRST_CAPACITY 256

void blob_clear(struct blob *blob)
{
    mem_free(blob->bytes);
    *blob = (struct blob){NULL, 0};
}

struct blob blob_move(struct blob *from)
{
    struct blob moved = *from;
    *from = (struct blob){NULL, 0};
    return moved;
}

CK_RV blob_from(const void *bytes, size_t len, struct blob *ret_blob)
{
    struct blob copy = {NULL, len};
    if (len > 0) {
        copy.bytes = mem_dup(bytes, len);
        if (copy.bytes == NULL)
            return FAIL(CKR_HOST_MEMORY, "no memory for %zu bytes", len);
    }
    *ret_blob = copy;
    return CKR_OK;
}

struct view blob_view(const struct blob *blob)
{
    return (struct view){blob->bytes, blob->len};
}

bool view_equal(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

struct view view_text(const char *text)
{
    return (struct view){(const unsigned char *) text, strlen(text)};
}

struct reader reader_of(struct view input)
{
    const unsigned char *end = input.len == 0 ? input.bytes : input.bytes + input.len;
    return (struct reader){input.bytes, end, false};
}

struct view read_raw(struct reader *reader, size_t len)
{
    if (reader->failed || len > (size_t) (reader->end - reader->at)) {
        reader->failed = true;
        return (struct view){NULL, 0};
    }
    struct view bytes = {reader->at, len};
    if (len > 0)
        reader->at += len;
    return bytes;
}

static uint64_t read_integer(struct reader *reader, size_t len)
{
    struct view bytes = read_raw(reader, len);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | bytes.bytes[i];
    return value;
}

uint8_t read_u8(struct reader *reader)
{
    return (uint8_t) read_integer(reader, 1);
}

uint32_t read_u32(struct reader *reader)
{
    return (uint32_t) read_integer(reader, 4);
}

uint64_t read_u64(struct reader *reader)
{
    return read_integer(reader, 8);
}

struct view read_string(struct reader *reader, size_t max_len)
{
    size_t len = read_u32(reader);
    if (len > max_len)
        reader->failed = true;
    return read_raw(reader, len);
}

bool reader_done(const struct reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

/* Room for `len` more bytes; sets `failed` where there is none. */
static bool writer_reserve(struct writer *writer, size_t len)
{
    if (writer->failed || len > SIZE_MAX / 2 - writer->len) {
        writer->failed = true;
        return false;
    }
    size_t needed = writer->len + len;
    if (needed <= writer->capacity)
        return true;
    size_t capacity = writer->capacity == 0 ? WRITER_FIRST_CAPACITY : writer->capacity;
    while (capacity < needed)
        capacity *= 2;
    unsigned char *bytes = mem_resize(writer->bytes, capacity, 1);
    if (bytes == NULL) {
        writer->failed = true;
        return false;
    }
    writer->bytes = bytes;
    writer->capacity = capacity;
    return true;
}

void write_raw(struct writer *writer, struct view bytes)
{
    if (!writer_reserve(writer, bytes.len) || bytes.len == 0)
        return;
    memcpy(writer->bytes + writer->len, bytes.bytes, bytes.len);
    writer->len += bytes.len;
}

static void write_integer(struct writer *writer, uint64_t value, size_t len)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char) (value >> 8 * (len - 1 - i));
    write_raw(writer, (struct view){bytes, len});
}

void write_u8(struct writer *writer, uint8_t value)
{
    write_integer(writer, value, 1);
}

void write_u32(struct writer *writer, uint32_t value)
{
    write_integer(writer, value, 4);
}

void write_u64(struct writer *writer, uint64_t value)
{
    write_integer(writer, value, 8);
}

void write_string(struct writer *writer, struct view bytes)
{
    if (bytes.len > UINT32_MAX) {
        writer->failed = true;
        return;
    }
    write_u32(writer, (uint32_t) bytes.len);
    write_raw(writer, bytes);
}

void writer_clear(struct writer *writer)
{
    mem_free(writer->bytes);
    *writer = (struct writer){0};
}

struct view writer_view(const struct writer *writer)
{
    return (struct view){writer->bytes, writer->len};
}

CK_RV writer_finish(struct writer *writer, struct blob *ret_blob)
{
    if (writer->failed) {
        writer_clear(writer);
        return FAIL(CKR_HOST_MEMORY, "no memory for a record");
    }
    *ret_blob = (struct blob){writer->bytes, writer->len};
    *writer = (struct writer){0};
    return CKR_OK;
}
