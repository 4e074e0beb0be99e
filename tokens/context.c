#include "tokens/context.h"

#include <stdio.h>
#include <string.h>

#include "base/rv.h"

#define CONTEXT_FORMAT 1
#define FIELD_MAX 65536u

static CK_RV encode(const char *name, const struct conf_section *section, struct blob *ret_context)
{
    struct writer writer = {0};
    write_u8(&writer, CONTEXT_FORMAT);
    write_string(&writer, view_text(name));
    size_t cursor = 0;
    const char *key;
    const char *value;
    while (conf_next(section, CONTEXT_PREFIX, &cursor, &key, &value)) {
        write_string(&writer, view_text(key));
        write_string(&writer, view_text(value));
    }
    return writer_finish(&writer, ret_context);
}

CK_RV context_encode(const struct conf_section *section, struct blob *ret_context)
{
    return encode(section->name, section, ret_context);
}

CK_RV context_encode_key(const struct conf_section *section, struct blob *ret_context)
{
    size_t cursor = 0;
    const char *key;
    const char *value;
    if (conf_next(section, CONTEXT_PREFIX, &cursor, &key, &value))
        return encode("", section, ret_context);
    *ret_context = (struct blob){0};
    return CKR_OK;
}

struct pair {
    struct view key; /* without bytes at the end */
    struct view value;
};

static struct pair read_pair(struct reader *reader)
{
    if (reader->failed || reader->at == reader->end)
        return (struct pair){0};
    return (struct pair){read_string(reader, FIELD_MAX), read_string(reader, FIELD_MAX)};
}

/* Of two sorted lists, the earlier key is the one that the other list lacks. */
static struct view earlier_key(struct view a, struct view b)
{
    if (a.bytes == NULL || b.bytes == NULL)
        return a.bytes == NULL ? b : a;
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.bytes, b.bytes, len);
    if (order == 0)
        return a.len < b.len ? a : b;
    return order < 0 ? a : b;
}

void context_name_difference(struct view stored, struct view configured, char *ret_what,
                             size_t size)
{
    struct reader readers[2] = {reader_of(stored), reader_of(configured)};
    bool same_format = read_u8(&readers[0]) == read_u8(&readers[1]);
    if (!same_format ||
        !view_equal(read_string(&readers[0], FIELD_MAX), read_string(&readers[1], FIELD_MAX))) {
        (void) snprintf(ret_what, size, "the token's name");
        return;
    }
    struct pair pairs[2];
    do {
        pairs[0] = read_pair(&readers[0]);
        pairs[1] = read_pair(&readers[1]);
    } while (pairs[0].key.bytes != NULL && view_equal(pairs[0].key, pairs[1].key) &&
             view_equal(pairs[0].value, pairs[1].value));
    struct view key = earlier_key(pairs[0].key, pairs[1].key);
    (void) snprintf(ret_what, size, CONTEXT_PREFIX "%.*s", (int) key.len,
                    key.bytes == NULL ? "" : (const char *) key.bytes);
}
