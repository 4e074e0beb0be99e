// The index as an SQLite file. It holds ciphertext, nonces, tokens and record numbers only.
//
// A new index is written to a temporary file beside its place and renamed there by db_publish, so
// that a reader sees the old index or the whole new one; db_close without it leaves nothing behind.
// An index that is read is not trusted: types and lengths of every column are checked.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "crypt.h"
#include "record.h"

struct db;

// Freed by db_close.
bool db_create(const char *path, struct db **ret_db);
bool db_open(const char *path, struct db **ret_db);
void db_close(struct db *db);
void db_closep(struct db **db);

bool db_put_header(struct db *db, const uint8_t salt[RECORD_SALT_LEN],
                   const struct crypt_sealed *sealed);
bool db_put_centroid(struct db *db, uint64_t list, const struct crypt_sealed *sealed);
bool db_put_embedding(struct db *db, uint64_t record, const uint8_t list_token[CRYPT_MAC_LEN],
                      const struct crypt_sealed *sealed);
bool db_put_item(struct db *db, uint64_t record, const struct crypt_sealed *sealed);
bool db_put_term(struct db *db, uint64_t record, const uint8_t query_token[CRYPT_MAC_LEN]);

// Ends the build: every byte is on the disk before the new index takes its place.
bool db_publish(struct db *db);

bool db_get_header(struct db *db, uint8_t ret_salt[RECORD_SALT_LEN],
                   struct crypt_sealed *ret_sealed);
bool db_get_centroid(struct db *db, uint64_t list, struct crypt_sealed *ret_sealed);
bool db_get_embedding(struct db *db, uint64_t record, uint8_t ret_list_token[CRYPT_MAC_LEN],
                      struct crypt_sealed *ret_sealed);
bool db_get_item(struct db *db, uint64_t record, struct crypt_sealed *ret_sealed);

// Each record of a list, or each record under a query token, in the order of their numbers;
// a false from the function ends the walk with false. The sealed record is the walk's own.
typedef bool db_on_embedding(void *context, uint64_t record, const struct crypt_sealed *sealed);
typedef bool db_on_record(void *context, uint64_t record);

bool db_walk_list(struct db *db, const uint8_t list_token[CRYPT_MAC_LEN],
                  db_on_embedding *on_embedding, void *context);
bool db_walk_term(struct db *db, const uint8_t query_token[CRYPT_MAC_LEN], db_on_record *on_record,
                  void *context);
