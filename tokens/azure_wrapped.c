#include "tokens/azure_wrapped.h"

#include "base/crypto.h"
#include "base/rv.h"
#include "tokens/base64url.h"
#include "tokens/derive.h"

#define MAGIC 0x494b415au /* "IKAZ" */
#define MAGIC_LEN 4
#define FORMAT 1
#define ALGORITHM_LEN_MAX 16

enum { DECODED_CIPHERTEXT, DECODED_IV, DECODED_TAG };

void azure_wrapped_clear(struct azure_wrapped *wrapped)
{
    json_free(&wrapped->json);
    for (size_t i = 0; i < sizeof(wrapped->decoded) / sizeof(wrapped->decoded[0]); i++)
        secret_clear(&wrapped->decoded[i]);
}

static CK_RV make_mac(struct view head, const struct secret *data_key, struct view context,
                      unsigned char ret_mac[SHA256_LEN])
{
    _cleanup_(writer_clear) struct writer message = {0};
    struct view bytes;
    write_string(&message, view_text(LABEL_AZURE_WRAP));
    write_string(&message, head);
    write_string(&message, context);
    TRY(derive_end_aad(&message, &bytes));
    return crypto_hmac_sha256(data_key, bytes, ret_mac);
}

/* ---- our own form ---- */

CK_RV azure_wrapped_write(const struct azure_wrapped *wrapped, const struct secret *data_key,
                          struct view context, struct blob *ret_bytes)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    unsigned char mac[SHA256_LEN];
    struct view head;
    write_u32(&writer, MAGIC);
    write_u8(&writer, FORMAT);
    write_string(&writer, view_text(azure_algorithm_name(wrapped->algorithm)));
    write_string(&writer, wrapped->name);
    write_string(&writer, wrapped->version);
    write_string(&writer, wrapped->iv);
    write_string(&writer, wrapped->tag);
    write_string(&writer, wrapped->ciphertext);
    TRY(derive_end_aad(&writer, &head));
    TRY(make_mac(head, data_key, context, mac));
    write_raw(&writer, (struct view){mac, sizeof(mac)});
    return writer_finish(&writer, ret_bytes);
}

static CK_RV read_own(struct view bytes, struct azure_wrapped *wrapped)
{
    struct reader reader = reader_of(bytes);
    (void) read_u32(&reader);
    uint8_t format = read_u8(&reader);
    struct view algorithm = read_string(&reader, ALGORITHM_LEN_MAX);
    wrapped->name = read_string(&reader, AZURE_NAME_LEN_MAX);
    wrapped->version = read_string(&reader, AZURE_VERSION_LEN_MAX);
    wrapped->iv = read_string(&reader, AZURE_IV_LEN);
    wrapped->tag = read_string(&reader, AZURE_TAG_LEN);
    wrapped->ciphertext = read_string(&reader, AZURE_CIPHERTEXT_LEN_MAX);
    size_t head_len = (size_t) (reader.at - bytes.bytes);
    wrapped->mac = read_raw(&reader, SHA256_LEN);
    if (!reader_done(&reader) || format != FORMAT || !azure_key_is_name(wrapped->name) ||
        !azure_key_is_version(wrapped->version) ||
        !azure_algorithm_read(algorithm, &wrapped->algorithm))
        return CKR_DATA_INVALID;
    wrapped->head = (struct view){bytes.bytes, head_len};
    return CKR_OK;
}

CK_RV azure_wrapped_verify(const struct azure_wrapped *wrapped, const struct secret *data_key,
                           struct view context)
{
    unsigned char mac[SHA256_LEN];
    TRY(make_mac(wrapped->head, data_key, context, mac));
    bool is_right =
        wrapped->mac.len == sizeof(mac) && secret_bytes_equal(mac, wrapped->mac.bytes, sizeof(mac));
    return is_right ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

/* ---- what Azure answers ---- */

/* A member that is missing leaves `*ret_bytes` empty. */
static CK_RV decode(const struct json *json, const char *name, struct secret *decoded,
                    struct view *ret_bytes)
{
    const char *text = json_text(json, name);
    if (text == NULL)
        return json_has(json, name) ? CKR_DATA_INVALID : CKR_OK;
    TRY(base64url_decode(view_text(text), 1, AZURE_CIPHERTEXT_LEN_MAX, decoded));
    *ret_bytes = (struct view){decoded->bytes, decoded->len};
    return CKR_OK;
}

/* Key Vault says `alg` and `value`; the az command `algorithm` and `result`. */
static CK_RV read_json(struct azure_wrapped *wrapped)
{
    const struct json *json = wrapped->json;
    const char *algorithm = json_text(json, "alg");
    if (algorithm == NULL)
        algorithm = json_text(json, "algorithm");
    if (algorithm != NULL && !azure_algorithm_read(view_text(algorithm), &wrapped->algorithm))
        return CKR_DATA_INVALID;
    wrapped->key_id = json_text(json, "kid");
    TRY(decode(json, json_has(json, "value") ? "value" : "result",
               &wrapped->decoded[DECODED_CIPHERTEXT], &wrapped->ciphertext));
    TRY(decode(json, "iv", &wrapped->decoded[DECODED_IV], &wrapped->iv));
    TRY(decode(json, "tag", &wrapped->decoded[DECODED_TAG], &wrapped->tag));
    return wrapped->key_id == NULL ? CKR_DATA_INVALID : CKR_OK;
}

/* ---- both ---- */

static bool is_complete(const struct azure_wrapped *wrapped)
{
    bool is_gcm = wrapped->algorithm == AZURE_A256GCM;
    return wrapped->ciphertext.len > 0 && wrapped->ciphertext.len <= AZURE_CIPHERTEXT_LEN_MAX &&
           wrapped->iv.len == (is_gcm ? AZURE_IV_LEN : 0) &&
           wrapped->tag.len == (is_gcm ? AZURE_TAG_LEN : 0);
}

CK_RV azure_wrapped_read(struct view bytes, enum azure_algorithm algorithm,
                         struct azure_wrapped *ret_wrapped)
{
    _cleanup_(azure_wrapped_clear) struct azure_wrapped wrapped = {.algorithm = algorithm};
    struct reader reader = reader_of(bytes);
    bool is_own = bytes.len >= MAGIC_LEN && read_u32(&reader) == MAGIC;
    /* A bare ciphertext may begin so, but makes no JSON. */
    if (bytes.len > 0 && bytes.bytes[0] == '{') {
        CK_RV rv = json_parse(bytes, &wrapped.json);
        if (rv != CKR_OK && rv != CKR_DATA_INVALID)
            return rv;
    }
    if (is_own)
        TRY(read_own(bytes, &wrapped));
    else if (wrapped.json != NULL)
        TRY(read_json(&wrapped));
    else
        wrapped.ciphertext = bytes;
    if (!is_complete(&wrapped))
        return CKR_DATA_INVALID;
    *ret_wrapped = wrapped;
    wrapped = (struct azure_wrapped){.json = NULL};
    return CKR_OK;
}
