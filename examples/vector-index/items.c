#include "items.h"

#include <string.h>

#include "util.h"

#define ITEM_PADDING 64U

static bool items_take_field(char *text, char ret_field[ITEMS_FIELD_MAX_LEN + 1])
{
    size_t len = strlen(text);

    if (len > ITEMS_FIELD_MAX_LEN) {
        return false;
    }
    memcpy(ret_field, text, len + 1);
    return true;
}

bool items_read(struct lines *lines, struct item *ret_item, bool *ret_more)
{
    char *rest = lines->text;
    char *name;
    char *section;

    if (!lines_read(lines, ret_more)) {
        return false;
    }
    if (!*ret_more) {
        return true;
    }
    name = strsep(&rest, "\t");
    section = strsep(&rest, "\t");
    if (section == NULL || rest == NULL || *name == '\0') {
        return fail("%s:%llu: expected name, section and size, tab-separated", lines->path,
                    (unsigned long long)lines->number);
    }
    if (!items_take_field(name, ret_item->name) || !items_take_field(section, ret_item->section)) {
        return fail("%s:%llu: a field is longer than %u bytes", lines->path,
                    (unsigned long long)lines->number, ITEMS_FIELD_MAX_LEN);
    }
    if (!util_parse_number(rest, 0, INT64_MAX, &ret_item->size_kib)) {
        return fail("%s:%llu: the size is not a whole number", lines->path,
                    (unsigned long long)lines->number);
    }
    return true;
}

static uint8_t *items_put_text(uint8_t *to, const char *text)
{
    size_t len = strlen(text);

    to = util_put_be(to, len, 2);
    memcpy(to, text, len);
    return to + len;
}

void items_encode(const struct item *item, struct crypt_plain *ret_plain)
{
    uint8_t *end = items_put_text(ret_plain->data, item->name);
    size_t len;

    end = items_put_text(end, item->section);
    end = util_put_be(end, item->size_kib, 8);
    len = (size_t)(end - ret_plain->data);
    ret_plain->len = (len + ITEM_PADDING - 1) / ITEM_PADDING * ITEM_PADDING;
    memset(end, 0, ret_plain->len - len);
}

static bool items_get_text(const uint8_t **from, const uint8_t *end,
                           char ret_text[ITEMS_FIELD_MAX_LEN + 1])
{
    size_t len;

    if (end - *from < 2) {
        return false;
    }
    len = (size_t)util_get_be(*from, 2);
    *from += 2;
    if (len > ITEMS_FIELD_MAX_LEN || (size_t)(end - *from) < len) {
        return false;
    }
    memcpy(ret_text, *from, len);
    ret_text[len] = '\0';
    *from += len;
    return true;
}

bool items_decode(const struct crypt_plain *plain, struct item *ret_item)
{
    const uint8_t *from = plain->data;
    const uint8_t *end = plain->data + plain->len;

    if (!items_get_text(&from, end, ret_item->name) ||
        !items_get_text(&from, end, ret_item->section) || end - from < 8) {
        return fail("an item's content has a format that this version does not know");
    }
    ret_item->size_kib = util_get_be(from, 8);
    return true;
}
