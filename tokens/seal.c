#include "tokens/seal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

/* Format and key number stand before either seal. */
#define HEAD_LEN (1 + 4)

void sealed_row_clear(struct sealed_row *row)
{
    blob_clear(&row->attributes);
    blob_clear(&row->value);
}

/* Associated data of an attribute seal. `number` is the attribute key's. */
static void attributes_aad(struct writer *aad, const struct keyring *held,
                           const struct store_row *row, uint32_t number)
{
    derive_begin_aad(aad, LABEL_OBJECT_ATTRIBUTES, held->serial);
    write_string(aad, (struct view){row->id.bytes, OBJECT_ID_LEN});
    write_u64(aad, row->version);
    write_u32(aad, number);
    write_u64(aad, seal_value_len(row));
}

/* Of the wrapped sealing key and of the value, which differ in the label. */
static void value_aad(struct writer *aad, const char *label, const struct seal_epoch *epoch,
                      const struct store_row *row)
{
    derive_begin_aad(aad, label, epoch->serial);
    write_string(aad, (struct view){row->id.bytes, OBJECT_ID_LEN});
    write_u64(aad, row->version);
    write_u32(aad, epoch->number);
    write_raw(aad, (struct view){row->attributes.bytes + row->attributes.len - AEAD_TAG_LEN,
                                 AEAD_TAG_LEN});
}

