/*
 * Bounded reading and writing of binary records: sealed rows, role records, associated data.
 *
 * Integers are big-endian; a byte string is preceded by its 32-bit length. A reader never leaves
 * its input and remembers the first failure, so that a record is parsed straight through and
 * checked once at the end. A writer grows a heap buffer (nothing secret goes through it) and does
 * the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/cryptoki.h"

/* A view of bytes that somebody else owns. */
struct view {
    const unsigned char *bytes;
    size_t len;
};

/* Heap bytes with an owner; freed with blob_clear. */
struct blob {
    unsigned char *bytes;
    size_t len;
};

void blob_clear(struct blob *blob);
struct blob blob_move(struct blob *from);
CK_RV blob_from(const void *bytes, size_t len, struct blob *ret_blob);
struct view blob_view(const struct blob *blob);
bool view_equal(struct view a, struct view b);
/* A view of a C string without its NUL. */
struct view view_text(const char *text);

struct reader {
    const unsigned char *at;
    const unsigned char *end;
    bool failed;
};

struct reader reader_of(struct view input);
uint8_t read_u8(struct reader *reader);
uint32_t read_u32(struct reader *reader);
uint64_t read_u64(struct reader *reader);
/* `len` bytes as they stand; an empty view on failure. */
struct view read_raw(struct reader *reader, size_t len);
/* A length-prefixed string of at most `max_len` bytes. */
struct view read_string(struct reader *reader, size_t max_len);
/* True when everything was read, and nothing is left over. */
bool reader_done(const struct reader *reader);

struct writer {
    unsigned char *bytes;
    size_t len;
    size_t capacity;
    bool failed;
};

void write_u8(struct writer *writer, uint8_t value);
void write_u32(struct writer *writer, uint32_t value);
void write_u64(struct writer *writer, uint64_t value);
void write_raw(struct writer *writer, struct view bytes);
void write_string(struct writer *writer, struct view bytes);
/* Frees the buffer; takes the pointer so that _cleanup_(writer_clear) works. */
void writer_clear(struct writer *writer);
struct view writer_view(const struct writer *writer);
/* The buffer changes hands; CKR_HOST_MEMORY if any write failed. */
CK_RV writer_finish(struct writer *writer, struct blob *ret_blob);
