#include "tokens/source_kmip.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "tokens/kmip_object.h"
#include "tokens/kmip_request.h"

#define PORT_DEFAULT "5696"
#define PORT_LEN_MAX 5
#define HOST_LEN_MAX 253
#define KEY_ID_LEN_MAX 255
#define IV_LEN 12
#define TAG_LEN 16
#define VALUE_LEN_MAX 1024
#define WRAPPED_LEN_MAX 2048
#define MAGIC "IKKM"
#define MAGIC_LEN 4
#define FORMAT_ENCRYPTED 1
#define FORMAT_OBJECT 2

/* ---- configuration ---- */

struct place {
    struct view host;
    struct view port; /* empty: none was given */
};

static bool is_port(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return false;
    }
    return text.len > 0 && text.len <= PORT_LEN_MAX;
}

static bool is_host(struct view text)
{
    static const char marks[] = "-.:_";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.bytes[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alnum && (c == '\0' || strchr(marks, c) == NULL))
            return false;
    }
    return text.len > 0 && text.len <= HOST_LEN_MAX;
}

/* "HOST", "HOST:PORT", "[ADDRESS]:PORT". */
static bool read_place(const char *text, struct place *ret_place)
{
    const char *end = text[0] == '[' ? strchr(text, ']') : text + strcspn(text, ":");
    if (end == NULL)
        return false;
    const char *begin = text[0] == '[' ? text + 1 : text;
    struct place place = {.host = {(const unsigned char *) begin, (size_t) (end - begin)}};
    end += text[0] == '[';
    if (*end == ':')
        place.port = view_text(end + 1);
    if ((*end == ':' && !is_port(place.port)) || (*end != ':' && *end != '\0') ||
        !is_host(place.host))
        return false;
    *ret_place = place;
    return true;
}

static const char *check_server(const char *value)
{
    struct place place;
    return read_place(value, &place) ? NULL : "HOST, HOST:PORT or [ADDRESS]:PORT";
}

static const char *check_key_id(const char *value)
{
    return *value != '\0' && strlen(value) <= KEY_ID_LEN_MAX
               ? NULL
               : "the key's Unique Identifier, of at most 255 bytes";
}

static const char *check_former(const char *value)
{
    return *value != '\0' ? NULL : "Unique Identifiers, with spaces between";
}

static const struct conf_key kmip_keys[] = {
    {.name = "kmip_server",
     .type = CONF_STRING,
     .required = true,
     .help = "where the server is: HOST[:" PORT_DEFAULT "]",
     .check = check_server},
    {.name = "key_id",
     .type = CONF_STRING,
     .required = true,
     .help = "the Unique Identifier of an active AES key",
     .check = check_key_id},
    {.name = "former_key_ids",
     .type = CONF_STRING,
     .help = "keys that wrapped before key_id did, with spaces between",
     .check = check_former},
    {.name = "wrapping_key_file",
     .type = CONF_PATH,
     .help = "the AES key key_id, in base64, for a server that cannot encrypt: the data key is an "
             "object of the server, and comes wrapped by that key"},
    {.name = "client_cert",
     .type = CONF_PATH,
     .required = true,
     .help = "PEM file of the client certificate, which is the identity"},
    {.name = "client_key", .type = CONF_PATH, .help = "PEM file of the client certificate's key"},
    {.name = "ca_file",
     .type = CONF_PATH,
     .help = "PEM file of the certificate authorities to trust, instead of the system's"},
    {.name = NULL},
};

static void kmip_close(struct source *source)
{
    struct kmip *kmip = (struct kmip *) source;
    mem_free(kmip->token);
    mem_free(kmip->key_id);
    mem_free(kmip->former_key_ids);
    mem_free(kmip->wrapping_key_file);
    mem_free(kmip->server.host);
    mem_free(kmip->server.port);
    mem_free(kmip->server.ca_file);
    mem_free(kmip->server.client_cert);
    mem_free(kmip->server.client_key);
    mem_free(kmip);
}

