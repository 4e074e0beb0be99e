#include "tokens/source_local.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "tokens/derive.h"

#define ROOT_ID_LEN 8

struct source_local {
    struct source base;
    char *token;
    char *place;
    source_local_reader *reader;
};

CK_RV source_local_open(const struct source_ops *ops, const struct conf_section *section,
                        const char *key, source_local_reader *reader, struct source **ret_source)
{
    const char *place = conf_string(section, key, NULL);
    if (place == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG, "[token %s] in line %zu: source = %s needs %s",
                          section->name, conf_section_line(section), ops->name, key);
    struct source_local *local = mem_calloc(1, sizeof(*local));
    if (local == NULL)
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    local->base.ops = ops;
    local->reader = reader;
    local->token = mem_strdup(section->name);
    local->place = mem_strdup(place);
    if (local->token == NULL || local->place == NULL) {
        source_local_close(&local->base);
        return FAIL(CKR_HOST_MEMORY, "token '%s': no memory for its source", section->name);
    }
    *ret_source = &local->base;
    return CKR_OK;
}

void source_local_close(struct source *source)
{
    struct source_local *local = (struct source_local *) source;
    mem_free(local->token);
    mem_free(local->place);
    mem_free(local);
}

/* Names a root key without telling anything about it, so that another root key and a changed blob
 * can be told apart. */
static CK_RV root_id(const struct secret *root, unsigned char ret_id[ROOT_ID_LEN])
{
    _cleanup_(secret_clear) struct secret id = {0};
    TRY(crypto_hkdf(root, (struct view){0}, view_text(LABEL_ROOT_ID), ROOT_ID_LEN, &id));
    memcpy(ret_id, id.bytes, ROOT_ID_LEN);
    return CKR_OK;
}

static CK_RV wrapping_key(const struct secret *root, struct secret *ret_key)
{
    return crypto_hkdf(root, (struct view){0}, view_text(LABEL_ROOT_WRAP), SEAL_KEY_LEN, ret_key);
}

static void wrap_aad(struct writer *aad, const struct source_call *call)
{
    write_string(aad, view_text(LABEL_ROOT_WRAP));
    write_u8(aad, SEAL_FORMAT);
    write_string(aad, call->context);
}

/* C_Finalize may have come while the caller waited for its turn. */
static CK_RV read_root(const struct source_local *local, const struct source_call *call,
                       struct secret *ret_root)
{
    if (atomic_load(call->cancelled))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CANCELLED,
                          "token '%s': the call to its source was ended by C_Finalize",
                          local->token);
    return local->reader(local->token, local->place, ret_root);
}

CK_RV source_local_wrap(struct source *source, const struct source_call *call,
                        const struct secret *data_key, struct blob *ret_wrapped)
{
    const struct source_local *local = (const struct source_local *) source;
    _cleanup_(secret_clear) struct secret root = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    _cleanup_(writer_clear) struct writer aad = {0};
    _cleanup_(blob_clear) struct blob sealed = {0};
    unsigned char id[ROOT_ID_LEN];
    TRY(read_root(local, call, &root));
    TRY(root_id(&root, id));
    TRY(wrapping_key(&root, &key));
    struct view aad_bytes;
    wrap_aad(&aad, call);
    TRY(derive_end_aad(&aad, &aad_bytes));
    TRY(crypto_seal(&key, aad_bytes, (struct view){data_key->bytes, data_key->len}, &sealed));
    struct writer writer = {0};
    write_u8(&writer, SEAL_FORMAT);
    write_raw(&writer, (struct view){id, ROOT_ID_LEN});
    write_raw(&writer, blob_view(&sealed));
    return writer_finish(&writer, ret_wrapped);
}

void source_local_describe(struct source *source, struct view wrapped,
                           char ret_text[SOURCE_KEY_TEXT_MAX])
{
    (void) source;
    struct reader reader = reader_of(wrapped);
    uint8_t format = read_u8(&reader);
    struct view id = read_raw(&reader, ROOT_ID_LEN);
    if (reader.failed || format != SEAL_FORMAT)
        return;
    int used = snprintf(ret_text, SOURCE_KEY_TEXT_MAX, "root key ");
    for (size_t i = 0; i < id.len; i++)
        (void) snprintf(ret_text + used + 2 * i, 3, "%02x", id.bytes[i]);
}

static CK_RV fail_tampered(const struct source_local *local)
{
    return FAIL_CAUSE(
        INDEXKEY_CAUSE_TAMPERED,
        "token '%s': its wrapped key does not open under the root key %s, which is the "
        "right one: it was changed, or wrapped with another context; restore it from "
        "a backup",
        local->token, local->place);
}

CK_RV source_local_unwrap(struct source *source, const struct source_call *call,
                          struct view wrapped, struct secret *ret_data_key)
{
    const struct source_local *local = (const struct source_local *) source;
    _cleanup_(secret_clear) struct secret root = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    _cleanup_(writer_clear) struct writer aad = {0};
    unsigned char id[ROOT_ID_LEN];
    TRY(read_root(local, call, &root));
    TRY(root_id(&root, id));
    struct reader reader = reader_of(wrapped);
    uint8_t format = read_u8(&reader);
    struct view wrapped_id = read_raw(&reader, ROOT_ID_LEN);
    if (reader.failed || format != SEAL_FORMAT)
        return fail_tampered(local);
    if (!view_equal(wrapped_id, (struct view){id, ROOT_ID_LEN}))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONTEXT,
                          "token '%s': its wrapped key is of another root key than the one in %s; "
                          "put the former root key back",
                          local->token, local->place);
    struct view sealed = read_raw(&reader, wrapped.len - 1 - ROOT_ID_LEN);
    TRY(wrapping_key(&root, &key));
    struct view aad_bytes;
    wrap_aad(&aad, call);
    TRY(derive_end_aad(&aad, &aad_bytes));
    CK_RV rv = crypto_open(&key, aad_bytes, sealed, ret_data_key);
    return rv == CKR_ENCRYPTED_DATA_INVALID ? fail_tampered(local) : rv;
}
