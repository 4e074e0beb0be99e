// An encrypted index that is open for reading: its database, its token, its header.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "items.h"
#include "options.h"
#include "record.h"
#include "token.h"
#include "vectors.h"

struct reader {
    struct token *token;
    struct db *db;
    struct record_index index;
    struct record_header header;
};

// Closed by reader_close.
bool reader_open(const struct options *options, struct reader *ret_reader);
void reader_close(struct reader *reader);

// Decrypts all centroids, and the number of members of each list. Freed by vectors_free and free.
bool reader_centroids(const struct reader *reader, struct vectors **ret_centroids,
                      uint32_t **ret_members);

bool reader_item(const struct reader *reader, uint64_t record, struct item *ret_item);
bool reader_embedding(const struct reader *reader, uint64_t record, float *ret_vector);

// The same of a row that is already at hand.
bool reader_open_embedding(const struct reader *reader, const struct crypt_context *context,
                           const struct crypt_sealed *sealed, float *ret_vector);

// Each item whose field ("name" or "section") has that value, in the order of their numbers.
typedef bool reader_on_item(void *context, uint64_t record, const struct item *item);

bool reader_walk_field(const struct reader *reader, const char *field, const char *value,
                       reader_on_item *on_item, void *context);
