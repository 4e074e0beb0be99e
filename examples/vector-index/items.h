// Item contents: name, section, installed size; one line each, tab-separated.
//
// Sealed, an item is: name length (2) and bytes, section length (2) and bytes, size (8), then zeros
// up to a multiple of 64 bytes, so that a ciphertext's length tells little about the name.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "crypt.h"
#include "lines.h"

#define ITEMS_FIELD_MAX_LEN 255U

struct item {
    char name[ITEMS_FIELD_MAX_LEN + 1];
    char section[ITEMS_FIELD_MAX_LEN + 1];
    uint64_t size_kib;
};

// The next item of a TSV file; *ret_more is false at its end.
bool items_read(struct lines *lines, struct item *ret_item, bool *ret_more);

void items_encode(const struct item *item, struct crypt_plain *ret_plain);
bool items_decode(const struct crypt_plain *plain, struct item *ret_item);
