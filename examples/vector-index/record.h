// What the database stores, and how each record is bound to its place.
//
// A sealed record's associated data is: "vector-index/1", a zero byte, the index name's length (2
// bytes) and bytes, the index's salt (32), the kind (1), the record's number (8, big-endian) and,
// for an embedding, its list token (32). So a record that was moved, renumbered, put into another
// list or brought from another index or an older build does not open.
//
// Tokens hide what is looked up:
// - list token = HMAC(L/centroid, salt || list number): rows of one list carry it, and only who may
//   use the key can tell which centroid it belongs to.
// - term token = HMAC(L/token, salt || field || 0 || length of value || value), and the database
//   holds only query token = HMAC(L/query, term token). Two keys, so two rights: who indexes makes
//   term tokens, and without L/query nobody can test a guessed value against the database, not
//   even with L/token. The salt makes two indexes under the same keys incomparable.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt.h"

#define RECORD_SALT_LEN 32U

// Not owned: name outlives it.
struct record_index {
    const char *name;
    uint8_t salt[RECORD_SALT_LEN];
};

struct record_header {
    uint32_t dim;
    uint32_t lists;
    uint64_t records;
};

void record_header_context(const struct record_index *index, struct crypt_context *ret_context);
void record_centroid_context(const struct record_index *index, uint64_t list,
                             struct crypt_context *ret_context);
void record_item_context(const struct record_index *index, uint64_t record,
                         struct crypt_context *ret_context);
void record_embedding_context(const struct record_index *index, uint64_t record,
                              const uint8_t list_token[CRYPT_MAC_LEN],
                              struct crypt_context *ret_context);

bool record_list_token(struct token *token, const struct record_index *index, uint64_t list,
                       uint8_t ret_token[CRYPT_MAC_LEN]);
bool record_query_token(struct token *token, const struct record_index *index, const char *field,
                        const char *value, uint8_t ret_token[CRYPT_MAC_LEN]);

void record_encode_header(const struct record_header *header, struct crypt_plain *ret_plain);
bool record_decode_header(const struct crypt_plain *plain, struct record_header *ret_header);

// A vector after a number: the members of a list before its centroid; 0 before an embedding.
void record_encode_vector(uint32_t number, const float *vector, size_t dim,
                          struct crypt_plain *ret_plain);
bool record_decode_vector(const struct crypt_plain *plain, size_t dim, uint32_t *ret_number,
                          float *ret_vector);
