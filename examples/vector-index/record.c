#include "record.h"

#include <stdio.h>
#include <string.h>

#include "items.h"
#include "util.h"

#define RECORD_FORMAT "vector-index/1"
#define RECORD_HEADER_LEN 16U

enum record_kind { RECORD_HEADER = 1, RECORD_CENTROID, RECORD_EMBEDDING, RECORD_ITEM };

_Static_assert(sizeof RECORD_FORMAT + 2 + TOKEN_INDEX_MAX_LEN + RECORD_SALT_LEN + 1 + 8 +
                       CRYPT_MAC_LEN <= CRYPT_AAD_MAX_LEN,
               "associated data fits");

static void record_context(const struct record_index *index, enum record_kind kind, uint64_t number,
                           struct crypt_context *ret_context)
{
    size_t name_len = strlen(index->name);
    uint8_t *end = ret_context->aad;

    memcpy(end, RECORD_FORMAT, sizeof RECORD_FORMAT);
    end = util_put_be(end + sizeof RECORD_FORMAT, name_len, 2);
    memcpy(end, index->name, name_len);
    end += name_len;
    memcpy(end, index->salt, RECORD_SALT_LEN);
    end = util_put_be(end + RECORD_SALT_LEN, (uint64_t)kind, 1);
    end = util_put_be(end, number, 8);
    ret_context->aad_len = (size_t)(end - ret_context->aad);
    ret_context->key = kind == RECORD_ITEM ? TOKEN_KEY_ITEM : TOKEN_KEY_PAYLOAD;
}

static void record_name(struct crypt_context *context, const char *what, uint64_t number)
{
    snprintf(context->name, sizeof context->name, "%s %llu", what, (unsigned long long)number);
}

void record_header_context(const struct record_index *index, struct crypt_context *ret_context)
{
    record_context(index, RECORD_HEADER, 0, ret_context);
    snprintf(ret_context->name, sizeof ret_context->name, "the header of index \"%.40s\"",
             index->name);
}

void record_centroid_context(const struct record_index *index, uint64_t list,
                             struct crypt_context *ret_context)
{
    record_context(index, RECORD_CENTROID, list, ret_context);
    record_name(ret_context, "centroid of list", list);
}

void record_item_context(const struct record_index *index, uint64_t record,
                         struct crypt_context *ret_context)
{
    record_context(index, RECORD_ITEM, record, ret_context);
    record_name(ret_context, "content of record", record);
}

void record_embedding_context(const struct record_index *index, uint64_t record,
                              const uint8_t list_token[CRYPT_MAC_LEN],
                              struct crypt_context *ret_context)
{
    record_context(index, RECORD_EMBEDDING, record, ret_context);
    record_name(ret_context, "embedding of record", record);
    memcpy(ret_context->aad + ret_context->aad_len, list_token, CRYPT_MAC_LEN);
    ret_context->aad_len += CRYPT_MAC_LEN;
}

bool record_list_token(struct token *token, const struct record_index *index, uint64_t list,
                       uint8_t ret_token[CRYPT_MAC_LEN])
{
    uint8_t input[RECORD_SALT_LEN + 8];

    memcpy(input, index->salt, RECORD_SALT_LEN);
    util_put_be(input + RECORD_SALT_LEN, list, 8);
    return crypt_mac(token, TOKEN_KEY_CENTROID, (struct bytes){ input, sizeof input }, ret_token);
}

bool record_query_token(struct token *token, const struct record_index *index, const char *field,
                        const char *value, uint8_t ret_token[CRYPT_MAC_LEN])
{
    uint8_t input[RECORD_SALT_LEN + ITEMS_FIELD_MAX_LEN + 1 + 4 + ITEMS_FIELD_MAX_LEN];
    uint8_t term[CRYPT_MAC_LEN];
    size_t field_len = strlen(field);
    size_t value_len = strlen(value);
    uint8_t *end = input + RECORD_SALT_LEN;

    if (field_len > ITEMS_FIELD_MAX_LEN || value_len > ITEMS_FIELD_MAX_LEN) {
        return fail("a field's name and value have at most %u bytes", ITEMS_FIELD_MAX_LEN);
    }
    memcpy(input, index->salt, RECORD_SALT_LEN);
    memcpy(end, field, field_len + 1);
    end = util_put_be(end + field_len + 1, value_len, 4);
    memcpy(end, value, value_len);
    end += value_len;
    return crypt_mac(token, TOKEN_KEY_TOKEN, (struct bytes){ input, (size_t)(end - input) },
                     term) &&
           crypt_mac(token, TOKEN_KEY_QUERY, (struct bytes){ term, sizeof term }, ret_token);
}

void record_encode_header(const struct record_header *header, struct crypt_plain *ret_plain)
{
    uint8_t *end = util_put_be(ret_plain->data, header->dim, 4);

    end = util_put_be(end, header->lists, 4);
    end = util_put_be(end, header->records, 8);
    ret_plain->len = (size_t)(end - ret_plain->data);
}

bool record_decode_header(const struct crypt_plain *plain, struct record_header *ret_header)
{
    if (plain->len != RECORD_HEADER_LEN) {
        return fail("the header has %zu bytes, not %u", plain->len, RECORD_HEADER_LEN);
    }
    ret_header->dim = (uint32_t)util_get_be(plain->data, 4);
    ret_header->lists = (uint32_t)util_get_be(plain->data + 4, 4);
    ret_header->records = util_get_be(plain->data + 8, 8);
    return true;
}

void record_encode_vector(uint32_t number, const float *vector, size_t dim,
                          struct crypt_plain *ret_plain)
{
    util_put_floats(util_put_be(ret_plain->data, number, 4), vector, dim);
    ret_plain->len = 4 + 4 * dim;
}

bool record_decode_vector(const struct crypt_plain *plain, size_t dim, uint32_t *ret_number,
                          float *ret_vector)
{
    if (plain->len != 4 + 4 * dim) {
        return fail("a vector of %zu bytes where %zu values are expected", plain->len, dim);
    }
    *ret_number = (uint32_t)util_get_be(plain->data, 4);
    util_get_floats(plain->data + 4, ret_vector, dim);
    return true;
}
