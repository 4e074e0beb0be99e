#include "tokens/backup.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

#define MAGIC "IKBK"
#define MAGIC_LEN 4
#define FORMAT 1

/* A chunk ends with the entry that fills it; an entry is at most a row with both its strings. */
#define CHUNK_LEN ((size_t) 64 << 10)
#define CHUNK_LEN_MAX (CHUNK_LEN + 3 * STORE_BLOB_MAX)

enum entry { ENTRY_RECORD = 1, ENTRY_OBJECT = 2, ENTRY_END = 3 };

/* ---- what both ends share ---- */

void backup_key_clear(struct backup_key *key)
{
    aead_free(&key->aead);
}

/* `head` is the file up to the first chunk. */
static CK_RV make_key(const struct secret *token_key, const unsigned char serial[SERIAL_LEN],
                      struct view id, struct view head, struct backup_key *ret_key)
{
    _cleanup_(writer_clear) struct writer info = {0};
    _cleanup_(secret_clear) struct secret key = {0};
    struct view info_bytes;
    write_raw(&info, view_text(LABEL_BACKUP));
    write_raw(&info, id);
    TRY(derive_end_aad(&info, &info_bytes));
    TRY(crypto_hkdf(token_key, (struct view){serial, SERIAL_LEN}, info_bytes, SEAL_KEY_LEN, &key));
    TRY(crypto_sha256(head, ret_key->head));
    memcpy(ret_key->serial, serial, SERIAL_LEN);
    return aead_new(&key, &ret_key->aead);
}

/* Which backup, which chunk of it, and whether it is the last. */
static void chunk_aad(struct writer *aad, const struct backup_key *key, uint64_t number,
                      bool is_last)
{
    derive_begin_aad(aad, LABEL_BACKUP, key->serial);
    write_raw(aad, (struct view){key->head, SHA256_LEN});
    write_u64(aad, number);
    write_u8(aad, is_last ? 1 : 0);
}

/* ---- writing ---- */

void backup_writer_clear(struct backup_writer *writer)
{
    backup_key_clear(&writer->key);
    writer_clear(&writer->out);
    writer_clear(&writer->pending);
}

CK_RV backup_begin(struct backup_writer *writer, const struct secret *token_key,
                   const unsigned char serial[SERIAL_LEN], struct view token_record)
{
    unsigned char id[BACKUP_ID_LEN];
    struct view head;
    TRY(crypto_random(id, sizeof(id)));
    write_raw(&writer->out, view_text(MAGIC));
    write_u8(&writer->out, FORMAT);
    write_raw(&writer->out, (struct view){id, sizeof(id)});
    write_string(&writer->out, token_record);
    TRY(derive_end_aad(&writer->out, &head));
    return make_key(token_key, serial, (struct view){id, sizeof(id)}, head, &writer->key);
}

static CK_RV seal_chunk(struct backup_writer *writer, bool is_last)
{
    _cleanup_(writer_clear) struct writer aad = {0};
    _cleanup_(blob_clear) struct blob sealed = {0};
    struct view aad_bytes;
    struct view plaintext;
    chunk_aad(&aad, &writer->key, writer->chunk_count++, is_last);
    TRY(derive_end_aad(&aad, &aad_bytes));
    TRY(derive_end_aad(&writer->pending, &plaintext));
    sealed.len = plaintext.len + AEAD_OVERHEAD;
    sealed.bytes = mem_alloc(sealed.len);
    if (sealed.bytes == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for a backup of more than %zu bytes",
                    writer->out.len);
    TRY(aead_seal(writer->key.aead, aad_bytes, plaintext, sealed.bytes));
    write_u8(&writer->out, is_last ? 1 : 0);
    write_string(&writer->out, blob_view(&sealed));
    writer_clear(&writer->pending);
    writer->pending = (struct writer){0};
    struct view unused;
    return derive_end_aad(&writer->out, &unused);
}

static CK_RV end_entry(struct backup_writer *writer)
{
    return writer->pending.len < CHUNK_LEN ? CKR_OK : seal_chunk(writer, false);
}

