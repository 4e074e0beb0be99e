#include "tokens/token_record.h"

#include <string.h>

#include "base/rv.h"
#include "tokens/roles.h"

#define SOURCE_NAME_MAX 32u
#define CONTEXT_MAX 65536u
#define WRAPPED_MAX 65536u

static void copy_raw(struct reader *reader, unsigned char *to, size_t len)
{
    struct view bytes = read_raw(reader, len);
    if (bytes.len == len)
        memcpy(to, bytes.bytes, len);
}

static void read_role(struct reader *reader, struct role_record *role)
{
    uint8_t state = read_u8(reader);
    role->state = (enum role_state) state;
    role->stretch.cost.n = read_u64(reader);
    role->stretch.cost.r = read_u32(reader);
    role->stretch.cost.p = read_u32(reader);
    copy_raw(reader, role->stretch.salt, ROLE_SALT_LEN);
    copy_raw(reader, role->sealed_key, SEALED_KEY_LEN);
    if (state != ROLE_UNSET && state != ROLE_PIN && state != ROLE_NO_PIN)
        reader->failed = true;
    if (state == ROLE_PIN && !role_stretch_is_bounded(&role->stretch))
        reader->failed = true;
}

static void write_role(struct writer *writer, const struct role_record *role)
{
    write_u8(writer, (uint8_t) role->state);
    write_u64(writer, role->stretch.cost.n);
    write_u32(writer, role->stretch.cost.r);
    write_u32(writer, role->stretch.cost.p);
    write_raw(writer, (struct view){role->stretch.salt, ROLE_SALT_LEN});
    write_raw(writer, (struct view){role->sealed_key, SEALED_KEY_LEN});
}

CK_RV token_record_parse(struct blob *bytes, struct token_record *ret_record)
{
    struct token_record record = {.bytes = blob_move(bytes)};
    struct reader reader = reader_of(blob_view(&record.bytes));
    if (read_u8(&reader) != SEAL_FORMAT)
        reader.failed = true;
    copy_raw(&reader, record.serial, SERIAL_LEN);
    copy_raw(&reader, record.label, TOKEN_LABEL_LEN);
    record.source = read_string(&reader, SOURCE_NAME_MAX);
    record.context = read_string(&reader, CONTEXT_MAX);
    record.wrapped = read_string(&reader, WRAPPED_MAX);
    for (size_t i = 0; i < ROLE_COUNT; i++)
        read_role(&reader, &record.roles[i]);
    (void) read_raw(&reader, SHA256_LEN);
    if (!reader_done(&reader)) {
        token_record_clear(&record);
        return CKR_DATA_INVALID;
    }
    *ret_record = record;
    return CKR_OK;
}

void token_record_clear(struct token_record *record)
{
    blob_clear(&record->bytes);
    *record = (struct token_record){0};
}

static CK_RV record_mac(const unsigned char serial[SERIAL_LEN], const struct secret *data_key,
                        struct view message, unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(secret_clear) struct secret mac_key = {0};
    TRY(derive_key(data_key, serial, LABEL_MAC, &mac_key));
    return crypto_hmac_sha256(&mac_key, message, ret_mac);
}

CK_RV token_record_encode(const struct token_record *record, const struct secret *data_key,
                          struct blob *ret_bytes)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    write_u8(&writer, SEAL_FORMAT);
    write_raw(&writer, (struct view){record->serial, SERIAL_LEN});
    write_raw(&writer, (struct view){record->label, TOKEN_LABEL_LEN});
    write_string(&writer, record->source);
    write_string(&writer, record->context);
    write_string(&writer, record->wrapped);
    for (size_t i = 0; i < ROLE_COUNT; i++)
        write_role(&writer, &record->roles[i]);
    struct view message;
    TRY(derive_end_aad(&writer, &message));
    unsigned char mac[SHA256_LEN];
    TRY(record_mac(record->serial, data_key, message, mac));
    write_raw(&writer, (struct view){mac, sizeof(mac)});
    return writer_finish(&writer, ret_bytes);
}

CK_RV token_record_verify(const struct token_record *record, const struct secret *data_key)
{
    /* Parsing has made sure that the MAC is there. */
    struct view message = {record->bytes.bytes, record->bytes.len - SHA256_LEN};
    unsigned char mac[SHA256_LEN];
    TRY(record_mac(record->serial, data_key, message, mac));
    if (!secret_bytes_equal(mac, message.bytes + message.len, SHA256_LEN))
        return CKR_ENCRYPTED_DATA_INVALID;
    return CKR_OK;
}