static CK_RV seal_attributes(struct keyring *held, const struct seal_content *content,
                             const struct store_row *row, struct blob *ret_sealed)
{
    _cleanup_(writer_clear) struct writer aad = {0};
    attributes_aad(&aad, held, row, content->attribute_key);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    _cleanup_(blob_clear) struct blob sealed = {0};
    sealed.len = HEAD_LEN + content->attributes.len + AEAD_OVERHEAD;
    sealed.bytes = mem_alloc(sealed.len);
    if (sealed.bytes == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for %zu sealed bytes", sealed.len);
    sealed.bytes[0] = SEAL_FORMAT;
    for (size_t i = 0; i < 4; i++)
        sealed.bytes[1 + i] = (unsigned char) (content->attribute_key >> 8 * (3 - i));
    TRY(keyring_seal_attributes(held, content->attribute_key, aad_bytes, content->attributes,
                                sealed.bytes + HEAD_LEN));
    *ret_sealed = blob_move(&sealed);
    return CKR_OK;
}

/* One of the two seals in a row's value. `row` has the sealed attributes already. */
struct value_seal {
    const struct seal_epoch *epoch;
    const struct store_row *row;
    const struct secret *key;
    const char *label;
};

static CK_RV seal_under(const struct value_seal *seal, const struct secret *plaintext,
                        struct blob *ret_sealed)
{
    _cleanup_(writer_clear) struct writer aad = {0};
    value_aad(&aad, seal->label, seal->epoch, seal->row);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    return crypto_seal(seal->key, aad_bytes, (struct view){plaintext->bytes, plaintext->len},
                       ret_sealed);
}

static struct seal_epoch epoch_of(const struct keyring *held)
{
    return (struct seal_epoch){held->serial, held->epoch, &held->epoch_key};
}

CK_RV seal_value(const struct seal_epoch *epoch, const struct store_row *row,
                 const struct secret *value, struct blob *ret_sealed)
{
    _cleanup_(secret_clear) struct secret key = {0};
    _cleanup_(blob_clear) struct blob wrapped = {0};
    _cleanup_(blob_clear) struct blob sealed = {0};
    TRY(crypto_random_secret(SEAL_KEY_LEN, &key));
    struct value_seal outer = {epoch, row, epoch->key, LABEL_OBJECT_KEY};
    struct value_seal inner = {epoch, row, &key, LABEL_OBJECT_VALUE};
    TRY(seal_under(&outer, &key, &wrapped));
    TRY(seal_under(&inner, value, &sealed));
    struct writer writer = {0};
    write_u8(&writer, SEAL_FORMAT);
    write_u32(&writer, epoch->number);
    write_raw(&writer, blob_view(&wrapped));
    write_raw(&writer, blob_view(&sealed));
    return writer_finish(&writer, ret_sealed);
}

CK_RV seal_row(struct keyring *held, const struct seal_content *content, struct sealed_row *ret_row)
{
    size_t value_len = content->value == NULL ? 0 : content->value->len;
    if (content->attributes.len > SEAL_ATTRIBUTES_MAX || value_len > SEAL_VALUE_MAX)
        return FAIL(CKR_DEVICE_MEMORY,
                    "an object of %zu bytes of attributes and %zu of value is "
                    "too large for a token; the limit is about %zu each",
                    content->attributes.len, value_len, (size_t) SEAL_VALUE_MAX);
    _cleanup_(sealed_row_clear) struct sealed_row sealed = {0};
    /* The row as it will be: only the length of its value matters before the value is sealed. */
    struct store_row row = {.id = *content->id, .version = content->version};
    row.value.len = value_len == 0 ? 0 : value_len + SEAL_VALUE_OVERHEAD;
    TRY(seal_attributes(held, content, &row, &sealed.attributes));
    row.attributes = blob_view(&sealed.attributes);
    struct seal_epoch epoch = epoch_of(held);
    if (value_len > 0)
        TRY(seal_value(&epoch, &row, content->value, &sealed.value));
    ret_row->attributes = blob_move(&sealed.attributes);
    ret_row->value = blob_move(&sealed.value);
    return CKR_OK;
}

size_t seal_value_len(const struct store_row *row)
{
    return row->value.len <= SEAL_VALUE_OVERHEAD ? 0 : row->value.len - SEAL_VALUE_OVERHEAD;
}

static bool is_newer(struct view seal)
{
    return seal.len > 0 && seal.bytes[0] > SEAL_FORMAT;
}

bool seal_is_newer(const struct store_row *row)
{
    return is_newer(row->attributes) || is_newer(row->value);
}

/* Neither row has a tag where it is shorter; a value that is there but too short was cut off. */
static bool row_is_whole(const struct store_row *row)
{
    return row->attributes.len >= HEAD_LEN + AEAD_OVERHEAD &&
           (row->value.len == 0 || row->value.len > SEAL_VALUE_OVERHEAD);
}

CK_RV seal_open_attributes(struct keyring *held, const struct store_row *row,
                           struct blob *ret_attributes)
{
    struct reader reader = reader_of(row->attributes);
    uint8_t format = read_u8(&reader);
    uint32_t number = read_u32(&reader);
    if (reader.failed || format != SEAL_FORMAT || !row_is_whole(row))
        return CKR_ENCRYPTED_DATA_INVALID;
    struct view sealed = read_raw(&reader, row->attributes.len - HEAD_LEN);
    _cleanup_(writer_clear) struct writer aad = {0};
    attributes_aad(&aad, held, row, number);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    _cleanup_(blob_discard) struct blob attributes = {.len = sealed.len - AEAD_OVERHEAD};
    attributes.bytes = mem_alloc(attributes.len);
    if (attributes.bytes == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for %zu bytes of attributes", attributes.len);
    TRY(keyring_open_attributes(held, number, aad_bytes, sealed, attributes.bytes));
    *ret_attributes = blob_move(&attributes);
    return CKR_OK;
}

static CK_RV open_under(const struct value_seal *seal, struct view sealed,
                        struct secret *ret_plaintext)
{
    _cleanup_(writer_clear) struct writer aad = {0};
    value_aad(&aad, seal->label, seal->epoch, seal->row);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    return crypto_open(seal->key, aad_bytes, sealed, ret_plaintext);
}

CK_RV seal_open_value(struct keyring *held, const struct store_row *row, struct secret *ret_value)
{
    if (!row_is_whole(row))
        return CKR_ENCRYPTED_DATA_INVALID;
    if (row->value.len == 0) {
        _cleanup_(blob_discard) struct blob attributes = {0};
        TRY(seal_open_attributes(held, row, &attributes));
        *ret_value = (struct secret){0};
        return CKR_OK;
    }
    struct reader reader = reader_of(row->value);
    uint8_t format = read_u8(&reader);
    uint32_t epoch = read_u32(&reader);
    struct view wrapped = read_raw(&reader, SEAL_KEY_LEN + AEAD_OVERHEAD);
    struct view sealed = read_raw(&reader, row->value.len - HEAD_LEN - wrapped.len);
    if (reader.failed || format != SEAL_FORMAT || epoch != held->epoch)
        return CKR_ENCRYPTED_DATA_INVALID;
    _cleanup_(secret_clear) struct secret key = {0};
    struct seal_epoch current = epoch_of(held);
    struct value_seal outer = {&current, row, current.key, LABEL_OBJECT_KEY};
    struct value_seal inner = {&current, row, &key, LABEL_OBJECT_VALUE};
    TRY(open_under(&outer, wrapped, &key));
    return open_under(&inner, sealed, ret_value);
}

CK_RV seal_set_mac_of(struct hmac *set_key, const struct store_row *row,
                      unsigned char ret_mac[SHA256_LEN])
{
    if (row->attributes.len < AEAD_TAG_LEN)
        return CKR_ENCRYPTED_DATA_INVALID;
    unsigned char message[OBJECT_ID_LEN + 8 + AEAD_TAG_LEN];
    memcpy(message, row->id.bytes, OBJECT_ID_LEN);
    for (size_t i = 0; i < 8; i++)
        message[OBJECT_ID_LEN + i] = (unsigned char) (row->version >> 8 * (7 - i));
    memcpy(message + OBJECT_ID_LEN + 8, row->attributes.bytes + row->attributes.len - AEAD_TAG_LEN,
           AEAD_TAG_LEN);
    return hmac_sha256(set_key, (struct view){message, sizeof(message)}, ret_mac);
}

CK_RV seal_set_mac(struct keyring *held, const struct store_row *row,
                   unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(hmac_free) struct hmac *set_key = NULL;
    TRY(hmac_new(&held->set_key, &set_key));
    return seal_set_mac_of(set_key, row, ret_mac);
}
