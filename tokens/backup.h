/*
 * A backup as a file (docs/formats.md): the token record in its head, then all records and rows of
 * one moment in chunks that are sealed under a key of this backup alone, below the token key. What
 * was cut off, changed, moved or taken from another backup does not open.
 *
 * Both ends are for one thread. What is refused is CKR_ENCRYPTED_DATA_INVALID, not logged: the
 * caller says it.
 */
#pragma once

#include "base/crypto.h"
#include "tokens/custody.h"
#include "tokens/derive.h"

#define BACKUP_ID_LEN 16

/* The seals' key, from the token key that the head's token record leads to. */
struct backup_key {
    struct aead *aead;
    unsigned char head[SHA256_LEN];
    unsigned char serial[SERIAL_LEN];
};

void backup_key_clear(struct backup_key *key);

struct backup_writer {
    struct backup_key key;
    struct writer out;     /* the whole file */
    struct writer pending; /* of the next chunk */
    uint64_t chunk_count;
    uint64_t record_count;
    uint64_t object_count;
};

/* Begins as zeros; freed with backup_writer_clear, after a failure too. */
CK_RV backup_begin(struct backup_writer *writer, const struct secret *token_key,
                   const unsigned char serial[SERIAL_LEN], struct view token_record);
CK_RV backup_add_record(struct backup_writer *writer, const char *name, struct view bytes);
CK_RV backup_add_object(struct backup_writer *writer, const struct store_row *row);
/* The file, which stays the writer's. */
CK_RV backup_end(struct backup_writer *writer, struct view *ret_file);
void backup_writer_clear(struct backup_writer *writer);

struct backup_reader {
    custody_read_fn *read;
    void *context;
    struct backup_key key;
    struct blob head;
    struct view id;           /* into the head, as the next */
    struct view token_record; /* not authenticated: its own MAC is to be checked */
    uint64_t chunk_count;
};

/* What a chunk holds. */
struct backup_each {
    CK_RV (*record)(void *context, const char *name, struct view bytes);
    store_row_fn *object;
    void *context;
};

/* `read` and `context` are set; reads the head. Freed with backup_reader_clear. */
CK_RV backup_read_head(struct backup_reader *reader);
/* Hands over everything; what was handed over counts when this returns CKR_OK, and not before: the
 * end of the file is proved by what stands there. */
CK_RV backup_read_rest(struct backup_reader *reader, const struct secret *token_key,
                       const unsigned char serial[SERIAL_LEN], const struct backup_each *each);
void backup_reader_clear(struct backup_reader *reader);
