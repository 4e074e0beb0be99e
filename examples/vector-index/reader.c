#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "fvecs.h"
#include "util.h"

static bool reader_read_header(struct reader *reader)
{
    struct crypt_context context;
    struct crypt_sealed sealed;
    struct crypt_plain plain;
    const struct record_header *header = &reader->header;

    if (!db_get_header(reader->db, reader->index.salt, &sealed)) {
        return false;
    }
    record_header_context(&reader->index, &context);
    if (!crypt_open(reader->token, &context, &sealed, &plain) ||
        !record_decode_header(&plain, &reader->header)) {
        return false;
    }
    if (header->dim == 0 || header->dim > FVECS_MAX_DIM || header->lists == 0 ||
        header->lists > OPTIONS_MAX_LISTS || header->records > UINT32_MAX) {
        return fail("the header of the index has values that this version does not know");
    }
    return true;
}

bool reader_open(const struct options *options, struct reader *ret_reader)
{
    _cleanup_(reader_close) struct reader reader = { .index.name = options->token.index };

    if (!db_open(options->db, &reader.db) || !token_open(&options->token, &reader.token) ||
        !reader_read_header(&reader)) {
        return false;
    }
    *ret_reader = reader;
    reader.db = NULL;
    reader.token = NULL;
    return true;
}

void reader_close(struct reader *reader)
{
    db_close(reader->db);
    token_close(reader->token);
}

static bool reader_centroid(const struct reader *reader, uint64_t list, uint32_t *ret_members,
                            float *ret_centroid)
{
    struct crypt_context context;
    struct crypt_sealed sealed;
    struct crypt_plain plain;

    record_centroid_context(&reader->index, list, &context);
    return db_get_centroid(reader->db, list, &sealed) &&
           crypt_open(reader->token, &context, &sealed, &plain) &&
           record_decode_vector(&plain, reader->header.dim, ret_members, ret_centroid);
}

bool reader_centroids(const struct reader *reader, struct vectors **ret_centroids,
                      uint32_t **ret_members)
{
    _cleanup_(vectors_freep) struct vectors *centroids = NULL;
    _cleanup_(util_freep) uint32_t *members = util_alloc(reader->header.lists, sizeof *members);

    if (members == NULL || !vectors_new(reader->header.lists, reader->header.dim, &centroids)) {
        return false;
    }
    for (size_t list = 0; list < centroids->rows; list++) {
        if (!reader_centroid(reader, list, &members[list], vectors_row(centroids, list))) {
            return false;
        }
    }
    *ret_centroids = centroids;
    *ret_members = members;
    centroids = NULL;
    members = NULL;
    return true;
}

bool reader_item(const struct reader *reader, uint64_t record, struct item *ret_item)
{
    struct crypt_context context;
    struct crypt_sealed sealed;
    struct crypt_plain plain;

    record_item_context(&reader->index, record, &context);
    return db_get_item(reader->db, record, &sealed) &&
           crypt_open(reader->token, &context, &sealed, &plain) && items_decode(&plain, ret_item);
}

bool reader_open_embedding(const struct reader *reader, const struct crypt_context *context,
                           const struct crypt_sealed *sealed, float *ret_vector)
{
    struct crypt_plain plain;
    uint32_t unused;

    return crypt_open(reader->token, context, sealed, &plain) &&
           record_decode_vector(&plain, reader->header.dim, &unused, ret_vector);
}

bool reader_embedding(const struct reader *reader, uint64_t record, float *ret_vector)
{
    struct crypt_context context;
    struct crypt_sealed sealed;
    uint8_t list_token[CRYPT_MAC_LEN];

    if (!db_get_embedding(reader->db, record, list_token, &sealed)) {
        return false;
    }
    record_embedding_context(&reader->index, record, list_token, &context);
    return reader_open_embedding(reader, &context, &sealed, ret_vector);
}

struct field_walk {
    const struct reader *reader;
    const char *field;
    const char *value;
    reader_on_item *on_item;
    void *context;
};

// The row that joins a token and a record is not sealed: the opened content must bear it out.
static bool reader_on_record(void *context, uint64_t record)
{
    const struct field_walk *walk = context;
    struct item item;

    if (!reader_item(walk->reader, record, &item)) {
        return false;
    }
    if (strcmp(strcmp(walk->field, "name") == 0 ? item.name : item.section, walk->value) != 0) {
        return fail("content of record %llu is not what the token index says: the database was "
                    "altered; restore it or build it again",
                    (unsigned long long)record);
    }
    return walk->on_item(walk->context, record, &item);
}

bool reader_walk_field(const struct reader *reader, const char *field, const char *value,
                       reader_on_item *on_item, void *context)
{
    struct field_walk walk = { reader, field, value, on_item, context };
    uint8_t query_token[CRYPT_MAC_LEN];

    return record_query_token(reader->token, &reader->index, field, value, query_token) &&
           db_walk_term(reader->db, query_token, reader_on_record, &walk);
}