/* NULL stays NULL. False when memory is short. */
static bool copy_string(const struct conf_section *section, const char *name, char **ret_copy)
{
    const char *value = conf_string(section, name, NULL);
    *ret_copy = value == NULL ? NULL : mem_strdup(value);
    return value == NULL || *ret_copy != NULL;
}

static char *copy_view(struct view text)
{
    return mem_format("%.*s", (int) text.len, (const char *) text.bytes);
}

static CK_RV configure(struct kmip *kmip, const struct conf_section *section)
{
    struct place place;
    const char *server = conf_string(section, "kmip_server", NULL);
    if (server == NULL || !read_place(server, &place) ||
        conf_string(section, "key_id", NULL) == NULL ||
        conf_string(section, "client_cert", NULL) == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "[token %s] in line %zu: source = kmip needs kmip_server, key_id and "
                          "client_cert",
                          section->name, conf_section_line(section));
    kmip->token = mem_strdup(section->name);
    kmip->server.host = copy_view(place.host);
    kmip->server.port = place.port.len == 0 ? mem_strdup(PORT_DEFAULT) : copy_view(place.port);
    bool good = kmip->token != NULL && kmip->server.host != NULL && kmip->server.port != NULL &&
                copy_string(section, "key_id", &kmip->key_id) &&
                copy_string(section, "former_key_ids", &kmip->former_key_ids) &&
                copy_string(section, "wrapping_key_file", &kmip->wrapping_key_file) &&
                copy_string(section, "ca_file", &kmip->server.ca_file) &&
                copy_string(section, "client_cert", &kmip->server.client_cert) &&
                copy_string(section, "client_key", &kmip->server.client_key);
    return good ? CKR_OK
                : FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
}

