#include "module/attributes_values.h"

#include <string.h>

#include "base/rv.h"
#include "include/indexkey.h"
#include "module/attributes_entries.h"

#define NUMBER_LEN sizeof(uint32_t)
#define WIDE_LEN sizeof(uint64_t)
#define DATE_LEN sizeof(CK_DATE)

bool attributes_values_empty_is_unset(enum attribute_kind kind)
{
    return kind == KIND_TEXT || kind == KIND_BYTES || kind == KIND_DATE;
}

/* The bytes of a UTF-8 character that follow its first; -1 for none that may come first. */
static int utf8_tail_len(unsigned char first)
{
    if (first < 0x80)
        return 0;
    if (first >= 0xC2 && first <= 0xDF)
        return 1;
    if (first >= 0xE0 && first <= 0xEF)
        return 2;
    return first >= 0xF0 && first <= 0xF4 ? 3 : -1;
}

/* RFC 3629, section 4: no overlong forms, surrogates or numbers over 10FFFF, all of which show at
 * the second byte. */
static bool utf8_second_fits(unsigned char first, unsigned char second)
{
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

static bool is_utf8(struct view text)
{
    size_t at = 0;
    while (at < text.len) {
        unsigned char first = text.bytes[at++];
        int tail = utf8_tail_len(first);
        if (tail < 0 || (size_t) tail > text.len - at)
            return false;
        if (tail > 0 && !utf8_second_fits(first, text.bytes[at]))
            return false;
        for (int i = 1; i < tail; i++)
            if ((text.bytes[at + (size_t) i] & 0xC0) != 0x80)
                return false;
        at += (size_t) tail;
    }
    return true;
}

static unsigned int decimal(const unsigned char *digits, size_t len)
{
    unsigned int number = 0;
    for (size_t i = 0; i < len; i++)
        number = number * 10 + digits[i] - '0';
    return number;
}

static bool is_calendar_day(unsigned int year, unsigned int month, unsigned int day)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1])
        return false;
    return month != 2 || day < 29 || leap;
}

static bool is_date(struct view date)
{
    if (date.len == 0)
        return true;
    if (date.len != DATE_LEN)
        return false;
    for (size_t i = 0; i < DATE_LEN; i++)
        if (date.bytes[i] < '0' || date.bytes[i] > '9')
            return false;
    return is_calendar_day(decimal(date.bytes, 4), decimal(date.bytes + 4, 2),
                           decimal(date.bytes + 6, 2));
}

/* CK_ULONGs to four bytes each. CK_UNAVAILABLE_INFORMATION becomes all ones; a number that four
 * bytes do not hold is none that the standard defines. */
static CK_RV encode_numbers(struct view shown, struct attribute_room *room,
                            struct view *ret_encoded)
{
    size_t count = shown.len / sizeof(CK_ULONG);
    if (shown.len % sizeof(CK_ULONG) != 0 || count > ALLOWED_MECHANISMS_MAX)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    unsigned char *at = room->bytes;
    for (size_t i = 0; i < count; i++) {
        CK_ULONG number;
        memcpy(&number, shown.bytes + i * sizeof(number), sizeof(number));
        if (number >= UINT32_MAX && number != CK_UNAVAILABLE_INFORMATION)
            return CKR_ATTRIBUTE_VALUE_INVALID;
        for (int shift = 24; shift >= 0; shift -= 8)
            *at++ = (unsigned char) (number >> shift);
    }
    *ret_encoded = (struct view){room->bytes, count * NUMBER_LEN};
    return CKR_OK;
}

static struct view show_numbers(struct view encoded, struct attribute_room *room)
{
    struct reader reader = reader_of(encoded);
    size_t count = encoded.len / NUMBER_LEN;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = read_u32(&reader);
        CK_ULONG shown = number == UINT32_MAX ? CK_UNAVAILABLE_INFORMATION : number;
        memcpy(room->bytes + i * sizeof(shown), &shown, sizeof(shown));
    }
    return (struct view){room->bytes, count * sizeof(CK_ULONG)};
}

