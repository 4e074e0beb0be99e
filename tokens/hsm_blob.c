#include "tokens/hsm_blob.h"

#include <string.h>

#define MAGIC "IKHS"
#define MAGIC_LEN 4
#define FORMAT 1

static bool is_ours(struct view bytes)
{
    return bytes.len >= MAGIC_LEN && memcmp(bytes.bytes, MAGIC, MAGIC_LEN) == 0;
}

/* The rest, from the IV on. */
static bool read_output(struct reader *reader, struct hsm_blob *blob)
{
    if (blob->mechanism == HSM_AES_GCM)
        blob->iv = read_raw(reader, HSM_IV_LEN);
    if (reader->failed)
        return false;
    blob->ciphertext = (struct view){reader->at, (size_t) (reader->end - reader->at)};
    return blob->ciphertext.len > 0;
}

bool hsm_blob_read(struct view bytes, enum hsm_mechanism bare, struct hsm_blob *ret_blob)
{
    struct hsm_blob blob = {.mechanism = bare, .is_bare = !is_ours(bytes)};
    struct reader reader = reader_of(bytes);
    if (!blob.is_bare) {
        (void) read_raw(&reader, MAGIC_LEN);
        uint8_t format = read_u8(&reader);
        blob.mechanism = (enum hsm_mechanism) read_u8(&reader);
        blob.key_id = read_string(&reader, HSM_ID_LEN_MAX);
        if (reader.failed || format != FORMAT)
            return false;
    }
    if (blob.mechanism == HSM_AUTO || blob.mechanism > HSM_MECHANISM_LAST ||
        !read_output(&reader, &blob))
        return false;
    *ret_blob = blob;
    return true;
}

static void write_head(struct writer *writer, const struct hsm_blob *blob)
{
    write_raw(writer, view_text(MAGIC));
    write_u8(writer, FORMAT);
    write_u8(writer, (uint8_t) blob->mechanism);
    write_string(writer, blob->key_id);
}

void hsm_blob_write(struct writer *writer, const struct hsm_blob *blob)
{
    write_head(writer, blob);
    write_raw(writer, blob->iv);
    write_raw(writer, blob->ciphertext);
}

void hsm_blob_aad(struct writer *aad, const struct hsm_blob *blob, struct view context)
{
    if (blob->is_bare) {
        write_raw(aad, context);
        return;
    }
    write_head(aad, blob);
    write_string(aad, context);
}
