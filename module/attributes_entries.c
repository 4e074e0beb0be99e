#include "module/attributes_entries.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rv.h"

bool attributes_entries_next(struct reader *reader, struct entry *ret_entry)
{
    if (reader->failed || reader->at == reader->end)
        return false;
    uint8_t tag = read_u8(reader);
    size_t len = (size_t) read_u8(reader) << 8;
    len |= read_u8(reader);
    struct view value = read_raw(reader, len);
    if (reader->failed)
        return false;
    *ret_entry = (struct entry){tag, value};
    return true;
}

bool attributes_entries_find(struct view entries, uint8_t tag, struct view *ret_value)
{
    struct reader reader = reader_of(entries);
    struct entry entry;
    while (attributes_entries_next(&reader, &entry) && entry.tag <= tag) {
        if (entry.tag == tag) {
            *ret_value = entry.value;
            return true;
        }
    }
    return false;
}

/* Where the entry stands or would stand: the bytes before it and those up to its end. */
static void locate(struct view entries, uint8_t tag, size_t *ret_before, size_t *ret_through)
{
    struct reader reader = reader_of(entries);
    struct entry entry;
    size_t before = 0;
    size_t through = 0;
    while (attributes_entries_next(&reader, &entry) && entry.tag <= tag) {
        through += ENTRY_OVERHEAD + entry.value.len;
        if (entry.tag < tag)
            before = through;
    }
    *ret_before = before;
    *ret_through = through;
}

unsigned char *attributes_entries_write(unsigned char *at, uint8_t tag, struct view value)
{
    *at++ = tag;
    *at++ = (unsigned char) (value.len >> 8);
    *at++ = (unsigned char) value.len;
    if (value.len > 0)
        memcpy(at, value.bytes, value.len);
    return at + value.len;
}

CK_RV attributes_entries_put(struct blob *entries, uint8_t tag, struct view value)
{
    if (value.len > UINT16_MAX)
        return FAIL(CKR_ATTRIBUTE_VALUE_INVALID, "an attribute of %zu bytes is too long",
                    value.len);
    size_t before;
    size_t through;
    locate(blob_view(entries), tag, &before, &through);
    size_t rest = entries->len - through;
    struct blob changed = {NULL, before + ENTRY_OVERHEAD + value.len + rest};
    changed.bytes = mem_alloc(changed.len);
    if (changed.bytes == NULL)
        return FAIL(CKR_HOST_MEMORY, "no memory for an attribute of %zu bytes", value.len);
    if (before > 0)
        memcpy(changed.bytes, entries->bytes, before);
    unsigned char *at = attributes_entries_write(changed.bytes + before, tag, value);
    if (rest > 0)
        memcpy(at, entries->bytes + through, rest);
    blob_clear(entries);
    *entries = changed;
    return CKR_OK;
}

void attributes_entries_remove(struct blob *entries, uint8_t tag)
{
    size_t before;
    size_t through;
    locate(blob_view(entries), tag, &before, &through);
    if (through == before)
        return;
    memmove(entries->bytes + before, entries->bytes + through, entries->len - through);
    entries->len -= through - before;
}