static CK_RV encode_wide(struct view shown, struct attribute_room *room, struct view *ret_encoded)
{
    CK_ULONG number;
    if (shown.len != sizeof(number))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    memcpy(&number, shown.bytes, sizeof(number));
    uint64_t wide = number;
    for (size_t i = 0; i < WIDE_LEN; i++)
        room->bytes[i] = (unsigned char) (wide >> (8 * (WIDE_LEN - 1 - i)));
    *ret_encoded = (struct view){room->bytes, WIDE_LEN};
    return CKR_OK;
}

static struct view show_wide(uint64_t wide, struct attribute_room *room)
{
    CK_ULONG shown = (CK_ULONG) wide;
    memcpy(room->bytes, &shown, sizeof(shown));
    return (struct view){room->bytes, sizeof(shown)};
}

static uint64_t wide_of(struct view encoded)
{
    struct reader reader = reader_of(encoded);
    return read_u64(&reader);
}

bool attributes_values_is_unset(const struct attribute_row *row, struct view encoded)
{
    if (row->kind == KIND_WIDE)
        return encoded.len == WIDE_LEN && wide_of(encoded) == row->unset;
    return encoded.len == 0 && attributes_values_empty_is_unset(row->kind);
}

CK_RV attributes_values_encode(const struct attribute_row *row, struct view shown,
                               struct attribute_room *room, struct view *ret_encoded)
{
    struct view encoded = shown;
    if (row->kind == KIND_ULONG || row->kind == KIND_MECHANISMS)
        TRY(encode_numbers(shown, room, &encoded));
    else if (row->kind == KIND_WIDE)
        TRY(encode_wide(shown, room, &encoded));
    if (!attributes_values_is_valid(row, encoded))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    *ret_encoded = encoded;
    return CKR_OK;
}

struct view attributes_values_show(const struct attribute_row *row, struct view encoded,
                                   struct attribute_room *room)
{
    if (row->kind == KIND_ULONG || row->kind == KIND_MECHANISMS)
        return show_numbers(encoded, room);
    return row->kind == KIND_WIDE ? show_wide(wide_of(encoded), room) : encoded;
}

static bool are_numbers(const struct attribute_row *row, struct view encoded)
{
    struct reader reader = reader_of(encoded);
    if (encoded.len % NUMBER_LEN != 0)
        return false;
    for (size_t i = 0; i < encoded.len / NUMBER_LEN; i++)
        if (read_u32(&reader) == UINT32_MAX && row->type != CKA_KEY_GEN_MECHANISM)
            return false;
    return true;
}

/* What the entries of a template attribute may name: whatever a key is made with or compared by. */
static bool may_nest(const struct attribute_row *row)
{
    return row != NULL && (row->classes & CLASS_KEY) != 0 &&
           (row->kind == KIND_FLAG || row->kind == KIND_ULONG || row->kind == KIND_MECHANISMS ||
            attributes_values_empty_is_unset(row->kind));
}

static bool is_scalar_valid(const struct attribute_row *row, struct view encoded)
{
    switch (row->kind) {
    case KIND_FLAG:
    case KIND_NEVER:
        return encoded.len == sizeof(CK_BBOOL) && encoded.bytes[0] <= CK_TRUE;
    case KIND_ULONG:
        return encoded.len == NUMBER_LEN && are_numbers(row, encoded);
    case KIND_TEXT:
        return encoded.len <= row->max_len && is_utf8(encoded);
    case KIND_BYTES:
        return encoded.len <= row->max_len;
    case KIND_DATE:
        return is_date(encoded);
    case KIND_WIDE:
        return encoded.len == WIDE_LEN && wide_of(encoded) <= row->most;
    case KIND_LINE:
        return encoded.len == INDEXKEY_LINE_LEN;
    case KIND_MECHANISMS:
        return encoded.len <= row->max_len && are_numbers(row, encoded);
    case KIND_CHECK_VALUE:
        return encoded.len == 0;
    default:
        return false;
    }
}

