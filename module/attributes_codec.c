#include "module/attributes.h"

#include "base/alloc.h"
#include "base/rv.h"
#include "module/attributes_entries.h"
#include "module/attributes_values.h"

#define FORMAT_VERSION 1

/* The entries are kept as they are shown, and only lists of mechanisms and wide numbers differ when encoded. */
static CK_RV write_entry(struct writer *writer, const struct entry *entry)
{
    const struct attribute_row *row = attributes_table_by_tag(entry->tag);
    struct attribute_room room;
    struct view encoded = entry->value;
    if (row != NULL && (row->kind == KIND_MECHANISMS || row->kind == KIND_WIDE))
        TRY(attributes_values_encode(row, entry->value, &room, &encoded));
    write_u8(writer, entry->tag);
    write_u8(writer, (uint8_t) (encoded.len >> 8));
    write_u8(writer, (uint8_t) encoded.len);
    write_raw(writer, encoded);
    return CKR_OK;
}

CK_RV attributes_encode(const struct attributes *attributes, struct blob *ret_bytes)
{
    _cleanup_(writer_clear) struct writer writer = {0};
    write_u8(&writer, FORMAT_VERSION);
    write_u64(&writer, attributes->flags & ~OF_TOKEN_KEY);
    write_u32(&writer, attributes->object_class);
    write_u32(&writer, attributes->key_type);
    write_u32(&writer, attributes->value_len);
    write_u32(&writer, attributes->key_gen_mechanism);
    struct reader reader = reader_of(blob_view(&attributes->others));
    struct entry entry;
    while (attributes_entries_next(&reader, &entry))
        TRY(write_entry(&writer, &entry));
    return writer_finish(&writer, ret_bytes);
}

/* Profile objects are built in: no sealed row describes one. */
static bool is_header_valid(const struct attributes *header, enum attribute_class class)
{
    if ((header->flags & ~attributes_table_flags(class)) != 0)
        return false;
    if (class == CLASS_KEY)
        return attributes_table_has_key_type(header->key_type) &&
               attributes_table_key_len(header->key_type, header->value_len);
    return class == CLASS_DATA && header->key_type == 0 && header->value_len <= DATA_VALUE_MAX &&
           header->key_gen_mechanism == UINT32_MAX;
}

static bool is_entry_valid(const struct entry *entry, enum attribute_class class)
{
    const struct attribute_row *row = attributes_table_by_tag(entry->tag);
    if (row == NULL || (row->classes & class) == 0)
        return false;
    if (row->kind < KIND_TEXT || row->kind > KIND_CHECK_VALUE)
        return false;
    return !attributes_values_is_unset(row, entry->value) &&
           attributes_values_is_valid(row, entry->value);
}

/* Checks every entry and says how many bytes they take as they are shown. */
static bool measure(struct view entries, enum attribute_class class, size_t *ret_len)
{
    struct reader reader = reader_of(entries);
    struct entry entry;
    unsigned int last = 0;
    size_t len = 0;
    while (attributes_entries_next(&reader, &entry)) {
        if (entry.tag <= last || !is_entry_valid(&entry, class))
            return false;
        struct attribute_room room;
        const struct attribute_row *row = attributes_table_by_tag(entry.tag);
        len += ENTRY_OVERHEAD + attributes_values_show(row, entry.value, &room).len;
        last = entry.tag;
    }
    *ret_len = len;
    return reader_done(&reader);
}

static void fill(struct view entries, unsigned char *at)
{
    struct reader reader = reader_of(entries);
    struct entry entry;
    while (attributes_entries_next(&reader, &entry)) {
        struct attribute_room room;
        const struct attribute_row *row = attributes_table_by_tag(entry.tag);
        struct view shown = attributes_values_show(row, entry.value, &room);
        at = attributes_entries_write(at, entry.tag, shown);
    }
}

/* Not logged: the caller knows which row it was. */
CK_RV attributes_decode(struct view bytes, struct attributes *ret_attributes)
{
    struct reader reader = reader_of(bytes);
    uint8_t version = read_u8(&reader);
    struct attributes attributes = {.flags = read_u64(&reader)};
    attributes.object_class = read_u32(&reader);
    attributes.key_type = read_u32(&reader);
    attributes.value_len = read_u32(&reader);
    attributes.key_gen_mechanism = read_u32(&reader);
    if (reader.failed || version != FORMAT_VERSION)
        return CKR_DATA_INVALID;
    struct view entries = {reader.at, (size_t) (reader.end - reader.at)};
    enum attribute_class class = attributes_table_class(attributes.object_class);
    if (!is_header_valid(&attributes, class) || !measure(entries, class, &attributes.others.len))
        return CKR_DATA_INVALID;
    if (attributes.others.len > 0) {
        attributes.others.bytes = mem_alloc(attributes.others.len);
        if (attributes.others.bytes == NULL)
            return FAIL(CKR_HOST_MEMORY, "no memory for an object's attributes");
        fill(entries, attributes.others.bytes);
    }
    *ret_attributes = attributes;
    return CKR_OK;
}
