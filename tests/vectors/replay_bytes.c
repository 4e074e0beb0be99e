#include "tests/vectors/replay_bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bytes_clear(struct bytes *bytes)
{
    free(bytes->at);
}

struct bytes bytes_new(CK_ULONG len)
{
    struct bytes bytes = {.at = calloc(1, len + 1), .len = len};

    if (!bytes.at)
        abort();
    return bytes;
}

struct bytes bytes_hex(json_t *test, const char *name)
{
    const char *text = json_string_value(json_object_get(test, name));

    if (!text || strlen(text) % 2 != 0) {
        (void) fprintf(stderr, "a vector without %s\n", name);
        abort();
    }
    struct bytes bytes = bytes_new(strlen(text) / 2);
    for (CK_ULONG i = 0; i < bytes.len; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        bytes.at[i] = (CK_BYTE) strtoul(digits, NULL, 16);
    }
    return bytes;
}

bool bytes_equal(const struct bytes *a, const struct bytes *b)
{
    return a->len == b->len && memcmp(a->at, b->at, a->len) == 0;
}

struct bytes bytes_join(const struct bytes *a, const struct bytes *b)
{
    struct bytes joined = bytes_new(a->len + b->len);

    memcpy(joined.at, a->at, a->len);
    memcpy(joined.at + a->len, b->at, b->len);
    return joined;
}

struct replay_result outcome(enum replay_outcome is)
{
    return (struct replay_result){.outcome = is};
}

struct replay_result policy(const char *rule)
{
    return (struct replay_result){.outcome = REPLAY_POLICY, .rule = rule};
}

struct replay_result wrong(const char *format, ...)
{
    struct replay_result result = {.outcome = REPLAY_WRONG};
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(result.detail, sizeof(result.detail), format, arguments);
    va_end(arguments);
    return result;
}

bool is_valid(json_t *test)
{
    const char *result = json_string_value(json_object_get(test, "result"));

    return result && strcmp(result, "valid") == 0;
}
