/*
 * KMIP's encoding, TTLV (KMIP 1.4, 9.1): tag of 3 bytes, type of 1, length of 4, value, zeros up to
 * a multiple of 8.
 *
 * A writer writes into secret memory, since a request may carry a data key; it begins with zeros
 * and remembers its first failure. A reader's input is hostile: whatever is malformed is not there.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#define TTLV_LEN_MAX ((size_t) 16 << 10)
#define TTLV_DEPTH_MAX 8
#define TTLV_HEAD_LEN 8

enum ttlv_type {
    TTLV_STRUCTURE = 1,
    TTLV_INTEGER = 2,
    TTLV_ENUMERATION = 5,
    TTLV_TEXT = 7,
    TTLV_BYTES = 8,
};

struct ttlv_writer {
    struct secret bytes;
    size_t len;
    size_t begun[TTLV_DEPTH_MAX];
    size_t depth;
    bool failed;
};

void ttlv_begin(struct ttlv_writer *writer, uint32_t tag);
void ttlv_end(struct ttlv_writer *writer);
/* TTLV_INTEGER or TTLV_ENUMERATION. */
void ttlv_number(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, uint32_t value);
/* TTLV_TEXT or TTLV_BYTES. */
void ttlv_string(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, struct view value);
void ttlv_clear(struct ttlv_writer *writer);
/* What was written; empty when something failed. */
struct view ttlv_written(const struct ttlv_writer *writer);

/* The value of the only item with that tag and type among those that `items` consists of. False
 * when there is none or are several, or `items` is malformed. */
bool ttlv_find(struct view items, uint32_t tag, enum ttlv_type type, struct view *ret_value);
bool ttlv_find_number(struct view items, uint32_t tag, enum ttlv_type type, uint32_t *ret_value);
/* Length of the whole item that begins with these TTLV_HEAD_LEN bytes; 0 when it is no structure
 * with that tag, or longer than TTLV_LEN_MAX. */
size_t ttlv_whole_len(const unsigned char head[TTLV_HEAD_LEN], uint32_t tag);