static CK_RV kmip_open(const struct conf_section *section, struct source **ret_source)
{
    struct kmip *kmip = mem_calloc(1, sizeof(*kmip));
    if (kmip == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    kmip->base.ops = &source_kmip_ops;
    CK_RV rv = configure(kmip, section);
    if (rv != CKR_OK) {
        kmip_close(&kmip->base);
        return rv;
    }
    *ret_source = &kmip->base;
    return CKR_OK;
}

/* ---- wrapped keys ---- */

struct wrapped {
    bool is_bare; /* IV, ciphertext and tag alone: a direct key that something else wrapped */
    struct view key_id;
    struct kmip_object object; /* in place of the rest, unless its id is empty */
    struct view iv;
    struct view ciphertext;
    struct view tag;
};

static bool read_object(struct reader *reader, struct kmip_object *ret_object)
{
    ret_object->id = read_string(reader, KEY_ID_LEN_MAX);
    ret_object->mac = read_raw(reader, SHA256_LEN);
    return reader_done(reader) && ret_object->id.len > 0;
}

static bool read_wrapped(struct view bytes, struct wrapped *ret_wrapped)
{
    struct wrapped wrapped = {.is_bare = bytes.len < MAGIC_LEN ||
                                         memcmp(bytes.bytes, MAGIC, MAGIC_LEN) != 0};
    struct reader reader = reader_of(bytes);
    unsigned int format = FORMAT_ENCRYPTED;
    if (!wrapped.is_bare) {
        (void) read_raw(&reader, MAGIC_LEN);
        format = read_u8(&reader);
        wrapped.key_id = read_string(&reader, KEY_ID_LEN_MAX);
    }
    if (format == FORMAT_OBJECT && read_object(&reader, &wrapped.object)) {
        *ret_wrapped = wrapped;
        return true;
    }
    if (format != FORMAT_ENCRYPTED)
        return false;
    wrapped.iv = read_raw(&reader, IV_LEN);
    size_t left = (size_t) (reader.end - reader.at);
    if (reader.failed || left <= TAG_LEN || left > WRAPPED_LEN_MAX)
        return false;
    wrapped.ciphertext = read_raw(&reader, left - TAG_LEN);
    wrapped.tag = read_raw(&reader, TAG_LEN);
    *ret_wrapped = wrapped;
    return true;
}

static void write_head(struct writer *writer, unsigned char format, struct view key_id)
{
    write_raw(writer, view_text(MAGIC));
    write_u8(writer, format);
    write_string(writer, key_id);
}

/* What AES-GCM binds: key and context; of a bare one the context. */
static void write_aad(struct writer *aad, const struct wrapped *wrapped, struct view context)
{
    if (wrapped->is_bare) {
        write_raw(aad, context);
        return;
    }
    write_head(aad, FORMAT_ENCRYPTED, wrapped->key_id);
    write_string(aad, context);
}

/* ---- calls ---- */

static void write_parameters(struct ttlv_writer *writer)
{
    ttlv_begin(writer, KMIP_CRYPTOGRAPHIC_PARAMETERS);
    ttlv_number(writer, KMIP_BLOCK_CIPHER_MODE, TTLV_ENUMERATION, KMIP_MODE_GCM);
    ttlv_number(writer, KMIP_CRYPTOGRAPHIC_ALGORITHM, TTLV_ENUMERATION, KMIP_AES);
    ttlv_number(writer, KMIP_TAG_LENGTH, TTLV_INTEGER, TAG_LEN);
    ttlv_end(writer);
}

/* The ciphertext of the data key, in `reply`. */
static CK_RV encrypt(const struct kmip_call *call, const struct secret *data_key,
                     struct wrapped *wrapped, struct view context, struct secret *ret_reply)
{
    _cleanup_(ttlv_clear) struct ttlv_writer writer = {.len = 0};
    _cleanup_(writer_clear) struct writer aad = {0};
    struct view payload;
    write_aad(&aad, wrapped, context);
    if (aad.failed)
        return kmip_fail_memory(call);
    kmip_request_begin(call, KMIP_ENCRYPT, &writer);
    write_parameters(&writer);
    ttlv_string(&writer, KMIP_DATA, TTLV_BYTES, (struct view){data_key->bytes, data_key->len});
    ttlv_string(&writer, KMIP_IV, TTLV_BYTES, wrapped->iv);
    ttlv_string(&writer, KMIP_AAD, TTLV_BYTES, writer_view(&aad));
    TRY(kmip_request_send(call, &writer, ret_reply, &payload));
    if (!ttlv_find(payload, KMIP_DATA, TTLV_BYTES, &wrapped->ciphertext) ||
        wrapped->ciphertext.len != data_key->len ||
        !ttlv_find(payload, KMIP_AUTHENTICATION_TAG, TTLV_BYTES, &wrapped->tag) ||
        wrapped->tag.len != TAG_LEN)
        return kmip_fail_reply(call, "it has no ciphertext with a tag of 16 bytes");
    return CKR_OK;
}

static CK_RV wrap_encrypted(const struct kmip_call *call, const struct secret *data_key,
                            struct view context, struct blob *ret_wrapped)
{
    _cleanup_(secret_clear) struct secret reply = {0};
    unsigned char iv[IV_LEN];
    struct wrapped wrapped = {.key_id = call->key_id, .iv = {iv, IV_LEN}};
    TRY(crypto_random(iv, sizeof(iv)));
    TRY(encrypt(call, data_key, &wrapped, context, &reply));
    struct writer writer = {0};
    write_head(&writer, FORMAT_ENCRYPTED, wrapped.key_id);
    write_raw(&writer, wrapped.iv);
    write_raw(&writer, wrapped.ciphertext);
    write_raw(&writer, wrapped.tag);
    return writer_finish(&writer, ret_wrapped);
}

static CK_RV wrap_object(const struct kmip_call *call, const struct secret *data_key,
                         struct view context, struct blob *ret_wrapped)
{
    _cleanup_(blob_clear) struct blob id = {0};
    unsigned char mac[SHA256_LEN];
    TRY(kmip_object_register(call, data_key, context, &id, mac));
    struct writer writer = {0};
    write_head(&writer, FORMAT_OBJECT, call->key_id);
    write_string(&writer, blob_view(&id));
    write_raw(&writer, (struct view){mac, sizeof(mac)});
    return writer_finish(&writer, ret_wrapped);
}

static CK_RV kmip_wrap(struct source *source, const struct source_call *source_call,
                       const struct secret *data_key, struct blob *ret_wrapped)
{
    const struct kmip *kmip = (const struct kmip *) source;
    _cleanup_(kmip_call_end) struct kmip_call call = {kmip, "wrap the data key",
                                                      view_text(kmip->key_id), NULL};
    TRY(kmip_call_begin(&call, source_call));
    return kmip->wrapping_key_file == NULL
               ? wrap_encrypted(&call, data_key, source_call->context, ret_wrapped)
               : wrap_object(&call, data_key, source_call->context, ret_wrapped);
}

static CK_RV decrypt(const struct kmip_call *call, const struct wrapped *wrapped,
                     struct view context, struct secret *ret_value)
{
    _cleanup_(ttlv_clear) struct ttlv_writer writer = {.len = 0};
    _cleanup_(writer_clear) struct writer aad = {0};
    _cleanup_(secret_clear) struct secret reply = {0};
    struct view payload;
    struct view value;
    write_aad(&aad, wrapped, context);
    if (aad.failed)
        return kmip_fail_memory(call);
    kmip_request_begin(call, KMIP_DECRYPT, &writer);
    write_parameters(&writer);
    ttlv_string(&writer, KMIP_DATA, TTLV_BYTES, wrapped->ciphertext);
    ttlv_string(&writer, KMIP_IV, TTLV_BYTES, wrapped->iv);
    if (aad.len > 0)
        ttlv_string(&writer, KMIP_AAD, TTLV_BYTES, writer_view(&aad));
    ttlv_string(&writer, KMIP_AUTHENTICATION_TAG, TTLV_BYTES, wrapped->tag);
    TRY(kmip_request_send(call, &writer, &reply, &payload));
    if (!ttlv_find(payload, KMIP_DATA, TTLV_BYTES, &value) || value.len == 0 ||
        value.len > VALUE_LEN_MAX)
        return kmip_fail_reply(call, "it has no key");
    return secret_from(value.bytes, value.len, ret_value);
}

/* The key of now, or one that the configuration names as a former one. */
static bool is_ours(const struct kmip *kmip, struct view key_id)
{
    if (view_equal(key_id, view_text(kmip->key_id)))
        return true;
    const char *at = kmip->former_key_ids;
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, " ");
        if (len > 0 && view_equal(key_id, (struct view){(const unsigned char *) at, len}))
            return true;
        at += len + strspn(at + len, " ");
    }
    return false;
}