static bool is_template_valid(struct view encoded)
{
    struct reader reader = reader_of(encoded);
    struct entry entry;
    unsigned int last = 0;
    while (attributes_entries_next(&reader, &entry)) {
        const struct attribute_row *inner = attributes_table_by_tag(entry.tag);
        if (entry.tag <= last || !may_nest(inner) || !is_scalar_valid(inner, entry.value))
            return false;
        last = entry.tag;
    }
    return reader_done(&reader);
}

bool attributes_values_is_valid(const struct attribute_row *row, struct view encoded)
{
    if (row->kind == KIND_TEMPLATE)
        return is_template_valid(encoded);
    return is_scalar_valid(row, encoded);
}

static CK_RV encode_template_entry(const CK_ATTRIBUTE *given, struct blob *entries)
{
    const struct attribute_row *row = attributes_table_find(given->type);
    struct view shown = {given->pValue, given->ulValueLen};
    if (!may_nest(row) || (shown.bytes == NULL && shown.len > 0))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    struct attribute_room room;
    struct view encoded;
    struct view earlier;
    TRY(attributes_values_encode(row, shown, &room, &encoded));
    if (!attributes_entries_find(blob_view(entries), row->tag, &earlier))
        return attributes_entries_put(entries, row->tag, encoded);
    return view_equal(earlier, encoded) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV attributes_values_encode_template(struct view shown, struct blob *ret_encoded)
{
    _cleanup_(blob_clear) struct blob entries = {NULL, 0};
    size_t count = shown.len / sizeof(CK_ATTRIBUTE);
    if (shown.len % sizeof(CK_ATTRIBUTE) != 0 || count > TEMPLATE_COUNT_MAX)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    for (size_t i = 0; i < count; i++) {
        CK_ATTRIBUTE given;
        memcpy(&given, shown.bytes + i * sizeof(given), sizeof(given));
        TRY(encode_template_entry(&given, &entries));
    }
    *ret_encoded = blob_move(&entries);
    return CKR_OK;
}

static uint32_t read_field(const struct attributes *attributes, size_t field)
{
    uint32_t number;
    memcpy(&number, (const unsigned char *) attributes + field, sizeof(number));
    return number;
}

bool attributes_values_read(const struct attributes *attributes, const struct attribute_row *row,
                            struct attribute_room *room, struct view *ret_shown)
{
    struct view shown = {room->bytes, sizeof(CK_BBOOL)};
    if (row->kind == KIND_FLAG) {
        room->bytes[0] = attributes_has(attributes, row->flag) ? CK_TRUE : CK_FALSE;
    } else if (row->kind == KIND_NEVER) {
        room->bytes[0] = CK_FALSE;
    } else if (row->kind == KIND_ULONG) {
        uint32_t number = read_field(attributes, row->field);
        CK_ULONG full = number == UINT32_MAX ? CK_UNAVAILABLE_INFORMATION : number;
        memcpy(room->bytes, &full, sizeof(full));
        shown.len = sizeof(full);
    } else if (!attributes_entries_find(blob_view(&attributes->others), row->tag, &shown)) {
        if (row->kind == KIND_WIDE)
            shown = show_wide(row->unset, room);
        else if (!attributes_values_empty_is_unset(row->kind))
            return false;
        else
            shown.len = 0;
    }
    *ret_shown = shown;
    return true;
}

CK_RV attributes_values_put(struct attributes *attributes, const struct attribute_row *row,
                            struct view encoded)
{
    if (row->kind == KIND_FLAG) {
        attributes_set_flag(attributes, row->flag, encoded.bytes[0] == CK_TRUE);
        return CKR_OK;
    }
    if (row->kind == KIND_ULONG) {
        struct reader reader = reader_of(encoded);
        uint32_t number = read_u32(&reader);
        memcpy((unsigned char *) attributes + row->field, &number, sizeof(number));
        return CKR_OK;
    }
    struct attribute_room room;
    struct view shown = attributes_values_show(row, encoded, &room);
    return attributes_set_bytes(attributes, row->type, shown);
}
