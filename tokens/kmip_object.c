#include "tokens/kmip_object.h"

#include "tokens/derive.h"
#include "tokens/secret_file.h"

#define ID_LEN_MAX 255
#define FILE_LEN_MAX 1024
#define USAGE_MASK "Cryptographic Usage Mask"
#define OTHERS_MODE 0077

/* KMIP 1.4, 9.1.3.2 and 9.1.3.3.1. A key that encrypts is one that every server can store. */
enum { OBJECT_SYMMETRIC_KEY = 2, FORMAT_RAW = 1, METHOD_ENCRYPT = 1, NO_ENCODING = 1 };
enum { USAGE_ENCRYPT = 0x4, USAGE_DECRYPT = 0x8 };

/* ---- what is asked ---- */

static void write_attributes(struct ttlv_writer *writer)
{
    ttlv_begin(writer, KMIP_TEMPLATE_ATTRIBUTE);
    ttlv_begin(writer, KMIP_ATTRIBUTE);
    ttlv_string(writer, KMIP_ATTRIBUTE_NAME, TTLV_TEXT, view_text(USAGE_MASK));
    ttlv_number(writer, KMIP_ATTRIBUTE_VALUE, TTLV_INTEGER, USAGE_ENCRYPT | USAGE_DECRYPT);
    ttlv_end(writer);
    ttlv_end(writer);
}

static void write_key(struct ttlv_writer *writer, const struct secret *key)
{
    ttlv_begin(writer, KMIP_SYMMETRIC_KEY);
    ttlv_begin(writer, KMIP_KEY_BLOCK);
    ttlv_number(writer, KMIP_KEY_FORMAT_TYPE, TTLV_ENUMERATION, FORMAT_RAW);
    ttlv_begin(writer, KMIP_KEY_VALUE);
    ttlv_string(writer, KMIP_KEY_MATERIAL, TTLV_BYTES, (struct view){key->bytes, key->len});
    ttlv_end(writer);
    ttlv_number(writer, KMIP_CRYPTOGRAPHIC_ALGORITHM, TTLV_ENUMERATION, KMIP_AES);
    ttlv_number(writer, KMIP_CRYPTOGRAPHIC_LENGTH, TTLV_INTEGER, (uint32_t) (8 * key->len));
    ttlv_end(writer);
    ttlv_end(writer);
}

static void write_wrapping(struct ttlv_writer *writer, struct view wrapping_key)
{
    ttlv_begin(writer, KMIP_KEY_WRAPPING_SPECIFICATION);
    ttlv_number(writer, KMIP_WRAPPING_METHOD, TTLV_ENUMERATION, METHOD_ENCRYPT);
    ttlv_begin(writer, KMIP_ENCRYPTION_KEY_INFORMATION);
    ttlv_string(writer, KMIP_UNIQUE_IDENTIFIER, TTLV_TEXT, wrapping_key);
    ttlv_begin(writer, KMIP_CRYPTOGRAPHIC_PARAMETERS);
    ttlv_number(writer, KMIP_BLOCK_CIPHER_MODE, TTLV_ENUMERATION, KMIP_MODE_NIST_KEY_WRAP);
    ttlv_end(writer);
    ttlv_end(writer);
    ttlv_number(writer, KMIP_ENCODING_OPTION, TTLV_ENUMERATION, NO_ENCODING);
    ttlv_end(writer);
}

/* The same connection, about another object. */
static struct kmip_call about(const struct kmip_call *call, struct view id)
{
    struct kmip_call other = *call;
    other.key_id = id;
    return other;
}

/* ---- the MAC ---- */

static CK_RV compute_mac(const struct kmip_call *call, const struct secret *data_key,
                         struct view id, struct view context, unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(writer_clear) struct writer message = {0};
    write_string(&message, view_text(LABEL_KMIP_OBJECT));
    write_string(&message, call->key_id);
    write_string(&message, id);
    write_string(&message, context);
    if (message.failed)
        return kmip_fail_memory(call);
    return crypto_hmac_sha256(data_key, writer_view(&message), ret_mac);
}

/* ---- storing ---- */

static CK_RV activate(const struct kmip_call *call, struct view id)
{
    _cleanup_(ttlv_clear) struct ttlv_writer writer = {.len = 0};
    _cleanup_(secret_clear) struct secret reply = {0};
    struct view payload;
    struct kmip_call object = about(call, id);
    kmip_request_begin(&object, KMIP_ACTIVATE, &writer);
    return kmip_request_send(&object, &writer, &reply, &payload);
}