static CK_RV kmip_unwrap(struct source *source, const struct source_call *source_call,
                         struct view bytes, struct secret *ret_data_key)
{
    const struct kmip *kmip = (const struct kmip *) source;
    _cleanup_(kmip_call_end) struct kmip_call call = {kmip, "unwrap the data key",
                                                      view_text(kmip->key_id), NULL};
    struct wrapped wrapped;
    if (!read_wrapped(bytes, &wrapped))
        return FAIL_CAUSE(
            INDEXKEY_CAUSE_TAMPERED,
            "token '%s': what should be a wrapped key is none; restore the store from "
            "a backup",
            kmip->token);
    if (!wrapped.is_bare && !is_ours(kmip, wrapped.key_id))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': its data key was wrapped by another key than %s; name that "
                          "one in former_key_ids",
                          kmip->token, kmip->key_id);
    if (!wrapped.is_bare)
        call.key_id = wrapped.key_id;
    TRY(kmip_call_begin(&call, source_call));
    return wrapped.object.id.len == 0
               ? decrypt(&call, &wrapped, source_call->context, ret_data_key)
               : kmip_object_get(&call, &wrapped.object, source_call->context, ret_data_key);
}

static void kmip_describe(struct source *source, struct view bytes,
                          char ret_text[SOURCE_KEY_TEXT_MAX])
{
    struct wrapped wrapped;
    (void) source;
    if (read_wrapped(bytes, &wrapped) && !wrapped.is_bare)
        (void) snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "key %.*s", (int) wrapped.key_id.len,
                        (const char *) wrapped.key_id.bytes);
}

const struct source_ops source_kmip_ops = {
    .name = "kmip",
    .keys = kmip_keys,
    .open = kmip_open,
    .close = kmip_close,
    .wrap = kmip_wrap,
    .unwrap = kmip_unwrap,
    .describe = kmip_describe,
};