CK_RV backup_add_record(struct backup_writer *writer, const char *name, struct view bytes)
{
    write_u8(&writer->pending, ENTRY_RECORD);
    write_string(&writer->pending, view_text(name));
    write_string(&writer->pending, bytes);
    writer->record_count++;
    return end_entry(writer);
}

CK_RV backup_add_object(struct backup_writer *writer, const struct store_row *row)
{
    write_u8(&writer->pending, ENTRY_OBJECT);
    write_raw(&writer->pending, (struct view){row->id.bytes, OBJECT_ID_LEN});
    write_u64(&writer->pending, row->version);
    write_string(&writer->pending, row->attributes);
    write_string(&writer->pending, row->value);
    writer->object_count++;
    return end_entry(writer);
}

CK_RV backup_end(struct backup_writer *writer, struct view *ret_file)
{
    write_u8(&writer->pending, ENTRY_END);
    write_u64(&writer->pending, writer->record_count);
    write_u64(&writer->pending, writer->object_count);
    TRY(seal_chunk(writer, true));
    return derive_end_aad(&writer->out, ret_file);
}

/* ---- reading ---- */

void backup_reader_clear(struct backup_reader *reader)
{
    backup_key_clear(&reader->key);
    blob_clear(&reader->head);
}

/* Fewer than `len` only at the end of the file. */
static CK_RV read_up_to(struct backup_reader *reader, unsigned char *bytes, size_t len,
                        size_t *ret_len)
{
    size_t have = 0;
    while (have < len) {
        size_t got = 0;
        TRY(reader->read(reader->context, bytes + have, len - have, &got));
        if (got > len - have)
            return FAIL(CKR_GENERAL_ERROR, "a backup was read beyond its buffer");
        if (got == 0)
            break;
        have += got;
    }
    *ret_len = have;
    return CKR_OK;
}