CK_RV kmip_object_register(const struct kmip_call *call, const struct secret *data_key,
                           struct view context, struct blob *ret_id,
                           unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(ttlv_clear) struct ttlv_writer writer = {.len = 0};
    _cleanup_(secret_clear) struct secret reply = {0};
    struct view payload;
    struct view id;
    struct kmip_call fresh = about(call, (struct view){0});
    kmip_request_begin(&fresh, KMIP_REGISTER, &writer);
    ttlv_number(&writer, KMIP_OBJECT_TYPE, TTLV_ENUMERATION, OBJECT_SYMMETRIC_KEY);
    write_attributes(&writer);
    write_key(&writer, data_key);
    TRY(kmip_request_send(&fresh, &writer, &reply, &payload));
    if (!ttlv_find(payload, KMIP_UNIQUE_IDENTIFIER, TTLV_TEXT, &id) || id.len > ID_LEN_MAX)
        return kmip_fail_reply(call, "it has no Unique Identifier of at most 255 bytes");
    TRY(activate(call, id));
    TRY(compute_mac(call, data_key, id, context, ret_mac));
    return blob_from(id.bytes, id.len, ret_id);
}

/* ---- getting ---- */

static CK_RV read_wrapping_key(const struct kmip_call *call, struct secret *ret_key)
{
    const struct secret_file file = {
        .token = call->kmip->token,
        .what = "KMIP wrapping key file",
        .path = call->kmip->wrapping_key_file,
        .len_max = FILE_LEN_MAX,
        .refused = OTHERS_MODE,
    };
    _cleanup_(secret_clear) struct secret text = {0};
    mode_t mode;
    if (file.path == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its data key is an object of the KMIP server, and no "
                          "wrapping_key_file is set to open it; set it",
                          file.token);
    TRY(secret_file_read(&file, &text, &mode));
    CK_RV rv = crypto_base64_secret((struct view){text.bytes, text.len}, AEAD_KEY_LEN, ret_key);
    if (rv == CKR_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "token '%s': its KMIP wrapping key file %s is not the base64 of %d "
                          "bytes; put the key there that the server has as %s",
                          file.token, file.path, AEAD_KEY_LEN, call->kmip->key_id);
    return rv;
}

static CK_RV ask(const struct kmip_call *object, struct view wrapping_key, struct secret *ret_reply,
                 struct view *ret_wrapped)
{
    _cleanup_(ttlv_clear) struct ttlv_writer writer = {.len = 0};
    struct view payload;
    struct view key;
    struct view block;
    struct view value;
    kmip_request_begin(object, KMIP_GET, &writer);
    write_wrapping(&writer, wrapping_key);
    TRY(kmip_request_send(object, &writer, ret_reply, &payload));
    if (!ttlv_find(payload, KMIP_SYMMETRIC_KEY, TTLV_STRUCTURE, &key) ||
        !ttlv_find(key, KMIP_KEY_BLOCK, TTLV_STRUCTURE, &block) ||
        !ttlv_find(block, KMIP_KEY_VALUE, TTLV_STRUCTURE, &value) ||
        !ttlv_find(value, KMIP_KEY_MATERIAL, TTLV_BYTES, ret_wrapped))
        return kmip_fail_reply(object, "it has no wrapped key");
    return CKR_OK;
}

CK_RV kmip_object_get(const struct kmip_call *call, const struct kmip_object *object,
                      struct view context, struct secret *ret_data_key)
{
    _cleanup_(secret_clear) struct secret wrapping_key = {0};
    _cleanup_(secret_clear) struct secret data_key = {0};
    _cleanup_(secret_clear) struct secret reply = {0};
    unsigned char mac[SHA256_LEN];
    struct view wrapped;
    struct kmip_call about_object = about(call, object->id);
    TRY(read_wrapping_key(call, &wrapping_key));
    TRY(kmip_request_state(&about_object));
    TRY(ask(&about_object, call->key_id, &reply, &wrapped));
    CK_RV rv = crypto_key_unwrap(&wrapping_key, wrapped, &data_key);
    if (rv == CKR_ENCRYPTED_DATA_INVALID)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': the KMIP server's wrapped key does not open with %s; put "
                          "the key there that the server has as %s",
                          call->kmip->token, call->kmip->wrapping_key_file, call->kmip->key_id);
    TRY(rv);
    TRY(compute_mac(call, &data_key, object->id, context, mac));
    if (!secret_bytes_equal(mac, object->mac.bytes, SHA256_LEN))
        return FAIL_CAUSE(INDEXKEY_CAUSE_TAMPERED,
                          "token '%s': the KMIP server's object %.*s is not the data key that was "
                          "stored under this context; restore the store from a backup, or set the "
                          "former context.*",
                          call->kmip->token, (int) object->id.len, (const char *) object->id.bytes);
    *ret_data_key = secret_move(&data_key);
    return CKR_OK;
}