void attempts_encode(const struct attempts *attempts, unsigned char ret_bytes[ATTEMPTS_LEN])
{
    ret_bytes[0] = SEAL_FORMAT;
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        ret_bytes[1 + 2 * i] = attempts->roles[i].counted;
        ret_bytes[2 + 2 * i] = attempts->roles[i].wrong;
    }
}

CK_RV attempts_parse(struct view bytes, struct attempts *ret_attempts)
{
    struct attempts attempts = {0};
    if (bytes.len != ATTEMPTS_LEN || bytes.bytes[0] != SEAL_FORMAT)
        return CKR_DATA_INVALID;
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        attempts.roles[i].counted = bytes.bytes[1 + 2 * i];
        attempts.roles[i].wrong = bytes.bytes[2 + 2 * i];
        if (attempts.roles[i].counted > PIN_TRIES ||
            attempts.roles[i].wrong > attempts.roles[i].counted)
            return CKR_DATA_INVALID;
    }
    *ret_attempts = attempts;
    return CKR_OK;
}

#define KEYS_LEN_MAX (2 * SEAL_KEY_LEN)

void keys_record_clear(struct keys_record *keys)
{
    secret_clear(&keys->epoch_key);
    secret_clear(&keys->value_id_key);
}

static void keys_aad(struct writer *aad, const unsigned char serial[SERIAL_LEN], uint8_t format,
                     uint32_t epoch)
{
    derive_begin_aad(aad, LABEL_KEYS, serial);
    if (format != SEAL_FORMAT)
        write_u8(aad, format);
    write_u32(aad, epoch);
}

CK_RV keys_record_encode(const unsigned char serial[SERIAL_LEN], const struct secret *keys_key,
                         const struct keys_record *keys, struct blob *ret_bytes)
{
    uint8_t format = keys->value_id_key.len == 0 ? SEAL_FORMAT : KEYS_FORMAT_VALUE_ID;
    size_t key_count = format == SEAL_FORMAT ? 1 : 2;
    _cleanup_(writer_clear) struct writer aad = {0};
    keys_aad(&aad, serial, format, keys->epoch);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    _cleanup_(secret_clear) struct secret plaintext = {0};
    _cleanup_(blob_clear) struct blob sealed = {0};
    TRY(secret_new(key_count * SEAL_KEY_LEN, &plaintext));
    memcpy(plaintext.bytes, keys->epoch_key.bytes, SEAL_KEY_LEN);
    if (key_count > 1)
        memcpy(plaintext.bytes + SEAL_KEY_LEN, keys->value_id_key.bytes, SEAL_KEY_LEN);
    TRY(crypto_seal(keys_key, aad_bytes, (struct view){plaintext.bytes, plaintext.len}, &sealed));
    struct writer writer = {0};
    write_u8(&writer, format);
    write_u32(&writer, keys->epoch);
    write_raw(&writer, blob_view(&sealed));
    return writer_finish(&writer, ret_bytes);
}

static CK_RV split_keys(const struct secret *plaintext, struct keys_record *ret_keys)
{
    _cleanup_(keys_record_clear) struct keys_record keys = {0};
    TRY(secret_from(plaintext->bytes, SEAL_KEY_LEN, &keys.epoch_key));
    if (plaintext->len > SEAL_KEY_LEN)
        TRY(secret_from(plaintext->bytes + SEAL_KEY_LEN, SEAL_KEY_LEN, &keys.value_id_key));
    ret_keys->epoch_key = secret_move(&keys.epoch_key);
    ret_keys->value_id_key = secret_move(&keys.value_id_key);
    return CKR_OK;
}

CK_RV keys_record_open(const unsigned char serial[SERIAL_LEN], const struct secret *keys_key,
                       struct view bytes, struct keys_record *ret_keys)
{
    struct reader reader = reader_of(bytes);
    uint8_t format = read_u8(&reader);
    uint32_t epoch = read_u32(&reader);
    size_t len = format == SEAL_FORMAT ? SEAL_KEY_LEN : KEYS_LEN_MAX;
    struct view sealed = read_raw(&reader, len + AEAD_OVERHEAD);
    if (!reader_done(&reader) || (format != SEAL_FORMAT && format != KEYS_FORMAT_VALUE_ID))
        return CKR_ENCRYPTED_DATA_INVALID;
    _cleanup_(writer_clear) struct writer aad = {0};
    keys_aad(&aad, serial, format, epoch);
    struct view aad_bytes;
    TRY(derive_end_aad(&aad, &aad_bytes));
    _cleanup_(secret_clear) struct secret plaintext = {0};
    TRY(crypto_open(keys_key, aad_bytes, sealed, &plaintext));
    TRY(split_keys(&plaintext, ret_keys));
    ret_keys->epoch = epoch;
    return CKR_OK;
}