static CK_RV read_exactly(struct backup_reader *reader, unsigned char *bytes, size_t len)
{
    size_t have = 0;
    TRY(read_up_to(reader, bytes, len, &have));
    return have == len ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

/* Of a string that is at most so long; the buffer has `head_len` bytes before it. */
static CK_RV read_length(struct backup_reader *reader, size_t len_max, size_t *ret_len)
{
    unsigned char bytes[4];
    TRY(read_exactly(reader, bytes, sizeof(bytes)));
    struct reader number = reader_of((struct view){bytes, sizeof(bytes)});
    size_t len = read_u32(&number);
    if (len > len_max)
        return CKR_ENCRYPTED_DATA_INVALID;
    *ret_len = len;
    return CKR_OK;
}

static CK_RV new_buffer(size_t len, struct blob *ret_blob)
{
    ret_blob->bytes = mem_alloc(len > 0 ? len : 1);
    if (ret_blob->bytes == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for %zu bytes of a backup", len);
    ret_blob->len = len;
    return CKR_OK;
}

CK_RV backup_read_head(struct backup_reader *reader)
{
    enum { FIXED_LEN = MAGIC_LEN + 1 + BACKUP_ID_LEN };
    unsigned char fixed[FIXED_LEN];
    size_t len = 0;
    TRY(read_exactly(reader, fixed, FIXED_LEN));
    if (memcmp(fixed, MAGIC, MAGIC_LEN) != 0 || fixed[MAGIC_LEN] != FORMAT)
        return CKR_ENCRYPTED_DATA_INVALID;
    TRY(read_length(reader, STORE_BLOB_MAX, &len));
    TRY(new_buffer(FIXED_LEN + 4 + len, &reader->head));
    unsigned char *at = reader->head.bytes;
    memcpy(at, fixed, FIXED_LEN);
    for (size_t i = 0; i < 4; i++)
        at[FIXED_LEN + i] = (unsigned char) (len >> 8 * (3 - i));
    TRY(read_exactly(reader, at + FIXED_LEN + 4, len));
    reader->id = (struct view){at + MAGIC_LEN + 1, BACKUP_ID_LEN};
    reader->token_record = (struct view){at + FIXED_LEN + 4, len};
    return CKR_OK;
}

static CK_RV read_record_entry(struct reader *entries, const struct backup_each *each)
{
    char name[STORE_NAME_MAX + 1] = "";
    struct view text = read_string(entries, STORE_NAME_MAX);
    struct view bytes = read_string(entries, STORE_BLOB_MAX);
    if (entries->failed || text.len == 0 || memchr(text.bytes, '\0', text.len) != NULL)
        return CKR_ENCRYPTED_DATA_INVALID;
    memcpy(name, text.bytes, text.len);
    return each->record(each->context, name, bytes);
}

static CK_RV read_object_entry(struct reader *entries, const struct backup_each *each)
{
    struct view id = read_raw(entries, OBJECT_ID_LEN);
    struct store_row row = {.version = read_u64(entries)};
    row.attributes = read_string(entries, STORE_BLOB_MAX);
    row.value = read_string(entries, STORE_BLOB_MAX);
    if (entries->failed || row.version == 0 || row.version >= INT64_MAX)
        return CKR_ENCRYPTED_DATA_INVALID;
    memcpy(row.id.bytes, id.bytes, OBJECT_ID_LEN);
    return each->object(each->context, &row);
}

struct counts {
    uint64_t records;
    uint64_t objects;
};

static CK_RV read_end_entry(struct reader *entries, const struct counts *counts)
{
    uint64_t records = read_u64(entries);
    uint64_t objects = read_u64(entries);
    bool is_right =
        reader_done(entries) && records == counts->records && objects == counts->objects;
    return is_right ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

static CK_RV read_entries(struct view plaintext, bool is_last, const struct backup_each *each,
                          struct counts *counts)
{
    struct reader entries = reader_of(plaintext);
    while (!reader_done(&entries)) {
        uint8_t kind = read_u8(&entries);
        if (kind == ENTRY_END && is_last)
            return read_end_entry(&entries, counts);
        if (kind != ENTRY_RECORD && kind != ENTRY_OBJECT)
            return CKR_ENCRYPTED_DATA_INVALID;
        TRY(kind == ENTRY_RECORD ? read_record_entry(&entries, each)
                                 : read_object_entry(&entries, each));
        ++*(kind == ENTRY_RECORD ? &counts->records : &counts->objects);
    }
    return is_last ? CKR_ENCRYPTED_DATA_INVALID : CKR_OK;
}

static CK_RV read_chunk(struct backup_reader *reader, struct blob *ret_plaintext, bool *ret_is_last)
{
    _cleanup_(blob_clear) struct blob sealed = {0};
    _cleanup_(blob_clear) struct blob plaintext = {0};
    _cleanup_(writer_clear) struct writer aad = {0};
    struct view aad_bytes;
    unsigned char last = 0;
    size_t len = 0;
    TRY(read_exactly(reader, &last, 1));
    TRY(read_length(reader, CHUNK_LEN_MAX, &len));
    if (last > 1 || len < AEAD_OVERHEAD)
        return CKR_ENCRYPTED_DATA_INVALID;
    TRY(new_buffer(len, &sealed));
    TRY(read_exactly(reader, sealed.bytes, len));
    chunk_aad(&aad, &reader->key, reader->chunk_count++, last == 1);
    TRY(derive_end_aad(&aad, &aad_bytes));
    TRY(new_buffer(len - AEAD_OVERHEAD, &plaintext));
    TRY(aead_open(reader->key.aead, aad_bytes, blob_view(&sealed), plaintext.bytes));
    *ret_plaintext = blob_move(&plaintext);
    *ret_is_last = last == 1;
    return CKR_OK;
}

CK_RV backup_read_rest(struct backup_reader *reader, const struct secret *token_key,
                       const unsigned char serial[SERIAL_LEN], const struct backup_each *each)
{
    struct counts counts = {0};
    bool is_last = false;
    TRY(make_key(token_key, serial, reader->id, blob_view(&reader->head), &reader->key));
    while (!is_last) {
        _cleanup_(blob_clear) struct blob plaintext = {0};
        TRY(read_chunk(reader, &plaintext, &is_last));
        TRY(read_entries(blob_view(&plaintext), is_last, each, &counts));
    }
    unsigned char more;
    size_t more_len = 0;
    TRY(read_up_to(reader, &more, 1, &more_len));
    return more_len == 0 ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}
